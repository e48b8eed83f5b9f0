"""Checks that a harmless change must pass: the share of images, and what that could miss, each with its limit."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.stats import qmc
from torch import Tensor

from diffusion_core.data.readers import Pixels, Traits
from experiments.console import progress_bar
from experiments.distances import duplicates
from experiments.distances.distance import Array, Distance, renumber
from experiments.distances.duplicates import ClusterIds
from experiments.distances.equivalence import EquivalenceTest, compare_distributions, is_reordered
from experiments.distances.intervals import CONFIDENCE
from experiments.run.cache import Cache
from experiments.run.comparisons import Row
from experiments.run.image_features import FeatureSpace, ImageFeatures, ImageSet, load_function, prefetch
from experiments.run.machine import double_device
from experiments.scoring import compare, warnings
from experiments.scoring.inputs import FeatureSet, Input, image_name
from experiments.scoring.pairing import Pairing
from experiments.user.imports import user_code_errors
from reports.schema import HARMFUL, HARMLESS, UNDECIDED

GRAIN = 2.0  # grey levels of 255 that fine noise may grow by
SIDE = 64  # of a crop, in pixels
FLAT = 1e-3  # standard deviations, below which neighbours of a latent do not differ
UNRELATED = 0.1  # correlation of features below which pairs share nothing: 0.3 to 1 for images of the same seeds


@dataclass(frozen=True)
class EquivalenceCheck:
    """One thing that must hold, a row of harms.csv: its value with its interval (None without one), and its limit."""

    check: str
    value: float
    low: float | None
    high: float | None
    limit: float
    verdict: str
    unit: str = "share"

    def __str__(self) -> str:
        return f"  {self.check}: {self.value:.3g}, limit {self.limit:.3g}: {self.verdict}"

    def show(self, value: float) -> str:
        return f"{percent(value)} %" if self.unit == "share" else f"{value:.2g} {self.unit}"


@dataclass(frozen=True)
class EquivalenceInputs:
    """Both sets in one feature space, image by image in the order of `pairing`; `prompts`: (n,) of each pair."""

    images: Sequence[Input]
    pairing: Pairing
    prompts: ClusterIds | None
    space: FeatureSpace
    store: Cache
    margin: float
    crops: int
    clips: bool  # whether images are frames of clips, which are the prompts

    @cached_property
    def described(self) -> Sequence[ImageFeatures]:
        return compare.measure_sets(self.images, self.pairing.chosen, self.space, self.store)

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:  # float64 (n, d), before and after
        return _rows_of(self.described, self.space)

    @cached_property
    def copies(self) -> list[ClusterIds]:
        """Which images are copies of each other, before and after."""
        near = duplicates.tolerance(self.features[0])
        return [duplicates.find_clusters(rows, near) for rows in self.features]

    @property
    def repeats(self) -> ClusterIds | None:
        """The copies before, if every image stands there several times: then they count as one."""
        return duplicates.uniform_clusters(self.copies[0])

    @cached_property
    def units(self) -> ClusterIds | None:
        """The units that can fail together: prompts, with the copies before if all images stand there several times."""
        if self.repeats is None or self.prompts is None:
            return self.repeats if self.prompts is None else self.prompts
        return duplicates.merge_duplicates(self.repeats, self.prompts)

    @cached_property
    def test(self) -> EquivalenceTest:
        return compare_distributions(*self.features, self.units)

    @property
    def unchanged(self) -> int:
        """The pairs of identical images."""
        before, after = self.described
        return int((before.digests == after.digests).sum()) if self.pairing.paired else 0

    @property
    def unrelated(self) -> bool:
        """Whether partners have nothing in common: their features correlate no more than those of other seeds."""
        before, after = (rows - rows.mean(dim=0) for rows in self.features)
        spread = math.sqrt(float((before**2).sum() * (after**2).sum()))
        return self.pairing.paired and float((before * after).sum()) < UNRELATED * spread

    def interval_of_change(self, before: Array, after: Array) -> tuple[float, float]:
        """The mean of values (n,) after minus that before, and half of its 95 % interval."""
        return _mean_interval(after - before, self.prompts, None if self.pairing.paired else (before, after))

    def check_order(self) -> None:
        """ValueError if most images after are one of those before, but at another place."""
        sides: Sequence[Tensor] = self.features
        if self.clips and self.prompts is not None:  # the means of clips: frames of one are alike
            means = [pd.DataFrame(rows.cpu().numpy()).groupby(self.prompts).mean() for rows in sides]
            sides = [torch.tensor(frame.to_numpy()) for frame in means]
        before, after = self.images
        paired = self.pairing.paired
        if is_reordered(sides[0], sides[1], paired):
            subject = f"{before.name} and {after.name} hold the same images in"
            if not paired and before.n == after.n and not is_reordered(sides[0], sides[1], True):
                raise ValueError(f"{subject} one order: pair them by --pairs order")
            named = before.names and after.names and self.pairing.by != "names"
            remedy = "pair them by --pairs names" if named else "bring both into one order, by names or places"
            raise ValueError(f"{subject} another order: most are nearer to another one's partner; {remedy}")


Metric = str | Callable[[Tensor, Tensor], Any]  # python:MODULE:FUNCTION, or the function
Rows = Iterator[EquivalenceCheck | str]  # of a check: rows, or a sentence why there is none


def _check_share(name: str, test: EquivalenceTest, margin: float) -> EquivalenceCheck:
    return EquivalenceCheck(name, *test.shares, margin, test.verdict(margin))


def _share(sets: EquivalenceInputs) -> Rows:
    yield _check_share(f"share in {sets.space.name} features", sets.test, sets.margin)


def _crops(sets: EquivalenceInputs) -> Rows:
    """The share of crops in full resolution."""
    if crops := sets.crops:
        chosen = sets.pairing.chosen
        cut = [cut_crops(images, order, crops) for images, order in zip(sets.images, chosen, strict=True)]
        in_order = [np.arange(images.n) for images in cut]
        measured = compare.measure_sets(cut, in_order, sets.space, sets.store)
        units = np.arange(sets.pairing.n) if sets.units is None else sets.units
        test = compare_distributions(*_rows_of(measured, sets.space), units.repeat(crops))
        yield _check_share(f"share in crops, {sets.space.name} features", test, sets.margin)


def _texture(sets: EquivalenceInputs) -> Rows:
    """The share by how latents differ from pixel to pixel, which white noise changes, and their values hardly show.

    Of each channel the logarithm of the mean |difference of neighbours| over the standard deviation: scaling a latent
    does not change it. The numbers are compared in standard deviations before.
    """
    first = sets.images[0]
    if isinstance(first, FeatureSet) and min(first.grid[1:], default=1) > 1:
        latents = [features.cpu().numpy().reshape(-1, *first.grid) for features in sets.features]
        before, after = map(_roughness, latents)
        spread = before.std(axis=0)
        spread[spread == 0] = 1.0  # a channel that is constant before
        test = compare_distributions(torch.from_numpy(before / spread), torch.from_numpy(after / spread), sets.units)
        yield _check_share("texture of latents", test, sets.margin)


def _roughness(latents: Array) -> Array:
    """Of latents (n, C, H, W): (n, C)."""
    down, right = (np.abs(np.diff(latents, axis=axis)).mean(axis=(2, 3)) for axis in (2, 3))
    return np.asarray(np.log((down + right + FLAT) / (latents.std(axis=(2, 3)) + FLAT)))


def _copies(sets: EquivalenceInputs) -> Rows:
    before, after = (int(groups.max()) for groups in sets.copies)
    yield _check("more copies", (before - after) / len(sets.copies[0]), sets.margin)


def _grain(sets: EquivalenceInputs) -> Rows:
    """Fine noise beyond that before, in grey levels of 255."""
    images = sets.images[0]
    before, after = sets.described
    if not isinstance(images, ImageSet):
        yield "features are given, so fine noise of pixels is not compared"
    elif before.size is None or min(before.size) < 2 or after.size != before.size:
        sizes = ["{1}x{0}".format(*size) if size else "several sizes" for size in (before.size, after.size)]
        yield f"images are {sizes[0]} before and {sizes[1]} after, so fine noise is not compared"
    else:
        curve, std = warnings.real_texture(images, sets.pairing.chosen[0])
        change, half = sets.interval_of_change(before.texture, after.texture)
        value, *ends = (std * curve.more_noise(end) for end in (change, change - half, change + half))
        yield _check("more grain", value, GRAIN, (ends[0], ends[1]), unit="grey levels")


CHECKS = (_share, _crops, _copies, _texture, _grain)


def _rows_of(described: Sequence[ImageFeatures], space: FeatureSpace) -> tuple[Tensor, Tensor]:
    """Features before and after, float64 (n, d), on the device of all distances."""
    device = double_device(space.device)
    before, after = (torch.from_numpy(images.features).to(device, torch.float64) for images in described)
    return before, after


def _mean_interval(
    values: Array, units: ClusterIds | None, independent: Sequence[Array] | None = None
) -> tuple[float, float]:
    """The mean of values (n,), and half of its 95 % interval.

    `independent`: the sides of which the values are the difference, if they are not pairs.
    """
    terms = Distance(float(values.mean()), values - values.mean())
    terms = terms if units is None else terms.by_unit(units)
    se = math.sqrt(sum(numbers.var() / len(numbers) for numbers in independent)) if independent else terms.se
    return terms.value, float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2, len(terms.own) - 1)) * se


def _check(
    name: str, value: float, limit: float, ends: tuple[float, float] | None = None, unit: str = "share"
) -> EquivalenceCheck:
    """Harmful if it is surely above the limit, not decided if it only seems to be; `ends`: of its interval."""
    low, high = ends or (None, None)
    verdict = HARMFUL if (value if low is None else low) > limit else UNDECIDED if value > limit else HARMLESS
    return EquivalenceCheck(name, value, low, high, limit, verdict, unit)


def cut_crops(images: Input, order: ClusterIds, crops: int) -> ImageSet:
    """Crops at native resolution of images in that order, `crops` of each.

    Crop i of two sets is at one place, by Halton's sequence (1960): other places for each image. Places reach beyond
    the borders and are moved back inside, so that corners are seen as often as the middle. ValueError if they hold no
    images, or an image is smaller than a crop.
    """
    if not isinstance(images, ImageSet):
        raise ValueError(f"crops={crops}: {images.name} holds features, no images")
    places = qmc.Halton(2, scramble=False).random(len(order) * crops)

    def load(index: int) -> tuple[Pixels, Traits]:
        at = int(order[index // crops])
        image, traits = images.load(at)
        if min(image.shape[:2]) <= SIDE:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise ValueError(f"crops={crops}: image {at} of {images.name} is {size}; crops of {SIDE}x{SIDE} need more")
        y, x = (
            min(max(int(place * (size + SIDE)) - SIDE, 0), size - SIDE)
            for place, size in zip(places[index], image.shape[:2], strict=True)
        )
        return image[y : y + SIDE, x : x + SIDE], traits

    content = hashlib.sha256(f"{crops} crops of {SIDE}, other places for each, of {images.content}".encode())
    content.update(order.tobytes())
    return ImageSet(images.name, len(order) * crops, content.hexdigest(), load)


def run_checks(sets: EquivalenceInputs) -> list[EquivalenceCheck | str]:
    """All checks of the sets, or why there is none."""
    sets.check_order()
    return [row for check in CHECKS for row in check(sets)]


def measure_metric(metric: Metric, sets: EquivalenceInputs) -> tuple[Row, str]:
    """A function of two images over all pairs: its mean with an interval, its largest value, and whose it is; a note.

    Pairs of which it is not finite, such as the PSNR of equal images, are left out. ValueError if there are no pairs of
    images, the function fails, or it is finite for fewer than two pairs.
    """
    before, after = sets.images
    name = metric.rpartition(":")[2] if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
    subject = f"metric {name} of {after.name}"
    if not (isinstance(before, ImageSet) and isinstance(after, ImageSet)):
        raise ValueError(f"{subject}: {before.name} holds no images")
    if not sets.pairing.paired:
        raise ValueError(f"{subject}: it needs pairs of images, by --pairs names or order")
    function = load_function(metric, "metric ") if isinstance(metric, str) else metric
    first, second = (order.tolist() for order in sets.pairing.chosen)
    values = list[float]()
    with progress_bar(len(first)) as advance, torch.inference_mode(), user_code_errors(subject, ValueError):
        for pair in zip(prefetch(before.read, first), prefetch(after.read, second), strict=True):
            advance(subject)
            pixels = [torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1).copy()) for image in pair]
            values.append(float(function(*pixels)))
    finite = np.isfinite(values)
    if finite.sum() < 2:
        raise ValueError(f"{subject}: it is {values[0]} for {image_name(before, first[0])}; it must be finite")
    units = None if sets.prompts is None else renumber(sets.prompts[finite])
    mean, half = _mean_interval(np.array(values)[finite], units)
    largest = int(np.where(finite, values, -np.inf).argmax())
    row: Row = {"metric": name, "mean": mean, "low": mean - half, "high": mean + half, "largest": values[largest]}
    note = f"{subject}: {(~finite).sum():,} of {len(values):,} pairs, of which it is not finite, are left out"
    return row | {"pair": image_name(before, first[largest])}, "" if finite.all() else note


def percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return warnings.two_digits(100 * share)
