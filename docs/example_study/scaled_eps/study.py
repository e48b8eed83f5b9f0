"""What can be typed. This file imports no torch, so that --help appears at once."""

from dataclasses import dataclass

from experiments.config.study import Command, Study


@dataclass(frozen=True)
class ScaledStudy(Study):
    """What is varied."""

    factors: tuple[float, ...] = (1.0, 1.1)
    """Factors of eps."""
    n_steps: int = 32
    """Steps of the ladder."""


COMMAND = Command(
    module="scaled_eps.main",
    question="Does noise repair an eps of the wrong size?",
    text="Multiplies the eps of an exact denoiser by a factor, and samples with and without noise.",
    presets={
        "smoke": ScaledStudy(train_seeds=1, n_samples=132, n_steps=4),
        "laptop": ScaledStudy(train_seeds=5),
        "gpu": ScaledStudy(train_seeds=5, data="mnist", n_samples=10_000),
    },
    minutes="a few minutes",
    examples=("--factors 1 1.05 1.1",),
)
