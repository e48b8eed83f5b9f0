"""Experiments: one file per question; `python -m experiments NAME` runs it.

from experiments import compare, score                  # images that you already have: see scoring/
from experiments import harmless, assert_harmless       # before and after a change
from experiments import Ladder, Setting, Study, answer  # a question of your own: see sweep.py
from experiments import check_network                   # the errors and the doubts of a network
"""

from typing import TYPE_CHECKING

import diffusion_core
from diffusion_core.catalogue import lazily

if TYPE_CHECKING:
    from diffusion_core import Euler, Heun, LogNormal, LogUniform, Sampler
    from experiments.check import check_network
    from experiments.run.compare import BestSet, Contrast, Interaction, against_first, control, interactions
    from experiments.run.experiment import answer
    from experiments.run.options import Options
    from experiments.run.setting import AlphaBetaLadder, Ladder, Setting
    from experiments.run.study import Study
    from experiments.scoring.compare import compare, score
    from experiments.scoring.equivalence import assert_harmless, harmless

OF_CORE = ("Euler", "Heun", "LogNormal", "LogUniform", "Sampler")  # for sweep files
_own = lazily("experiments", {  # imported when they are asked for, so that --help appears at once
    "AlphaBetaLadder": "run.setting.AlphaBetaLadder",
    "BestSet": "run.compare.BestSet",
    "Contrast": "run.compare.Contrast",
    "Interaction": "run.compare.Interaction",
    "Ladder": "run.setting.Ladder",
    "Options": "run.options.Options",
    "Setting": "run.setting.Setting",
    "Study": "run.study.Study",
    "against_first": "run.compare.against_first",
    "answer": "run.experiment.answer",
    "assert_harmless": "scoring.equivalence.assert_harmless",
    "check_network": "check.check_network",
    "compare": "scoring.compare.compare",
    "control": "run.compare.control",
    "harmless": "scoring.equivalence.harmless",
    "interactions": "run.compare.interactions",
    "score": "scoring.compare.score",
})  # fmt: skip


def __getattr__(name: str) -> object:
    return getattr(diffusion_core, name) if name in OF_CORE else _own(name)


__all__ = [
    "AlphaBetaLadder",
    "BestSet",
    "Contrast",
    "Euler",
    "Heun",
    "Interaction",
    "Ladder",
    "LogNormal",
    "LogUniform",
    "Options",
    "Sampler",
    "Setting",
    "Study",
    "against_first",
    "answer",
    "assert_harmless",
    "check_network",
    "compare",
    "control",
    "harmless",
    "interactions",
    "score",
]
