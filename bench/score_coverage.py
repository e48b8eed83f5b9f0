"""How often do the intervals of `score` contain the truth, near real images? A simulation on stored features.

    python bench/score_coverage.py REAL.npy A.npy B.npy N COMPARISONS

Each file holds features (1000, d); rows of A and B at one place are the same image with another fault. In each
comparison N rows of each are drawn with replacement. Sums of the kernel over groups come from products of the 1000 x
1000 kernel matrices with counts, so 10,000 images cost what 200 do. "Before" is the whole jackknife.
"""

import sys

import numpy as np

from experiments.metrics import kernels
from experiments.metrics.distances import jackknife_se
from experiments.metrics.intervals import Estimate
from experiments.metrics.kernels import Array
from experiments.scoring.distances import Distance, by_kernel, estimate, of_one, of_two


def before(sides: list[Distance], whole: Distance) -> Estimate:
    return estimate(whole.value, [*(jackknife_se(side.own) for side in sides), jackknife_se(whole.real)])


def main(files: list[str], n: int, comparisons: int) -> None:
    real, a, b = (np.load(file).astype(np.float64) for file in files)
    gaussian = kernels.Gaussian(kernels.median_distance(real))
    within = {
        name: gaussian.matrix(part, part).astype(np.float32) for name, part in zip("zab", (real, a, b), strict=True)
    }
    across = {name: gaussian.matrix(part, real).astype(np.float32) for name, part in zip("ab", (a, b), strict=True)}
    rng, rows = np.random.default_rng([n, 78]), list[list[tuple[float, float, float]]]()

    def counts(drawn: Array) -> Array:
        out = np.zeros((len(real), kernels.GROUPS), np.float32)
        np.add.at(out, (drawn, np.arange(n) % kernels.GROUPS), 1)
        return out

    def sums(matrix: Array, drawn: Array) -> Array:
        out = (matrix @ counts(drawn))[drawn].astype(np.float64)
        out[np.arange(n), np.arange(n) % kernels.GROUPS] -= np.diag(matrix)[drawn]
        return out

    for _ in range(comparisons):
        first, other, reals = rng.integers(len(real), size=(3, n))
        of_real = sums(within["z"], reals)

        def distance(name: str, drawn: Array, reals: Array = reals, of_real: Array = of_real) -> Distance:
            to_real = (across[name] @ counts(reals))[drawn].astype(np.float64)
            back = (across[name].T @ counts(drawn).sum(axis=1))[reals].astype(np.float64)
            return by_kernel(sums(within[name], drawn), of_real, to_real, back)

        x, y, z = distance("a", first), distance("b", first), distance("b", other)
        values = [of_two(y, x, True), before([y - x], y - x), of_two(z, x, False), before([x, z], z - x), of_one(x)]
        rows.append([(value.difference, value.low, value.high) for value in values])
    for place, name in enumerate(("pairs", "pairs, before", "no pairs", "no pairs, before", "one set")):
        value, low, high = np.array(rows)[:, place].T
        print(f"{name}: {((low <= value.mean()) & (value.mean() <= high)).mean():.3f}")


if __name__ == "__main__":
    main(sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))
