"""A user's own numbers: `latents:FILE` of an autoencoder, and `points:FILE`, vectors of any meaning.

FILE is a .npy file with floats (n, ...), in the units that the network was trained on; or a .npz file with one such
array, and perhaps `labels` (n,): classes, or the number of each one's prompt. Both forms may carry a fingerprint, and
come in a random order, always the same, as images do (data_user.py).
"""

import math
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion_core.data_files import UNREADABLE, labels_among, read_arrays
from diffusion_core.data_set import LATENTS, POINTS, Values
from diffusion_core.data_user import fingerprint, random_order

UNLIKE = 10.0  # a channel whose standard deviation is so many times smaller than that of all has other noise levels
ROUNDED = 1e-3  # of the standard deviation, by which numbers may change in float32


class OwnValues(NamedTuple):
    """The parts of a name `KIND:FILE` or `KIND:FILE@FINGERPRINT`."""

    kind: str  # latents or points
    path: str
    fingerprint: str | None


def parse(name: str) -> OwnValues | None:
    """The parts of such a name; None for any other. Reads no file."""
    kinds = "|".join(kind.removesuffix(":") for kind in (LATENTS, POINTS))
    match = re.fullmatch(rf"({kinds}):(.+?)(?:@([0-9a-f]{{12}}))?", name)
    return match and OwnValues(match[1], match[2], match[3])


def read(name: str) -> Values:
    """The values of a name that `parse` accepts. ValueError if there are none in its file, or they have changed."""
    of = parse(name)
    assert of is not None
    try:
        values, labels = _read(Path(of.path).expanduser())
        _check(of.kind, values)
    except UNREADABLE as error:
        raise ValueError(f"data={name!r}: {error}") from error
    order = random_order(len(values))
    tensor, classes = torch.from_numpy(values[order].astype(np.float32)), torch.from_numpy(labels[order])
    if of.fingerprint is not None and of.fingerprint != (now := fingerprint(tensor, classes)):
        raise ValueError(
            f"data={name!r}: the file has changed since it was named so; its fingerprint is now {now}. Use "
            f"data={f'{of.kind}:{of.path}'!r} for what it holds now, or bring the old file back"
        )
    mean, std = (float(part(values, dtype=np.float64)) for part in (np.mean, np.std))
    if unlike := _unlike(of.kind, values, std):
        warnings.warn(f"data={name!r}: {unlike}", stacklevel=3)
    return Values(name, tensor, classes, mean, std)


def _unlike(kind: str, values: NDArray[Any], std: float) -> str:
    """What to say of a channel or coordinate that varies little; "" if there is none."""
    each = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).std(axis=1, dtype=np.float64)
    least, share = int(each.argmin()), float(each.min()) / std
    if share >= 1 / UNLIKE:
        return ""
    part = "coordinate" if f"{kind}:" == POINTS else "channel"
    text = f"{part} {least} has {share:.2g} of the standard deviation of all numbers, and noise levels are those of all"
    return f"{text}: give (x - x.mean(axis=0)) / x.std(axis=0)" if f"{kind}:" == POINTS else text


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The one array of floats in a file, and its labels or zeros."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"{path} is neither .npy nor .npz, as numpy writes them")
    if path.suffix == ".npy":
        values = np.load(path, allow_pickle=False)
        return values, np.zeros(len(values), dtype=np.int64)
    arrays = read_arrays(path)
    found = [key for key, array in arrays.items() if array.dtype.kind == "f" and array.ndim > 1]
    if len(found) != 1:
        raise ValueError(f"{path} must have one array of floats (n, ...); it has {', '.join(found) or 'none'}")
    return arrays[found[0]], labels_among(arrays, len(arrays[found[0]]))


def _check(kind: str, values: NDArray[Any]) -> None:
    """Raises ValueError unless they are floats of the right form."""
    points, given = f"{kind}:" == POINTS, f"{values.dtype} {values.shape}"
    if values.dtype.kind != "f" or values.ndim < 2 or values.size == 0 or (points and values.ndim != 2):
        form = "(n, d), a row for each point" if points else "(n, ...), such as (n, 4, 32, 32)"
        raise ValueError(f"it holds {given}, but {kind} are floats {form}")
    if not np.isfinite(values).all():
        raise ValueError(f"it holds {given} with NaN or infinity")
    with np.errstate(over="ignore", invalid="ignore"):
        std, change = values.std(dtype=np.float64), np.abs(values - values.astype(np.float32)).max()
    if not (0 < std < math.inf and change <= ROUNDED * std):
        raise ValueError("its numbers are all alike in float32; subtract their mean, and divide by a scale")
    if points and (constant := np.flatnonzero(np.ptp(values, axis=0) == 0)).size:
        raise ValueError(f"coordinate {constant[0]} is the same in all points; leave it out")
