"""Which sampler settings are best for this network, at each number of evaluations?

    python -m experiments tune --network python:my_model:eps --budgets 8 16 32
    python -m experiments tune                         networks trained here; laptop: minutes on two CPU cores
    python -m experiments tune --preset smoke          about 20 seconds: does everything work here?

The list of candidates.py and single settings, at exactly the number of evaluations. Six are confirmed against what you
use today, and the lowest of those that are better is exported.
"""

import itertools
import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from diffusion_core.validation import check_range
from experiments.candidates import Candidates, Point, has_own_ends, join_call, split_call
from experiments.run.comparisons import Choice, Duel, duel_defaults
from experiments.run.options import option_help
from experiments.run.setting import Setting, read_setting
from experiments.run.study import EXPLORE_GPU, EXPLORE_SMOKE, GPU, SMOKE, Notify, Presets

if TYPE_CHECKING:
    from experiments.run.tables import RunResults, Tables

Library = Literal["torch", "diffusers", "json"]
UNITS = {"s": 1, "min": 60, "h": 3600}
AGAIN = 10  # draws of noise per --search-seed
USUAL = "vp"  # even steps in time, as in DDIM and DDPM
DEFAULT_ETAS = (0.0, 1.0)  # DDIM and DDPM, or ODE and SDE of a flow: what is used without tuning


