"""All differences between settings at once, so that a page's verdicts and its set of the best cannot contradict.

Every interval of a family holds with all others at once, with probability 95 %. Over images the margin is the 95 %
quantile of the largest standardised difference (max-t: Hothorn, Bretz & Westfall 2008, Biom. J. 50, 346), whose joint
distribution follows from what each image adds to each distance; settings that share their noise are correlated, and
that is used. With five networks or more, the margin is the wider of that and one over networks: Student's t with
Bonferroni's correction, where the variance of each pair is moderated by those of all pairs (Smyth 2004, Stat. Appl.
Genet. Mol. Biol. 3, 3). Five networks alone say little about a variance: without that the margins of 570 pairs are
twice as wide. The others count at most as much as a pair's own, which keeps the coverage where variances differ.

A setting is in the set of the best unless some other one is better by more than its interval. So the set contains the
best setting with the same 95 % (Hsu 1984, Ann. Statist. 12, 1136).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from experiments.distances.distance import Array, Distance
from experiments.distances.intervals import ENOUGH_NETWORKS, LEVEL, POWER, Estimate, freedom, how, over_networks

DRAWS = 20_000  # of the joint distribution: the quantile of the largest is then known to half a per cent
AT_ONCE = 500  # draws
SEED = 5


@dataclass(frozen=True)
class Way:
    """One way to a margin for S settings: over images, or over networks.

    Args:
        se: (S, S) standard errors of all differences.
        freedom: degrees of freedom of these.
        critical: the margin of a difference as a multiple of its standard error.
        tail: (S, S) p values, adjusted for all pairs.
        name: how intervals are made this way.
    """

    se: Array
    freedom: float
    critical: float
    tail: Array
    name: str


@dataclass(frozen=True)
class Family:
    """All differences between settings that are compared.

    Args:
        values: (S,) the mean distance of each setting over networks.
        compared: (S, S) whether two settings are compared; symmetric.
        ways: over images, and over networks where there are enough.
        holds_for: how many networks it holds for; None if it speaks of networks in general.
    """

    values: Array
    compared: NDArray[np.bool_]
    ways: Sequence[Way]
    holds_for: int | None
    margins: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "margins", np.max([way.critical * way.se for way in self.ways], axis=0))

    def difference(self, a: int, b: int) -> Estimate:
        """Setting a minus setting b. ValueError if they are not compared."""
        if not self.compared[a, b]:
            raise ValueError(f"settings {a} and {b} are not compared in this family")
        way = max(self.ways, key=lambda way: way.critical * way.se[a, b])
        value, margin, se = float(self.values[a] - self.values[b]), float(self.margins[a, b]), float(way.se[a, b])
        detectable = margin + float(stats.t.ppf(POWER, way.freedom)) * se
        p_value = max(float(each.tail[a, b]) for each in self.ways)
        return Estimate(
            value, se, value - margin, value + margin, way.name, abs(value) > margin, p_value, detectable,
            holds_for=self.holds_for,
        )  # fmt: skip

    def best(self, among: Sequence[int]) -> list[bool]:
        """Of these settings, which are in the set of the best: no other one of them is clearly better."""
        return [self.to_best(setting, among)[1] <= 0 for setting in among]

    def to_best(self, setting: int, among: Sequence[int]) -> tuple[float, float, float]:
        """A setting minus the best of the others among some, with its limits; NaN and infinite if there are none."""
        all_others = [self.difference(setting, other) for other in among if other != setting]
        if not all_others:
            return np.nan, -np.inf, np.inf
        return tuple(max(getattr(one, name) for one in all_others) for name in ("difference", "low", "high"))

    @property
    def pairs(self) -> int:
        """How many differences there are."""
        return int(self.compared.sum()) // 2

    @property
    def how(self) -> str:
        """How its intervals are made."""
        return f"the wider of {' and '.join(way.name for way in self.ways)}" if self.ways[1:] else self.ways[0].name


def family(
    distances: Sequence[Sequence[Distance]],
    compared: NDArray[np.bool_] | None = None,
    *,
    paired: bool = True,
    level: float = LEVEL,
) -> Family:
    """All differences of one distance, such as MMD, between settings.

    Args:
        distances: S settings, each with one distance for each of K networks; network k is the same of all.
        compared: (S, S) which settings are compared with each other; all if None.
        paired: whether image i of all settings comes from the same noise.
        level: the probability that all intervals hold.

    Raises:
        ValueError: settings have different numbers of networks, or images belong to real ones of different number.
    """
    if len({len(each) for each in distances}) != 1:
        raise ValueError(f"settings have {sorted({len(each) for each in distances})} networks; all need the same")
    size = len(distances)
    same = (np.ones((size, size), bool) if compared is None else compared | compared.T) & ~np.eye(size, dtype=bool)
    values, pairs = np.array([[each.value for each in setting] for setting in distances]), int(same.sum()) // 2
    networks, enough = values.shape[1], values.shape[1] >= ENOUGH_NETWORKS
    mean = values.mean(axis=1)
    gaps = np.abs(mean[:, None] - mean)
    ways = [_over_images(distances, gaps, same, paired, level)]
    if enough:
        ways.append(_over_networks(values, gaps, same, pairs, level))
    return Family(mean, same, ways, None if enough else networks)


def _over_images(
    distances: Sequence[Sequence[Distance]], gaps: Array, same: NDArray[np.bool_], paired: bool, level: float
) -> Way:
    covariance = np.mean([_covariance(each, paired) for each in zip(*distances, strict=True)], axis=0)
    covariance = covariance / len(distances[0])  # of a mean over networks
    variances = np.diag(covariance)
    se = np.sqrt(np.clip(variances[:, None] + variances - 2 * covariance, 0, None)) * same
    degrees = min(freedom(each) for setting in distances for each in setting) * len(distances[0])
    ratios = np.divide(gaps, se, out=np.where(gaps > 0, np.inf, 0.0), where=se > 0)
    if same.sum() <= 2:  # one pair: its law is known
        critical, tail = float(stats.t.isf((1 - level) / 2, degrees)), 2 * stats.t.sf(ratios, degrees)
    else:
        largest = np.sort(_largest(covariance, se, degrees))
        critical = float(np.quantile(largest, level))
        tail = (1 + len(largest) - np.searchsorted(largest, ratios)) / (1 + len(largest))
    return Way(se, degrees, critical, np.where(same, tail, 1.0), how(distances[0][0]))


def _covariance(distances: Sequence[Distance], paired: bool) -> Array:
    """The covariance (S, S) over images of one network's distances."""
    own, real = (_scaled([getattr(each, part) for each in distances]) for part in ("own", "real"))
    ours = own.T @ own
    return np.asarray((ours if paired else np.diag(np.diag(ours))) + real.T @ real)


