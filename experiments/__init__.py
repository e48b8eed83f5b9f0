"""Experiments: one file per question; `python -m experiments NAME` runs it.

from experiments import compare, score                  # images that you already have: see scoring/
from experiments import harmless, assert_harmless       # before and after a change
from experiments import Ladder, Setting, Study, answer  # a question of your own: see sweep.py
"""

from typing import TYPE_CHECKING

from diffusion_core.catalogue import lazily

if TYPE_CHECKING:
    from experiments.run.answer import answer
    from experiments.run.compare import BestSet, Contrast, against_first, control
    from experiments.run.options import Options
    from experiments.run.setting import AlphaBetaLadder, Ladder, Setting
    from experiments.run.study import Study
    from experiments.scoring.compare import compare, score
    from experiments.scoring.harmless import assert_harmless, harmless

__getattr__ = lazily("experiments", {  # imported when they are asked for, so that --help appears at once
    "AlphaBetaLadder": "run.setting.AlphaBetaLadder",
    "BestSet": "run.compare.BestSet",
    "Contrast": "run.compare.Contrast",
    "Ladder": "run.setting.Ladder",
    "Options": "run.options.Options",
    "Setting": "run.setting.Setting",
    "Study": "run.study.Study",
    "against_first": "run.compare.against_first",
    "answer": "run.answer.answer",
    "assert_harmless": "scoring.harmless.assert_harmless",
    "compare": "scoring.compare.compare",
    "control": "run.compare.control",
    "harmless": "scoring.harmless.harmless",
    "score": "scoring.compare.score",
})  # fmt: skip

__all__ = [
    "AlphaBetaLadder",
    "BestSet",
    "Contrast",
    "Ladder",
    "Options",
    "Setting",
    "Study",
    "against_first",
    "answer",
    "assert_harmless",
    "compare",
    "control",
    "harmless",
    "score",
]
