"""Shared by all stages: the data and the network of a config, loaded once per process, and the file meta.json."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from diffusion_core.data import Images, check_content, load
from diffusion_core.samplers import Model
from experiments.config.denoisers import ForeignConfig, ModelConfig
from experiments.config.identity import identity
from experiments.own.external import load_foreign
from experiments.store.checksums import write_json
from experiments.store.store import Store, StoreError, read_json

SAMPLED = ("nfe", "seconds", "batch_size", "retries", "shared_device", "device_name")  # of a row, from sampling
Advance = Callable[[float], None]  # called with a number of images trained on, or of network evaluations


@lru_cache(maxsize=4)
def images_of(data: str, data_root: Path | None) -> Images:
    """The training images of a data set, loaded once per process."""
    images = load(data, root=data_root)
    check_content(images)
    return images


@dataclass(frozen=True)
class StoreLoader:
    """What a config loads its denoiser from, see `Loader`: the data sets and a store."""

    store: Store
    data_root: Path | None
    device: str

    def images(self, data: str) -> Images:
        return images_of(data, self.data_root)

    def weights(self, config: ModelConfig) -> dict[str, Tensor]:
        with self.store.reading("models", identity(config)) as folder:
            return load_file(folder / "model.safetensors")

    def model(self, config: ModelConfig) -> Model:
        return load_model(config, self.store, self.data_root, self.device)

    def foreign(self, config: ForeignConfig) -> Model:
        return load_foreign(config.source, self.images(config.data), config.label, self.device)


def load_model(config: ModelConfig, store: Store, data_root: Path | None, device: str) -> Model:
    """The denoiser of a config, on `device`, ready to sample. It is loaded again only if a network was made anew."""
    networks = tuple(store.path("models", identity(network)) for network in config.networks)
    return _load_model(config, networks, store, data_root, device)


@lru_cache(maxsize=4)
def _load_model(
    config: ModelConfig, networks: tuple[Path, ...], store: Store, data_root: Path | None, device: str
) -> Model:
    return config.load(StoreLoader(store, data_root, device))


class Meta(dict[str, Any]):
    """The values of an artifact's meta.json. A missing key means that the artifact is damaged: it is removed."""

    def __init__(self, values: dict[str, Any], kind: str, name: str, store: Store) -> None:
        super().__init__(values)
        self.kind, self.name, self.store = kind, name, store

    def __missing__(self, key: str) -> Any:
        self.store.discard(self.kind, self.name)
        raise StoreError(
            f"store {self.store}: {self.kind}/{self.name} is damaged: its meta.json has no {key!r}; it was removed, so "
            "run the same command again"
        )


def load_meta(kind: str, config: Any, store: Store) -> Meta:
    """The meta.json that a stage wrote for a config."""
    name = identity(config)
    with store.reading(kind, name) as folder:
        return Meta(read_json(folder / "meta.json"), kind, name, store)


def write_meta(folder: Path, **values: Any) -> None:
    """Writes the values and the current time to meta.json."""
    write_json(folder / "meta.json", values | {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")})