def _scaled(columns: Sequence[Array]) -> Array:
    """(n, S), whose products are covariances: what each image adds, by sqrt(n (n - 1)); 0 where a column is shorter."""
    out = np.zeros((max(map(len, columns)), len(columns)))
    for place, terms in enumerate(columns):
        out[: len(terms), place] = terms / max(len(terms) * (len(terms) - 1), 1) ** 0.5
    return out


def _largest(covariance: Array, se: Array, degrees: float) -> Array:
    """Draws (DRAWS,) of the largest standardised difference of a multivariate t distribution."""
    eigenvalues, axes = np.linalg.eigh(covariance)
    root, rng = (axes * np.sqrt(eigenvalues.clip(min=0))).T, np.random.default_rng(SEED)
    weights = np.divide(1, se, out=np.zeros_like(se), where=se > 0)
    out = []
    for _ in range(0, DRAWS, AT_ONCE):
        noise = rng.standard_normal((AT_ONCE, len(root))) @ root
        scale = np.sqrt(rng.chisquare(degrees, AT_ONCE) / degrees)
        largest = np.zeros(AT_ONCE)
        for setting in range(len(root)):  # not (draws, S, S): S is a hundred and more
            others = np.abs(noise[:, [setting]] - noise[:, :setting]) * weights[setting, :setting]
            np.maximum(largest, others.max(axis=1, initial=0), out=largest)
        out.append(largest / scale)
    return np.concatenate(out)


def _over_networks(values: Array, gaps: Array, same: NDArray[np.bool_], pairs: int, level: float) -> Way:
    own = values.shape[1] - 1
    variances = (values[:, None] - values).var(axis=2, ddof=1)
    prior, variance = _prior(variances[np.triu(same)], own)
    moderated = np.where(same, (prior * variance + own * variances) / (prior + own), 0)
    se, degrees = np.sqrt(moderated / values.shape[1]), float(prior + own)
    ratios = np.divide(gaps, se, out=np.where(gaps > 0, np.inf, 0.0), where=se > 0)
    tail = np.where(same, np.minimum(1, pairs * 2 * stats.t.sf(ratios, degrees)), 1.0)
    return Way(se, degrees, float(stats.t.isf((1 - level) / 2 / max(pairs, 1), degrees)), tail, over_networks(own + 1))


def _prior(variances: Array, own: int) -> tuple[float, float]:
    """How many degrees of freedom the variances of all pairs lend to each one, at most its `own`; and their centre.

    Smyth 2004, Section 6.2: moments of log variances. Variances that are 0 say nothing about others.
    """
    logs = np.log(variances[variances > 0])
    if len(logs) < 2:
        return 0.0, 0.0
    logs = logs - special.digamma(own / 2) + np.log(own / 2)
    beyond = float(logs.var(ddof=1) - special.polygamma(1, own / 2))
    lent = float(own)
    if beyond > special.polygamma(1, own / 2):  # then the degrees of freedom are fewer than `own`
        lent = float(2 * _inverse_trigamma(beyond))
    return lent, float(np.exp(logs.mean() + special.digamma(lent / 2) - np.log(lent / 2)))


def _inverse_trigamma(value: float) -> float:
    """x with trigamma(x) = value, by Newton's method (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        x += trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
    return x
