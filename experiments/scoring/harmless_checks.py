"""What must hold of images before and after a change: their distance, copies, classes and fine noise."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import qmc

from experiments.distances import copies
from experiments.distances.copies import Groups
from experiments.distances.distance import Distance
from experiments.distances.features import extractor, weights_file
from experiments.distances.harm import HARMFUL, HARMLESS, Harm, harm
from experiments.distances.intervals import GRAINY, LEVEL
from experiments.run.cache import Cache
from experiments.scoring import compare
from experiments.scoring.doubts import COPIES
from experiments.scoring.features import Described, Extractor, real_texture
from experiments.scoring.inputs import ImageSet, Input

SIDE = 64  # of a crop, in pixels
CLASSES = 10  # of digits


@dataclass(frozen=True)
class Check:
    """One thing that must hold: its value with the limits of its interval (NaN without one), and its limit."""

    name: str
    value: float
    low: float
    high: float
    limit: float
    verdict: str


def described(
    inputs: Sequence[Input], chosen: Sequence[Groups], extractor: Extractor, store: Cache
) -> tuple[Described, ...]:
    described = [
        compare.features_of(one, extractor, store).at(order) for one, order in zip(inputs, chosen, strict=True)
    ]
    compare.check_scale(inputs, described)
    return tuple(described)


def with_copies(before: Described, units: Groups | None) -> Groups:
    """The unit of each image (n,): prompts, or images, of which copies before the change are joined."""
    features = before.features.astype(np.float64)
    own = copies.groups(features, copies.tolerance(features))
    return own if units is None else copies.joined(own, units)


def harm_of(described: Sequence[Described], units: Groups) -> Harm:
    before, after = (one.features.astype(np.float64) for one in described)
    return harm(before, after, units)


def share_check(name: str, found: Harm, margin: float) -> Check:
    return Check(name, *found.shares, margin, found.verdict(margin))


def copies_check(described: Sequence[Described], margin: float) -> Check:
    """Images that are copies of others, more than before: half of a set as copies of the rest passes every distance."""
    before, after = (one.features.astype(np.float64) for one in described)
    near, n = copies.tolerance(before), len(before)
    more = (copies.groups(before, near).max() - copies.groups(after, near).max()) / n
    return Check("more copies", float(more), math.nan, math.nan, margin, HARMFUL if more > margin else HARMLESS)


def classes_check(
    described: Sequence[Described], file: Path | None, units: Groups | None, margin: float, paired: bool
) -> Check:
    """The class whose share changes most: it may by the margin, beyond what chance does."""
    network = cast(Any, extractor("digits", weights_file("digits", file))).network
    found = [network.head(torch.from_numpy(one.features) * network.rms).argmax(dim=1).numpy() for one in described]
    checks = [Check("class shares", 0.0, 0.0, 0.0, margin, HARMLESS)]  # if none changes
    for digit in range(CLASSES):
        is_it = [(one == digit).astype(np.float64) for one in found]
        change = is_it[1] - is_it[0]
        terms = Distance(float(change.mean()), change - change.mean())
        terms = terms if units is None else terms.of_groups(units)
        spread = terms.se
        if not paired:
            spread = math.sqrt(sum(one.var() / len(one) for one in is_it))
        half = float(stats.t.ppf(1 - (1 - LEVEL) / 2 / CLASSES, len(terms.own) - 1)) * spread
        value = abs(terms.value)
        low, high, name = max(value - half, 0.0), value + half, f"share of class {digit}"
        checks.append(Check(name, value, low, high, margin, HARMFUL if low > margin else HARMLESS))
    return max(checks, key=lambda check: (check.low, check.value))


def grain_check(inputs: Sequence[Input], described: Sequence[Described], chosen: Sequence[Groups]) -> list[Check]:
    """Fine noise beyond that before, as a noise level; none for features, and for images of several sizes."""
    first, size = inputs[0], described[0].size
    if not isinstance(first, ImageSet) or size is None or min(size) < 2 or described[1].size != size:
        return []
    curve = real_texture(first, chosen[0])
    before, after = (curve.noise_level(float(one.texture.mean())) for one in described)
    more = after - before
    return [Check("more grain", more, math.nan, math.nan, GRAINY, HARMFUL if more > GRAINY else HARMLESS)]


def no_grain(inputs: Sequence[Input], described: Sequence[Described]) -> str:
    """Why fine noise is not compared."""
    if not isinstance(inputs[0], ImageSet):
        return "features are given, so fine noise of pixels is not compared"
    sizes = ["several sizes" if one.size is None else "{1}x{0}".format(*one.size) for one in described]
    return f"images are {sizes[0]} before and {sizes[1]} after, so fine noise is not compared"


def crops_of(
    inputs: Sequence[Input], chosen: Sequence[Groups], crops: int
) -> tuple[tuple[ImageSet, ...], tuple[Groups, ...]]:
    """Sets of crops at native resolution, `crops` of each image at the same places of all, and their order.

    Places are those of Halton's sequence (1960). ValueError if they hold no images, or an image is
    smaller than a crop.
    """
    places = qmc.Halton(2, scramble=False)
    places.fast_forward(1)  # beyond the corner
    at_of, cut = places.random(max(crops, 1)), list[ImageSet]()
    for one in inputs:
        if not isinstance(one, ImageSet):
            raise ValueError(f"crops={crops}: {one.name} holds features, no images")

        def read(index: int, one: ImageSet = one) -> NDArray[np.uint8]:
            at, place = divmod(index, crops)
            image = one.read(at)
            if min(image.shape[:2]) <= SIDE:
                size = f"{image.shape[1]}x{image.shape[0]}"
                raise ValueError(f"crops={crops}: image {at} of {one.name} is {size}; crops of {SIDE}x{SIDE} need more")
            y, x = (int(share * (side - SIDE + 1)) for share, side in zip(at_of[place], image.shape[:2], strict=True))
            return image[y : y + SIDE, x : x + SIDE]

        content = hashlib.sha256(f"{crops} crops of {SIDE} of {one.content}".encode()).hexdigest()
        cut.append(ImageSet(one.name, one.n * crops, content, read))
    return tuple(cut), tuple((order[:, None] * crops + np.arange(crops)).ravel() for order in chosen)


def same_images(inputs: Sequence[Input], described: Sequence[Described]) -> list[str]:
    """What speaks for pairs where none were given."""
    before, after = (one.features.astype(np.float64) for one in described)
    same = int(copies.copied(after, before, copies.tolerance(before)).sum())
    if same <= COPIES * len(after):
        return []
    names = [one.name for one in inputs]
    return [
        f"{same:,} images of {names[1]} are copies of images of {names[0]}: if both come from the same seeds, pair "
        "them, since the share may be too small"
    ]
