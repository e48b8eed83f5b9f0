"""Models trained elsewhere, behind the model contract `eps = model(x, sigma)` with sigma in data standard deviations.

python:package.module:function   any callable that keeps the contract
diffusers:PATH                   a folder saved by diffusers, or ORG/NAME on the hub, see `diffusers_unet.py`
checkpoint:PATH                  a network trained here: a file networks/ID.safetensors of a store
"""

import hashlib
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from diffusion_core import adapters
from diffusion_core.adapters.adapter import Labels
from diffusion_core.data.dataset import DataSet, Images
from diffusion_core.samplers import Model
from experiments.user import diffusers_unet, imports
from experiments.user.architecture import build_network
from experiments.user.imports import SPELLINGS, user_code_errors

PYTHON = "python:"
NAMED = ("network", "parameterisation", "data")  # what the config of a network of a store has
WEIGHTS = "weights."  # before the names of weights in a file of a store


def load_network(source: str, images: DataSet, label: Labels, device: str) -> Model:
    """The model that `source` names, on `device` and ready to sample images like `images`.

    Args:
        source: one of `SPELLINGS`.
        images: the data set that is sampled; its mean and std define our units.
        label: for a class-conditional diffusers model, the class of all samples or "balanced"; else None.

    ValueError for an unknown spelling, and for a model that is missing, or does not suit the images or the label.
    """
    spelling, rest, root = _split(source)
    if spelling == "diffusers":
        if not isinstance(images, Images):
            raise ValueError(f"diffusers: its networks work on pixels, but data={images.name!r} has none")
        return diffusers_unet.load(root, images, label, device)
    if label is not None:
        only = "only class-conditional diffusers: models do; adapters in a Python file have an argument labels"
        raise ValueError(f"label={label}: {spelling}: models take no label, {only}")
    if spelling == "checkpoint":
        return _checkpoint(root, images, device)
    model: Any = imports.load_object(rest, PYTHON, of="model ")
    if isinstance(model, adapters.Adapter):
        _check_data(rest, model.data, images)
    with user_code_errors(f"model python:{rest}"):
        return model.to(device).eval() if isinstance(model, nn.Module) else model


def fingerprint(source: str) -> str:
    """The first 12 hex digits of a SHA-256 of the files that determine the model, wherever they lie.

    For `python:` it is the text of the module and of what it imports from its folder (imports.py), with the attribute's
    name, but *not* what it reads. ValueError for an unknown spelling or a missing model.
    """
    spelling, rest, root = _split(source)
    if spelling == "python":
        return imports.code_hash(rest, PYTHON)
    if spelling == "checkpoint":  # network_io.py hashes the weights; the file also says when it was made
        return hashlib.sha256(json.dumps([*_checkpoint_config(root).values()]).encode()).hexdigest()[:12]
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in diffusers_unet.find(root).files):
        with path.open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def network_id(files: str, outputs: str) -> str:
    """The id of a network: a hash of the fingerprint of its files and of that of its outputs (network_io.py)."""
    return hashlib.sha256(f"{files} {outputs}".encode()).hexdigest()[:12]


def describe(source: str, label: Labels = None) -> str:
    """A short name for tables, e.g. `diffusers:ddpm-mnist (UNet2DModel, label 3)`. ValueError as in `fingerprint`."""
    spelling, rest, root = _split(source)
    if spelling == "python":
        return f"{PYTHON}{':'.join(imports.split_name(rest, PYTHON))}"
    if spelling == "diffusers":
        diffusers_unet.find(root)
        of_label = "balanced labels" if label == "balanced" else f"label {label}"
        network = "UNet2DModel" if label is None else f"UNet2DModel, {of_label}"
    else:
        config = _checkpoint_config(root)
        network = f"{config['network']}, {config['parameterisation']}"
    name = root.resolve().name if Path(rest).expanduser().exists() else rest
    return f"{spelling}:{name} ({network})"


