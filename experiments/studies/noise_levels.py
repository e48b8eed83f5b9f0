"""What `noise_levels` varies."""

from dataclasses import dataclass
from typing import Annotated, Literal

from diffusion_core.catalogue import NOISE_DISTRIBUTIONS, PARAMETERISATIONS
from diffusion_core.weightings import WEIGHTINGS
from experiments.config.study import GPU, SMOKE, Command, Hidden, Study, names

LAWS = "Noise distributions of training: {names}. With parameters: 'log-normal(-0.507, 1.2)'."


@dataclass(frozen=True)
class NoiseStudy(Study):
    """What the experiment varies. The first of each list is the baseline; one thing is changed at a time."""

    laws: Annotated[tuple[str, ...], names(LAWS, NOISE_DISTRIBUTIONS)] = (
        "log-normal",
        "log-logistic",
        "log-uniform",
        "vp",
    )
    weightings: Annotated[tuple[str, ...], names("Weights of the loss: {names}.", WEIGHTINGS)] = (
        "karras",
        "min-snr-1.25",
    )
    parameterisations: Annotated[
        tuple[str, ...], names("Meaning of the network's output: {names}.", PARAMETERISATIONS)
    ] = ("preconditioned",)
    recipe: Hidden[Literal["fast", "plain"]] = "plain"  # the lists below vary what a recipe is made of
    cross: bool = False
    """Train every combination, instead of changing one thing at a time."""
    n_steps: int = 32
    """Steps of the geometric ladder on which samples are drawn."""
    sigma_min: float = 0.03
    """Last level of the ladders. Lower it where the features see the noise that is left, as those of photographs do."""
    etas: tuple[float, ...] = (0.0, 1.0)
    """Samplers that score each network: eta 0 is deterministic (beta = 0), eta 1 is DDPM."""


PRESETS = {
    "smoke": NoiseStudy(
        first_seed=0,
        train_images=320,
        warmup_images=160,
        held_out=64,
        n_samples=SMOKE["n_samples"],
        laws=("log-normal", "uniform"),
        weightings=("karras",),
        n_steps=4,
    ),
    "laptop": NoiseStudy(train_images=30_000, held_out=500, train_seeds=5),
    "gpu": NoiseStudy(
        **GPU,
        held_out=1024,
        laws=(*NOISE_DISTRIBUTIONS,),
        weightings=("karras", "unit-eps", "x0", "min-snr-5", "min-snr-1.25", "soft-min-snr-1"),
        parameterisations=("preconditioned", "eps", "x0"),
    ),
}
COMMAND = Command(
    module="experiments.noise_levels",
    question="Which noise levels should training see?",
    text="Trains networks under several noise distributions and loss weights at an equal budget, scores their samples, "
    "and measures their error on held-out images at each noise level. Networks and images are per setting.",
    presets=PRESETS,
    minutes="about 7 minutes on two cores",
    examples=("", '--laws log-normal "log-normal(0, 1)" vp', "--weightings karras unit-eps --cross"),
)
