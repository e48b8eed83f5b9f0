"""Descriptions of runs: configs with identities, names for the command line, trials, studies, comparisons.

What a sweep of your own needs is exported here; all else is in the modules.
"""

from typing import TYPE_CHECKING, Any

from experiments.config.study import Study

if TYPE_CHECKING:
    from experiments.config.config import AlphaBetaLadder, Ladder

__all__ = ["AlphaBetaLadder", "Ladder", "Study"]


def __getattr__(name: str) -> Any:  # imported when they are asked for, since they import torch
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from experiments.config import config

    return getattr(config, name)
