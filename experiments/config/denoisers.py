"""What samples are drawn from: networks trained here or elsewhere, and exact denoisers.

Each is one frozen dataclass, a `ModelConfig`, which answers all that the rest asks of it. More stand beside their
models (`experiments/models/`), and a study may bring its own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from diffusion_core.data import Images, check_name
from diffusion_core.exact import Empirical
from diffusion_core.fields import check_fields, check_range
from diffusion_core.networks import NAMES as NETWORKS
from diffusion_core.networks import PARAMETERISATIONS, build
from diffusion_core.networks.build import TRUNKS
from diffusion_core.noise import LogNormal, NoiseDistribution
from diffusion_core.precision import PRECISIONS
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.training import WEIGHTINGS, Step, train
from experiments.config.identity import MIXTURE, NOT_IN_IDENTITY, UNLESS_DEFAULT, registered
from experiments.config.names import one_of


def check_data(name: str) -> None:
    """Raises ValueError unless `name` is a data set: one of data.py, or a mixture (see stages/fit_mixture.py)."""
    if not name.startswith(MIXTURE):
        check_name(name)


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
        check_fields(self)
        one_of("device", self.device, ("cpu", "cuda"))
        one_of("precision", self.precision, PRECISIONS)
        check_range("threads", self.threads, 1)

    @classmethod
    def resolve(cls, device: str = "auto", precision: str = "fp32", threads: int | None = None) -> "Machine":
        """This machine. Device "auto" is CUDA if there is a CUDA device. engine/calibrated.py chooses a precision."""
        one_of("device", device, ("auto", "cpu", "cuda"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda': PyTorch sees no CUDA device here; use --device cpu")
        return cls(device, precision, threads=torch.get_num_threads() if threads is None else threads)


EXACT_MACHINE = Machine(precision="fp32")  # of exact denoisers: rounding to bf16 would add an error


class Loader(Protocol):
    """What a config may load its denoiser from; stages/common.py has it."""

    @property
    def device(self) -> str: ...

    def images(self, data: str) -> Images:
        """The training images of a data set."""

    def weights(self, config: "ModelConfig") -> dict[str, Tensor]:
        """The stored weights of a network that was trained here."""

    def model(self, config: "ModelConfig") -> Model:
        """The denoiser of another config, on `device`, which may be shared."""

    def foreign(self, config: "ForeignConfig") -> Model:
        """A network that was trained elsewhere, on `device`."""


class ModelConfig:
    """What samples are drawn from, as a config. A subclass is a frozen dataclass that describes one denoiser.

    It needs `load`, `description`, and as fields or properties `data`, `seed` (of training; it sets the sampling seed
    too) and `machine`. What is trained here also needs `networks`, `images_seen` and `training`. Everything else has a
    default, which suits a denoiser that nobody trained.
    """

    if TYPE_CHECKING:  # fields of most configs, properties of the others

        @property
        def data(self) -> str: ...
        @property
        def seed(self) -> int: ...
        @property
        def machine(self) -> Machine: ...

    trained_by: ClassVar[str] = "nobody"  # or sigmabench, or others: a network from elsewhere, whose code is not ours
    held_out: int = 0  # images at the end of the data set that it has not seen
    noise: NoiseDistribution | None = None  # noise levels of its training
    stratified: bool = False
    images_seen: int = 0  # in training here
    batch_size: int = 0  # of training here

    @property
    def description(self) -> str:
        """The denoiser in a few words, for the column `network`."""
        raise NotImplementedError

    @property
    def networks(self) -> "tuple[ModelConfig, ...]":
        """The networks trained here that it consists of, each after the one that it was trained from."""
        return ()

    @property
    def needs(self) -> "tuple[ModelConfig, ...]":
        """For a network trained here: the networks that must be trained before it."""
        return self.networks[:-1]

    @property
    def from_scratch(self) -> bool:
        """Whether it is one network, trained here from random weights."""
        return self.networks == (self,)

    @property
    def timed(self) -> "tuple[ModelConfig, ...]":
        """The networks, trained here or elsewhere, whose speed decides how samples are computed."""
        return ()

    @property
    def speed_key(self) -> str:
        """For a network that is timed: a text that is equal for equally fast networks."""
        raise NotImplementedError

    def sampling_machine(self, study: Machine) -> Machine:
        """The machine that samples from it, given that of the study. What is exact has its own, in fp32."""
        return study if self.timed else self.machine

    def row(self) -> dict[str, Any]:
        """Its columns of table.csv, as far as they are known."""
        return {"network": self.description, "trained_by": self.trained_by}

    def load(self, loader: Loader) -> Model:
        """eps = model(x, sigma), on the loader's device, ready to sample."""
        raise NotImplementedError

    def untrained(self, loader: Loader) -> Model:
        """A model as fast as this one, without training."""
        return self.load(loader)

    def training(self, loader: Loader) -> tuple[nn.Module, Iterator[Step]]:
        """The network to train, and the steps of its training, at whose end it has its final weights."""
        raise NotImplementedError


