"""Descriptions of runs: configs with identities, names for the command line, trials, studies, comparisons."""

from experiments.config.config import AlphaBetaLadder, Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import BlendConfig, ExactConfig, ForeignConfig, Machine, TrainConfig
from experiments.config.identity import identity

__all__ = [
    "AlphaBetaLadder",
    "BlendConfig",
    "ExactConfig",
    "ForeignConfig",
    "Ladder",
    "Machine",
    "ReferenceConfig",
    "SampleConfig",
    "ScoreConfig",
    "TrainConfig",
    "identity",
]
