"""Shared by all stages: the data and the network of a config, loaded once per process, and the file meta.json."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from diffusion_core.data import Images, check_content, load
from diffusion_core.networks import build
from diffusion_core.samplers import Model
from experiments.config.config import MIXTURE, ExactConfig, ForeignConfig, ModelConfig, identity
from experiments.models.exact import exact_model, mixture_data
from experiments.models.external import load_foreign
from experiments.store.checksums import write_json
from experiments.store.store import Store, read_json

Advance = Callable[[float], None]  # called with a number of images trained on, or of network evaluations


@lru_cache(maxsize=4)
def images_of(data: str, data_root: Path | None) -> Images:
    """The training images of a data set, loaded once per process."""
    if data.startswith(MIXTURE):
        return mixture_data(data, data_root)
    images = load(data, root=data_root)
    check_content(images)
    return images


@lru_cache(maxsize=2)
def load_model(config: ModelConfig, store: Store, data_root: Path | None, device: str) -> Model:
    """The network of a config, on `device`, ready to sample."""
    images = images_of(config.data, data_root)
    if isinstance(config, ExactConfig):
        return exact_model(config).to(device)
    if isinstance(config, ForeignConfig):
        return load_foreign(config.source, images, config.label, device)
    model = build(config.network, images.shape[0], config.parameterisation)
    model.load_state_dict(load_file(store.path("models", identity(config)) / "model.safetensors"))
    return model.to(device).eval()


def load_meta(kind: str, config: Any, store: Store) -> dict[str, Any]:
    """The meta.json that a stage wrote for a config."""
    meta: dict[str, Any] = read_json(store.path(kind, identity(config)) / "meta.json")
    return meta


def write_meta(folder: Path, **values: Any) -> None:
    """Writes the values and the current time to meta.json."""
    write_json(folder / "meta.json", values | {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")})
