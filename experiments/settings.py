"""A setting is its text: `linear(30, 0.3, end=0), res-2m, 8` is typed, stored and printed, and means the same setting.

    SCHEDULE(SIGMA_MAX, SIGMA_MIN, OPTION=VALUE, end=0), SAMPLER(OPTION=VALUE), EVALUATIONS; FACTOR=VALUE, FACTOR=VALUE

end=0 is a last step from SIGMA_MIN to 0. A schedule with its own ends has none in its text, and a sampler with its own
levels, such as diffusers:DDIMScheduler, has no schedule. `7 steps` may stand for EVALUATIONS, of which a setting takes
as many as fit. Factors are what is special in the training of its networks: train_noise=edm2, lr=0.001.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from typing import Any

from diffusion_core.samplers.base import Sampler
from diffusion_core.schedules import OWN_ENDS, SCHEDULES
from diffusion_core.schedules.sigma import Sigmas, check_schedule
from diffusion_core.spelling import changed_parameters, spell, spell_class, spell_value
from diffusion_core.validation import RULES, check_fields, check_range, one_of
from experiments import names
from experiments.run.identity import NOT_IDENTITY, registered

Key = tuple[str, int, str]  # section, number of evaluations (0 without one) and label of a setting
RULE_OF_SCHEDULES = "it must be a subclass of Schedule whose sigmas() returns a tuple of floats, decreasing"
ENDS = ("sigma_max", "sigma_min")  # data standard deviations
USUAL_ENDS = (30.0, 0.03)
DATA_STD = 0.5  # of data in [-1, 1], where none is known
FACTORS: Mapping[str, tuple[str, type]] = {  # of training -> field of `Trained`, and its type
    "train_noise": ("noise", str),
    "weighting": ("weighting", str),
    "output": ("parameterisation", str),
    "stable_above": ("stable_above", float),
    "stratified": ("stratified", bool),
    "lr": ("lr", float),
    "batch": ("batch_size", int),
    "ema_decay": ("ema_decay", float),
    "warmup_images": ("warmup_images", int),
    "train_images": ("images_seen", int),
}


@dataclass(frozen=True)
class Schedule:
    """The n_steps + 1 levels that a named rule gives, from sigma_max to sigma_min; those in OWN_ENDS set both.

    A user's schedule is a subclass with its own `sigmas`. ValueError for an unknown rule, an argument that does not
    suit it, or levels that are not a tuple of numbers.
    """

    rule: str = field(default="geometric", metadata=registered(SCHEDULES))
    n_steps: int = 66
    sigma_max: float = USUAL_ENDS[0]
    sigma_min: float = USUAL_ENDS[1]
    options: tuple[tuple[str, float], ...] = ()  # parameters of the rule that differ from its defaults
    data_std: float | None = None  # of the data in [-1, 1], for rules that are defined there, unless it is an option

    def __post_init__(self) -> None:
        check_fields(self)
        sigmas = self.sigmas()
        if type(sigmas) is not tuple or not all(isinstance(sigma, int | float) for sigma in sigmas):
            raise ValueError(f"schedule {self.name}: {RULE_OF_SCHEDULES}")
        if self.sets_ends:
            positive = [sigma for sigma in sigmas if sigma > 0]
            object.__setattr__(self, "sigma_max", positive[0])
            object.__setattr__(self, "sigma_min", positive[-1])

    @property
    def sets_ends(self) -> bool:
        """Whether the rule has its own ends."""
        return self.rule in OWN_ENDS

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        own = changed_parameters(self, OF_SCHEDULE)
        return {**dict(self.options), **own}

    @property
    def name(self) -> str:
        """The rule with its parameters, and the data's standard deviation if it needs that."""
        scale = {} if self.data_std is None else {"data_std": self.data_std}
        return spell(self._name, scale | self.parameters)

    @property
    def text(self) -> str:
        """What is typed for this rule between these ends."""
        return self.spell_with()

    def spell_with(self, **more: Any) -> str:
        ends = [] if self.sets_ends else [spell_value(getattr(self, end)) for end in ENDS]
        options = [f"{key}={spell_value(value)}" for key, value in {**self.parameters, **more}.items()]
        inside = ", ".join([*ends, *options])
        return f"{self._name}({inside})" if inside else self._name

    @property
    def _name(self) -> str:
        return self.rule if type(self) is Schedule else spell_class(type(self))

    def sigmas(self) -> Sigmas:
        rule = SCHEDULES[one_of("schedule", self.rule, SCHEDULES)]
        scale = {} if self.data_std is None else {"data_std": self.data_std}
        return rule(self.n_steps, self.sigma_max, self.sigma_min, **{**scale, **dict(self.options)})

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


