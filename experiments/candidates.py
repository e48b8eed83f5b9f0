"""The settings that compete: one list of noise schedules, of where they end, and of samplers. No study has another.

`beta` and `schedules` ask their questions of it. Options vary it: --schedules, --samplers, --etas and
--last-levels.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from diffusion_core.registry import SAMPLERS
from diffusion_core.schedules import OWN_ENDS, SCHEDULES
from diffusion_core.validation import check_range
from experiments.distances.feature_spaces import default_features, sees_noise
from experiments.run.options import Names, names_option, option_help
from experiments.run.setting import Point, Setting, read_sampler
from experiments.run.study import ExploringStudy, read_formulas
from experiments.user.imports import is_pretrained
from experiments.user.json_io import read_json
from experiments.user.parsing import COMMA, SYNONYMS

LAST_LEVELS = (0.03, 0.3, 1.0)  # data standard deviations, each followed by a step to 0
LOWEST = 0.03  # last level without that step: at it nobody sees the noise that is left
LOWEST_SEEN = 0.003  # where the features see it
SCHEDULES_HELP = (
    "Noise schedules that compete: {names}; your own class, 'my_file:Mine(2)'. Each with all last levels, unless the "
    "text has its ends: 'karras(rho=5, sigma_min=0.05, end=0)'; end=0 is the step to 0."
)
SAMPLERS_HELP = "Samplers that compete: {names}; your own class, 'my_file:Mine(eta=0.5)'. 'heun(s_churn=10)' works."
ScheduleNames = Annotated[Names, names_option(SCHEDULES_HELP, SCHEDULES)]
SamplerNames = Annotated[Names, names_option(SAMPLERS_HELP, [*SAMPLERS, *SYNONYMS])]


@dataclass(frozen=True)
class Candidates(ExploringStudy):
    """A question that is asked of the list, at several numbers of evaluations."""

    of_exploration = (*ExploringStudy.of_exploration, "schedules", "samplers", "etas", "last_levels")

    explore_samples: int = 150
    """Images per setting from each network that chooses."""
    budgets: tuple[int, ...] = (8, 16, 32, 66)
    """Network evaluations per image. A sampler with two evaluations per step gets half as many steps."""
    schedules: ScheduleNames = ("geometric", "karras", "linear", "vp")
    samplers: SamplerNames = ("heun", "dpm++2m", "res-2m", "dpm++2m-sde", "er-sde")
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    """Noise of euler, which competes too. 0 is DDIM (beta = 0), 1 is DDPM."""
    last_levels: Annotated[
        tuple[float, ...] | None,
        option_help("SIGMA [SIGMA ...]", "0.03 0.3 1; of a ready network 0.03"),
    ] = None
    """Levels from which a last step goes to 0. Schedules without that step compete too: they end at 0.03, or at 0.003
    where the features see noise."""
    sigma_max: float = 30.0
    """First level of the schedules. In standard deviations of the data; lower if the network ends before."""

    def check(self) -> None:
        super().check()
        check_range("budgets", min(self.budgets, default=1), 1)
        typed = self.last_levels or ()
        if wrong := [level for level in typed if not 0 < level < self.sigma_max]:
            raise ValueError(f"last_levels={wrong[0]:g}: it must be above 0 and below sigma_max={self.sigma_max:g}")
        if own := [text for text in self.schedules if typed and "sigma_min" in text]:
            raise ValueError(f"last_levels: {own[0]!r} has sigma_min of its own; give one of them")

    @property
    def provenance(self) -> Mapping[str, Any]:
        """And the formula of each schedule and sampler, which is the first part of its docstring."""
        described: dict[str, Any] = {
            name: SCHEDULES[name] for text in self.schedules if (name := split_call(text)[0]) in SCHEDULES
        }
        described |= {type(sampler).label: type(sampler) for sampler in map(read_sampler, self.sampler_names)}
        return {**super().provenance, "formulas": read_formulas(described)}

    @property
    def sampler_names(self) -> tuple[str, ...]:
        """The samplers as names have them."""
        return (*(f"eta {eta:g}" for eta in self.etas), *self.samplers)

    @cached_property
    def adapter(self) -> Any:
        """That of a ready network; None of one that is trained here."""
        from diffusion_core.data.load import resolve
        from experiments.run.networks import adapter_of

        return adapter_of(self.network, resolve(self.data), self.label) if is_pretrained(self.network) else None

    @cached_property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest level that the network knows."""
        return self.adapter.span if self.adapter else (0.0, math.inf)

    @property
    def lowest(self) -> float:
        """The last level of schedules without a step to 0."""
        features = self.features or default_features(self.data)
        return max(LOWEST_SEEN if sees_noise(features) else LOWEST, self.span[0])

    @property
    def from_levels(self) -> tuple[float, ...]:
        """The levels from which a last step goes to 0. ValueError for one that the network does not know."""
        low, high = self.span
        if self.last_levels is None:
            levels = (max(LOWEST, low),) if is_pretrained(self.network) else LAST_LEVELS
            return tuple(level for level in levels if level < min(self.sigma_max, high))
        if unknown := [level for level in self.last_levels if not low <= level <= high]:
            raise ValueError(f"last_levels={unknown[0]:g}: the network knows levels from {low:g} to {high:g}")
        return self.last_levels

    @cached_property
    def points(self) -> Mapping[str, Point]:
        """The list, by name. The first is the default: geometric without a step to 0, eta 0, whatever competes."""
        schedules = [end for text in self.schedules for end in self.endings(text)]
        pairs = [(*end, sampler) for end in schedules for sampler in self.sampler_names]
        points = [self.point(*pair) for pair in dict.fromkeys([("geometric", self.lowest, False, "eta 0"), *pairs])]
        return {point.name: point for point in points}

    def endings(self, schedule: str) -> Iterator[tuple[str, float, bool]]:
        """Where a schedule ends: its text, its last level, and whether a step to 0 follows."""
        name, options = split_call(schedule)
        if has_own_ends(schedule):
            yield schedule, self.lowest, False
            return
        if "end=0" not in options:
            yield schedule, self.lowest, False
        for level in self.from_levels:
            yield join_call(name, [option for option in options if option != "end=0"]), level, True

    def point(self, schedule: str, sigma_min: float, to_zero: bool, sampler: str) -> Point:
        """A point with its full name, which has the last level unless all settings share it."""
        name, options = split_call(schedule)
        if not has_own_ends(schedule) and {self.lowest} != {*self.from_levels}:
            options = [*options, f"sigma_min={sigma_min:g}"]
        text = f"{join_call(name, [*options, *(['end=0'] if to_zero else [])])}, {sampler}"
        return Point(text, schedule, sampler, min(self.sigma_max, self.span[1]), sigma_min, to_zero)

    @cached_property
    def file_points(self) -> Mapping[str, Point]:
        """The points that an earlier run chose, by name, if it chose for this run; otherwise none."""
        content = read_json(self.choices_path) if self.choices_path else {}
        return {point["name"]: Point(**point) for point in content.get("points", ())}

    def explore(self) -> Iterator[Setting]:
        for budget in self.budgets:
            for point in self.points.values():
                yield self.make(point, budget)

    def make(self, point: Point, budget: int) -> Setting:
        return point.at(budget, self.data_std)

    def find(self, place: tuple[str, int | None]) -> Setting | None:
        name, budget = place
        point = (self.file_points or self.points).get(name)
        return self.make(point, budget) if point and budget is not None else None


def split_call(text: str) -> tuple[str, list[str]]:
    """The name of a call and its options, as texts: karras and [rho=5, end=0]."""
    name, _, inside = text.strip().removesuffix(")").partition("(")
    return name.strip(), ["".join(option.split()) for option in COMMA.split(inside) if option.strip()]


def has_own_ends(schedule: str) -> bool:
    """Whether its rule sets its last level, or its text does."""
    name, options = split_call(schedule)
    return name in OWN_ENDS or any(option.startswith("sigma_min") for option in options)


def join_call(name: str, options: Sequence[str]) -> str:
    return f"{name}({', '.join(options)})" if options else name