def notes(source: str) -> list[str]:
    """Assumptions about the model, to be printed next to its results, one sentence each. Errors as in `fingerprint`."""
    spelling, _, root = _split(source)
    if spelling == "python":
        return ["it is known by the text of its code, its parameters and its outputs on a fixed batch"]
    if spelling == "diffusers":
        return diffusers_unet.notes(root)
    return [f"it was trained on {_checkpoint_config(root)['data']}, in standard deviations of that data set"]


def network_notes(model: Model) -> list[str]:
    """Returns a sentence for each thing that an adapter does besides converting units."""
    if not isinstance(model, adapters.Adapter):
        return []
    convention = model.convention
    low, high = model.convention.interval
    middle = f"it denoises the middle {convention.side}x{convention.side} pixels; the border of {model.edge}"
    where = "" if (low, high) == (0, math.inf) else f" from sigma {low:g} to {high:g}"
    guidance = f"classifier-free guidance {convention.guidance:g}{where}: one evaluation is two passes of its network"
    one_label = f"all its samples have label {convention.labels}"
    sentences = {
        f"{middle} is the same in all images, so it is denoised exactly": model.edge > 0,
        f"its labels are balanced: sample i has label i mod {convention.n_classes}": convention.labels == "balanced",
        f"{one_label}, but they are compared with images of all classes": isinstance(convention.labels, int),
        "its samples are latents, which are decoded before they are compared": model.decoder is not None,
        f"{guidance}; check measures its errors without guidance": convention.guidance != 1,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _split(source: str) -> tuple[str, str, Path]:
    """The spelling, and what follows it: also as a path."""
    spelling, _, rest = source.partition(":")
    if spelling not in ("python", "diffusers", "checkpoint") or not rest:
        raise ValueError(f"source={source!r}: unknown spelling; it must be one of {', '.join(SPELLINGS)}")
    return spelling, rest, diffusers_unet.find_folder(rest) if spelling == "diffusers" else Path(rest).expanduser()


def _check_data(rest: str, made_for: DataSet, images: DataSet) -> None:
    """Raises ValueError unless an adapter converts to the units of the data that are sampled."""
    close = partial(math.isclose, rel_tol=1e-9)  # mean and std round by the number of threads
    same_scale = close(made_for.mean, images.mean) and close(made_for.std, images.std)
    if not (same_scale and made_for.shape == images.shape):
        theirs, ours = (f"{d.name!r} ({d.shape}, mean {d.mean:.6g}, std {d.std:.6g})" for d in (made_for, images))
        raise ValueError(f"python:{rest}: it was made for data={theirs}, not for data={ours}; give both the same data")


def _checkpoint(root: Path, images: DataSet, device: str) -> nn.Module:
    config = _read_config(root)
    tensors = load_file(root)
    weights = {name.removeprefix(WEIGHTS): value for name, value in tensors.items() if name.startswith(WEIGHTS)}
    with user_code_errors(f"checkpoint:{root}: its weights do not fit images of {images.shape}"):
        model = build_network(config["network"], images.shape, config["parameterisation"], config.get("architecture"))
        model.load_state_dict(weights)
    return model.to(device).eval()


def _checkpoint_config(root: Path) -> dict[str, str]:
    """Reads the entries NAMED from the config of a network trained here."""
    config = _read_config(root)
    return {name: config[name] for name in NAMED}


def _read_config(root: Path) -> dict[str, Any]:
    """The config of a network trained here, from the header of its file."""
    try:
        with safe_open(root, framework="pt") as file:
            config: dict[str, Any] = json.loads((file.metadata() or {})["config"])
            return config | {name: config[name] for name in NAMED}
    except (SafetensorError, OSError, LookupError) as error:
        reason = f"({type(error).__name__}: {error})"
        raise ValueError(f"checkpoint:{root}: it must be a networks/ID.safetensors of a store {reason}") from error
