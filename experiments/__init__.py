"""Experiments: one file per question; `python -m experiments NAME` runs it.

from experiments import compare, score                     # images that you already have: see scoring/
from experiments import harmless, assert_harmless          # before and after a change
from experiments import Schedule, Setting, Study, run_study  # a question of your own: see questions.py
from experiments import check_network                      # the errors and the doubts of a network
from experiments import assert_converges, assert_levels    # a sampler, in a test suite: see conformance/
"""

from typing import TYPE_CHECKING

import diffusion_core
from diffusion_core.registry import lazy_exports

if TYPE_CHECKING:
    from diffusion_core import Euler, Heun, LogNormal, LogUniform, Sampler
    from experiments.check import check_network
    from experiments.conformance import assert_converges, assert_levels
    from experiments.run.grid import Grid
    from experiments.run.options import Options
    from experiments.run.pairs import Pair, against_first
    from experiments.run.study import ExploringStudy, Study
    from experiments.scoring.compare import compare, score
    from experiments.scoring.equivalence import assert_harmless, harmless
    from experiments.settings import Schedule, Setting
    from experiments.sweep import run_study

OF_CORE = ("Euler", "Heun", "LogNormal", "LogUniform", "Sampler")  # for sweep files
_own, _ = lazy_exports("experiments", {  # imported when they are asked for, so that --help appears at once
    "check": "check_network",
    "conformance": "assert_converges assert_levels",
    "run.grid": "Grid",
    "run.options": "Options",
    "run.pairs": "Pair against_first",
    "run.study": "ExploringStudy Study",
    "scoring.compare": "compare score",
    "settings": "Schedule Setting",
    "scoring.equivalence": "assert_harmless harmless",
    "sweep": "run_study",
})  # fmt: skip


def __getattr__(name: str) -> object:
    return getattr(diffusion_core, name) if name in OF_CORE else _own(name)


def __dir__() -> list[str]:
    """The public names, for Tab completion: most of them are not imported yet."""
    return __all__


__all__ = [
    "Euler",
    "ExploringStudy",
    "Grid",
    "Heun",
    "LogNormal",
    "LogUniform",
    "Options",
    "Pair",
    "Sampler",
    "Schedule",
    "Setting",
    "Study",
    "against_first",
    "assert_converges",
    "assert_harmless",
    "assert_levels",
    "check_network",
    "compare",
    "harmless",
    "run_study",
    "score",
]  # fmt: skip
