"""What samples are drawn from: networks trained here or elsewhere, exact denoisers, and blends of two of them.

Each is one frozen dataclass, validated, with an identity. `stages/common.load_model` makes eps = model(x, sigma) of it.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from diffusion_core.data import check_name
from diffusion_core.networks import NAMES as NETWORKS
from diffusion_core.networks import PARAMETERISATIONS
from diffusion_core.noise import LogNormal, NoiseDistribution
from diffusion_core.precision import PRECISIONS
from diffusion_core.training import WEIGHTINGS
from experiments.config.identity import MIXTURE, NOT_IN_IDENTITY, UNLESS_DEFAULT
from experiments.config.names import one_of

CHANGES = ("weights", "missing", "wider", "scaled")


def check_data(name: str) -> None:
    """Raises ValueError unless `name` is a data set: one of data.py, or a mixture (see stages/fit_mixture.py)."""
    if not name.startswith(MIXTURE):
        check_name(name)


def at_least(name: str, value: float, least: float) -> None:
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
        at_least("threads", self.threads, 1)

    @classmethod
    def resolve(cls, device: str = "auto", precision: str = "fp32", threads: int | None = None) -> "Machine":
        """This machine. Device "auto" is CUDA if there is a CUDA device. engine/calibrated.py chooses a precision."""
        one_of("device", device, ("auto", "cpu", "cuda"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda': PyTorch sees no CUDA device here; use --device cpu")
        return cls(device, precision, threads=torch.get_num_threads() if threads is None else threads)


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
            at_least(name, getattr(self, name), 0)
        for name in ("images_seen", "batch_size"):
            at_least(name, getattr(self, name), 1)
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
        at_least("error", self.error, 0)


@dataclass(frozen=True)
class WrongConfig:
    """The exact denoiser of a mixture data set, with one change of known size (see models/wrong.py)."""

    data: str
    kind: str  # weights, missing, wider: of the mixture; scaled: of eps
    size: float
    change: int = 0  # number of the change, where it is random: other numbers change other components
    seed: int = 0  # stands in for a training seed: sets the sampling seed, and the change where it is random
    machine: Machine = Machine(precision="fp32")

    def __post_init__(self) -> None:
        check_data(self.data)
        one_of("kind", self.kind, CHANGES)
        if not -1 < self.size < math.inf or self.size == 0:
            raise ValueError(f"size={self.size}: it must be above -1 and not 0")


@dataclass(frozen=True)
class EmpiricalConfig:
    """The exact denoiser of the training images themselves: the optimum that an overfitting network approaches."""

    data: str
    held_out: int = 0  # images at the end of the data set that are not among them
    seed: int = 0  # stands in for a training seed
    machine: Machine = Machine(precision="fp32")

    def __post_init__(self) -> None:
        check_data(self.data)
        at_least("held_out", self.held_out, 0)


@dataclass(frozen=True)
class TunedConfig:
    """A network of this package that was trained further, with the exact eps as the target (see stages/further.py).

    Args:
        base: the network.
        inputs: visited, x on the network's own trajectories without noise; or fresh, x0 + sigma * noise.
        images_seen: further inputs trained on.
        lr: the largest learning rate; it falls to 0.
        n_steps, sigma_min: of the ladder of the trajectories.
    """

    base: TrainConfig
    inputs: str
    images_seen: int = 20_000
    lr: float = 1e-3
    n_steps: int = 66
    sigma_min: float = field(default=0.03, metadata=UNLESS_DEFAULT)

    def __post_init__(self) -> None:
        one_of("inputs", self.inputs, ("visited", "fresh"))
        at_least("images_seen", self.images_seen, 1)

    @property
    def data(self) -> str:
        return self.base.data

    @property
    def seed(self) -> int:
        return self.base.seed

    @property
    def machine(self) -> Machine:
        return self.base.machine


@dataclass(frozen=True)
class BlendConfig:
    """One denoiser in a band of noise levels and another one elsewhere, both of the same data (see models/blend.py)."""

    inside: "TrainConfig | KnownConfig | BlendConfig"
    outside: "TrainConfig | KnownConfig | BlendConfig"
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


KnownConfig = ExactConfig | WrongConfig | EmpiricalConfig  # nothing is trained, and nothing is rounded to bf16
ModelConfig = TrainConfig | ForeignConfig | KnownConfig | TunedConfig | BlendConfig


def networks(model: ModelConfig) -> tuple[TrainConfig | TunedConfig, ...]:
    """The networks trained here that a model consists of, each after the one that it was trained from."""
    if isinstance(model, BlendConfig):
        return (*networks(model.inside), *networks(model.outside))
    if isinstance(model, TunedConfig):
        return model.base, model
    return (model,) if isinstance(model, TrainConfig) else ()
