"""What is compared (`Setting`), and what is run: a setting with one network and n images (`Run`)."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from diffusion_core.data import check_name
from diffusion_core.fields import check_fields, check_range, one_of
from diffusion_core.samplers import AlphaBeta, Sampler
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.schedules import OWN_ENDS, SCHEDULES, alpha_beta_ladder
from experiments.distances.spaces import PYTHON, check_features
from experiments.own.names import called
from experiments.own.user_code import of_user
from experiments.run.identity import LABEL, check_distinct, has_own_code, identity, registered
from experiments.run.machine import Machine
from experiments.run.networks import Network

MIN_SAMPLES = 40  # for an interval
CONTROL = 10_000  # added to the seed of an A/A control
VALUES = "values"  # the feature space of floats: their own values
Row = dict[str, Any]


@dataclass(frozen=True)
class Ladder:
    """The n_steps + 1 levels of a named schedule (see schedules.SCHEDULES).

    The first is sigma_max, the last sigma_min. Schedules in OWN_ENDS set both themselves. ValueError for an unknown
    schedule, or an argument that does not suit it.
    """

    schedule: str = field(default="geometric", metadata=registered(SCHEDULES))
    n_steps: int = 66
    sigma_max: float = 30.0  # data standard deviations
    sigma_min: float = 0.03
    options: tuple[tuple[str, float], ...] = ()  # parameters of the schedule, such as (("rho", 5.0),)

    def __post_init__(self) -> None:
        check_fields(self)
        sigmas = self.sigmas()
        if self.schedule in OWN_ENDS:
            object.__setattr__(self, "sigma_max", sigmas[0])
            object.__setattr__(self, "sigma_min", sigmas[-1])

    @property
    def name(self) -> str:
        return called(self.schedule, self.options)

    def sigmas(self) -> tuple[float, ...]:
        rule = SCHEDULES[one_of("ladder", self.schedule, SCHEDULES)]
        return rule(self.n_steps, self.sigma_max, self.sigma_min, **dict(self.options))

    def within(self, budget: int, sampler: Sampler) -> "Ladder":
        """The longest ladder of this schedule on which the sampler takes at most `budget` evaluations; itself if none.

        A run on that then says why it is impossible.
        """
        for n_steps in range(budget, 0, -1):
            try:
                shorter = replace(self, n_steps=n_steps)
                if sampler.planned_nfe(shorter.sigmas()) <= budget:
                    return shorter
            except ValueError:
                continue
        return self


@dataclass(frozen=True)
class AlphaBetaLadder:
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
        """The sampler whose steps give these levels."""
        return AlphaBeta(self.alpha, self.beta)

    def sigmas(self) -> tuple[float, ...]:
        return alpha_beta_ladder(self.alpha, self.beta, self.sigma_max, self.sigma_min)


@dataclass(frozen=True)
class Setting:
    """One setting. Settings of one group and budget are compared with each other.

    Args:
        label: its name in tables and reports.
        training: fields of the network that differ from the study's, such as {"noise": LogUniform()}.
        final_denoise: whether sampling ends with x - sigma eps.
        budget: network evaluations per image that it may take; None without such a limit.
        n: images per network; None for the study's.
        networks: how many networks it is sampled from, the first ones; None for all.
        control: whether it is the A/A control of a setting: the same with other noise.
    """

    label: str = field(metadata=LABEL)
    ladder: Ladder | AlphaBetaLadder
    sampler: Sampler
    group: str = field(default="all", metadata=LABEL)
    training: Mapping[str, Any] = field(default_factory=dict, metadata=LABEL, hash=False)  # it is in the network
    final_denoise: bool = False
    budget: int | None = field(default=None, metadata=LABEL)
    n: int | None = field(default=None, metadata=LABEL)  # it is in the run
    networks: int | None = field(default=None, metadata=LABEL)
    control: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.sampler, Sampler):
            raise ValueError(f"sampler={self.sampler!r}: it must be one such as Euler(0.5), of a subclass of Sampler")
        if not (hasattr(self.ladder, "name") and callable(getattr(self.ladder, "sigmas", None))):
            raise ValueError(f"ladder={self.ladder!r}: it must be one such as Ladder(n_steps=16)")
        for name in ("budget", "n", "networks"):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, 1)


@dataclass(frozen=True)
class Reference:
    """The real images that samples are compared with, in one feature space."""

    data: str
    features: str  # see config/names.py; VALUES for samples that are floats
    features_id: str  # hash of the extractor's weights
    weights: Path | None = field(default=None, metadata=LABEL)  # their file; None for the extractor's own

    def __post_init__(self) -> None:
        check_name(self.data)
        if self.features != VALUES:
            check_features(self.features)

    @property
    def foreign(self) -> bool:
        """Whether the features come from a user's code."""
        return self.features.startswith(PYTHON)


