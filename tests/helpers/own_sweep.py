"""What the tests of one's own sweep share: a file with two settings, variants of it, and its command."""

from pathlib import Path

from smoke import Finished, smoke

FILE = '''
from dataclasses import dataclass
from diffusion_core.samplers import Euler, Heun, Sampler
from experiments import Schedule, Setting, Study

@dataclass(frozen=True)
class Mine(Sampler):
    """Euler under a name of its own."""
    @property
    def name(self): return "mine"
    def planned_nfe(self, sigmas): return Euler(0.0).planned_nfe(sigmas)
    def run(self, *arguments): return Euler(0.0).run(*arguments)

@dataclass(frozen=True)
class Asked(Study):
    question = "Does it run?"
    def settings(self):
        yield Setting("euler", Schedule(n_steps=2), Euler(0.0))
        yield Setting("mine", Schedule(n_steps=2), Mine())
'''
RUN = "    def run(self, *arguments): return Euler(0.0).run(*arguments)\n"
OF_ITS_OWN = "-log_sigma**2 - 0.5723649"
NOISE = """
import torch
@dataclass(frozen=True)
class Noise:
    name = "mine"
    def sample(self, n, generator, stratified=False): return {levels}
    def log_density(self, log_sigma): return {density}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "mine.py").write_text(text)
    return folder / "mine.py"


def run(folder: Path, *arguments: str, status: int = 0) -> Finished:
    few = "--recipe plain --seeds 1 --train-images 128".split() if "--network" not in arguments else []
    return smoke(folder, "sweep", str(folder / "mine.py"), "--n-samples", "40", *few, *arguments, status=status)


def noisy(levels: str = "torch.rand(n, generator=generator)", density: str = OF_ITS_OWN, *names: str) -> str:
    """The file with a noise distribution that gives these levels and densities."""
    law = NOISE.format(levels=levels, density=density).replace(*(names or ("", "")))
    before = "\n@dataclass(frozen=True)\nclass Asked"
    return FILE.replace(before, law + before).replace("Mine())", 'Mine(), training={"noise": Noise()})')
