"""What `ladders` varies."""

from dataclasses import dataclass
from typing import Annotated

from diffusion_core.catalogue import SAMPLERS
from diffusion_core.schedules import SCHEDULES
from experiments.config.study import GPU, SMOKE, Command, Study, names
from experiments.own.names import SYNONYMS

LADDERS = "Noise schedules; the first is the baseline: {names}. With parameters: 'karras(rho=5)'."
FURTHER = "Further samplers: {names}. 'heun(s_churn=10)' works."


@dataclass(frozen=True)
class LadderStudy(Study):
    """What the experiment varies. All settings of one budget take at most that number of network evaluations."""

    ladders: Annotated[tuple[str, ...], names(LADDERS, SCHEDULES)] = ("geometric", "karras", "cosine", "vp", "linear")
    n_steps: tuple[int, ...] = (8, 16, 32)
    """Budgets: network evaluations per image. A sampler with two evaluations per step gets half as many steps."""
    etas: tuple[float, ...] = (0.0, 1.0)
    """Noise of the sampler euler: 0 is DDIM (beta = 0), 1 is DDPM."""
    samplers: Annotated[tuple[str, ...], names(FURTHER, [*SAMPLERS, *SYNONYMS])] = ("heun", "dpm++2m")
    sigma_max: float = 30.0
    """First level of all ladders but ddpm's, in standard deviations of the data."""
    sigma_min: float = 0.03
    """Last level."""


PRESETS = {
    "smoke": LadderStudy(**SMOKE, ladders=("geometric", "karras"), n_steps=(4,), samplers=("heun",)),
    "laptop": LadderStudy(train_seeds=5),  # enough for a statement on such networks in general
    "gpu": LadderStudy(
        **GPU,
        ladders=tuple(name for name in SCHEDULES if name != "flow"),  # which goes on with a step to 0
        n_steps=(8, 16, 32, 64),
        etas=(0.0, 0.5, 1.0),
        samplers=("heun", "dpm++2m", "dpm++2m-sde", "accelerated"),
    ),
}
COMMAND = Command(
    module="experiments.ladders",
    question="Which noise levels should sampling visit?",
    text="Compares noise schedules and samplers at equal numbers of network evaluations. A schedule is a rule; a "
    "ladder is the list of noise levels that it gives.",
    presets=PRESETS,
    minutes="about 20 minutes on two cores",
    examples=("", '--ladders geometric "karras(rho=5)" --n-steps 10 20 --samplers heun dpm++2m'),
)
