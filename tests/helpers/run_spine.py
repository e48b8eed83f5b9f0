"""What the tests of experiments/run share: 120 digits, an exact denoiser of them, runs of it, and files of a user's."""

import atexit
import importlib
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

import pytest
from user_images import few_digits

from diffusion_core.samplers import Euler, Sampler
from experiments.run import networks, stages
from experiments.run.cache import Cache
from experiments.run.image_features import features_id
from experiments.run.machine import Machine
from experiments.run.networks import Exact, Network, Trained
from experiments.run.runs import Reference, Run
from experiments.settings import Schedule, Setting
from experiments.user import architecture
from experiments.user.imports import TEXTS

N = 40
EULER = Euler(0.0)


def temporary(prefix: str) -> Path:
    """A folder that this process removes at its end."""
    folder = Path(mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def data() -> str:
    return few_digits(temporary("few-digits-"))


@cache
def store() -> Path:
    """A store for tests that ask what becomes of samples, not how they are made."""
    return temporary("store-")


def exact(seed: int = 0) -> Exact:
    return Exact(data(), seed)


def trained(seed: int = 0, **options: Any) -> Trained:
    return Trained(data(), **{"images_seen": 128, "warmup_images": 64, "seed": seed} | options)


def reference(features: str = "digits") -> Reference:
    return Reference(data(), features, features_id(features))


def run(
    sampler: Sampler = EULER,
    network: Network | None = None,
    n_steps: int = 2,
    n: int = N,
    draw: int = 0,
    **setting: Any,
) -> Run:
    made = Setting(setting.pop("label", sampler.name), Schedule(n_steps=n_steps), sampler, **setting)
    return Run(made, network or exact(), n, Machine(), reference(), draw=draw)


def silent(evaluations: float):
    """Progress that nobody reads."""


def score(run: Run, cache: Cache) -> dict[str, Any]:
    """The facts of a run's score that do not depend on when it was made."""
    return {name: value for name, value in stages.score(run, cache, silent).facts.items() if name != "finished_at"}


def files(cache: Cache) -> dict[str, int]:
    """How many files there are, by folder."""
    return {folder.name: len(list(folder.glob("*.safetensors"))) for folder in sorted(cache.root.glob("[!.]*"))}


@contextmanager
def user_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of which modules whose names end with _xyz can be imported, always from their text."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # which Python takes for new within a second
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    forget()


def forget():
    """As if a new process began: a user's modules are imported anew."""
    importlib.invalidate_caches()
    for cached in (
        networks.load_pretrained, architecture.architecture_id,
        architecture.check_architecture, architecture.check_large_batch,
    ):  # fmt: skip
        cached.cache_clear()
    TEXTS.clear()
    for name in [name for name in sys.modules if "_xyz" in name]:
        del sys.modules[name]


def imported(folder: Path, **texts: str) -> ModuleType:
    """Writes modules of a user's, NAME_xyz.py, and imports the first as a new process would."""
    for name, text in texts.items():
        (folder / f"{name}_xyz.py").write_text(text)
    forget()
    return importlib.import_module(f"{next(iter(texts))}_xyz")


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings so far, which are then forgotten."""
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return texts
