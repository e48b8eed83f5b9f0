"""What `tune` tries, each at exactly the budget: ladders x samplers, and single settings."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from diffusion_core.catalogue import SAMPLERS
from diffusion_core.schedules import SCHEDULES
from experiments.config.study import GPU, SMOKE, Command, Hidden, Study, names, shown
from experiments.own.names import SYNONYMS

Library = Literal["torch", "diffusers", "k-diffusion", "json"]
LADDERS = "Noise schedules, the simplest first: {names}."
FURTHER = "Further samplers: {names}. 'heun(s_churn=10)' works."
UNITS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class TuneStudy(Study):
    """What is tried, each at exactly the budget: ladders x samplers, and single settings."""

    budgets: tuple[int, ...] = (8, 16, 32)
    """Network evaluations per image."""
    ladders: Annotated[tuple[str, ...], names(LADDERS, SCHEDULES)] = (  # vp: even steps in time, as in DDIM and DDPM
        "vp",
        "karras",
        "geometric",
        "cosine",
    )
    etas: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Noise of the sampler euler. 0 (DDIM) and 1 (DDPM) are always added."""
    samplers: Annotated[tuple[str, ...], names(FURTHER, [*SAMPLERS, *SYNONYMS])] = ("heun", "dpm++2m")
    sigma_max: float = 30.0
    """First level of all ladders but ddpm's, in standard deviations of the data; lower if the network ends before."""
    sigma_min: float = 0.03
    """Last level; higher if the network ends before."""
    settings: Annotated[tuple[str, ...], shown("[TEXT [TEXT ...]]", "those of docs/models.md")] = (
        "vp, eta 0, ending at 0",
        "karras, dpm++2m, ending at 0",
        "karras, heun(s_churn=1, s_min=0.1, s_noise=1.003)",  # s_noise of Karras et al. 2022, Table 5
        "karras, euler-churn(s_churn=2, s_min=0.1)",
        "karras, euler-within(1, 0.1, 3)",
        "karras, euler-split(1, 0, 0.5)",
        "karras, restart",
    )
    """Single settings besides, with noise in other forms or a last step to 0, as LADDER, SAMPLER: 'karras(rho=5) from
    20 to 0.05, heun(s_churn=1)'. With ', ending at 0' the last evaluation is a step to sigma 0. Without a value: none.
    """
    default: Annotated[
        str | None, shown("TEXT", "DDIM on the first ladder; for a flow or DDPM's table, on its own levels")
    ] = None
    """The setting that you use today, as LADDER, SAMPLER: what is recommended is compared with it."""
    time: Annotated[str | None, shown("TIME", "no limit")] = None
    """Be ready after this time, such as 10min: fewer settings in the race and fewer finalists, as needed. What is left
    out is said."""
    search_seed: int = 0
    """Another seed searches and confirms on other images."""
    export: Annotated[tuple[Library, ...] | None, shown("LIBRARY [LIBRARY ...]", "all that apply")] = None
    """Code to write besides settings.json, which is json: torch, diffusers, k-diffusion."""
    race_samples: Hidden[int] = 166  # images per network in the race
    known: Hidden[tuple[float, float]] = (0.0, math.inf)  # the levels that the network knows, see `fitted`
    usual: Hidden[tuple[str, ...]] = ()  # schedules of the loops that networks of its kind come with

    @property
    def seconds(self) -> float:
        """The time in seconds, inf without a limit. Raises ValueError for a text that is no duration such as 10min."""
        if self.time is None:
            return math.inf
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", self.time.strip())
        if not match:
            raise ValueError(f"time={self.time!r}: it must read like 90s, 10min or 2h")
        return float(match[1]) * UNITS[match[2]]


PRESETS = {
    "smoke": TuneStudy(
        **SMOKE | {"train_images": 1_920},  # after fewer, samples fail so grossly that nothing is recommended
        ladders=("vp", "karras"),
        budgets=(4,),
        etas=(0.0, 1.0),
        samplers=("heun",),
        settings=("karras, euler-split(1, 0, 0.5)",),
    ),
    "laptop": TuneStudy(),
    "gpu": TuneStudy(**GPU, race_samples=1_000, budgets=(8, 16, 32, 64)),
}
COMMAND = Command(
    module="experiments.tune.experiment",
    question="Which sampler settings are best for this network, at each number of evaluations?",
    text="1. The settings that people use race on a few images. 2. The best six are confirmed on images that the race "
    "did not see, against what is used without tuning (--default). 3. The best is recommended and exported, so that it "
    "can be pasted (--export), and the simplest that cannot be told from it is named. After an interrupt the same "
    "command goes on.",
    presets=PRESETS,
    minutes="minutes on two cores",
    examples=(
        "--model python:my_model:eps --budgets 8 16",
        "--preset smoke",
        "--n-samples 1500 --budgets 8 --time 20min",
        '--settings "karras(rho=5) from 20 to 0.05, heun(s_churn=1)" --export torch diffusers',
    ),
)
