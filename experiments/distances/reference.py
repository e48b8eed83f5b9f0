"""Real images: what samples are compared with, and the floor, the score of real images themselves.

MMD and KD are unbiased squared maximum mean discrepancies on all images at once (Gretton et al. 2012, JMLR 13, Eq. 3):
MMD with the Gaussian kernel exp(-(distance / median distance of real images)^2), KD with torch-fidelity's cubic kernel.
FD, KD, precision and recall equal its own up to rounding (KID with one subset of full size).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.distances import frechet, kernels
from experiments.distances.distance import Array, Distance, renumber
from experiments.distances.frechet import Moments
from experiments.distances.kernels import Across, Sums
from reports.schema import METRICS as METRICS

QUALITY = ("precision", "recall")
NO_IMAGES = 0.01  # precision and recall of samples that are not images, at most
REAL = 0.5  # precision and recall of as many real images, above
WIDTH = 1.0  # of the Gaussian kernel, as a share of the median distance of real images
POOL_SEED = 7  # decides which real images are set aside
NEIGHBOUR = 3  # the ball around an image reaches to its third neighbour, for precision and recall


@dataclass(frozen=True)
class FixedReference:
    """The real images that samples are compared with. All tensors are on one device.

    Args:
        features: float64 (R, d).
        width: of the Gaussian kernel.
        among: of each kernel the mean of k(y_i, y_j) over all pairs i != j of the images that it knows.
        sums: of each kernel, if the real images are a sample too. Kernels then know the first r images only.
        most: of the samples, how many the kernels compare: their cost grows with the square.
        n: of the samples; precision and recall compare as many real images.
    """

    features: Tensor
    width: float
    among: Mapping[str, float]
    sums: Mapping[str, Sums] = field(default_factory=dict)
    most: int | None = None
    n: int | None = None

    @cached_property
    def moments(self) -> Moments:
        return Moments.of(self.features)

    @cached_property
    def balls(self) -> Tensor:
        """The squared radii around the first n images."""
        return kernels.among({}, self.features[: self.n], neighbour=NEIGHBOUR)[1]

    def distances(self, own: Tensor, groups: NDArray[np.integer] | None = None) -> dict[str, Distance]:
        """MMD, FD and KD of images with features float64 (n, d), each with what every image adds to it.

        `groups`: (n,) the index of each image's prompt. Then each prompt adds to it, and MMD and KD compare images of
        different prompts.
        """
        return self.compare(own, groups, quality=False)[0]

    def compare(
        self, own: Tensor, groups: NDArray[np.integer] | None = None, quality: bool = True
    ) -> tuple[dict[str, Distance], tuple[float, float]]:
        """Returns `distances`; and if `quality`, the precision and recall of n images, which need the same products."""
        kernel_of = kernels.build(self.width, own.shape[1])
        first = own[: self.most]
        real = self.features[: len(self.sums["mmd"].rows)] if self.sums else self.features
        prompts = None if groups is None else torch.from_numpy(renumber(groups[: self.most])).to(own.device)
        inside, balls = kernels.among(kernel_of, first, prompts, NEIGHBOUR if quality else 0)
        between = kernels.across(kernel_of, first, real, (balls, self.balls) if quality else None)
        distances = {name: self._by_kernel(name, sums, between) for name, sums in inside.items()}
        distances["fd"] = self._frechet(own)
        if groups is not None:
            for name, distance in distances.items():
                distances[name] = distance.by_unit(renumber(groups[: len(distance.own)]))
        return {name: distances[name] for name in METRICS}, between.quality

    def _by_kernel(self, name: str, sums: Sums, between: Across) -> Distance:
        to_real = between.rows[name]
        of_real = between.columns[name]
        means = to_real / len(of_real)
        value = sums.mean + self.among[name] - 2 * float(means.mean())
        own = kernels.jackknife_terms(sums.rows, means).cpu().numpy()
        if not self.sums:
            return Distance(value, own)
        real = kernels.jackknife_terms(self.sums[name].rows, of_real / len(to_real))
        return Distance(value, own, real.cpu().numpy())

    def _frechet(self, own: Tensor) -> Distance:
        real = self.features if self.sums else None
        value, of_own, of_real = frechet.jackknife_terms(own, Moments.of(own), self.moments, real)
        return Distance(value, of_own.cpu().numpy(), of_real.cpu().numpy())


@dataclass(frozen=True)
class ReferenceSet:
    """All T real images of a data set. n samples are compared with `without(aside(n, 0))`, T - n of them.

    The floor compares n images drawn at random with the other T - n: as many on both sides as for samples.

    Args:
        features: float64 (T, d), on the device of all work.
        width: of the Gaussian kernel, that of all T images, so that it does not depend on n.
        sums: of each kernel over t images. If t < T, kernels know the first t images only.
    """

    features: Tensor
    width: float
    sums: Mapping[str, Sums]

    @classmethod
    def of(cls, features: Tensor, most: int | None = None) -> "ReferenceSet":
        """From features float64 (T, d). `most`: images that the kernels know."""
        width = WIDTH * kernels.median_distance(features)
        return cls(features, width, kernels.among(kernels.build(width, features.shape[1]), features[:most])[0])

    @property
    def n_kernel(self) -> int:
        return len(next(iter(self.sums.values())).rows)

    @cached_property
    def moments(self) -> Moments:
        return Moments.of(self.features)

    def whole(self, most: int | None = None) -> FixedReference:
        """All of them, as a sample. `most`: of the images compared with them, how many the kernels take."""
        among = {name: sums.mean for name, sums in self.sums.items()}
        return FixedReference(self.features, self.width, among, self.sums, most)

    def aside_mask(self, n: int, draw: int) -> NDArray[np.bool_]:
        """Mask (T,) of the n images that draw number `draw` sets aside. ValueError if fewer than two would remain.

        If kernels know t < T, as many as possible, but at most half of these, are among the t.
        """
        if n > len(self.features) - 2:
            raise ValueError(f"n_samples={n}: the data set has {len(self.features)} images, and 2 must stay to compare")
        rng = np.random.default_rng([POOL_SEED, draw])
        mask = np.zeros(len(self.features), dtype=bool)
        n_unknown = len(mask) - self.n_kernel
        inside = max(min(n, self.n_kernel // 2), n - n_unknown)  # n if kernels know all images
        mask[rng.permutation(self.n_kernel)[:inside]] = True
        mask[self.n_kernel + rng.permutation(n_unknown)[: n - inside]] = True
        return mask

    def without(self, aside: NDArray[np.bool_]) -> FixedReference:
        """The images outside a mask; fixed."""
        return self._split(aside)[0]

    def floor(self, n: int, draws: Iterable[int], most: int | None = None) -> dict[str, Array]:
        """Distances, precision and recall of n real images against the others, one for each draw.

        `most`: images of each side, for precision and recall.
        """
        out: dict[str, list[float]] = {name: [] for name in (*METRICS, *QUALITY)}
        for draw in draws:
            aside = self.aside_mask(n, draw)
            rest, others = self._split(aside)
            real = self.features[self._on_device(aside)]
            moments = Moments.of(real)
            out["fd"].append(frechet.frechet_distance(moments, self.moments.without(moments)))
            for name, (inside, between) in others.items():
                out[name].append(inside + rest.among[name] - 2 * between)
            for name, value in zip(QUALITY, precision_recall(real[:most], rest.features[:most]), strict=True):
                out[name].append(value)
        return {name: np.array(values) for name, values in out.items()}

    def _split(self, aside: NDArray[np.bool_]) -> tuple[FixedReference, dict[str, tuple[float, float]]]:
        """The images outside a mask; of each kernel its mean over pairs inside, and over pairs in and out."""
        among = dict[str, float]()
        others = dict[str, tuple[float, float]]()
        chosen = self._on_device(aside)
        in_kernel = chosen[: self.n_kernel]
        features = self.features[: self.n_kernel]
        n = int(aside[: self.n_kernel].sum())
        rest = self.n_kernel - n
        inside_sums, _ = kernels.among(kernels.build(self.width, features.shape[1]), features[in_kernel])
        for name, sums in inside_sums.items():
            rows = self.sums[name].rows
            inside = float(sums.rows.sum())
            between = float(rows[in_kernel].sum()) - inside
            among[name] = (float(rows.sum()) - 2 * between - inside) / (rest * (rest - 1))
            others[name] = inside / max(n * (n - 1), 1), between / max(n * rest, 1)
        return FixedReference(self.features[~chosen], self.width, among, n=int(aside.sum())), others

    def _on_device(self, mask: NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(mask).to(self.features.device)


def precision_recall(features: Tensor, real: Tensor) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991) of features (n, d) and (r, d).

    Only the first n real images are used, so they must not be sorted by class.
    """
    middle = real.mean(dim=0)  # far from 0, distances would be lost in rounding
    real = real[: len(features)] - middle
    features = features - middle
    first, second = (kernels.among({}, rows, neighbour=NEIGHBOUR)[1] for rows in (features, real))
    return kernels.across({}, features, real, (first, second)).quality


def no_images_reason(sides: Sequence[Mapping[str, float]], real: Mapping[str, float]) -> str:
    """Why the samples of all sides are not images; "" if those of one side may be, or if the floor cannot tell.

    It rejects static, grey and blurs of noise, but not digits under noise of half their standard deviation. One side
    must pass: if noise turns static into images, that is a result.

    Args:
        sides: precision and recall of each side of a comparison, means over networks; one or two.
        real: precision and recall of as many real images (floor).
    """
    may_be_images = any(quality[name] > NO_IMAGES for quality in sides for name in QUALITY)
    if may_be_images or min(real[name] for name in QUALITY) <= REAL:
        return ""
    limits = f"precision and recall are at most {NO_IMAGES:.0%}, of real images above {REAL:.0%}"
    return f"the samples do not look like images: {limits}"


def summarise(values: Array) -> dict[str, float]:
    numbers = {"mean": values.mean(), "sd": values.std(ddof=1), "low": values.min(), "high": values.max()}
    return {name: float(value) for name, value in numbers.items()}
