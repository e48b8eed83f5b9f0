"""What error profiles say about gains: signs, pairing by seed, and no interval over a few seeds."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest

from experiments.metrics.intervals import pooled
from experiments.results.claims import BANDS, claim_rows, network_gains, rank_correlation
from reports.schema import METRICS

P_MEANS, LENGTHS = (-0.5, -1.5, 0.5), (100.0, 300.0)


def rows(n_seeds: int, gain_of: dict[float, float]) -> list[dict[str, object]]:
    """Runs whose gain depends on P_mean, less after longer training, with a little spread over seeds."""
    generator, out = np.random.default_rng(0), []
    for p_mean, p_std, length, seed in product(P_MEANS, (1.2, 0.8), LENGTHS, range(n_seeds)):
        gain = gain_of[p_mean] * 100 / length + 0.001 * generator.normal()
        for eta, value in ((0.0, 5.0), (1.0, 5.0 + gain)):
            out.append({"p_mean": p_mean, "p_std": p_std, "images_seen": length, "train_seed": seed, "eta": eta,
                        **dict.fromkeys(METRICS, value), "model_id": f"{p_mean} {p_std} {length} {seed}"})  # fmt: skip
    return out


GAINS = {-1.5: -3.0, -0.5: -2.0, 0.5: -1.0}


def curves(found: list[dict[str, object]]) -> list[dict[str, object]]:
    """The error at high levels follows the gain, that at middle levels opposes it, that at low ones is the same."""
    points = []
    for row in found:
        size = -GAINS[float(row["p_mean"])] * 100 / float(row["images_seen"])  # type: ignore[arg-type]
        for sigma, error in ((10.0, size), (1.0, 1 / size), (0.1, 0.5)):
            points.append({"model_id": row["model_id"], "sigma": sigma, "relative_error": error})
    return points


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
def test_claims_have_the_signs_of_the_made_up_truth() -> None:
    found = rows(5, GAINS)
    keys = ("claim", "images_seen", "band_low", "p_std")
    made = claim_rows(found, curves(found), -0.5, 1.2)
    claims = {tuple(map(row.get, keys)): row for row in made if row["metric"] == "fd"}
    trend = claims["gain, higher − lower P_mean", 100.0, None, None]
    assert trend["difference"] == pytest.approx(2.0, abs=0.01) and trend["low"] > 0 and trend["n_networks"] == 5
    name, (high, middle, _) = "rank correlation of −gain with the error", BANDS
    for p_std in (1.2, None):
        assert claims[name, None, high[0], p_std]["difference"] > 0.9
        assert claims[name, None, middle[0], p_std]["difference"] < -0.9


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
def test_few_seeds_give_no_interval() -> None:
    found = rows(2, GAINS)
    for row in claim_rows(found, curves(found), -0.5, 1.2):
        assert row["low"] is None and row["interval"] is None and not row["clear"]


def test_a_network_without_both_etas_has_no_gain() -> None:
    gains = network_gains([row for row in rows(1, GAINS) if row["eta"] == 0.0 or row["p_mean"] == 0.5], "fd")
    assert set(gains["p_mean"]) == {0.5}


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_the_interval_of_a_mean_rank_correlation_covers_it(correlation: float) -> None:
    """Ten networks in each of five seeds, as prediction 9 has them: 300 simulated runs."""
    generator, found = np.random.default_rng(2), []
    for _ in range(300):
        each = []
        for _ in range(5):
            error = generator.normal(size=10)
            size = correlation * error + math.sqrt(1 - correlation**2) * generator.normal(size=10)
            each.append(rank_correlation(pd.DataFrame({"gain": -size, "error": error})))
        found.append(pooled(each, [0.0] * 5))
    mean = np.mean([one.difference for one in found])
    covered = np.mean([one.low <= mean <= one.high for one in found])
    assert abs(covered - 0.95) < 0.03
