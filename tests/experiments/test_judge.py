"""Contrasts, answers and sets of the best on tables that are made up."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.distances.distance import Distance
from experiments.distances.intervals import estimate_pairs
from experiments.judge import answer, judge
from experiments.run.pairs import Pair
from reports.schema import (
    BETTER_THAN_CHEAPEST,
    CHEAPER,
    CHEAPEST,
    CONFIRM,
    EXPLORATION,
    IN_USE,
    METRICS,
    PRIMARY,
    RIVAL,
    TOO_NOISY,
    Row,
)

N = 200
OF_SAMPLES = {"data": "d", "features": "f", "n_samples": N, "n_reference": 800}
FLOORS = [OF_SAMPLES | {"metric": metric, "mean": 0.8} for metric in ("precision", "recall")]


def runs(label: str, value: Any, networks: int = 2, failed: int = 0, section: str = "g", **row: Any) -> list[Row]:
    """The rows of a setting with this distance, or these of its networks, of which the last ones failed."""
    values = [value] * networks if isinstance(value, float) else value
    rows = list[Row]()
    for seed, one in enumerate(values):
        ids = {"run_id": f"{section}{label}{seed}", "model_id": f"m{seed}", "samples_id": f"{section}{label}{seed}"}
        scores = dict.fromkeys(METRICS, one) | {"precision": 0.6, "recall": 0.6}
        named = {"section": section, "budget": None, "setting": label, "status": "ok", "train_seed": seed, "nfe": 8}
        rows.append(OF_SAMPLES | ids | scores | named | row)
    for row in rows[len(rows) - failed :]:
        row["status"] = "failed"
    return rows


def added(rows: Sequence[Row]) -> dict[str, dict[str, Distance]]:
    """To each distance each image adds noise of size 1."""
    out = {}
    for row in rows:
        terms = np.random.default_rng(sum(row["setting"].encode()) + row["train_seed"]).normal(size=N)
        out[row["run_id"]] = {name: Distance(row[name], terms - terms.mean()) for name in METRICS}
    return out


def pair(a: str, b: str, family: str = EXPLORATION, section: str = "g", **more: Any) -> Pair:
    return Pair("q", [(section, 0, a)], [(section, 0, b)], family, **more)


def judged(rows: Sequence[Row], *pairs: Pair, metric: str = "mmd") -> dict[str, pd.Series]:
    """The rows of contrasts.csv in one metric, by the names of their first sides."""
    found = judge(pd.DataFrame(rows), pairs, pd.DataFrame(FLOORS), added(rows))
    return {row["a"]: row for _, row in found[found["metric"] == metric].iterrows()}


def many(**values: float) -> list[Row]:
    return [row for label, value in values.items() for row in runs(label, value)]


def test_a_primary_contrast_has_its_own_interval_whatever_else_is_compared():
    rows = many(a=0.0, b=0.3, c=0.4, d=0.5)
    row = judged(rows, pair("a", "b", PRIMARY), pair("c", "a"), pair("d", "a"))["a"]
    terms = added(rows)
    alone = estimate_pairs([(terms[f"ga{seed}"]["mmd"], terms[f"gb{seed}"]["mmd"]) for seed in (0, 1)])
    assert (row["low"], row["high"], row["p"], row["compared"]) == (alone.low, alone.high, alone.p, 1)


def test_verdicts_are_corrected_for_a_family_and_intervals_are_not():
    rows = many(a=0.3, b=0.0, c=0.05, d=0.7)
    found = judged(rows, *(pair(name, "a") for name in "bcd"))
    assert [found[name]["verdict"] for name in "bd"] == ["better", "worse"]
    alone = judged(rows, pair("b", "a"))["b"]
    assert {row["compared"] for row in found.values()} == {3}
    assert found["b"]["high"] == alone["high"] and found["b"]["detectable"] > alone["detectable"]
    near = many(a=0.16, b=0.0)  # clear alone, and not among eight
    others = [row for name in "cdefghij" for row in runs(name, 0.0, section="h")]
    pairs = [pair("b", "a"), *(pair(name, "c", section="h") for name in "defghij")]
    assert judged(near, pair("b", "a"))["b"]["verdict"] == "better"
    assert judged([*near, *others], *pairs)["b"]["verdict"] == "not significant after correction"


def test_five_networks_speak_for_others_and_a_row_says_on_how_many_a_is_lower():
    a, b = [4.0, 4.6, 3.5, 5.2, 4.1], [5.0, 5.1, 4.9, 5.0, 5.05]
    rows = [*runs("a", a, visible_noise=0.01), *runs("b", b, visible_noise=0.02)]
    found = judge(pd.DataFrame(rows), [pair("a", "b")], pd.DataFrame(FLOORS))  # what images add is not asked for
    assert [*found["metric"]] == [*METRICS, "precision", "recall", "visible_noise"]
    mmd = found.iloc[0]
    d = np.subtract(a, b)
    assert (mmd["lower"], mmd["n"], mmd["each"]) == (4, 5, "-1 -0.5 -1.4 0.2 -0.95")
    assert mmd["high"] - mmd["low"] == pytest.approx(2 * 2.7764451 * d.std(ddof=1) / 5**0.5)
    assert found["difference"].iloc[-1] == pytest.approx(-0.01) and found["verdict"].nunique() == 1


RETRAINED = {"model_id": "another"}
STATIC = {"precision": 0.0, "recall": 0.0}


@pytest.mark.parametrize("a, b, reason", [
    ({}, {"failed": 1}, "1 of its 2 runs failed"),
    ({}, {"status": "not begun"}, None),
    ({}, RETRAINED, "settings with their own training are compared over 5 networks or more"),
    ({"trained_by": "others"}, RETRAINED | {"trained_by": "others"}, ""),
    ({"networks": 5}, RETRAINED | {"networks": 5}, ""),
    (STATIC, STATIC,
     "the samples do not look like images: precision and recall are at most 1%, of real images above 50%"),
    (STATIC, {}, ""),
])  # fmt: skip
def test_what_gets_no_verdict_says_why_and_leaves_the_others_theirs(a: Any, b: Any, reason: str | None):
    """A pair none of whose networks ran both has no row."""
    rows = [*runs("a", 0.0, **a), *runs("b", 0.9, **b), *runs("c", 0.9, **{"networks": a.get("networks", 2)})]
    found = judged(rows, pair("b", "a"), pair("c", "a"))
    if reason is None:
        assert "b" not in found
    else:
        assert (found["b"]["verdict"], found["b"]["reason"]) == ("no verdict" if reason else "worse", reason)
    assert found["c"]["verdict"] == "worse"


def test_the_primary_contrast_is_of_the_networks_that_are_left():
    rows = [*runs("a", [9.0, 0.8, 0.8, 0.8, 0.8]), *runs("b", [9.0, 0.2, 0.2, 0.2, 0.2], failed=1)]
    row = judged(rows, pair("b", "a", PRIMARY))["b"]
    assert row["verdict"] == "better" and row["n"] == 4 and row["difference"] == pytest.approx(-0.45)


def test_the_same_samples_under_two_names_are_one_comparison():
    rows = [*runs("a", 0.5), *runs("b", 0.0), *runs("c", 0.6)]
    again = [row | {"section": "h", "setting": row["setting"].upper()} for row in rows[:4]]
    found = judged([*rows, *again], pair("b", "a"), pair("c", "a"), pair("B", "A", section="h"))
    assert {(a, row["compared"]) for a, row in found.items()} == {(a, 2) for a in "bcB"}


def test_what_was_planned_and_has_no_verdict_counts_too():
    """The smallest p value is multiplied by the number of planned comparisons: c failed, and d was not asked for."""
    rows = [*runs("a", 0.14), *runs("b", 0.0), *runs("c", 0.9, failed=1)]
    pairs = [pair("b", "a"), pair("c", "a"), pair("d", "a")]
    assert judged(rows, pairs[0])["b"]["verdict"] == "better"
    row = judged(rows, *pairs)["b"]
    assert row["compared"] == 3 and (row["verdict"] == "better") == (3 * row["p"] <= 0.05)


def test_equal_scores_are_no_difference():
    assert judged(many(a=0.1) + many(b=0.1), pair("b", "a"))["b"]["verdict"] == "no difference detected"


# --- what is advised ---


def advise(scores: dict[str, float], *pairs: Pair, noisy: str = "") -> dict[str, str]:
    """What is advised, and why, by the setting; five networks with little noise."""
    spread = np.array([-2, -1, 0, 1, 2]) * 0.01
    rows = [
        row
        for name, score in scores.items()
        for row in runs(
            name, [*(score + spread * (1 + ord(name) % 3))], section="s",
            visible_noise=0.06 if name in noisy else 0.01, nfe=8 * (1 + name.isupper()),
        )
    ]  # fmt: skip
    found = answer(judge(pd.DataFrame(rows), pairs, pd.DataFrame(FLOORS)), pd.DataFrame(rows))
    assert len(found) == len(pairs)
    chosen = found[found["advised"]]
    return dict(zip(chosen["use"], chosen["reason"], strict=True))


def against(a: str, b: str, b_is: str, within: int = 8, family: str = CONFIRM) -> Pair:
    return pair(a, b, family, "s", b_is=b_is, within=within)


RIVALS = against("a", "b", RIVAL), against("A", "b", RIVAL, 16)
DEFAULTS = against("a", "d", IN_USE), against("A", "D", IN_USE, 16)


@pytest.mark.parametrize("scores, pairs, noisy, expected", [
    ({"a": 1, "b": 2, "A": 2}, RIVALS, "", {"a": CHEAPEST}),
    ({"a": 2, "b": 1, "A": 2}, RIVALS, "", {"b": CHEAPEST}),
    ({"a": 1, "b": 1.001, "A": 2}, RIVALS, "", {"a": CHEAPEST}),  # no difference: the lower
    ({"a": 1, "b": 2, "A": 2}, RIVALS, "a", {"b": CHEAPEST}),
    ({"a": 1, "b": 2, "A": 1}, RIVALS, "ab", {"A": CHEAPEST}),
    ({"a": 1, "b": 2, "A": 0.5}, (*RIVALS, against("A", "a", CHEAPER, 16)), "", {"A": BETTER_THAN_CHEAPEST}),
    ({"a": 1, "b": 2, "A": 1}, (*RIVALS, against("A", "a", CHEAPER, 16)), "", {"a": CHEAPEST}),
    ({"a": 1, "b": 2, "A": 0.5}, (*RIVALS, against("A", "a", CHEAPER, 16)), "A", {"a": CHEAPEST}),
    ({"a": 1, "b": 2, "A": 0.5}, (*RIVALS, against("A", "b", CHEAPER, 16)), "", {"a": CHEAPEST}),  # b is not it
    ({"a": 1, "d": 2, "A": 0.5, "D": 2}, (*DEFAULTS, against("A", "a", CHEAPER, 16)), "", {"A": BETTER_THAN_CHEAPEST}),
    ({"a": 1, "d": 2, "A": 0.5, "D": 0.5}, (*DEFAULTS, against("A", "a", CHEAPER, 16)), "", {"a": CHEAPEST}),
    ({"a": 2, "d": 1, "A": 2, "D": 1}, (*DEFAULTS, against("A", "a", CHEAPER, 16)), "", {}),
    ({"a": 1, "d": 2, "A": 0.5, "D": 2}, DEFAULTS, "", {"a": "better", "A": "better"}),  # one for each question
    ({"a": 1, "c": 0.5, "d": 2}, (against("a", "d", IN_USE), against("c", "d", IN_USE)), "", {"c": "better"}),
    ({"a": 1, "c": 0.5, "d": 2}, (against("a", "d", IN_USE), against("c", "d", IN_USE)), "c", {"a": "better"}),
    ({"a": 1, "b": 2}, (against("a", "b", RIVAL, family=PRIMARY),), "", {"a": "better"}),
    ({"a": 1, "b": 1}, (against("a", "b", RIVAL, family=PRIMARY),), "", {}),
    ({"a": 1, "b": 2}, (against("a", "b", ""),), "", {}),
])  # fmt: skip
def test_the_cheapest_confirmed_setting_is_advised_and_a_dearer_one_only_if_it_is_better(
    scores: Any, pairs: Sequence[Pair], noisy: str, expected: dict[str, str]
):
    assert advise(scores, *pairs, noisy=noisy) == expected


def test_an_answer_says_what_to_use_its_cost_and_why_not():
    rows = [*runs("A", [1.0] * 4 + [1.1], nfe=16, visible_noise=0.06), *runs("b", [2.0] * 4 + [2.2], precision=0.5)]
    found = answer(judge(pd.DataFrame(rows), [pair("A", "b")], pd.DataFrame(FLOORS)), pd.DataFrame(rows)).iloc[0]
    assert (found["use"], found["nfe"], found["cost"], found["reason"]) == ("b", 8, 2, TOO_NOISY)
    assert found["precision"] == pytest.approx(0.1) and found["recall_low"] == found["recall_high"] == 0
