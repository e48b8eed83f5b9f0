"""What a run is: configs with identities, the names that a command line may use, trials and studies."""

from experiments.config.config import (
    AlphaBetaLadder,
    ExactConfig,
    ForeignConfig,
    Ladder,
    Machine,
    ReferenceConfig,
    SampleConfig,
    ScoreConfig,
    TrainConfig,
    identity,
)

__all__ = [
    "AlphaBetaLadder",
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