OF_SCHEDULE = len(fields(Schedule))  # before those of a user's subclass


@dataclass(frozen=True)
class OwnLevels(Schedule):
    """The levels of a sampler that brings its own, then 0 or where it ends; other samplers may take them too."""

    rule: str = ""
    sampler: Sampler | None = None

    @property
    def sets_ends(self) -> bool:
        return True

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    @property
    def _name(self) -> str:
        assert self.sampler is not None
        return self.sampler.name

    def sigmas(self) -> Sigmas:
        assert self.sampler is not None
        sigmas = self.sampler.own_levels(self.n_steps)
        assert sigmas is not None
        return sigmas


def read_schedule(
    text: str, n_steps: int, data_std: float = DATA_STD, ends: tuple[float, float] = USUAL_ENDS
) -> tuple[Schedule, dict[str, float]]:
    """The schedule that a text names, such as "karras(20, 0.03, rho=5, end=0)", and what the text says of its ends.

    It may be a user's class, "my_file:Mine(power=2)", or a scheduler of diffusers, whose levels it takes. `n_steps` is
    without the last step of end=0. `ends`: where the text has none. `data_std` and errors: as in `names.parse_noise`.
    """
    if (scheduler := names.load_diffusers(text, data_std)) is not None:
        return OwnLevels(n_steps=n_steps, sampler=scheduler), {}
    table = names.with_own("schedule", text, SCHEDULES, Schedule)
    given = {"n_steps", *ENDS} if table is SCHEDULES else {field.name for field in fields(Schedule)}
    name, options = names.parse_call("schedule", text, table, [*given], ENDS)
    said = {key: options.pop(key) for key in (*ENDS, "end") if key in options}
    if name in OWN_ENDS and (typed := [end for end in ENDS if end in said]):
        raise ValueError(f"schedule={text!r}: {name} sets its own ends, so {typed[0]} cannot be given")
    if said.get("end", 0.0) != 0:
        raise ValueError(f"schedule={text!r}: end={said['end']:g}: it must be 0, for a last step to 0")
    first, last = (said.get(key, usual) for key, usual in zip(ENDS, ends, strict=True))
    if table is not SCHEDULES:
        schedule: Schedule = names.make(
            f"schedule={text!r}", table[name], Schedule.rule, n_steps, first, last, **options
        )
        return schedule, said
    defaults = {key: p.default for key, p in signature(SCHEDULES[name]).parameters.items()}
    scale = data_std if "data_std" in defaults and "data_std" not in options else None
    changed = tuple((key, value) for key, value in options.items() if value != defaults[key] or key == "data_std")
    return Schedule(name, n_steps, first, last, tuple(sorted(changed)), scale), said


