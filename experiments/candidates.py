"""The settings that compete: one list of noise schedules, of where they end, and of samplers. No study has another.

`beta` and `schedules` ask their questions of it. Options vary it: --schedules, --samplers, --etas and
--last-levels.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

from diffusion_core.registry import SAMPLERS
from diffusion_core.samplers.base import Sampler
from diffusion_core.samplers.euler import Euler
from diffusion_core.schedules import SCHEDULES
from diffusion_core.validation import check_range
from experiments import names
from experiments.distances.feature_spaces import default_features, sees_noise
from experiments.names import SYNONYMS
from experiments.run.options import Names, names_option, option_help
from experiments.run.study import ExploringStudy, read_formulas
from experiments.settings import Schedule, Setting, product, read_schedule
from experiments.user.imports import is_pretrained

LAST_LEVELS = (0.03, 0.3, 1.0)  # data standard deviations, each followed by a step to 0
LOWEST = 0.03  # last level without that step: at it nobody sees the noise that is left
LOWEST_SEEN = 0.003  # where the features see it
SCHEDULES_HELP = (
    "Noise schedules that compete: {names}; your own class, 'my_file:Mine(power=2)'; 'diffusers:NAME(...)'. Each with "
    "all last levels, unless the text has its ends: 'karras(30, 0.05, rho=5, end=0)'; end=0 is the step to 0."
)
SAMPLERS_HELP = (
    "Samplers that compete: {names}; 'heun(s_churn=10)'; your own class, 'my_file:Mine(eta=0.5)'; a scheduler of "
    "diffusers on its own levels, 'diffusers:NAME(option=value)'."
)
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

    @property
    def provenance(self) -> Mapping[str, Any]:
        """And the formula of each schedule and sampler, which is the first part of its docstring."""
        named = [text.partition("(")[0] for text in self.schedules]
        described: dict[str, Any] = {name: SCHEDULES[name] for name in named if name in SCHEDULES}
        described |= {type(s).label: type(s) for s in (Euler(), *map(names.parse_sampler, self.samplers))}
        return {**super().provenance, "formulas": read_formulas(described)}

    @cached_property
    def competing(self) -> Sequence[Sampler]:
        """The samplers that compete."""
        return [*map(Euler, self.etas), *(names.parse_sampler(text, self.data_std) for text in self.samplers)]

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

    def explore(self) -> Iterator[Setting]:
        for budget in self.budgets:
            yield from self.listed(budget)

    def listed(self, budget: int) -> list[Setting]:
        """The list. The first is the default: geometric without a step to 0, euler without noise, whatever competes."""
        default = Setting("", Schedule("geometric", budget, *self.ends), Euler())
        return [*dict.fromkeys(one.at(budget) for one in (default, *product(self.endings(budget), self.competing)))]

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of schedules whose text has none, without a step to 0."""
        return min(self.sigma_max, self.span[1]), self.lowest

    def endings(self, budget: int) -> Iterator[tuple[Schedule, bool]]:
        """The schedules with each of their ends, and whether a step to 0 follows."""
        for text in self.schedules:
            schedule, said = read_schedule(text, budget, self.data_std, self.ends)
            if schedule.sets_ends or "sigma_min" in said:
                if self.last_levels and not schedule.sets_ends:
                    raise ValueError(f"last_levels: {text!r} has sigma_min of its own; give one of them")
                yield schedule, "end" in said
                continue
            if "end" not in said:
                yield schedule, False
            for level in self.from_levels:
                yield replace(schedule, sigma_min=level), True

    def find(self, place: tuple[str, int | None]) -> Setting | None:
        label, budget = place
        return Setting.parse(f"{label}, {budget}", self.data_std)
