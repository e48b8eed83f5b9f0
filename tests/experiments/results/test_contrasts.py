"""Contrasts know the number of comparisons, their power, and whether their samples are images."""

from dataclasses import replace

import numpy as np
import pytest

from diffusion_core.samplers import Euler
from experiments.config.comparison import Contrast
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Row, Trial
from experiments.metrics.intervals import pooled, pooled_scores
from experiments.results.contrasts import Measured, adjusted_for_number, measured_rows, to_settle
from reports.schema import JUDGE, METRICS

GROUPS = 20


def trial(eta: float, seed: int, **training: float) -> Trial:
    train = replace(TrainConfig(seed=seed), **training)
    return Trial(
        "test",
        "any",
        ScoreConfig(SampleConfig(train, Ladder(n_steps=4), Euler(eta), 500, seed), REFERENCE),
        f"eta {eta:g}",
    )


REFERENCE = ReferenceConfig("mnist5k", "digits", "")


def measured(
    difference: float, se: float, n_networks: int = 2, family: str = "", eta: float = 1.0, **training: float
) -> Measured:
    """eta 1 against eta 0, or a training against the default one."""
    pairs = tuple((trial(eta, seed, **training), trial(0.0, seed)) for seed in range(n_networks))
    spread = np.linspace(-1, 1, GROUPS)
    spread *= se * np.sqrt(n_networks) / np.sqrt((GROUPS - 1) / GROUPS * (spread**2).sum())
    a = dict.fromkeys(METRICS, np.append(1 + difference, spread))
    return Measured(
        Contrast("explored", "any", "a", "b", pairs, family=family),
        pairs,
        [(a, dict.fromkeys(METRICS, np.append(1, np.zeros(GROUPS))))] * n_networks,
    )


def rows(one: Measured, quality: float = 0.8) -> Row:
    ok = {trial.run_id: made_row(trial, quality) for pair in one.pairs for trial in pair}
    floors = [
        {"data": "mnist5k", "features": "digits", "n_samples": 500, "n_reference": 4500, "metric": name, "mean": 0.9}
        for name in ("precision", "recall")
    ]
    return [row for row in measured_rows(one, ok, floors) if row["metric"] == JUDGE][-1]


def made_row(trial: Trial, quality: float) -> Row:
    return {
        "experiment": "test", "data": "mnist5k", "network": "small", "trained_by": "sigmabench", "features": "digits",
        "n_samples": 500, "n_reference": 4500, "precision": quality, "recall": quality, "seconds": 30.0,
        "run_id": trial.run_id,
    }  # fmt: skip


def test_standard_error_of_the_helper_is_the_one_asked_for() -> None:
    assert measured(-0.1, 0.03).estimate(JUDGE).se == pytest.approx(0.03)


def test_holm_takes_back_what_only_one_of_many_comparisons_finds() -> None:
    alone = measured(-0.1, 0.045, family="f")  # p = 0.03
    others = [measured(-0.01, 0.045, family="f", eta=eta) for eta in (0.2, 0.4, 0.6)]
    assert alone.estimate(JUDGE).clear
    corrected = adjusted_for_number([alone, *others])
    assert not corrected[0].estimate(JUDGE).clear and rows(corrected[0])["adjusted"] == "Holm, 4 comparisons"
    assert rows(corrected[0])["verdict"] == "not detectable"
    assert rows(corrected[0])["p_adjusted"] == pytest.approx(4 * rows(corrected[0])["p_value"])
    strong = adjusted_for_number([measured(-0.3, 0.045, family="f"), *others])[0]
    assert rows(strong)["verdict"] == "better"
    [family_of_one] = adjusted_for_number([alone])
    assert family_of_one.estimate(JUDGE) == alone.estimate(JUDGE)
    stricter = pooled_scores(alone.differences(JUDGE), 1 - 0.05 / 4)
    assert corrected[0].estimate(JUDGE).detectable == stricter.detectable


def test_the_same_runs_compared_in_two_modes_count_once_and_get_one_verdict() -> None:
    first, other = measured(-0.1, 0.045, family="f"), measured(-0.01, 0.045, family="f", eta=0.5)
    again = replace(first, contrast=replace(first.contrast, mode="pareto"))
    found = adjusted_for_number([first, other, again])
    assert {rows(one)["adjusted"] for one in found} == {"Holm, 2 comparisons"}
    assert found[0].p_adjusted == found[2].p_adjusted and found[2].contrast.mode == "pareto"


def test_samples_that_are_no_images_get_no_verdict() -> None:
    one = measured(-0.3, 0.03)
    assert rows(one)["verdict"] == "better" and rows(one)["no_verdict"] is None
    assert rows(one, quality=0.02)["verdict"] == "better"  # poor, but a result
    static = rows(one, quality=0.01)
    assert static["verdict"] == "no verdict" and not static["clear"]
    assert static["no_verdict"].startswith("the samples are no images")
    small = measured(-0.2, 0.2)
    assert "n_to_settle" in rows(small) and "n_to_settle" not in rows(small, quality=0.01)


def test_the_metric_that_decides_makes_the_verdict_also_if_another_says_the_opposite() -> None:
    one, opposite = measured(-0.3, 0.03), measured(0.3, 0.03)
    scored = [({**a, "fd": other["fd"]}, b) for (a, b), (other, _) in zip(one.scored, opposite.scored, strict=True)]
    assert rows(replace(one, scored=scored))["verdict"] == "better"


def test_settings_with_their_own_training_need_five_networks() -> None:
    few = rows(measured(-0.3, 0.03, n_networks=4, lr=1e-3))
    assert few["verdict"] == "no verdict" and "over 5 networks or more" in few["no_verdict"]
    assert rows(measured(-0.3, 0.03, n_networks=4))["verdict"] == "better"
    assert rows(measured(-0.3, 0.03, n_networks=5, lr=1e-3))["verdict"] != "no verdict"


def test_images_to_settle_a_difference_give_the_power_that_is_asked_for() -> None:
    estimate = pooled([-0.02, -0.02], [0.02, 0.02])
    found = to_settle(estimate, smallest=0.01, n=500, n_networks=2, seconds=60)
    n = found["n_to_settle"]
    assert n == pytest.approx(500 * (estimate.detectable / 0.02) ** 2, rel=1e-2)
    assert found["minutes_to_settle"] == pytest.approx(n / 500, rel=1e-2)
    scale = np.sqrt(500 / n)
    assert pooled([-0.02, -0.02], [0.02 * scale] * 2).detectable == pytest.approx(0.02, rel=1e-2)
    tiny = to_settle(pooled([-1e-9, -1e-9], [0.02, 0.02]), smallest=0.01, n=500, n_networks=2, seconds=60)
    assert tiny["n_to_settle"] == pytest.approx(500 * (estimate.detectable / 0.01) ** 2, rel=1e-2)
    assert to_settle(pooled([-1.0, -1.0], [0.02, 0.02]), 0.01, 500, 2, 60) == {}  # clear already
    many = to_settle(pooled([-1.0, 1.0, 2.0, -2.0, 0.5], [0.1] * 5), 0.01, 500, 5, 60)
    assert set(many) == {"networks_to_settle"} and many["networks_to_settle"] > 5
    row = rows(measured(-1e-9, 0.2))  # a tenth of the score of the other side is of interest
    assert row["n_to_settle"] == pytest.approx(500 * (row["detectable"] / 0.1) ** 2, abs=1)
