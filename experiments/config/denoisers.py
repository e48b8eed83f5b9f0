"""What samples are drawn from: the contract of a denoiser, networks from elsewhere, and the training images.

Each is one frozen dataclass, a `ModelConfig`, which answers all that the rest asks of it. Networks trained here are in
trained.py. More stand beside their models (`experiments/models/`), and a study may bring its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from diffusion_core.data import Images, check_name
from diffusion_core.exact import Empirical
from diffusion_core.fields import check_fields, check_range, one_of
from diffusion_core.noise import NoiseDistribution
from diffusion_core.precision import PRECISIONS
from diffusion_core.samplers import Model
from diffusion_core.training import Step
from experiments.config.identity import NOT_IN_IDENTITY


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
        check_name(self.data)

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
        check_name(self.data)
        check_range("held_out", self.held_out, 0)

    @property
    def description(self) -> str:
        return "exact for the training images"

    def load(self, loader: Loader) -> Model:
        images = loader.images(self.data)
        return Empirical(images.standardised()[: images.n_training(self.held_out)]).to(loader.device)
