"""Which image of one set belongs to which image of another: images from the same noise are compared in pairs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from diffusion_core.data.load import random_order
from diffusion_core.validation import one_of
from experiments.console import plural
from experiments.distances.intervals import MIN_SAMPLES
from experiments.scoring.inputs import Input

Pairs = Literal["auto", "names", "order", "none"]


@dataclass(frozen=True)
class Pairing:
    """The images of each set that are compared, in random order."""

    chosen: tuple[NDArray[np.intp], ...]  # indices (n,) of each set; those at one place are a pair, if there are pairs
    by: Literal["names", "order", "none"]
    note: str = ""  # what was left out

    @property
    def paired(self) -> bool:
        return self.by != "none"

    @property
    def n(self) -> int:
        return len(self.chosen[0])


def pair(sets: Sequence[Input], pairs: Pairs = "auto", fewest: int = MIN_SAMPLES) -> Pairing:
    """How the images of several sets are compared. All get the same number of images, since FD falls with it.

    Args:
        pairs: names: images with the same name are a pair, others are left out; order: image i of each set; none:
            no pairs; auto: names if all sets have the same ones, else none.
        fewest: images that each set must have.

    ValueError if a set has too few images, or if its names or its number do not suit `pairs`.
    """
    one_of("pairs", pairs, get_args(Pairs))
    for images in sets:
        if images.n < fewest:
            count = plural(images.n, "image")
            raise ValueError(f"{images.name}: {count}; an interval needs at least {fewest}")
    if len(sets) == 1:
        return Pairing((random_order(sets[0].n),), "none")
    alike = len({images.n for images in sets}) == 1
    if pairs == "order":
        if not alike:
            raise ValueError(f"pairs='order': all sets must have equally many images, but {_counts(sets)}")
        return Pairing((random_order(sets[0].n),) * len(sets), "order")
    if pairs == "names" or (pairs == "auto" and _same_names(sets)):
        return _by_names(sets, fewest)
    n = min(images.n for images in sets)
    note = f"{n:,} images of each are compared, since FD falls with their number: {_counts(sets)}"
    if alike:
        offer = f"all sets have {n:,} images without names: --pairs order pairs those at one place, if they share noise"
        note = "" if pairs == "none" or any(images.names for images in sets) else offer
    return Pairing(tuple(random_order(images.n)[:n] for images in sets), "none", note)


def _by_names(sets: Sequence[Input], fewest: int) -> Pairing:
    indices = []
    for images in sets:
        if images.names is None:
            raise ValueError(f"pairs='names': the images of {images.name} have no names; use --pairs order or none")
        ((name, times),) = Counter(images.names).most_common(1)
        if times > 1:
            raise ValueError(f"pairs='names': {name} is the name of {times} images of {images.name}")
        indices.append({name: index for index, name in enumerate(images.names)})
    common = sorted(set(indices[0]).intersection(*indices[1:]))
    if len(common) < fewest:
        raise ValueError(
            f"pairs='names': {len(common)} names are in all sets, and an interval needs at least {fewest}; "
            "use --pairs order or none"
        )
    order = random_order(len(common))
    note = f"{len(common):,} images have the same names in all sets and are compared: {_counts(sets)}"
    left_out = any(images.n > len(common) for images in sets)
    chosen = tuple(np.array([index[name] for name in common], dtype=np.intp)[order] for index in indices)
    return Pairing(chosen, "names", note if left_out else "")


def _same_names(sets: Sequence[Input]) -> bool:
    """Whether all sets have the same names, each once."""
    if any(images.names is None for images in sets):
        return False
    names = [Counter(images.names) for images in sets]
    return max(names[0].values()) == 1 and all(other == names[0] for other in names[1:])


def _counts(sets: Sequence[Input]) -> str:
    return ", ".join(f"{images.name} has {images.n:,}" for images in sets)
