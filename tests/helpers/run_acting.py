"""A sampler that acts in the tests of workers, where these can import it, and a command of two workers."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion_core.samplers import Sampler
from experiments.console import Terminal
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import Exact
from experiments.run.runner import Runner
from experiments.run.runs import Reference, Run
from experiments.settings import Schedule, Setting

FORK = multiprocessing.get_context("fork")
QUIET = Terminal()
QUIET.quiet = True


@dataclass(frozen=True)
class Acting(Sampler):
    """Euler that does something first."""

    what: str = ""
    where: str = ""

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(sigmas) - 1

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        place = Path(self.where)
        if self.what == "fails":
            with place.open("a") as file:
                file.write("x")
            raise KeyError("no such thing")
        if self.what == "exits":
            raise SystemExit(3)
        if self.what == "interrupts":
            raise KeyboardInterrupt
        if self.what == "dies once" and not place.exists():
            place.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "sleeps":
            (place / str(os.getpid())).touch()
            time.sleep(60)
        for sigma, after in pairwise(sigmas):
            x = x + (after - sigma) * eps(x, sigma)
            yield x


def command(root: str, where: str, data: str):
    """A command of two workers that would take a minute."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background would ignore it
    multiprocessing.get_context = lambda name: FORK  # type: ignore[assignment, misc, return-value]
    reference = Reference(data, "digits", "")
    setting = Setting("any", Schedule(n_steps=2), Acting("sleeps", where))
    runs = [Run(setting, Exact(data, seed), 40, Machine(), reference) for seed in (0, 1)]
    Runner(Cache(Path(root)), QUIET, workers=2).run(runs)
