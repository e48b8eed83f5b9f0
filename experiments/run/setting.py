"""Settings to compare: a `Setting` says how to sample, and what is special in the training of its networks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from diffusion_core.samplers.base import Sampler
from diffusion_core.samplers.euler import AlphaBeta, Euler
from diffusion_core.schedules import OWN_ENDS, SCHEDULES, alpha_beta_schedule
from diffusion_core.schedules.sigma import Sigmas, check_schedule
from diffusion_core.validation import check_fields, check_range, one_of
from experiments.run.identity import NOT_IDENTITY, registered
from experiments.user import parsing

Key = tuple[str, int, str]  # section, number of evaluations (0 without one) and label of a setting
RULE_OF_SCHEDULES = "it must be a subclass of Schedule whose sigmas() returns a tuple of floats, decreasing"


@dataclass(frozen=True)
class Schedule:
    """The n_steps + 1 levels that a named rule gives, from sigma_max to sigma_min; those in OWN_ENDS set both.

    A user's schedule is a subclass with its own `sigmas`. ValueError for an unknown rule, an argument that does not
    suit it, or levels that are not a tuple of numbers.
    """

    rule: str = field(default="geometric", metadata={**registered(SCHEDULES), "identity_name": "schedule"})
    n_steps: int = 66
    sigma_max: float = 30.0  # data standard deviations
    sigma_min: float = 0.03
    options: tuple[tuple[str, float], ...] = ()  # parameters of the rule, such as (("rho", 5.0),)

    def __post_init__(self) -> None:
        check_fields(self)
        sigmas = self.sigmas()
        if type(sigmas) is not tuple or not all(isinstance(sigma, int | float) for sigma in sigmas):
            raise ValueError(f"schedule {self.name}: {RULE_OF_SCHEDULES}")
        if self.rule in OWN_ENDS:
            object.__setattr__(self, "sigma_max", sigmas[0])
            object.__setattr__(self, "sigma_min", sigmas[-1])

    @property
    def name(self) -> str:
        return parsing.format_call(self.rule if type(self) is Schedule else type(self).__name__, self.options, self)

    def sigmas(self) -> Sigmas:
        rule = SCHEDULES[one_of("schedule", self.rule, SCHEDULES)]
        return rule(self.n_steps, self.sigma_max, self.sigma_min, **dict(self.options))

    def fit(self, budget: int, sampler: Sampler) -> "Schedule":
        """The longest schedule of this rule on which the sampler takes at most `budget` evaluations; itself if none."""
        for n_steps in range(budget, 0, -1):
            try:
                shorter = replace(self, n_steps=n_steps)
                sigmas = shorter.sigmas()
                check_schedule(sigmas)
                if sampler.planned_nfe(sigmas) <= budget:
                    return shorter
            except ValueError:  # fewer steps would hide that this setting is impossible: its run says why
                break
        return self


def read_schedule(
    text: str, n_steps: int, data_std: float, sigma_max: float = 30.0, sigma_min: float = 0.03
) -> tuple[Schedule, bool]:
    """The schedule that a text names, such as "karras(rho=5, sigma_max=20, end=0)", and whether a last step goes to 0.

    It may be a user's class, "my_file:Mine(2)". `n_steps` is without that step; the text may have other ends.
    `data_std` and errors: as in `parsing.parse_noise`.
    """
    table = parsing.with_own("schedule", text, SCHEDULES, Schedule)
    name, options = parsing.parse_schedule(text, data_std, table)
    final = options.pop("end", None) is not None
    size = (n_steps, options.pop("sigma_max", sigma_max), options.pop("sigma_min", sigma_min))
    if table is SCHEDULES:
        return Schedule(name, *size, tuple(options.items())), final
    return parsing.make(f"schedule={text!r}", table[name], Schedule.rule, *size, **options), final


def read_sampler(label: str) -> Sampler:
    """The sampler of a label such as "eta 0.5", of Euler, or "heun(s_churn=1)"; as in `parsing.parse_sampler`."""
    return Euler(float(label[4:])) if re.fullmatch(r"eta [\d.]+", label) else parsing.parse_sampler(label)


@dataclass(frozen=True)
class Point:
    """A setting before its number of evaluations is known. Its name is made of it, and is never read back.

    Args:
        name: in tables and reports.
        schedule, sampler: as typed.
        sigma_max, sigma_min: the ends of the schedule, unless its text or its rule has its own.
        to_zero: whether a last step goes from sigma_min to 0; or the text says so.
    """

    name: str
    schedule: str
    sampler: str
    sigma_max: float
    sigma_min: float
    to_zero: bool = False

    def at(self, budget: int, data_std: float) -> "Setting":
        """On the longest schedule within this number of evaluations. ValueError for a text that cannot be read."""
        solver = read_sampler(self.sampler)
        longest, final = read_schedule(self.schedule, budget, data_std, self.sigma_max, self.sigma_min)
        final = final or self.to_zero
        return Setting(self.name, longest.fit(budget - final, solver), solver, final_denoise=final, budget=budget)


@dataclass(frozen=True)
class AlphaBetaSchedule:
    """The levels of the alpha/beta rule with fixed alpha and beta, up to the first that is not above sigma_min."""

    alpha: float
    beta: float
    sigma_max: float = 30.0
    sigma_min: float = 0.03
    name: ClassVar[str] = "alpha-beta"

    def __post_init__(self) -> None:
        check_fields(self)
        self.sigmas()

    @property
    def sampler(self) -> AlphaBeta:
        return AlphaBeta(self.alpha, self.beta)

    def sigmas(self) -> Sigmas:
        return alpha_beta_schedule(self.alpha, self.beta, self.sigma_max, self.sigma_min)


@dataclass(frozen=True)
class Setting:
    """One setting. Settings of one section and budget are compared with each other.

    Args:
        label: its name in tables and reports.
        training: fields of the network that differ from the study's, such as {"noise": LogUniform()}.
        final_denoise: whether sampling ends with x - sigma eps.
        budget: network evaluations per image that it may take; None without such a limit.
        n: images per network; None for the study's.
        networks: how many networks it is sampled from, the first ones; None for all.
        draw: settings of one draw start from the same noise.
        network: a ready network of its own, as typed after --network; None for the study's.
        values: of the factors of a grid, columns of table.csv that have no other name there.
        impossible: why it is not run, if its sampler and schedule do not say so themselves.
    """

    label: str = field(metadata=NOT_IDENTITY)
    schedule: Schedule | AlphaBetaSchedule = field(metadata={"identity_name": "ladder"})
    sampler: Sampler
    section: str = field(default="all", metadata=NOT_IDENTITY)
    # a dict has no hash; the network gets these fields, so they are part of its identity
    training: Mapping[str, Any] = field(default_factory=dict, metadata=NOT_IDENTITY, hash=False)
    final_denoise: bool = False
    budget: int | None = field(default=None, metadata=NOT_IDENTITY)
    n: int | None = field(default=None, metadata=NOT_IDENTITY)  # it is in the run
    networks: int | None = field(default=None, metadata=NOT_IDENTITY)
    draw: int = 0
    network: str | None = field(default=None, metadata=NOT_IDENTITY)  # it is the run's
    values: Mapping[str, str] = field(default_factory=dict, metadata=NOT_IDENTITY, hash=False)
    impossible: str = field(default="", metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.schedule, Schedule | AlphaBetaSchedule):
            raise ValueError(f"schedule {type(self.schedule).__name__}: {RULE_OF_SCHEDULES}")
        if not isinstance(self.sampler, Sampler):
            raise ValueError(f"sampler={self.sampler!r}: it must be one such as Euler(0.5), of a subclass of Sampler")
        object.__setattr__(self, "training", dict(self.training))  # which settings() may change for its next setting
        check_range("draw", self.draw, 0)
        for name in ("budget", "n", "networks"):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, 1)

    @property
    def key(self) -> Key:
        """What names it in the tables of a result."""
        return self.section, self.budget or 0, self.label
