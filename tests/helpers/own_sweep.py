"""What the tests of one's own sweep share: a file with two settings, variants of it, and its command."""

from pathlib import Path

from smoke import Done, typed

FILE = '''
from dataclasses import dataclass
from diffusion_core.samplers import Euler, Heun, Sampler
from experiments.config import Ladder
from experiments.sweep import Setting

QUESTION = "Does it run?"

@dataclass(frozen=True)
class Mine(Sampler):
    """Euler under a name of its own."""
    @property
    def name(self): return "mine"
    def planned_nfe(self, sigmas): return Euler(0.0).planned_nfe(sigmas)
    def run(self, *arguments): return Euler(0.0).run(*arguments)

def runs():
    yield Setting("euler", Ladder(n_steps=2), Euler(0.0))
    yield Setting("mine", Ladder(n_steps=2), Mine())
'''


def written(folder: Path, text: str) -> Path:
    (folder / "mine.py").write_text(text)
    return folder / "mine.py"


def few(folder: Path) -> list[str]:
    where = ["--preset", "smoke", "--out", str(folder / "out"), "--store", str(folder / "store"), "--threads", "1"]
    return [*where, "--train-seeds", "1", "--train-images", "128", "--n-samples", "40"]


def run(folder: Path, *arguments: str) -> Done:
    return typed("sweep", str(folder / "mine.py"), *few(folder), *arguments)


RUN = "    def run(self, *arguments): return Euler(0.0).run(*arguments)\n"
NOISE = """
import torch
@dataclass(frozen=True)
class Noise:
    name = "mine"
    def sample(self, n, generator, stratified=False): return {levels}
    def log_density(self, log_sigma): return {density}
"""


def noisy(levels: str = "torch.rand(n, generator=generator)", density: str = "-log_sigma**2", *names: str) -> str:
    """The file with a noise distribution that gives these levels and densities."""
    law = NOISE.format(levels=levels, density=density).replace(*(names or ("", "")))
    return FILE.replace("\ndef runs", law + "\ndef runs").replace("Mine())", 'Mine(), training={"noise": Noise()})')
