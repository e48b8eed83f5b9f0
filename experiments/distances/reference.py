"""Real images: what samples are compared with, and the floor, the score of real images themselves.

MMD and KD are unbiased squared maximum mean discrepancies on all images at once (Gretton et al. 2012, JMLR 13, Eq. 3):
MMD with the Gaussian kernel exp(-(distance / median distance of real images)^2), KD with torch-fidelity's cubic kernel.
FD and KD equal its FID and KID (with one subset of full size); precision and recall are its own functions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_prc import prc_features_to_metric

from experiments.distances import frechet, kernels
from experiments.distances.distance import Array, Distance, renumber
from experiments.distances.frechet import Moments
from experiments.distances.kernels import Sums
from reports.schema import METRICS as METRICS

QUALITY = ("precision", "recall")
NO_IMAGES, REAL = 0.01, 0.5  # both of samples that are no images, at most; of as many real images, above
WIDTH = 1.0  # of the Gaussian kernel, as a share of the median distance of real images
POOL_SEED = 7  # decides which real images are set aside
FAR = 100  # standard deviations of real features from 0, above which precision and recall take them less their mean


@dataclass(frozen=True)
class FixedReference:
    """The real images that samples are compared with.

    Args:
        features: float64 (R, d).
        width: of the Gaussian kernel.
        within: of each kernel the mean of k(y_i, y_j) over all pairs i != j of the images that it knows.
        sums: of each kernel, if the real images are a sample too. Kernels then know the first r images only.
        most: of the samples, how many the kernels compare: their cost grows with the square.
    """

    features: Array
    width: float
    within: Mapping[str, float]
    sums: Mapping[str, Sums] = field(default_factory=dict)
    most: int | None = None

    @cached_property
    def moments(self) -> Moments:
        return Moments.of(self.features)

    def distances(self, own: Array, groups: NDArray[np.integer] | None = None) -> dict[str, Distance]:
        """MMD, FD and KD of images with features float64 (n, d), each with what every image adds to it.

        `groups`: (n,) the number of each image's prompt. Then each prompt adds to it, and MMD and KD compare images of
        different prompts.
        """
        n_kernel = len(next(iter(self.sums.values())).rows) if self.sums else len(self.features)
        first, used = own[: self.most], kernels.build(self.width)
        inside, across = kernels.sums(used, first), kernels.cross_sums(used, first, self.features[:n_kernel])
        if groups is not None:
            inside = kernels.sums_between_groups(used, first, inside, groups[: self.most])
        out = {name: self._by_kernel(name, inside[name], *across[name]) for name in used} | {"fd": self._frechet(own)}
        if groups is None:
            return {name: out[name] for name in METRICS}
        return {name: out[name].by_unit(renumber(groups[: len(out[name].own)])) for name in METRICS}

    def _by_kernel(self, name: str, sums: Sums, to_real: Array, to_own: Array) -> Distance:
        means = to_real / len(to_own)
        value, own = sums.mean + self.within[name] - 2 * float(means.mean()), kernels.jackknife_terms(sums.rows, means)
        if not self.sums:
            return Distance(value, own)
        return Distance(value, own, kernels.jackknife_terms(self.sums[name].rows, to_own / len(to_real)))

    def _frechet(self, own: Array) -> Distance:
        moments = Moments.of(own)
        terms = frechet.jackknife_terms(own, moments, self.moments, self.features if self.sums else None)
        return Distance(frechet.frechet_distance(moments, self.moments), *terms)


@dataclass(frozen=True)
class ReferenceSet:
    """All T real images of a data set. n samples are compared with `without(aside(n, 0))`, T - n of them.

    The floor compares n images drawn at random with the other T - n: as many on both sides as for samples.

    Args:
        features: float64 (T, d).
        width: of the Gaussian kernel, that of all T images, so that it does not depend on n.
        sums: of each kernel over t images. If t < T, kernels know the first t images only.
    """

    features: Array
    width: float
    sums: Mapping[str, Sums]

    @classmethod
    def of(cls, features: Array, most: int | None = None) -> "ReferenceSet":
        """From features float64 (T, d). `most`: images that the kernels know."""
        width = WIDTH * kernels.median_distance(features)
        return cls(features, width, kernels.sums(kernels.build(width), features[:most]))

    @property
    def n_kernel(self) -> int:
        return len(next(iter(self.sums.values())).rows)

    def whole(self, most: int | None = None) -> FixedReference:
        """All of them, as a sample. `most`: of the images compared with them, how many the kernels take."""
        within = {name: sums.mean for name, sums in self.sums.items()}
        return FixedReference(self.features, self.width, within, self.sums, most)

    def aside_mask(self, n: int, draw: int) -> NDArray[np.bool_]:
        """Mask (T,) of the n images that draw number `draw` sets aside. ValueError if fewer than two would remain.

        If kernels know t < T, as many as possible, but at most half of these, are among the t.
        """
        if n > len(self.features) - 2:
            raise ValueError(f"n_samples={n}: the data set has {len(self.features)} images, and 2 must stay to compare")
        rng, mask = np.random.default_rng([POOL_SEED, draw]), np.zeros(len(self.features), dtype=bool)
        unknown = len(mask) - self.n_kernel
        inside = max(min(n, self.n_kernel // 2), n - unknown)  # n if all are known
        mask[rng.permutation(self.n_kernel)[:inside]] = True
        mask[self.n_kernel + rng.permutation(unknown)[: n - inside]] = True
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
            real = self.features[aside]
            out["fd"].append(frechet.frechet_distance(Moments.of(real), rest.moments))
            for name, (inside, between) in others.items():
                out[name].append(inside + rest.within[name] - 2 * between)
            for name, value in zip(QUALITY, precision_recall(real[:most], rest.features[:most]), strict=True):
                out[name].append(value)
        return {name: np.array(values) for name, values in out.items()}

    def _split(self, aside: NDArray[np.bool_]) -> tuple[FixedReference, dict[str, tuple[float, float]]]:
        """The images outside a mask; of each kernel its mean over pairs inside, and over pairs in and out."""
        within, others, mask = dict[str, float](), dict[str, tuple[float, float]](), aside[: self.n_kernel]
        n, rest = int(mask.sum()), int((~mask).sum())
        for name, inside in kernels.sums(kernels.build(self.width), self.features[: self.n_kernel][mask]).items():
            rows = self.sums[name].rows
            between = float(rows[mask].sum()) - inside.total
            within[name] = (float(rows.sum()) - 2 * between - inside.total) / (rest * (rest - 1))
            others[name] = inside.total / max(n * (n - 1), 1), between / max(n * rest, 1)
        return FixedReference(self.features[~aside], self.width, within), others


def precision_recall(features: Array, real: Array) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991) of features (n, d) and (r, d).

    Only the first n real images are used, so they must not be sorted by class.
    """
    n, mean = min(len(features), len(real)), real.mean(axis=0)
    if np.abs(mean).max() > FAR * real.std(axis=0).max():  # float32 would lose the distances
        features, real = features - mean, real - mean
    generated, references = (torch.from_numpy(part).float() for part in (features, real[:n]))
    out = prc_features_to_metric(
        generated, references, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=True, verbose=False
    )
    return out["precision"], out["recall"]


def no_images_reason(sides: Sequence[Mapping[str, float]], real: Mapping[str, float]) -> str:
    """Why the samples of all sides are no images; "" if those of one side may be, or if the floor cannot tell.

    It takes static, grey and blurs of noise, but not digits under noise of half their standard deviation. One side must
    pass: if noise turns static into images, that is a result.

    Args:
        sides: precision and recall of each side of a comparison, means over networks; one or two.
        real: precision and recall of as many real images (floor).
    """
    if min(real[name] for name in QUALITY) <= REAL or any(side[name] > NO_IMAGES for side in sides for name in QUALITY):
        return ""
    limits = f"precision and recall are at most {NO_IMAGES:.0%}, of real images above {REAL:.0%}"
    return f"the samples are no images: {limits}"
