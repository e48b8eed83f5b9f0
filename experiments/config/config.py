"""A run is described by one frozen dataclass per stage (training, sampling, scoring, ...).

Each is validated and has an identity, see identity.py.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch

from diffusion_core.data import check_name
from diffusion_core.networks import NAMES as NETWORKS
from diffusion_core.networks import PARAMETERISATIONS
from diffusion_core.noise import LogNormal, NoiseDistribution
from diffusion_core.samplers import AlphaBeta, Sampler
from diffusion_core.samplers.counting import planned_nfe
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.schedules import OWN_ENDS, SCHEDULES, alpha_beta_ladder
from diffusion_core.training import PRECISIONS, WEIGHTINGS
from experiments.config.identity import MIXTURE, NOT_IN_IDENTITY
from experiments.config.names import FEATURES, called, one_of

GROUPS = 20  # number of groups in the delete-group jackknife over images; sample i is in group i mod GROUPS
MIN_SAMPLES = 2 * GROUPS  # so that half of the samples still give one per group


def check_data(name: str) -> None:
    """Raises ValueError unless `name` is a data set: one of data.py, or a mixture (see stages/fit_mixture.py)."""
    if not name.startswith(MIXTURE):
        check_name(name)


def _at_least(name: str, value: float, least: float) -> None:
    if not least <= value < math.inf:
        raise ValueError(f"{name}={value}: it must be at least {least}")


@dataclass(frozen=True)
class Machine:
    """Where and how a stage computes, with every "auto" replaced by a value.

    It is part of a result's identity, because rounding depends on it.
    """

    device: str = "cpu"  # cpu or cuda
    precision: str = "fp32"  # fp32, or bf16 for autocast to bfloat16
    compiled: bool = False  # whether sampling uses a network compiled by TorchInductor
    threads: int = 1  # CPU threads of one run
    torch_minor: str = field(default_factory=lambda: ".".join(torch.__version__.split(".")[:2]))

    def __post_init__(self) -> None:
        one_of("device", self.device, ("cpu", "cuda"))
        one_of("precision", self.precision, PRECISIONS)
        _at_least("threads", self.threads, 1)

    @classmethod
    def resolve(cls, device: str = "auto", precision: str = "fp32", threads: int | None = None) -> "Machine":
        """This machine. Device "auto" is CUDA if there is a CUDA device. engine/calibrated.py chooses a precision."""
        one_of("device", device, ("auto", "cpu", "cuda"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda': PyTorch sees no CUDA device here; use --device cpu")
        return cls(device, precision, threads=threads or torch.get_num_threads())


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    # data and network
    data: str = "mnist5k"
    network: str = "small"
    parameterisation: str = "preconditioned"
    held_out: int = 0  # images at the end of the data set that training does not see
    # noise levels
    noise: NoiseDistribution = field(default_factory=LogNormal)
    stratified: bool = False  # in a batch of n, one level from each of n equally probable parts of `noise`
    weighting: str = "karras"  # weight of the squared error of eps in the loss, see training.WEIGHTINGS
    # budget
    images_seen: int = 200_000  # training images seen in all, repeats counted
    batch_size: int = 64
    lr: float = 3e-3
    warmup_images: int = 10_000
    ema_decay: float = 0.999  # per step
    # randomness and machine
    seed: int = 0
    machine: Machine = Machine()

    def __post_init__(self) -> None:
        check_data(self.data)
        one_of("network", self.network, NETWORKS)
        one_of("parameterisation", self.parameterisation, PARAMETERISATIONS)
        one_of("weighting", self.weighting, WEIGHTINGS)
        if not isinstance(self.stratified, bool):
            raise ValueError(f"stratified={self.stratified!r}: it must be True or False")
        if not all(hasattr(self.noise, part) for part in ("name", "sample", "log_density")):
            raise ValueError(f"noise={self.noise!r}: it must be a NoiseDistribution, such as LogNormal()")
        for name in ("held_out", "warmup_images"):
            _at_least(name, getattr(self, name), 0)
        for name in ("images_seen", "batch_size"):
            _at_least(name, getattr(self, name), 1)
        if not (isinstance(self.lr, int | float) and 0 < self.lr < math.inf):
            raise ValueError(f"lr={self.lr!r}: it must be above 0, and finite")
        if not (isinstance(self.ema_decay, int | float) and 0 <= self.ema_decay < 1):
            raise ValueError(f"ema_decay={self.ema_decay!r}: it must be at least 0 and below 1")


@dataclass(frozen=True)
class ForeignConfig:
    """A network that was trained elsewhere, see models/external.py."""

    source: str = field(metadata=NOT_IN_IDENTITY)  # as typed on the command line
    fingerprint: str = ""  # hash of the network's files, parameters and outputs
    name: str = field(default="", metadata=NOT_IN_IDENTITY)  # short, for tables and reports
    data: str = "mnist5k"
    label: int | Literal["balanced"] | None = None  # for a class-conditional diffusers model
    seed: int = 0  # stands in for a training seed
    machine: Machine = Machine()

    def __post_init__(self) -> None:
        check_data(self.data)


@dataclass(frozen=True)
class ExactConfig:
    """The exact denoiser of a mixture data set, plus an error of known size if `error` > 0 (see models/exact.py)."""

    data: str
    # Root mean square of the error added to F (a network's raw output, see parameterisations.py), the same at every
    # sigma. The error adds its square to the loss with weighting karras.
    error: float = 0.0
    seed: int = 0  # stands in for a training seed: sets the sampling seed and the form of the added error
    machine: Machine = Machine(precision="fp32")  # rounding to bf16 would add an error

    def __post_init__(self) -> None:
        check_data(self.data)
        _at_least("error", self.error, 0)


@dataclass(frozen=True)
class BlendConfig:
    """One denoiser in a band of noise levels and another one elsewhere, both of the same data (see models/blend.py)."""

    inside: "TrainConfig | ExactConfig | BlendConfig"
    outside: "TrainConfig | ExactConfig | BlendConfig"
    low: float = 0.0  # the band is low <= sigma < high
    high: float = math.inf
    dose: float = 1.0  # share of the difference between the two that is taken over in the band

    def __post_init__(self) -> None:
        if self.inside.data != self.outside.data or self.inside.seed != self.outside.seed:
            raise ValueError("inside, outside: both must have the same data and seed")
        if not 0 <= self.low < self.high:
            raise ValueError(f"low={self.low}, high={self.high}: a band needs 0 <= low < high")
        if not 0 < self.dose <= 1:
            raise ValueError(f"dose={self.dose}: it must be above 0 and at most 1")

    @property
    def data(self) -> str:
        return self.inside.data

    @property
    def seed(self) -> int:
        return self.inside.seed


ModelConfig = TrainConfig | ForeignConfig | ExactConfig | BlendConfig


def networks(model: ModelConfig) -> tuple[TrainConfig, ...]:
    """The networks trained here that a model consists of."""
    if isinstance(model, BlendConfig):
        return (*networks(model.inside), *networks(model.outside))
    return (model,) if isinstance(model, TrainConfig) else ()


@dataclass(frozen=True)
class Ladder:
    """The n_steps + 1 levels of a named schedule (see schedules.SCHEDULES).

    The first is sigma_max, the last sigma_min. Schedules in OWN_ENDS set both themselves.
    """

    schedule: str = "geometric"
    n_steps: int = 66
    sigma_max: float = 30.0  # data standard deviations
    sigma_min: float = 0.03
    options: tuple[tuple[str, float], ...] = ()  # parameters of the schedule, such as (("rho", 5.0),)

    def __post_init__(self) -> None:
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


@dataclass(frozen=True)
class AlphaBetaLadder:
    """The levels of the alpha/beta rule with fixed alpha and beta, up to the first that is not above sigma_min."""

    alpha: float
    beta: float
    sigma_max: float = 30.0
    sigma_min: float = 0.03
    name: ClassVar[str] = "alpha-beta"

    def __post_init__(self) -> None:
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
    machine: Machine = Machine()
    # samples per network evaluation; None for the machine's default. See `batch`.
    batch_size: int | None = field(default=None, metadata=NOT_IN_IDENTITY)
    # numbers of samples of earlier runs that differ in nothing else; their samples are the first ones of this run
    earlier: tuple[int, ...] = field(default=(), metadata=NOT_IN_IDENTITY)

    def __post_init__(self) -> None:
        _at_least("n_samples", self.n_samples, MIN_SAMPLES)
        if self.batch_size is not None:
            _at_least("batch_size", self.batch_size, 1)
        planned_nfe(self.sampler, self.ladder.sigmas())  # raises ValueError if they do not suit each other

    @property
    def capacity(self) -> int:
        """The largest number of samples per network evaluation: batch_size if given, else the machine's default."""
        return self.batch_size or default_batch(self.machine.device, self.machine.threads)

    @property
    def batch(self) -> int:
        """Samples per network evaluation: `capacity`, but at most n_samples."""
        return min(self.capacity, self.n_samples)

    @property
    def planned_nfe(self) -> int:
        """Planned network evaluations per image, with one for final_denoise. Tables report the counted number."""
        return planned_nfe(self.sampler, self.ladder.sigmas()) + self.final_denoise


@dataclass(frozen=True)
class ReferenceConfig:
    """The features of a data set's training images."""

    data: str
    features: str
    features_id: str  # hash of the extractor's weights
    weights: Path | None = field(
        default=None, metadata=NOT_IN_IDENTITY
    )  # path of the weights file; None for the extractor's default

    def __post_init__(self) -> None:
        check_data(self.data)
        one_of("features", self.features, FEATURES)


@dataclass(frozen=True)
class ScoreConfig:
    """One scoring run: samples against the training images, after n_samples of these are set aside (distances.Pool)."""

    samples: SampleConfig
    reference: ReferenceConfig
