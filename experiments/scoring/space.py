"""The results in one feature space: each set against real images and against the first set, and the best sets."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from experiments.distances import copies
from experiments.distances.distance import Array, Distance, of_singles
from experiments.distances.family import Family, family
from experiments.distances.intervals import MIN_SAMPLES, of_difference, of_one, verdict
from experiments.distances.real import JUDGE, METRICS, Real, precision_recall
from experiments.run.contrasts import summary
from experiments.scoring.progress import Step, steps
from experiments.scoring.result import Copies, Difference, Floor, Side, Space

FEW_REPEATS = 512  # feature dimensions above which the floor is measured less often
REPEATS = (10, 4)  # of the floor, up to that and above
QUALITY_IMAGES = 10_000  # of each set, for precision and recall
KERNEL_IMAGES = 20_000  # of each set, of which kernel distances take the first ones: their cost grows with the square
Features = NDArray[np.float32]


def results(
    features: str, features_id: str, names: Sequence[str], real: Features, sets: Sequence[Features], paired: bool,
    grains: Sequence[float | None], prompts: Sequence[copies.Groups] | None = None,
) -> Space:  # fmt: skip
    """All results in one feature space, whose weights have the hash `features_id`.

    `real` (R, d) and each of the sets (n, d) are in random order; if `paired`, rows of the sets at one place come from
    the same noise. Copies in a set, and images of one of the `prompts` (n,) of each set, count as one in all intervals.

    ValueError if all images of a set are copies of one.
    """
    measured, quality = list[dict[str, Distance]](), list[tuple[float, float]]()
    repeats = REPEATS[real.shape[1] > FEW_REPEATS]
    with steps(1 + 3 * len(sets) + repeats) as step:
        step("distances between the real images")
        known = Real.of(real.astype(np.float64), most=KERNEL_IMAGES)
        against, near = known.whole(most=KERNEL_IMAGES), copies.tolerance(known.features)
        found = [_copies(known.features, near)]
        for name, rows in zip(names, sets, strict=True):
            own = rows.astype(np.float64)
            step(f"distances of {name}")
            measured.append(against.distances(own))
            step(f"copies in {name}")
            found.append(_copies(own, near, known.features))
            step(f"precision and recall of {name}")
            quality.append(precision_recall(own[:QUALITY_IMAGES], known.features[:QUALITY_IMAGES]))
        floor = _floor(known, len(sets[0]), repeats, step)
    of_real_images, *groups = (each.groups for each in found)
    if paired:  # what is a copy in one set belongs together in all
        groups = [[*accumulate(groups, copies.joined)][-1]] * len(sets)
    if prompts is not None:
        groups = [copies.joined(own, each) for own, each in zip(groups, prompts, strict=True)]
    distances = [
        {metric: _grouped(name, one, own, of_real_images) for metric, one in each.items()}
        for name, each, own in zip(names, measured, groups, strict=True)
    ]
    sides = tuple(
        Side(name, {metric: of_one(each[metric]) for metric in METRICS}, *both, grain, own)
        for name, each, both, grain, own in zip(names, distances, quality, grains, found[1:], strict=True)
    )
    families = {metric: family([[each[metric]] for each in distances], paired=paired) for metric in METRICS}
    return Space(
        features, features_id, real.shape[1], sides, _differences(names, distances, families, paired), floor,
        _best(names, families[JUDGE]), found[0],
    )  # fmt: skip


def _copies(own: Array, near: float, real: Array | None = None) -> Copies:
    """The copies among the first images of a set, and of the first real ones; later images count as no copies."""
    first = own[:KERNEL_IMAGES]
    groups = copies.groups(first, near)
    alone = groups.max() + 1 + np.arange(len(own) - len(first))
    of_real = 0 if real is None else int(copies.copied(first, real[:KERNEL_IMAGES], near).sum())
    return Copies(np.concatenate([groups, alone]), of_real)


def _grouped(name: str, distance: Distance, own: copies.Groups, real: copies.Groups) -> Distance:
    """A distance with copies as one image. Kernels take the first images only."""
    try:
        return distance.of_groups(_first(own, len(distance.own)), _first(real, len(distance.real)))
    except ValueError as error:
        raise ValueError(f"{name}, or the real images: {error}; there is nothing to compare") from None


def _first(groups: copies.Groups, n: int) -> copies.Groups:
    """The groups of the first n images, numbered without gaps."""
    return np.asarray(np.unique(groups[:n], return_inverse=True)[1], dtype=np.intp)


def _floor(known: Real, n: int, repeats: int, step: Step) -> Floor:
    """The score of n real images against the others, or of half of them if there are not so many."""

    def draws() -> Iterator[int]:
        for draw in range(1, repeats + 1):
            step(f"score of real images, {draw} of {repeats}")
            yield draw

    total = len(known.features)
    n = min(n, total // 2)
    scores = known.floor(n, draws(), QUALITY_IMAGES)
    return Floor(n, total - n, repeats, {metric: summary(values) for metric, values in scores.items()})


def _differences(
    names: Sequence[str], distances: Sequence[Mapping[str, Distance]], families: Mapping[str, Family], paired: bool
) -> tuple[Difference, ...]:
    """Each set against the first, from the intervals of all pairs of sets."""
    first, out = distances[0][JUDGE], list[Difference]()
    for place, each in enumerate(distances[1:], start=1):
        values, other = {metric: one.difference(place, 0) for metric, one in families.items()}, each[JUDGE]
        judge, of_real = values[JUDGE], of_singles(other.real - first.real)
        own, apart = (of_difference(other, first, pairs) - of_real for pairs in (paired, False))
        reach = judge.detectable / judge.se if judge.se > 0 else math.inf
        free = (judge.difference / 2 / reach) ** 2 - of_real  # variance that the sets' own images may have
        needed = len(other.own) * own / free if free > 0 else math.inf
        out.append(
            Difference(
                names[place], names[0], values, verdict(judge),
                needed=max(math.ceil(needed), MIN_SAMPLES) if needed <= KERNEL_IMAGES else None,
                gain=apart / own if paired and own > 0 else None,
            )
        )  # fmt: skip
    return tuple(out)


def _best(names: Sequence[str], judge: Family) -> tuple[str, ...]:
    """The sets that cannot be told from the best of the others, best first, if there are three or more."""
    sets = range(len(names))
    ranked = sorted(sets, key=lambda place: float(judge.values[place]))
    return tuple(names[place] for place in ranked if judge.to_best(place, sets)[1] <= 0) if len(names) > 2 else ()
