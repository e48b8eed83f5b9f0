"""How often do the intervals of `score` contain the truth? A simulation on stored features.

    python bench/score_coverage.py REAL.npy A.npy B.npy N COMPARISONS

Each file holds as many features (p, d); rows of A and B at one place are the same image with another fault. In each
comparison N rows of each are drawn with replacement. The truth is the mean over all comparisons. Sums of the kernel
come from products of the p x p kernel matrices with counts, so 10,000 images cost hardly more than 200.
"""

import sys

import numpy as np

from experiments.distances import frechet, kernels
from experiments.distances.distance import Array, Distance
from experiments.distances.frechet import Moments
from experiments.distances.intervals import of_one, of_pairs


def main(files: list[str], n: int, comparisons: int) -> None:
    real, a, b = (np.load(file).astype(np.float64) for file in files)
    features = {"real": real, "a": a, "b": b}
    gaussian = kernels.Gaussian(kernels.median_distance(real))
    within = {name: gaussian.matrix(part, part) for name, part in features.items()}
    across = {name: gaussian.matrix(part, real) for name, part in features.items()}
    rng, rows = np.random.default_rng([n, 78]), list[list[tuple[float, float, float, float]]]()

    def counts(drawn: Array) -> Array:
        return np.bincount(drawn, minlength=len(real)).astype(np.float64)

    def sums(matrix: Array, drawn: Array) -> Array:
        """Of each image drawn the sum of its kernel with the others."""
        return np.asarray((matrix @ counts(drawn) - np.diag(matrix))[drawn])

    def distances(name: str, drawn: Array, reals: Array, of_real: Array, moments: Moments) -> tuple[Distance, Distance]:
        own = sums(within[name], drawn)
        to_real, to_own = (across[name] @ counts(reals))[drawn] / n, (across[name].T @ counts(drawn))[reals] / n
        value = (own.mean() + of_real.mean()) / (n - 1) - 2 * to_real.mean()
        mmd = Distance(float(value), kernels.terms(own, to_real), kernels.terms(of_real, to_own))
        part = features[name][drawn]
        first = Moments.of(part)
        fd = Distance(frechet.distance(first, moments), *frechet.terms(part, first, moments, real[reals]))
        return mmd, fd

    for _ in range(comparisons):
        first, other, reals = rng.integers(len(real), size=(3, n))
        shared = reals, sums(within["real"], reals), Moments.of(real[reals])
        drawn = zip(*(distances(*each, *shared) for each in (("a", first), ("b", first), ("b", other))), strict=True)
        values = [
            each
            for x, y, z in drawn
            for each in (of_pairs([(y, x)]), of_pairs([(z, x)], paired=False), of_one(x))
        ]  # fmt: skip
        rows.append([(value.difference, value.low, value.high, value.se) for value in values])
    for place, name in enumerate(f"{m}, {k}" for m in ("MMD", "FD") for k in ("pairs", "no pairs", "one set")):
        value, low, high, se = np.array(rows)[:, place].T
        share, size = ((low <= value.mean()) & (value.mean() <= high)).mean(), np.sqrt((se**2).mean()) / value.std()
        print(f"{name}: {share:.3f}, standard error {size:.2f} times the true one")


if __name__ == "__main__":
    main(sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))
