"""How often do the intervals of `score` contain the truth? A simulation on stored features.

    python bench/score_coverage.py REAL.npy A.npy B.npy N COMPARISONS

Each file holds as many features (p, d); rows of A and B at one place are the same image with another fault. In each
comparison N rows of each are drawn with replacement. The truth is the mean over all comparisons. Sums of the kernel
over groups come from products of the p x p kernel matrices with counts, so 10,000 images cost hardly more than 200.
"""

import sys

import numpy as np

from experiments.metrics import frechet, kernels
from experiments.metrics.frechet import Moments
from experiments.metrics.influence import Influence
from experiments.metrics.kernels import Array
from experiments.scoring.distances import by_kernel, of_one, of_two


def main(files: list[str], n: int, comparisons: int) -> None:
    real, a, b = (np.load(file).astype(np.float64) for file in files)
    features = {"real": real, "a": a, "b": b}
    gaussian = kernels.Gaussian(kernels.median_distance(real))
    within = {name: gaussian.matrix(part, part).astype(np.float32) for name, part in features.items()}
    across = {name: gaussian.matrix(part, real).astype(np.float32) for name, part in features.items()}
    rng, rows = np.random.default_rng([n, 78]), list[list[tuple[float, float, float, float]]]()

    def counts(drawn: Array) -> Array:
        out = np.zeros((len(real), kernels.GROUPS), np.float32)
        np.add.at(out, (drawn, np.arange(n) % kernels.GROUPS), 1)
        return out

    def sums(matrix: Array, drawn: Array) -> Array:
        out = (matrix @ counts(drawn))[drawn].astype(np.float64)
        out[np.arange(n), np.arange(n) % kernels.GROUPS] -= np.diag(matrix)[drawn]
        return out

    def distances(
        name: str, drawn: Array, reals: Array, of_real: Array, moments: Moments
    ) -> tuple[Influence, Influence]:
        to_real = (across[name] @ counts(reals))[drawn].astype(np.float64)
        back = (across[name].T @ counts(drawn).sum(axis=1))[reals].astype(np.float64)
        mmd = by_kernel(sums(within[name], drawn), of_real, to_real, back)
        return mmd, frechet.influence(features[name][drawn], real[reals], moments)

    for _ in range(comparisons):
        first, other, reals = rng.integers(len(real), size=(3, n))
        shared = reals, sums(within["real"], reals), Moments.of(real[reals])
        drawn = zip(*(distances(*each, *shared) for each in (("a", first), ("b", first), ("b", other))), strict=True)
        values = [each for x, y, z in drawn for each in (of_two(y, x, True), of_two(z, x, False), of_one(x))]
        rows.append([(value.difference, value.low, value.high, value.se) for value in values])
    for place, name in enumerate(f"{m}, {k}" for m in ("MMD", "FD") for k in ("pairs", "no pairs", "one set")):
        value, low, high, se = np.array(rows)[:, place].T
        share, size = ((low <= value.mean()) & (value.mean() <= high)).mean(), np.sqrt((se**2).mean()) / value.std()
        print(f"{name}: {share:.3f}, standard error {size:.2f} times the true one")


if __name__ == "__main__":
    main(sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))
