"""Descriptions of runs: configs with identities, names for the command line, trials, studies, comparisons."""

from experiments.config.config import AlphaBetaLadder, Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import ForeignConfig, Machine, ModelConfig, TrainConfig
from experiments.config.identity import identity
from experiments.config.study import Study

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
