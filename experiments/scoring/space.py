"""The results in one feature space: each set against real images and against the first set, and the best sets."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from experiments.config.config import MIN_SAMPLES
from experiments.metrics.best_set import Standing, best_set
from experiments.metrics.distances import Array, Pool, precision_recall
from experiments.metrics.influence import Influence
from experiments.metrics.intervals import Estimate, holm, verdict
from experiments.results.floors import summary
from experiments.scoring.distances import KERNEL_IMAGES, Real, of_one, of_two, parts_of_two
from experiments.scoring.progress import Step, steps
from experiments.scoring.result import Difference, Floor, Side, Space
from reports.schema import JUDGE, LEVEL, METRICS

FEW_REPEATS = 512  # feature dimensions above which the floor is measured less often
REPEATS = (10, 4)  # of the floor, up to that and above
QUALITY_IMAGES = 10_000  # of each set, for precision and recall
Features = NDArray[np.float32]


def results(
    features: str, features_id: str, names: Sequence[str], real: Features, sets: Sequence[Features], paired: bool,
    grains: Sequence[float | None],
) -> Space:  # fmt: skip
    """All results in one feature space, whose weights have the hash `features_id`.

    `real` (R, d) and each of the sets (n, d) are in random order; if `paired`, rows of the sets at one place come from
    the same noise.
    """
    distances, sides = list[dict[str, Influence]](), list[Side]()
    repeats = REPEATS[real.shape[1] > FEW_REPEATS]
    with steps(1 + 3 * len(sets) + repeats) as step:
        step("distances between the real images")
        against = Real.of(real.astype(np.float64))
        for name, rows, grain in zip(names, sets, grains, strict=True):
            own = rows.astype(np.float64)
            step(f"MMD and KD of {name}")
            of_kernels = against.of_kernels(own)
            step(f"FD of {name}")
            distances.append({"fd": against.fd(own)} | of_kernels)
            values = {metric: of_one(distances[-1][metric]) for metric in METRICS}
            step(f"precision and recall of {name}")
            quality = precision_recall(own[:QUALITY_IMAGES], against.pool.features[:QUALITY_IMAGES])
            sides.append(Side(name, values, *quality, grain))
        floor = _floor(against.pool, len(sets[0]), repeats, step)
    return Space(
        features, features_id, real.shape[1], tuple(sides), _differences(names, distances, paired), floor,
        _standings([each[JUDGE] for each in distances], paired),
    )  # fmt: skip


def _floor(pool: Pool, n: int, repeats: int, step: Step) -> Floor:
    """The score of n real images against the others, or of half of them if there are not so many."""

    def draws() -> Iterator[int]:
        for draw in range(1, repeats + 1):
            step(f"score of real images, {draw} of {repeats}")
            yield draw

    total = len(pool.features)
    n = min(n, total // 2)
    scores = pool.floor(n, draws(), QUALITY_IMAGES)
    return Floor(n, total - n, repeats, {metric: summary(values) for metric, values in scores.items()})


def _differences(
    names: Sequence[str], distances: Sequence[Mapping[str, Influence]], paired: bool
) -> tuple[Difference, ...]:
    """Each set against the first. A difference is clear if it is so after Holm's correction for their number.

    `detectable` is then what the first step of Holm's method detects, which is Bonferroni's.
    """
    first, *others = distances
    stricter = 1 - (1 - LEVEL) / max(len(others), 1)
    estimates = [{metric: of_two(other[metric], first[metric], paired) for metric in METRICS} for other in others]
    p_values = {metric: holm([each[metric].p_value for each in estimates]) for metric in METRICS}
    out = []
    for place, (other, each) in enumerate(zip(others, estimates, strict=True)):
        values = dict[str, Estimate]()
        for metric, e in each.items():
            power = of_two(other[metric], first[metric], paired, stricter)
            clear = e.clear and p_values[metric][place] <= 1 - LEVEL
            values[metric] = replace(e, clear=clear, detectable=power.detectable)
        judge = values[JUDGE]
        parts, apart = (parts_of_two(other[JUDGE], first[JUDGE], pairs) for pairs in (paired, False))
        reach = judge.detectable / judge.se if judge.se > 0 else math.inf
        times = parts.times((judge.difference / 2 / reach) ** 2)
        needed = len(other[JUDGE].own) * times if times else math.inf
        out.append(
            Difference(
                names[place + 1], names[0], values, verdict(judge),
                needed=max(math.ceil(needed), MIN_SAMPLES) if needed <= KERNEL_IMAGES else None,
                gain=apart.times(parts.total - parts.real + apart.real) if paired else None,
                p_adjusted=p_values[JUDGE][place] if len(others) > 1 else None,
            )
        )  # fmt: skip
    return tuple(out)


def _standings(distances: Sequence[Influence], paired: bool) -> tuple[Standing, ...]:
    """Each set against the best of the others, if there are three or more.

    The real images are a sample too: what they add is stacked below what the sets' own images add, scaled so that all
    variances add up. Sets that are not `paired` have rows of their own.
    """
    if len(distances) < 3:
        return ()
    own = np.stack([distance.own for distance in distances], axis=1)
    real = np.stack([distance.real for distance in distances], axis=1)
    n, r = len(own), len(real)
    rows = [own] if paired else [own * (np.arange(own.shape[1]) == place) for place in range(own.shape[1])]
    stacked: Array = np.vstack([*(each / (n * (n - 1)) ** 0.5 for each in rows), real / (r * (r - 1)) ** 0.5])
    stacked *= (len(stacked) * (len(stacked) - 1)) ** 0.5
    return tuple(best_set(np.array([[distance.value for distance in distances]]), [stacked]))
