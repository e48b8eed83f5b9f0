"""A network that was trained elsewhere, see own/external.py."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data import check_name, resolve
from diffusion_core.data_set import Images
from diffusion_core.fields import check_fields
from diffusion_core.samplers import Model
from experiments.own import external, form
from experiments.own.behaviour import behaviour
from experiments.run.artifact import Artifact, stored
from experiments.run.cache import Cache
from experiments.run.identity import LABEL
from experiments.run.machine import Machine
from experiments.run.networks import Advance, data_of

if TYPE_CHECKING:
    from experiments.run.study import Study


@dataclass(frozen=True)
class Foreign:
    """A network that was trained elsewhere."""

    source: str = field(metadata=LABEL)  # as typed on the command line
    content: str = ""  # hash of its files, parameters and outputs
    name: str = field(default="", metadata=LABEL)  # short, for tables and reports
    data: str = "mnist5k"
    label: int | Literal["balanced"] | None = None  # for a class-conditional diffusers network
    seed: int = 0  # stands in for a training seed
    machine: Machine = field(default_factory=Machine)
    cost: ClassVar[float] = 0.0
    foreign: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)
        check_name(self.data)

    @classmethod
    def of(cls, source: str, data: str, label: int | Literal["balanced"] | None, machine: Machine) -> "Foreign":
        """The network at `source`. ValueError as in `external.load_foreign` and `behaviour`."""
        check_file(source)
        name = external.describe(source, label)
        return cls(source, _content(source, data, label, machine), name, data, label, machine=machine)

    @property
    def shape(self) -> tuple[int, ...]:
        return form.shape_of(self.untrained(), data_of(self.data))

    def decode(self, x: Tensor) -> Tensor:
        return form.decoded(self.untrained(), data_of(self.data), x)

    @property
    def shown(self) -> tuple[int, ...]:
        """The shape of what one sample shows. ValueError for latents that are not decoded."""
        return _shown(self.source, self.data, self.label, self.machine.device)

    def row(self) -> dict[str, Any]:
        return {"network": self.name, "trained_by": "others"}

    def made(self, cache: Cache, advance: Advance) -> None:
        return None

    def load(self, artifact: Artifact | None) -> Model:
        """The network. ValueError if it is not what it was when the runs were planned."""
        if _content(self.source, self.data, self.label, self.machine) != self.content:
            raise ValueError(f"network {self.name}: it has changed since this command began; give the command again")
        return self.untrained()

    def untrained(self) -> Model:
        """The network as it is now."""
        return _loaded(self.source, self.data, self.label, self.machine.device)


def check_file(source: str) -> None:
    """Raises ValueError if it is a damaged file of a store."""
    kind, _, path = source.partition(":")
    if kind == "checkpoint":
        stored(Path(path).expanduser())


@lru_cache(maxsize=4)
def _loaded(source: str, data: str, label: int | Literal["balanced"] | None, device: str) -> Model:
    return external.load_foreign(source, data_of(data), label, device)


@lru_cache(maxsize=4)
def _shown(source: str, data: str, label: int | Literal["balanced"] | None, device: str) -> tuple[int, ...]:
    model, loaded = _loaded(source, data, label, device), data_of(data)
    one = form.clean(model, loaded, torch.arange(1)).to(device)
    return tuple(form.decoded(model, loaded, one).shape[1:])


@lru_cache(maxsize=4)
def _content(source: str, data: str, label: int | Literal["balanced"] | None, machine: Machine) -> str:
    """A hash of a network. It is imported before its files are hashed: what runs is not older than what is hashed."""
    machine.pin()  # outputs depend on the number of threads
    model = _loaded(source, data, label, machine.device)
    return external.known_by(external.fingerprint(source), behaviour(model, data_of(data), machine.device))


def adapter_of(study: "Study", device: str = "cpu") -> Adapter | None:
    """The adapter that a study's network has; None if it has none."""
    if ":" not in study.network:
        return None
    model = _loaded(study.network, resolve(study.data), study.label, device)
    return model if isinstance(model, Adapter) else None


def scale_of(study: "Study") -> float:
    """`Study.data_std`."""
    if (adapter := adapter_of(study)) is not None:
        return float(f"{adapter.scale:.6g}")
    data = data_of(resolve(study.data))
    return round(data.std / 127.5, 4) if isinstance(data, Images) else 1.0
