"""A run: a setting with one network and n images, and the real images that its samples are compared with."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diffusion_core.data import check_name
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.schedules.sigma import Sigmas, check_schedule
from diffusion_core.validation import check_fields, check_range
from experiments.distances.feature_spaces import PYTHON, check_feature_space
from experiments.run.identity import NOT_IDENTITY, OMIT_IF_NONE, identity, uses_user_code
from experiments.run.machine import Machine
from experiments.run.networks import Network, Pretrained, data_of
from experiments.settings import Setting
from reports.schema import METRICS, Row

SEED_OF_INDEPENDENT_RUN = 10_000  # added to a seed, for other noise than a run's
COLUMNS = {"seed": "train_seed"}  # what may be typed for a column of table.csv
VALUES = "values"  # the feature space of floats: their own values


def later_distances() -> tuple[str, ...] | None:
    """The distances that older references and scores lack."""
    return tuple(name for name, metric in METRICS.items() if metric.later) or None


@dataclass(frozen=True)
class Reference:
    """The real images that samples are compared with, in one feature space."""

    data: str  # images or points; latents only if `decoder` says what they show
    features: str  # see distances/feature_spaces.py; VALUES for samples that are floats
    features_id: str  # hash of the extractor's weights
    weights: Path | None = field(default=None, metadata=NOT_IDENTITY)  # their file; None for the extractor's own
    decoder: Pretrained | None = field(default=None, metadata=OMIT_IF_NONE)  # the network that decodes them
    most: int | None = field(default=None, metadata=OMIT_IF_NONE)  # of the images, the first; None for all
    device: str | None = field(default=None, metadata=OMIT_IF_NONE)  # of features and distances; None for the CPU
    distances: tuple[str, ...] | None = field(default_factory=later_distances, metadata=OMIT_IF_NONE)

    def __post_init__(self) -> None:
        check_name(self.data)
        if self.features != VALUES:
            check_feature_space(self.features)

    @property
    def n(self) -> int:
        return min(len(data_of(self.data)), self.most or sys.maxsize)

    @property
    def computed_on(self) -> str:
        return self.device or "cpu"

    @property
    def is_pretrained(self) -> bool:
        return self.features.startswith(PYTHON)


@dataclass(frozen=True)
class Run:
    """A setting with one network and n images. Its identity names its samples; `score_id` names its row."""

    setting: Setting
    network: Network
    n: int
    machine: Machine
    reference: Reference = field(metadata=NOT_IDENTITY)
    batch: int = 0  # samples per network evaluation; 0 for the machine's default
    draw: int = 0  # runs of one draw start from the same noise

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("batch", self.batch, 0)
        check_range("draw", self.draw, 0)

    @property
    def seed(self) -> int:
        """Runs with the same seed start from the same noise."""
        return self.network.seed + SEED_OF_INDEPENDENT_RUN * self.draw

    @property
    def batch_size(self) -> int:
        return min(self.batch or default_batch(self.machine.device, self.machine.threads), self.n)

    @cached_property
    def sigmas(self) -> Sigmas:
        return self.setting.schedule.sigmas()

    @cached_property
    def nfe(self) -> int:
        """Planned network evaluations per image. Tables have the counted number."""
        return self.setting.sampler.planned_nfe(self.sigmas) + self.setting.final_denoise

    @property
    def noise_left(self) -> float:
        """The noise that its schedule leaves in samples, in data standard deviations."""
        return 0.0 if self.setting.final_denoise else float(self.sigmas[-1])

    @cached_property
    def impossible(self) -> str:
        """Why it cannot be run, such as an eta that is too large for the schedule; "" if it can."""
        if self.setting.impossible:
            return self.setting.impossible
        try:
            if uses_user_code(self.setting.schedule):
                check_schedule(self.sigmas)
            nfe = self.nfe
        except ValueError as error:
            return str(error)
        budget = self.setting.budget
        if budget is None or nfe <= budget:
            return ""
        return f"{self.setting.sampler.name} takes {nfe} evaluations, above the budget of {budget}"

    @cached_property
    def samples_id(self) -> str:
        return identity(self)

    @property
    def scored(self) -> tuple[Any, ...]:
        return self, self.reference

    @cached_property
    def score_id(self) -> str:
        return identity(self.scored)

    def row(self) -> Row:
        """The columns of table.csv that are known before the run."""
        setting = self.setting
        sampler = setting.sampler
        schedule = setting.schedule
        machine = self.machine
        values: Row = {**setting.values, "section": setting.section, "setting": setting.label, "budget": setting.budget}
        values |= {"schedule": schedule.name, "sampler": sampler.name, "train_seed": self.network.seed}
        if self.impossible:
            with suppress(ValueError):  # a schedule of a user's
                values["n_steps"] = len(self.sigmas) - 1
            return values | {"eta": getattr(sampler, "eta", None), "status": "infeasible", "error": self.impossible}
        if uses_user_code(schedule):
            values |= {"sigma_max": self.sigmas[0], "sigma_min": self.sigmas[-1]}
        else:
            values |= {"sigma_max": schedule.sigma_max, "sigma_min": schedule.sigma_min}
        values |= {"n_steps": len(self.sigmas) - 1}
        values |= {"data": self.network.data, "n_samples": self.n, "sample_seed": self.seed}
        values |= {"features": self.reference.features, "features_id": self.reference.features_id}
        values |= {"final_denoise": setting.final_denoise, "precision_mode": machine.precision}
        values |= {"compiled": machine.compiled, "threads": machine.threads, "model_id": identity(self.network)}
        values |= {"samples_id": self.samples_id, "run_id": self.score_id}
        return values | self.network.row() | dict(sampler.row(self.sigmas))


def filter_runs(planned: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """`--only`: the runs whose columns of table.csv have these values: COLUMN=VALUE, or COLUMN=VALUE,VALUE.

    ValueError for a column or a value that there is not, or if no run is left that is possible.
    """
    rows = [run.row() for run in planned]
    chosen = list(planned)
    for condition in conditions:
        name, _, value = (text.strip() for text in condition.partition("="))
        texts = [_text(row.get(COLUMNS.get(name, name))) for row in rows]
        wanted = {value} if value in texts else {text.strip() for text in value.split(",")}  # a value may have commas
        if not value or not wanted <= {*texts}:
            values = ", ".join(dict.fromkeys(filter(None, texts)))
            known = f"{name} is {values}" if values else f"columns: {', '.join(COLUMNS | rows[0])}"
            raise ValueError(f"only={condition!r}: write COLUMN=VALUE, as in --only seed=1 section=primary; {known}")
        matching = {run for run, text in zip(planned, texts, strict=True) if text in wanted}
        chosen = [run for run in chosen if run in matching]
    if all(run.impossible for run in chosen):
        raise ValueError(f"only={' '.join(conditions)!r}: it holds for none of {len(rows)} planned runs")
    return chosen


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
