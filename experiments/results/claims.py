"""claims.csv, and its rows for `noise_levels --map`: what predicts the gain from noise?

The gain is the change of a distance by noise, of one network: the largest eta minus the smallest. Below 0, noise helps.
docs/predictions.md says what each number should be.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from experiments.config.trial import Row
from experiments.metrics.distances import METRICS
from experiments.metrics.intervals import ENOUGH_NETWORKS, LEVEL, pooled

BANDS = ((2.85, 30.0), (0.285, 2.85), (0.0, 0.285))  # of sigma
NUMBERS = tuple("difference se low high interval holds_for clear detectable".split())
Network = tuple[float, float, float, str]  # p_mean, p_std, images_seen, training seed
Profiles = Mapping[str, Mapping[float, float]]  # model_id -> sigma -> held-out error
PREDICTED = (-1.7, -1.1, 0.1, 0.7)  # P_means besides the default's that the predictions speak of


def claim_rows(rows: Sequence[Row], profiles: Profiles, p_mean: float, p_std: float) -> Iterator[Row]:
    """Rows of claims.csv.

    Args:
        rows: rows of table.csv that succeeded, without those of the control.
        profiles: the error profile of each network.
        p_mean, p_std: of the default distribution. Networks with this P_std are compared: those with the P_means of
            the predictions if all of these are there, else all. A seed that lacks one of them is left out.
    """
    known = {row["p_mean"] for row in rows if row.get("p_mean") is not None}
    compared = {p_mean, *PREDICTED} if known >= {p_mean, *PREDICTED} else known
    for metric in METRICS:
        gains, models = network_gains(rows, metric)
        lengths = sorted({network[2] for network in gains})
        for images_seen in lengths:
            here = {n: gain for n, gain in gains.items() if n[1:3] == (p_std, images_seen) and n[0] in compared}
            each = list(_by_seed(here, lambda found: _higher_minus_lower(found, p_mean)))
            if each:
                claim = "gain, higher − lower P_mean"
                yield {"claim": claim, "images_seen": images_seen, "metric": metric} | _numbers(each)
        same = {n: gain for n, gain in gains.items() if n[1] == p_std and n[0] in compared}
        for width, chosen in ((p_std, same), (None, gains)):
            for low, high in BANDS:
                errors = {network: _mean_error(profiles[models[network]], low, high) for network in chosen}
                each = list(_by_seed(chosen, lambda found, errors=errors: _correlation(found, errors)))
                if each:
                    labels = {"band_low": low, "band_high": high, "p_std": width, "images_seen": None, "metric": metric}
                    yield {"claim": "rank correlation of −gain with the error"} | labels | _numbers(each)


def network_gains(rows: Sequence[Row], metric: str) -> tuple[dict[Network, float], dict[Network, str]]:
    """The gain of each network that was sampled with and without noise, and its model_id."""
    values: dict[Network, dict[float, float]] = {}
    models: dict[Network, str] = {}
    for row in rows:
        if row.get("p_mean") is not None:
            network = (row["p_mean"], row["p_std"], row["images_seen"], row["train_seed"])
            values.setdefault(network, {})[row["eta"]] = row[metric]
            models[network] = row["model_id"]
    etas = {eta for found in values.values() for eta in found}
    ends = (min(etas), max(etas)) if len(etas) > 1 else ()
    return {
        network: found[ends[1]] - found[ends[0]]
        for network, found in values.items()
        if ends and found.keys() >= {*ends}
    }, models


def _by_seed(gains: Mapping[Network, float], statistic: Any) -> Iterator[float]:
    complete = len({network[:3] for network in gains})
    for seed in dict.fromkeys(network[3] for network in gains):
        here = {network: gain for network, gain in gains.items() if network[3] == seed}
        value = statistic(here) if len(here) == complete else None
        if value is not None:
            yield float(value)


def _higher_minus_lower(gains: Mapping[Network, float], p_mean: float) -> float | None:
    higher = [gain for network, gain in gains.items() if network[0] > p_mean]
    lower = [gain for network, gain in gains.items() if network[0] < p_mean]
    return float(np.mean(higher) - np.mean(lower)) if higher and lower else None


def _correlation(gains: Mapping[Network, float], errors: Mapping[Network, float]) -> float | None:
    """Spearman's rank correlation between the error and the size of the gain, over the networks of one seed."""
    if len(gains) < 4:
        return None
    return float(spearmanr([errors[network] for network in gains], [-gain for gain in gains.values()]).statistic)


def _mean_error(profile: Mapping[float, float], low: float, high: float) -> float:
    return float(np.mean([error for sigma, error in profile.items() if low <= sigma <= high]))


def _numbers(each: Sequence[float]) -> Row:
    """The mean over seeds and its t interval; a few seeds give none, because there is no jackknife to fall back on."""
    found = pooled(each, [0.0] * len(each))
    numbers: Row = {name: getattr(found, name) for name in NUMBERS} | {"level": LEVEL, "n_networks": len(each)}
    if len(each) < ENOUGH_NETWORKS:
        numbers |= dict.fromkeys(("se", "low", "high", "interval", "detectable"), None) | {"clear": False}
    return numbers