@dataclass(frozen=True)
class Setting:
    """One setting. Settings of one section and budget are compared with each other.

    Args:
        label: its name in tables and reports; by default its text, without evaluations.
        training: fields of the network that differ from the study's, such as {"noise": LogUniform()}.
        final_denoise: whether sampling ends with x - sigma eps, a step to 0.
        budget: network evaluations per image that it may take; None without such a limit.
        network: a ready network of its own, as typed after --network; None for the study's.
        values: of the factors of a grid, columns of table.csv that have no other name there.
        impossible: why it is not run, if its sampler and schedule do not say so themselves.
    """

    label: str = field(metadata=NOT_IDENTITY)
    schedule: Schedule
    sampler: Sampler
    section: str = field(default="all", metadata=NOT_IDENTITY)
    # a dict has no hash; the network gets these fields, so they are part of its identity
    training: Mapping[str, Any] = field(default_factory=dict, metadata=NOT_IDENTITY, hash=False)
    final_denoise: bool = False
    budget: int | None = field(default=None, metadata=NOT_IDENTITY)
    network: str | None = field(default=None, metadata=NOT_IDENTITY)  # it is the run's
    values: Mapping[str, str] = field(default_factory=dict, metadata=NOT_IDENTITY, hash=False)
    impossible: str = field(default="", metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule {type(self.schedule).__name__}: {RULE_OF_SCHEDULES}")
        if not isinstance(self.sampler, Sampler):
            raise ValueError(f"sampler={self.sampler!r}: it must be one such as Euler(0.5), of a subclass of Sampler")
        object.__setattr__(self, "training", dict(self.training))  # which settings() may change for its next setting
        if self.budget is not None:
            check_range("budget", self.budget, 1)
        object.__setattr__(self, "label", self.label or self.text)

    @classmethod
    def parse(cls, text: str, data_std: float = DATA_STD, ends: tuple[float, float] = USUAL_ENDS) -> "Setting":
        """The setting that a text names, see the top of this file. ValueError for one that cannot be read.

        `data_std`, `ends`: as in `read_schedule`.
        """
        sampling, *factors = names.split(text, ";")
        *parts, size = names.split(sampling)
        count, _, steps = size.partition(" ")
        if not count.isdecimal() or steps not in ("", "steps") or not 1 <= len(parts) <= 2:
            rule = "it must read like karras(30, 0.03), heun, 16 or karras(30, 0.03), heun, 8 steps"
            raise ValueError(f"setting={text!r}: {rule}")
        sampler = names.parse_sampler(parts[-1], data_std)
        if len(parts) == 1 and not brings_levels(sampler):
            raise ValueError(f"setting={text!r}: it needs a schedule, such as karras(30, 0.03), {parts[0]}, {size}")
        n = int(count)
        check_range("evaluations", n, 1)
        schedule, said = read_schedule(parts[0], n, data_std, ends)
        values = {
            name: value for name, _, value in (one.partition("=") for one in names.split(";".join(factors)) if one)
        }
        training = read_training(values, data_std)
        setting = cls("", schedule, sampler, training=training, final_denoise="end" in said)
        return setting if steps else setting.at(n)

    def at(self, evaluations: int) -> "Setting":
        """On the longest schedule within this number of evaluations."""
        schedule = self.schedule.fit(evaluations - self.final_denoise, self.sampler)
        return replace(self, schedule=schedule, budget=evaluations)

    @property
    def text(self) -> str:
        """Schedule and sampler, as they are typed."""
        own = isinstance(self.schedule, OwnLevels) and self.schedule.sampler == self.sampler
        schedule = self.schedule.spell_with(**{"end": 0} if self.final_denoise else {})
        return self.sampler.name if own else f"{schedule}, {self.sampler.name}"

    def __str__(self) -> str:
        size = self.budget or f"{self.schedule.n_steps} steps"
        factors = {name: self.training[of] for name, (of, _) in FACTORS.items() if of in self.training}
        special = ", ".join(
            f"{name}={getattr(value, 'name', None) or spell_value(value)}" for name, value in factors.items()
        )
        return f"{self.text}, {size}{f'; {special}' if special else ''}"

    @property
    def key(self) -> Key:
        """What names it in the tables of a result."""
        return self.section, self.budget or 0, self.label


def product(schedules: Iterable[tuple[Schedule, bool]], samplers: Sequence[Sampler]) -> Iterator[Setting]:
    """Each schedule, with whether a step to 0 follows, with each sampler; one with its own levels once."""
    for schedule, to_zero in schedules:
        for sampler in samplers:
            if not brings_levels(sampler):
                yield Setting("", schedule, sampler, final_denoise=to_zero)
    for sampler in samplers:
        if brings_levels(sampler):
            yield Setting("", OwnLevels(n_steps=1, sampler=sampler), sampler)


def brings_levels(sampler: Sampler) -> bool:
    """Whether a sampler has its own levels."""
    return type(sampler).own_levels is not Sampler.own_levels


def read_training(values: Mapping[str, str], data_std: float) -> dict[str, Any]:
    """The fields of `Trained` that factors of training set. ValueError for an unknown factor or value."""
    training = dict[str, Any]()
    for factor, text in values.items():
        name, value_class = FACTORS[one_of("factor", factor.strip().replace("-", "_"), FACTORS)]
        training[name] = read_value(factor, text.strip(), value_class)
        if name == "noise":
            training[name] = names.parse_noise(text, data_std)
    return training


def read_value(name: str, text: str, value_class: type = float) -> Any:
    """A value of this type from its text. ValueError if it is none."""
    if value_class is bool:
        return one_of(name, text.lower(), ("true", "false")) == "true"
    try:
        return value_class(text)
    except ValueError:
        raise ValueError(f"{name}={text!r}: it must be {RULES[value_class]}") from None