@dataclass(frozen=True)
class Run:
    """A setting with one network and n images. Its identity is that of its samples; `score_id` that of its row."""

    setting: Setting
    network: Network
    n: int
    machine: Machine
    reference: Reference = field(metadata=LABEL)
    batch: int = 0  # samples per network evaluation; 0 for the machine's default

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("batch", self.batch, 0)
        if self.reference.data != self.network.data:
            raise ValueError(
                f"reference: its data is {self.reference.data}, but that of the network {self.network.data}"
            )

    @property
    def seed(self) -> int:
        """Runs with the same seed start from the same noise."""
        return self.network.seed + (CONTROL if self.setting.control else 0)

    @property
    def batch_size(self) -> int:
        return min(self.batch or default_batch(self.machine.device, self.machine.threads), self.n)

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        return self.setting.ladder.sigmas()

    @cached_property
    def nfe(self) -> int:
        """Planned network evaluations per image. Tables have the counted number."""
        return self.setting.sampler.planned_nfe(self.sigmas) + self.setting.final_denoise

    @cached_property
    def impossible(self) -> str:
        """Why it cannot be run, such as an eta that is too large for the ladder; "" if it can."""
        try:
            nfe, budget = self.nfe, self.setting.budget
        except ValueError as error:
            return str(error)
        if self.n < MIN_SAMPLES:
            return f"n_samples={self.n}: it must be at least {MIN_SAMPLES}"
        over = budget is not None and nfe > budget
        return f"{self.setting.sampler.name} takes {nfe} evaluations, above the budget of {budget}" if over else ""

    @cached_property
    def samples_id(self) -> str:
        return identity(self)

    @cached_property
    def score_id(self) -> str:
        return identity((self, self.reference))

    def row(self) -> Row:
        """The columns of table.csv that are known before the run."""
        setting, sampler, ladder = self.setting, self.setting.sampler, self.setting.ladder
        values: Row = {"mode": setting.group, "setting": setting.label, "budget": setting.budget}
        values |= {"schedule": ladder.name, "sampler": sampler.name, "train_seed": self.network.seed}
        if self.impossible:
            with suppress(ValueError):  # a ladder of a user's
                values["n_steps"] = len(self.sigmas) - 1
            return values | {"eta": getattr(sampler, "eta", None), "status": "infeasible", "error": self.impossible}
        values |= {
            "data": self.network.data,
            "sigma_max": ladder.sigma_max,
            "sigma_min": ladder.sigma_min,
            "n_steps": len(self.sigmas) - 1,
            "final_denoise": setting.final_denoise,
            "n_samples": self.n,
            "sample_seed": self.seed,
            "features": self.reference.features,
            "features_id": self.reference.features_id,
            "precision_mode": self.machine.precision,
            "compiled": self.machine.compiled,
            "threads": self.machine.threads,
            "model_id": identity(self.network),
            "samples_id": self.samples_id,
            "run_id": self.score_id,
        }
        return values | self.network.row() | sampler.row(self.sigmas)


def check_plan(runs: Iterable[Run]) -> None:
    """Raises ValueError for runs that have no identity, or share one though they differ, or cannot be planned."""
    runs = list(runs)
    check_distinct(runs)
    for parts in ((run.network for run in runs), (run.reference for run in runs)):
        check_distinct(dict.fromkeys(parts))
    for run in runs:
        with of_user(f"planned_nfe of {run.setting.label}"):  # a ValueError is why a run is impossible
            planned = 0 if run.impossible else run.nfe
        if type(planned) is not int:
            raise ValueError(f"planned_nfe of {run.setting.label} is {planned!r}; it must be a whole number")
    for ladder in dict.fromkeys(run.setting.ladder for run in runs):
        if has_own_code(ladder) and ladder.sigmas() != ladder.sigmas():
            raise ValueError(f"ladder {ladder.name}: called twice, its schedule gave other levels")
