"""Which noise levels should sampling visit, and with which sampler, for a given number of network evaluations?

    python -m experiments schedules                      laptop: about 30 minutes on two CPU cores
    python -m experiments schedules --preset smoke       about 20 seconds: does everything work here?
    python -m experiments schedules --schedules "karras(rho=5)" --last-levels 0.1 --budgets 10 20 --samplers heun

Each setting gets the longest schedule that its number of network evaluations allows. Some networks try all settings and
choose; others compare the chosen with the default, geometric with eta 0.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from experiments.candidates import Candidates
from experiments.run.options import option_help
from experiments.run.pairs import Pair
from experiments.run.study import EXPLORE_GPU, EXPLORE_SMOKE, GPU, SMOKE, Presets, price_pair

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Schedules(Candidates):
    """The settings that compete. All settings of one budget take at most that number of network evaluations."""

    question = "Which noise levels should sampling visit?"
    text = (
        "Explores noise schedules and samplers at equal numbers of network evaluations; confirms the best on other "
        "networks."
    )
    page = "schedules"
    presets: ClassVar[Presets] = {
        "smoke": {
            **SMOKE,
            **EXPLORE_SMOKE,
            "schedules": ("geometric", "karras"),
            "budgets": (4,),
            "etas": (0.0, 1.0),
            "samplers": ("heun",),
            "last_levels": (0.03,),
        },
        "laptop": {"train_images": 100_000, "seeds": 5},  # enough for a statement on such networks in general
        "gpu": {**GPU, **EXPLORE_GPU},
    }
    minutes = "about 30 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "": "the whole list, at equal evaluations",
        '--schedules geometric "karras(rho=5)" --budgets 10 20 --samplers heun dpm++2m': "two of each",
        "--schedules karras vp --last-levels 0.01 0.03 0.1 --etas 0 1": "where should the last step to 0 begin?",
        "--network python:my_model:eps --budgets 8 16 --time 20min": "for your network; stop after 20 minutes",
    }

    time: Annotated[str | None, option_help("TIME", "no limit")] = None
    """Time limit, such as 10min. After 60 % of it nothing is explored, after its end nothing is confirmed; the report
    lists what did not run."""

    def check(self) -> None:
        super().check()
        _ = self.time_limit

    @property
    def time_limit(self) -> float:
        """The seconds of --time. ValueError for a text that is no duration such as 10min."""
        if self.time is None:
            return math.inf
        if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", self.time.strip())):
            raise ValueError(f"time={self.time!r}: it must read like 90s, 10min or 2h")
        return float(match[1]) * UNITS[match[2]]

    def confirm_pairs(self, chosen: "pd.DataFrame") -> Iterator[Pair]:
        """And whether more evaluations are worth their price."""
        yield from super().confirm_pairs(chosen)
        yield from price_pair(chosen)