@dataclass(frozen=True)
class TrainConfig(ModelConfig):
    """One training run."""

    # data and network
    data: str = "mnist5k"
    network: str = field(default="small", metadata=registered(TRUNKS))
    parameterisation: str = "preconditioned"
    held_out: int = 0  # images at the end of the data set that training does not see
    # noise levels
    noise: NoiseDistribution = field(default_factory=LogNormal)
    stratified: bool = False  # in a batch of n, one level from each of n equally probable parts of `noise`
    stable_above: float = field(default=math.inf, metadata=UNLESS_DEFAULT)  # noise level, see StableTargets
    # weight of the squared error of eps in the loss, see training.WEIGHTINGS
    weighting: str = field(default="karras", metadata=registered(WEIGHTINGS))
    # budget
    images_seen: int = 200_000  # training images seen in all, repeats counted
    batch_size: int = 64
    lr: float = 3e-3
    warmup_images: int = 10_000
    ema_decay: float = 0.999  # per step
    # randomness and machine
    seed: int = 0
    machine: Machine = Machine()
    trained_by: ClassVar[str] = "sigmabench"

    def __post_init__(self) -> None:
        check_fields(self)
        check_data(self.data)
        one_of("network", self.network, NETWORKS)
        one_of("parameterisation", self.parameterisation, PARAMETERISATIONS)
        one_of("weighting", self.weighting, WEIGHTINGS)
        if not all(hasattr(self.noise, part) for part in ("name", "sample", "log_density")):
            raise ValueError(f"noise={self.noise!r}: it must be a NoiseDistribution, such as LogNormal()")
        for name in ("held_out", "warmup_images"):
            check_range(name, getattr(self, name), 0)
        for name in ("images_seen", "batch_size"):
            check_range(name, getattr(self, name), 1)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr={self.lr}: it must be above 0, and finite")
        if not self.stable_above > 0:
            raise ValueError(f"stable_above={self.stable_above}: it must be above 0; inf for no stable targets")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay}: it must be at least 0 and below 1")

    @property
    def description(self) -> str:
        return self.network

    @property
    def networks(self) -> tuple[ModelConfig, ...]:
        return (self,)

    @property
    def timed(self) -> tuple[ModelConfig, ...]:
        return (self,)

    @property
    def speed_key(self) -> str:
        return self.network

    def row(self) -> dict[str, Any]:
        law = self.noise if isinstance(self.noise, LogNormal) else None
        stratified = ", stratified" if self.stratified else ""
        stable = f", stable targets above {self.stable_above:g}" if self.stable_above < math.inf else ""
        return super().row() | {
            "p_mean": law and law.p_mean,
            "p_std": law and law.p_std,
            "train_noise": self.noise.name + stratified + stable,
            "weighting": self.weighting,
            "parameterisation": self.parameterisation,
            "images_seen": self.images_seen,
        }

    def untrained(self, loader: Loader) -> nn.Module:
        channels = loader.images(self.data).shape[0]
        return build(self.network, channels, self.parameterisation).to(loader.device).eval()

    def load(self, loader: Loader) -> Model:
        return self.with_weights(loader.weights(self), loader)

    def with_weights(self, weights: dict[str, Tensor], loader: Loader) -> nn.Module:
        """The network with these weights."""
        model = self.untrained(loader)
        model.load_state_dict(weights)
        return model

    def training(self, loader: Loader) -> tuple[nn.Module, Iterator[Step]]:
        images = loader.images(self.data)
        x0 = images.standardised()[: images.n_training(self.held_out)].to(loader.device)
        with torch.random.fork_rng(devices=[]):  # torch's layers take no generator: seed the global one for them only
            torch.manual_seed(block_seed(self.seed, -1))  # not the noise's seed: weights would repeat the noise
            model = build(self.network, images.shape[0], self.parameterisation).to(loader.device)
        model.fit(x0)
        steps = train(
            model,
            x0,
            self.noise,
            n_images=self.images_seen,
            batch_size=self.batch_size,
            lr=self.lr,
            warmup_images=self.warmup_images,
            ema_decay=self.ema_decay,
            weighting=self.weighting,
            stratified=self.stratified,
            stable_above=self.stable_above,
            precision=self.machine.precision,
            seed=self.seed,
        )
        return model, steps


# How networks are trained, by name: what differs from TrainConfig's defaults, which are those of Karras et al. 2022.
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "fast": {
        "parameterisation": "mixture-input",
        "noise": LogNormal(0.2, 1.3),
        "stratified": True,
        "stable_above": 2.0,
    },
}


@dataclass(frozen=True)
class ForeignConfig(ModelConfig):
    """A network that was trained elsewhere, see models/external.py."""

    source: str = field(metadata=NOT_IN_IDENTITY)  # as typed on the command line
    fingerprint: str = ""  # hash of the network's files, parameters and outputs
    name: str = field(default="", metadata=NOT_IN_IDENTITY)  # short, for tables and reports
    data: str = "mnist5k"
    label: int | Literal["balanced"] | None = None  # for a class-conditional diffusers model
    seed: int = 0  # stands in for a training seed
    machine: Machine = Machine()
    trained_by: ClassVar[str] = "others"

    def __post_init__(self) -> None:
        check_fields(self)
        check_data(self.data)

    @property
    def description(self) -> str:
        return self.name

    @property
    def timed(self) -> tuple[ModelConfig, ...]:
        return (self,)

    @property
    def speed_key(self) -> str:
        return f"{self.name} {self.fingerprint}"

    def load(self, loader: Loader) -> Model:
        return loader.foreign(self)


@dataclass(frozen=True)
class EmpiricalConfig(ModelConfig):
    """The exact denoiser of the training images themselves: the optimum that an overfitting network approaches."""

    data: str
    held_out: int = 0  # images at the end of the data set that are not among them
    seed: int = 0  # stands in for a training seed
    machine: Machine = EXACT_MACHINE

    def __post_init__(self) -> None:
        check_fields(self)
        check_data(self.data)
        check_range("held_out", self.held_out, 0)

    @property
    def description(self) -> str:
        return "exact for the training images"

    def load(self, loader: Loader) -> Model:
        images = loader.images(self.data)
        return Empirical(images.standardised()[: images.n_training(self.held_out)]).to(loader.device)
