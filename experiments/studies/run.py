"""What `run` is told: the setting."""

from dataclasses import dataclass
from typing import Annotated

from diffusion_core.catalogue import NOISE_DISTRIBUTIONS, PARAMETERISATIONS, SAMPLERS
from diffusion_core.schedules import SCHEDULES
from diffusion_core.weightings import WEIGHTINGS
from experiments.config.study import GPU, SMOKE, Command, Study, one_name, shown
from experiments.own.names import SYNONYMS

LAWS = "Noise distribution of training: {names}. With parameters: 'log-uniform(0.03, 100)'."
OUTPUTS = "Meaning of the network's output: {names}."
RECIPES = "that of --recipe"
LADDERS = "Noise schedule: {names}. With parameters: 'karras(rho=7)'."
KINDS = "Sampler: {names}. With parameters: 'heun(s_churn=10)'."


@dataclass(frozen=True)
class RunStudy(Study):
    """The setting."""

    law: Annotated[str | None, one_name(LAWS, NOISE_DISTRIBUTIONS, RECIPES)] = None
    weighting: Annotated[str, one_name("Weights of the loss: {names}.", WEIGHTINGS)] = "karras"
    parameterisation: Annotated[str | None, one_name(OUTPUTS, PARAMETERISATIONS, RECIPES)] = None
    stable_above: Annotated[float | None, shown("SIGMA", RECIPES)] = None
    """Noise level above which the target is the mean of the noises that could have made the image. inf: nowhere."""
    network: Annotated[str, one_name("{names} (for GPUs).", ("small", "paper"))] = "small"
    stratified: Annotated[bool | None, shown("{True,False}", RECIPES)] = None
    """Spread the noise levels of a batch evenly over the noise distribution."""
    ladder: Annotated[str, one_name(LADDERS, SCHEDULES)] = "geometric"
    n_steps: int = 32
    """Steps of the ladder."""
    sigma_max: float = 30.0
    """First level, in standard deviations of the data."""
    sigma_min: float = 0.03
    """Last level."""
    sampler: Annotated[str, one_name(KINDS, [*SAMPLERS, *SYNONYMS])] = "euler(eta=1)"
    final_denoise: bool = False
    """End with x - sigma*eps at the last level: one more evaluation."""


PRESETS = {"smoke": RunStudy(**SMOKE), "laptop": RunStudy(), "gpu": RunStudy(**GPU)}
COMMAND = Command(
    module="experiments.single",
    question="How good is this one setting?",
    text="Trains, samples, scores and times one setting, without a comparison.",
    presets=PRESETS,
    minutes="about 4 minutes on two cores",
    examples=('--ladder karras --n-steps 18 --sampler "heun(s_churn=10)"', "--model diffusers:FOLDER --data mnist"),
)
