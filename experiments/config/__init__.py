"""Descriptions of runs: configs with identities, names for the command line, trials, studies, comparisons."""

from typing import TYPE_CHECKING, Any

from diffusion_core.catalogue import Catalogue
from experiments.config.identity import identity
from experiments.config.study import Study

if TYPE_CHECKING:
    from experiments.config.config import AlphaBetaLadder, Ladder, ReferenceConfig, SampleConfig, ScoreConfig
    from experiments.config.denoisers import ForeignConfig, Machine, ModelConfig, TrainConfig

_PLACES = Catalogue[Any]("experiments.config", {  # imported when they are asked for, since they import torch
    "AlphaBetaLadder": "config.AlphaBetaLadder",
    "ForeignConfig": "denoisers.ForeignConfig",
    "Ladder": "config.Ladder",
    "Machine": "denoisers.Machine",
    "ModelConfig": "denoisers.ModelConfig",
    "ReferenceConfig": "config.ReferenceConfig",
    "SampleConfig": "config.SampleConfig",
    "ScoreConfig": "config.ScoreConfig",
    "TrainConfig": "denoisers.TrainConfig",
})  # fmt: skip

__all__ = [
    "AlphaBetaLadder",
    "ForeignConfig",
    "Ladder",
    "Machine",
    "ModelConfig",
    "ReferenceConfig",
    "SampleConfig",
    "ScoreConfig",
    "Study",
    "TrainConfig",
    "identity",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return _PLACES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