@dataclass(frozen=True)
class Tune(Candidates):
    """What is tried, each at exactly the number of evaluations: the list, and single settings."""

    question = "Which sampler settings are best for this network, at each number of evaluations?"
    text = (
        "Tries many settings on few images, confirms the best six on others, writes the winner to paste. The "
        "confirmation is against what is used without tuning (--default). The lowest that is better, or else the "
        "default, is exported (--export). An interrupted run continues with the same command."
    )
    page = "tune"
    finalists = 6
    presets: ClassVar[Presets] = {
        "smoke": {
            **SMOKE,
            **EXPLORE_SMOKE,
            "train_images": 1_920,  # after fewer, samples fail so grossly that nothing is recommended
            "schedules": ("vp", "karras"),
            "budgets": (4,),
            "etas": (0.0, 1.0),
            "samplers": ("heun",),
            "last_levels": (0.03,),
            "single": ("karras, euler-split(1, 0, 0.5)",),
        },
        "laptop": {"train_images": 50_000, "seeds": 5},
        "gpu": {**GPU, **EXPLORE_GPU, "budgets": (8, 16, 32, 64)},
    }
    minutes = "about 16 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "--network python:my_model:eps --budgets 8 16": "settings for your network, at 8 and 16 evaluations",
        "--preset smoke": "does everything work here? 20 seconds",
        "--n-samples 1500 --budgets 8 --time 20min": "stop after 20 minutes",
        '--settings "karras(rho=5, sigma_max=20), heun(s_churn=1)" --export torch': "try this one too",
    }

    budgets: tuple[int, ...] = (8, 16, 32)
    """Network evaluations per image. A sampler with two evaluations per step gets half as many steps."""
    single: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            name="settings", metavar="[TEXT [TEXT ...]]", help_behavior_hint="(default: those of docs/tune.md)"
        ),
    ] = (
        "karras, heun(s_churn=1, s_min=0.1, s_noise=1.003)",  # s_noise of Karras et al. 2022, Table 5
        "karras, euler-churn(s_churn=2, s_min=0.1)",
        "karras, euler-within(1, 0.1, 3)",
        "karras, euler-split(1, 0, 0.5)",
        "karras, restart",
    )
    """Single settings besides, with noise in other forms, as SCHEDULE, SAMPLER: 'karras(rho=5, sigma_max=20,
    sigma_min=0.05), heun(s_churn=1)'. With end=0 the last evaluation is a step to sigma 0. Without a value: none."""
    default: Annotated[str | None, option_help("TEXT", "DDIM on vp; for a flow or DDPM's table, on its own levels")] = (
        None
    )
    """The setting that you use today, as SCHEDULE, SAMPLER. What is chosen is compared with it."""
    time: Annotated[str | None, option_help("TIME", "no limit")] = None
    """Time limit, such as 10min. After 60 % of it nothing is explored, after its end nothing is confirmed; the report
    lists what did not run."""
    search_seed: int = 0
    """Another seed searches and confirms on other images."""
    export: Annotated[tuple[Library, ...] | None, option_help("LIBRARY [LIBRARY ...]", "all that apply")] = None
    """Code to write besides settings.json, which is json: torch, diffusers."""

    def check(self) -> None:
        super().check()
        check_range("search_seed", self.search_seed, 0, 1_000_000)
        _ = self.time_limit

    @property
    def time_limit(self) -> float:
        """The seconds of --time. ValueError for a text that is no duration such as 10min."""
        if self.time is None:
            return math.inf
        if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", self.time.strip())):
            raise ValueError(f"time={self.time!r}: it must read like 90s, 10min or 2h")
        return float(match[1]) * UNITS[match[2]]

    @property
    def notes(self) -> Sequence[str]:
        """Which settings do not take part, and why: one text per reason and number of evaluations."""
        absent: dict[tuple[int | None, str], list[str]] = {}
        for setting in self.explore():
            if setting.impossible:
                absent.setdefault((setting.budget, setting.impossible), []).append(f"“{setting.label}”")
        return [
            f"not run: {', '.join(labels)}, {budget} evaluations: {reason}"
            for (budget, reason), labels in absent.items()
        ]

    @cached_property
    def points(self) -> Mapping[str, Point]:
        """And single settings; and what you use today, which is the first: yours, or DDIM on the usual schedule."""
        usual = tuple(map(_to_zero, self.adapter.default_schedules if self.adapter else ()))
        first = (*usual, USUAL)[0]
        texts = [*([self.default] if self.default else []), *(f"{first}, eta {eta:g}" for eta in DEFAULT_ETAS)]
        texts += map(", ".join, itertools.product(usual, self.sampler_names))
        points = [self._read(text) for text in texts]
        points += [point for name, point in super().points.items()]
        return {point.name: point for point in [*points, *map(self._read, self.single)]}

    def _read(self, text: str) -> Point:
        """The point that a text names."""
        schedule, sampler = read_setting("settings", text)
        name, options = split_call(schedule)
        if "end=0" not in options or has_own_ends(schedule):
            return self.point(schedule, self.lowest, False, sampler)
        text = join_call(name, [option for option in options if option != "end=0"])
        return self.point(text, self.from_levels[0], True, sampler)

    def explore(self) -> Iterator[Setting]:
        """Those that are the same as an earlier one are impossible, and say so."""
        for budget in self.budgets:
            earlier: dict[Hashable, str] = {}  # what is run -> the setting that does it first
            for name, point in self.points.items():
                setting = self.make(point, budget)
                what = (setting.schedule.sigmas(), setting.sampler, setting.final_denoise)
                first = name if setting.impossible else earlier.setdefault(what, name)
                yield setting if first == name else replace(setting, impossible=f"it is the same as “{first}”")

    def make(self, point: Point, budget: int) -> Setting:
        """At exactly the number of evaluations. Churn raises no level above the highest that the network knows."""
        from experiments.run.setup_warnings import unknown_levels

        setting = replace(super().make(point, budget), draw=self.search_seed * AGAIN)
        if reason := _why_not(setting, budget):
            return replace(setting, impossible=reason)
        sigmas = setting.schedule.sigmas()
        solver = setting.sampler.below(self.span[1], sigmas)
        return replace(setting, sampler=solver, impossible=unknown_levels(solver, sigmas, self.span))

    def duels(self, chosen: Sequence[Choice]) -> Iterator[Duel]:
        """The chosen ones against what is used today."""
        return duel_defaults(chosen)

    def after_write(self, folder: Path, results: "RunResults", tables: "Tables", notify: Notify) -> None:
        """Writes settings.json, and code to paste."""
        from experiments.export.export import write_settings

        write_settings(folder, results, tables["contrasts.csv"], notify, self.export)


def _why_not(setting: Setting, budget: int) -> str:
    """Why a setting does not take exactly this number of evaluations; "" if it does."""
    try:
        takes = setting.sampler.planned_nfe(setting.schedule.sigmas()) + setting.final_denoise
    except ValueError as error:  # it suits no schedule of this rule
        return f"no schedule takes exactly {budget} evaluations: {error}"
    return "" if takes == budget else f"no schedule takes exactly {budget} evaluations"


def _to_zero(schedule: str) -> str:
    return f"{schedule[:-1]}, end=0)" if schedule.endswith(")") else f"{schedule}(end=0)"
