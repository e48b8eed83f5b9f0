"""The set of settings that cannot be told from the best, from the influence of each image on each setting's MMD.

Every setting is compared with every other one at once. A setting leaves the set if it is worse than some other setting
by more than chance explains in so many comparisons. The set contains the truly best setting with probability 95 %
(multiple comparisons with the best: Hsu 1984, Ann. Statist. 12, 1136). The critical value is the 95 % quantile of the
largest standardised difference (max-t: Hothorn, Bretz & Westfall 2008, Biom. J. 50, 346), for values that are jointly
normal with the covariance over images. Settings that share their initial noise are correlated, so pairing is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.metrics.distances import Array
from experiments.metrics.intervals import ENOUGH_NETWORKS, LEVEL

DRAWS = 4_000  # of the joint normal distribution
MANY = 200  # settings, above which Bonferroni's bound replaces the quantile: it is close then, and takes no time
SEED = 5


@dataclass(frozen=True)
class Standing:
    """One setting against the best of the other settings.

    `difference` is its value minus that of the best other setting. `low` and `high` are one-sided 95 % limits of it,
    corrected for the number of other settings. `worse`: it is not in the set of the best, since `low` is above 0.
    """

    difference: float
    low: float
    high: float
    worse: bool


def best_set(values: Array, influences: Sequence[Array]) -> list[Standing]:
    """One standing per setting.

    Args:
        values: (K, S) MMD of each setting with each network. Lower is better.
        influences: for each network (n, S): what each image adds to each MMD, mean 0 (see distances.influence). Image
            i of all settings has the same initial noise.

    Note: with five networks or more, the margin of a difference is the wider of that and Student's t over networks
        with Bonferroni's correction.
    """
    mean, margins = values.mean(axis=0), _over_images(influences)
    if len(values) >= ENOUGH_NETWORKS:
        margins = np.maximum(margins, _over_networks(values))
    out = []
    for setting, value in enumerate(mean):
        others = [other for other in range(len(mean)) if other != setting]
        differences = value - mean[others]
        margin = margins[setting, others]
        closest = int(np.argmax(differences))  # the best of the others
        low, high = float((differences - margin).max()), float((differences + margin).max())
        out.append(Standing(float(differences[closest]), low, high, bool(low > 0)))
    return out


def _over_networks(values: Array) -> Array:
    """The margins (S, S) of all differences: of each setting against each other one, over networks."""
    n, settings = values.shape
    differences = values[:, :, None] - values[:, None, :]
    critical = stats.t.ppf(1 - (1 - LEVEL) / max(settings - 1, 1), n - 1)
    return np.asarray(critical * differences.std(axis=0, ddof=1) / np.sqrt(n))


def _over_images(influences: Sequence[Array]) -> Array:
    """The same margins (S, S) over images."""
    settings = influences[0].shape[1]
    covariance = np.zeros((settings, settings))
    for terms in influences:
        n = len(terms)
        covariance += terms.T @ terms / (n * (n - 1)) / len(influences) ** 2
    variances = np.diag(covariance)
    spread = np.sqrt(np.clip(variances[:, None] + variances[None, :] - 2 * covariance, 0, None))
    if settings > MANY:
        return np.asarray(spread * stats.norm.ppf(1 - (1 - LEVEL) / (settings - 1)))
    eigenvalues, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(eigenvalues.clip(min=0))
    noise = np.random.default_rng(SEED).standard_normal((DRAWS, settings)) @ root.T
    critical = np.empty(settings)
    for setting in range(settings):
        gaps = noise[:, [setting]] - noise
        largest = np.divide(gaps, spread[setting], out=np.zeros_like(gaps), where=spread[setting] > 0).max(axis=1)
        critical[setting] = np.quantile(largest, LEVEL)
    return np.asarray(spread * critical[:, None])
