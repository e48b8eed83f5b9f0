"""Experiments: one file per question; `python -m experiments NAME` runs it.

from experiments import compare, score      # images that you already have: see scoring/
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.scoring.compare import compare, score

__all__ = ["compare", "score"]


def __getattr__(name: str) -> Any:  # imported when they are asked for, so that --help appears at once
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from experiments.scoring import compare as scoring

    return getattr(scoring, name)
