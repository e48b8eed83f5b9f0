"""A run is described by one frozen dataclass per stage (training, sampling, scoring, ...).

Each is validated and has an identity, see identity.py.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from diffusion_core.data import check_name
from diffusion_core.fields import check_fields, check_range, one_of
from diffusion_core.samplers import AlphaBeta, Sampler
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.schedules import OWN_ENDS, SCHEDULES, alpha_beta_ladder
from experiments.config.denoisers import Machine, ModelConfig
from experiments.config.identity import NOT_IN_IDENTITY, registered
from experiments.distances.spaces import check_features
from experiments.own.names import called
from reports.schema import GROUPS

MIN_SAMPLES = 2 * GROUPS  # so that half of the samples still give one per group
WIDTH = 1.0  # of the Gaussian kernel: chosen by a study, see docs/statistics.md


@dataclass(frozen=True)
class Ladder:
    """The n_steps + 1 levels of a named schedule (see schedules.SCHEDULES).

    The first is sigma_max, the last sigma_min. Schedules in OWN_ENDS set both themselves.
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
        """The n_steps + 1 levels. Raises ValueError for an unknown schedule or an argument that does not suit it."""
        return SCHEDULES[one_of("ladder", self.schedule, SCHEDULES)](
            self.n_steps, self.sigma_max, self.sigma_min, **dict(self.options)
        )

    def within(self, budget: int, sampler: Sampler) -> "Ladder":
        """The longest ladder of this schedule on which the sampler takes at most `budget` evaluations, else ValueError.

        The message says why this ladder does not suit.
        """
        for n_steps in range(budget, 0, -1):
            shorter = replace(self, n_steps=n_steps)
            try:
                if sampler.planned_nfe(shorter.sigmas()) <= budget:
                    return shorter
            except ValueError:
                continue
        planned = sampler.planned_nfe(self.sigmas())
        raise ValueError(f"{sampler.name} takes {planned} evaluations here, and no shorter ladder meets the budget")


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
class SampleConfig:
    """One sampling run from one network or exact denoiser."""

    model: ModelConfig
    ladder: Ladder | AlphaBetaLadder
    sampler: Sampler
    n_samples: int
    seed: int = 0  # runs with the same seed start from the same noise
    final_denoise: bool = False
    machine: Machine = field(default_factory=Machine)
    # samples per network evaluation; None for the machine's default. See `batch`.
    batch_size: int | None = field(default=None, metadata=NOT_IN_IDENTITY)

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("n_samples", self.n_samples, MIN_SAMPLES)
        if self.batch_size is not None:
            check_range("batch_size", self.batch_size, 1)
        self.sampler.planned_nfe(self.ladder.sigmas())  # raises ValueError if they do not suit each other

    @property
    def batch(self) -> int:
        """Samples per network evaluation: batch_size if given, else the machine's default; at most n_samples."""
        return min(self.batch_size or default_batch(self.machine.device, self.machine.threads), self.n_samples)

    @property
    def planned_nfe(self) -> int:
        """Planned network evaluations per image, with one for final_denoise. Tables report the counted number."""
        return self.sampler.planned_nfe(self.ladder.sigmas()) + self.final_denoise

    @property
    def evaluations(self) -> int:
        """Planned network evaluations of all samples."""
        return self.n_samples * self.planned_nfe


@dataclass(frozen=True)
class ReferenceConfig:
    """The features of a data set's training images, and the kernels that compare samples with them."""

    data: str
    features: str
    features_id: str  # hash of the extractor's weights
    # of the Gaussian kernel, as a share of the median distance of the images; see metrics/kernels.py
    width: float = WIDTH
    # path of the weights file; None for the extractor's default
    weights: Path | None = field(default=None, metadata=NOT_IN_IDENTITY)

    def __post_init__(self) -> None:
        check_name(self.data)
        check_features(self.features)


@dataclass(frozen=True)
class ScoreConfig:
    """One scoring run: samples against the training images, after n_samples of these are set aside (distances.Pool)."""

    samples: SampleConfig
    reference: ReferenceConfig
