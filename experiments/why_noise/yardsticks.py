"""Further distances between samples and a distribution: a whitened kernel distance, and what a known mixture allows.

Lower is better for each, and draws of the truth have a known value. Each is an array (1 + GROUPS,): its value, then its
delete-group jackknife replicates.
"""

from dataclasses import dataclass

import numpy as np

from experiments.metrics import kernels
from experiments.metrics.distances import Array, Reference
from reports.schema import GROUPS


@dataclass(frozen=True)
class Whitened:
    """Real images in coordinates in which their mean is 0 and their covariance is the identity.

    Args:
        mean: (d,).
        root: (d, d), the inverse square root of the covariance.
        within: mean of the kernel over all pairs of different real images.
    """

    mean: Array
    root: Array
    within: float

    @classmethod
    def of(cls, reference: Reference) -> "Whitened":
        n, d = reference.features.shape
        mean = reference.features.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(reference.features, rowvar=False, bias=True))
        root = vectors * np.sqrt(1 / np.maximum(values, values.max() * 1e-9))
        squares = (((reference.features - mean) @ root) ** 2).sum(axis=1)
        # the sum of (1 + y_i.y_j)^2 over all pairs, from the mean 0 and the second moment 1, without i = j
        total = n**2 * (1 + d) - ((1 + squares) ** 2).sum()
        return cls(mean, root, float(total / (n * (n - 1)) / d))


def whitened_kd(features: Array, real: Whitened) -> Array:
    """The unbiased squared MMD with the kernel (1 + x.y)^2 / d on whitened features.

    It compares means and second moments in units of the real images' own spread, so every direction counts the same.
    For samples of the truth its mean is 0.

    Args:
        features: (n, d).

    Source: Gretton et al. 2012, JMLR 13, Eq. 3 (the estimate), with a polynomial kernel of degree 2.
    """
    x = (features - real.mean) @ real.root
    n, d = x.shape
    across = (1 + (x**2).sum(axis=1)) / d  # the mean over the real images, whose mean is 0 and whose second moment is 1
    kernel = (1 + x @ x.T) ** 2 / d
    np.fill_diagonal(kernel, 0)
    sums = kernel @ kernels.groups(n)
    pairs = np.append(kernels.pair_mean(sums), kernels.pair_means_without(sums))
    return pairs + real.within - 2 * np.append(across.mean(), kernels.means_without(across))


def root_above(fd: Array, floor: float) -> Array:
    """The square root of FD above the floor, 0 below it.

    FD is a squared distance: half of an error leaves a quarter of it, and half of its root.
    """
    return np.asarray(np.sqrt(np.maximum(fd - floor, 0)))


def class_chi2(components: Array, shares: Array) -> Array:
    """Pearson's chi-square of the samples' components over its degrees of freedom.

    Draws of the truth have a mean of about 1.

    Args:
        components: (n,) integers, the most probable component of each sample.
        shares: (K,), the share of each component among draws of the truth. Components with a share of 0 are left out.
    """
    possible = shares > 0
    group = np.arange(len(components)) % GROUPS

    def statistic(kept: Array) -> float:
        counts = np.bincount(components[kept], minlength=len(shares))[possible]
        expected = kept.sum() * shares[possible] / shares[possible].sum()
        return float(((counts - expected) ** 2 / expected).sum() / (possible.sum() - 1))

    return np.array([statistic(group != left) for left in range(-1, GROUPS)])  # -1 leaves out none


def log_density_gap(log_density: Array, truth: Array) -> Array:
    """How far the mean log density of samples is from that of draws of the truth, in nats.

    The size of the gap: samples may be less probable than draws of the truth (blurred, or no images), or more (too
    typical).
    """
    gaps = np.append(log_density.mean(), kernels.means_without(log_density)) - truth.mean()
    return np.asarray(np.sign(gaps[0]) * gaps)
