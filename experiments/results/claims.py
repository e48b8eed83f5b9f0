"""claims.csv, and its rows for `noise_levels --map`: what predicts the gain from noise?

The gain is the change of a distance by noise, of one network: the largest eta minus the smallest. Below 0, noise helps.
docs/predictions.md says what each number should be.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd
from scipy.stats import spearmanr

from experiments.config.trial import Row
from experiments.metrics.distances import METRICS
from experiments.metrics.intervals import ENOUGH_NETWORKS, LEVEL, pooled

BANDS = ((2.85, 30.0), (0.285, 2.85), (0.0, 0.285))  # of sigma
NUMBERS = tuple("difference se low high interval holds_for clear detectable".split())
NETWORK = ["p_mean", "p_std", "images_seen", "train_seed"]  # what tells networks apart
PREDICTED = (-1.7, -1.1, 0.1, 0.7)  # P_means besides the default's that the predictions speak of


def claim_rows(rows: Sequence[Row], curves: Sequence[Row], p_mean: float, p_std: float) -> Iterator[Row]:
    """Rows of claims.csv.

    Args:
        rows: rows of table.csv that succeeded, without those of the control.
        curves: rows of curves.csv, the held-out error of each network by noise level.
        p_mean, p_std: of the default distribution. Networks with this P_std are compared: those with the P_means of
            the predictions if all of these are there, else all. A seed that lacks one of them is left out.
    """
    if len({row["eta"] for row in rows}) < 2:
        return
    known, wanted = {row["p_mean"] for row in rows if row.get("p_mean") is not None}, {p_mean, *PREDICTED}
    profiles = pd.DataFrame(curves)
    for metric in METRICS:
        gains = network_gains(rows, metric)
        compared = gains[(gains["p_std"] == p_std) & gains["p_mean"].isin(wanted if known >= wanted else known)]
        for images_seen in sorted(gains["images_seen"].unique()):
            here = compared[compared["images_seen"] == images_seen]
            if each := _by_seed(here, partial(_higher_minus_lower, p_mean=p_mean)):
                claim = "gain, higher − lower P_mean"
                yield {"claim": claim, "images_seen": images_seen, "metric": metric} | _numbers(each)
        for width, chosen in ((p_std, compared), (None, gains)):
            for low, high in BANDS:
                errors = profiles[profiles["sigma"].between(low, high)].groupby("model_id")["relative_error"].mean()
                if each := _by_seed(chosen.assign(error=chosen["model_id"].map(errors)), rank_correlation):
                    labels = {"band_low": low, "band_high": high, "p_std": width, "images_seen": None, "metric": metric}
                    yield {"claim": "rank correlation of −gain with the error"} | labels | _numbers(each)


def network_gains(rows: Sequence[Row], metric: str) -> pd.DataFrame:
    """The gain of each network that was sampled with and without noise: `NETWORK`, model_id and gain."""
    frame = pd.DataFrame(rows, columns=[*NETWORK, "model_id", "eta", metric]).dropna(subset=["p_mean"])
    values = frame.pivot(index=[*NETWORK, "model_id"], columns="eta", values=metric)
    gains = values[values.columns.max()] - values[values.columns.min()]
    return gains.dropna().rename("gain").reset_index()


def _by_seed(gains: pd.DataFrame, statistic: Callable[[pd.DataFrame], float | None]) -> list[float]:
    """The statistic of each seed that lacks no network that another seed has."""
    complete = len(gains.drop_duplicates(NETWORK[:3]))
    values = [statistic(same) for _, same in gains.groupby("train_seed") if len(same) == complete]
    return [float(value) for value in values if value is not None]


def _higher_minus_lower(gains: pd.DataFrame, p_mean: float) -> float | None:
    higher, lower = gains["gain"][gains["p_mean"] > p_mean], gains["gain"][gains["p_mean"] < p_mean]
    return higher.mean() - lower.mean() if len(higher) and len(lower) else None


def rank_correlation(gains: pd.DataFrame) -> float | None:
    """Spearman's rank correlation between the error and the size of the gain, over the networks of one seed."""
    return spearmanr(gains["error"], -gains["gain"]).statistic if len(gains) >= 4 else None


def _numbers(each: Sequence[float]) -> Row:
    """The mean over seeds and its t interval; a few seeds give none, because there is no jackknife to fall back on."""
    found = pooled(each, [0.0] * len(each))
    numbers: Row = {name: getattr(found, name) for name in NUMBERS} | {"level": LEVEL, "n_networks": len(each)}
    if len(each) < ENOUGH_NETWORKS:
        numbers |= dict.fromkeys(("se", "low", "high", "interval", "detectable"), None) | {"clear": False}
    return numbers
