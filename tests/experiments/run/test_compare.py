"""Contrasts and sets of the best from sides that are made up: one interval alone, all others as one family."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments.distances.distance import Distance
from experiments.distances.intervals import estimate_pairs
from experiments.run import contrasts
from experiments.run.comparisons import Comparison, Contrast, Row, Side, against_first
from experiments.run.contrasts import Verdicts, filter_comparable
from experiments.scoring.sides import best_set_rows
from reports.schema import METRICS

N = 200
OF_SAMPLES = {"data": "d", "features": "f", "n_samples": N, "n_reference": 800}
FLOORS = [OF_SAMPLES | {"metric": metric, "mean": 0.8} for metric in ("precision", "recall")]


def judged(*comparisons: Comparison, whole: Sequence[Comparison] = ()) -> dict[str, Row]:
    """The rows of contrasts.csv that have a verdict, in the metric that decides, by the names of their first sides."""
    rows = contrasts.contrast_rows(comparisons, Verdicts.of(comparisons, FLOORS, whole))
    return {row["a"]: row for row in rows if "verdict" in row and row["metric"] == "mmd"}


def side(label: str, value: Any, networks: int = 2, planned: int | None = None, section: str = "g", **row: Any) -> Side:
    """A setting with exactly this distance, or these of its networks, to which each image adds noise of size 1."""
    rng = np.random.default_rng(sum(label.encode()))
    values = [value] * networks if isinstance(value, float) else value
    rows = {}
    distances = {}
    for seed, one in enumerate(values):
        terms = rng.normal(size=N)
        distances[seed] = {name: Distance(one, terms - terms.mean()) for name in METRICS}
        ids = {"run_id": f"{label}{seed}", "model_id": f"m{seed}"}
        scores = {"fd": one, "mmd": one, "precision": 0.6, "recall": 0.6}
        rows[seed] = OF_SAMPLES | ids | scores | {"nfe": 8, "seconds": 3} | row
    return Side(label, section, None, len(values) if planned is None else planned, rows, distances)


def sides(*values: float, labels: str = "abcdef", **options: Any) -> list[Side]:
    return [side(label, value, **options) for label, value in zip(labels, values, strict=False)]


def first(*compared: Side) -> list[Contrast]:
    return [*against_first("setting", compared)]


def test_a_primary_contrast_has_its_own_interval_whatever_else_is_on_the_page():
    a, b, *others = sides(0.0, 0.3, 0.4, 0.5, 0.6, 0.7)
    one = Contrast("primary", a, b)
    row = judged(one, *first(a, *others))["a"]
    alone = estimate_pairs(one.pairs("mmd"))
    assert (row["low"], row["high"], row["p_adjusted"], row["n_compared"]) == (alone.low, alone.high, None, 1)


def test_verdicts_on_all_others_come_from_the_intervals_of_the_set_of_the_best():
    four = sides(0.3, 0.0, 0.05, 0.7)
    compared = first(*four)
    rows = judged(*compared)
    assert rows["b"]["verdict"] == "better" and rows["d"]["verdict"] == "worse"
    sets = best_set_rows(four, Verdicts.of(compared, FLOORS))
    assert {row["setting"]: row["in_set"] for row in sets} == {"a": False, "b": True, "c": True, "d": False}
    assert all(row["n_compared"] == 3 for row in rows.values())
    alone = estimate_pairs(compared[0].pairs("mmd"))
    assert rows["b"]["high"] == alone.high and rows["b"]["detectable"] > alone.detectable
    pair = sides(0.16, 0.0)  # clear alone, and not among eight
    compared = [*first(*pair), *first(*sides(*[0.0] * 8, labels="cdefghij", section="h"))]
    assert all(row["in_set"] for row in best_set_rows(pair, Verdicts.of(compared, FLOORS)))


@pytest.mark.parametrize(
    "values, noise, expected",
    [
        ((0.3, 0.1, 0.0, 0.05), {}, "c"),
        ((0.3, 0.1, 0.0, 0.05), {"c": 0.05}, "d"),
        ((0.3, 0.1, 0.0, 0.05), {"c": None}, "c"),  # it was not measured: points
        ((0.3, 0.299, 0.298, 0.7), {}, ""),
        ((0.3, 0.0, 0.7, 0.7), {}, ""),  # b answers another question
    ],
)
def test_of_what_was_confirmed_the_lowest_that_is_better_and_within_the_limit_of_noise_is_recommended(
    values: tuple[float, ...], noise: dict[str, float | None], expected: str
):
    default, *others = (
        side(label, value, section="confirm", visible_noise=noise.get(label, 0.0))
        for label, value in zip("abcd", values, strict=True)
    )
    duels = [Contrast("confirm", one, default, 8, "challenger") for one in others]
    duels[0] = replace(duels[0], kind="all evaluations")  # it is of confirmers too
    rows = judged(*duels, *first(side("e", 0.0), side("f", 0.0)))
    assert [a for a, row in rows.items() if row["recommended"]] == [*expected]
    for a in "bcd":
        assert (rows[a]["family"], rows[a]["n_compared"], rows[a]["budget"]) == ("confirm", 3, 8)
    level = noise.get("c", 0.0)
    assert rows["c"]["visible_noise_a"] == level and rows["c"]["more_noise"] == (level and level > 0.04)


def test_a_row_says_on_how_many_networks_a_is_lower():
    a, b = sides([4.0, 4.6, 3.5, 5.2, 4.1], [5.0, 5.1, 4.9, 5.0, 5.05])
    assert judged(Contrast("confirm", a, b))["a"]["n_lower"] == 4


RETRAINED = {"model_id": "another"}
STATIC = {"precision": 0.0, "recall": 0.0}


@pytest.mark.parametrize("a, b, reason", [
    ({}, {"networks": 1, "planned": 2}, "1 of its 2 runs failed"),
    ({}, RETRAINED, "settings with their own training are compared over 5 networks or more"),
    ({"networks": 5}, RETRAINED | {"networks": 5}, None),
    (STATIC, STATIC,
     "the samples do not look like images: precision and recall are at most 1%, of real images above 50%"),
])  # fmt: skip
def test_what_gets_no_verdict_says_why_and_leaves_the_others_theirs(a: Any, b: Any, reason: str | None):
    compared = [side("a", 0.0, **a), side("b", 0.9, **b), side("c", 0.9)]
    rows = judged(*first(*compared))
    word = "no verdict" if reason else "worse"
    assert (rows["b"]["verdict"], rows["b"]["no_verdict"]) == (word, reason)
    assert rows["c"]["verdict"] == "worse"
    if a is STATIC:
        assert {row["in_set"] for row in best_set_rows(compared[:2], Verdicts.of([], FLOORS))} == {None}


def test_a_setting_whose_runs_all_failed_has_no_row():
    assert not judged(Contrast("primary", side("a", 0.0), side("b", 1.0, networks=0, planned=2)))


def test_a_failed_run_makes_no_network_another_one():
    """Whose first row then is of another seed."""
    baseline, other = sides(0.8, 0.2, networks=5)
    fewer = {seed: row for seed, row in other.rows.items() if seed}
    row = judged(Contrast("primary", replace(other, rows=fewer), baseline))["b"]
    assert row["verdict"] == "better" and row["n_networks"] == 4
    assert row["difference"] == pytest.approx(-0.6)


def test_the_same_samples_under_two_names_are_one_comparison():
    rows = [side("a", 0.5, samples_id="a"), side("b", 0.0, samples_id="b"), side("c", 0.6, samples_id="c")]
    again = (replace(one, section="h", label=one.label.upper()) for one in rows[:2])
    found = judged(*first(*rows), *first(*again))
    assert {(a, row["n_compared"], row["family"]) for a, row in found.items()} == {(a, 2, "exploration") for a in "bcB"}


def test_settings_of_other_images_are_left_out_and_said_to_be(caplog: pytest.LogCaptureFixture):
    a, b = sides(0.0, 0.2)
    asked = first(a, b, side("c", 0.1, networks=3))
    assert filter_comparable(asked) == asked[:1]
    assert caplog.messages == ["'c' and 'a' of 'g' are not compared: they have images from different networks or noise"]


def test_a_part_of_a_study_is_corrected_for_all_that_the_study_plans():
    """The smallest p value is multiplied by the number of planned comparisons, with a verdict or without."""
    planned = [*sides(0.5, 0.4), side("c", 0.9, networks=1, planned=2), side("d", 0.0, networks=0, planned=2)]
    whole = first(*planned)
    for row in (judged(*first(*planned[:2]), whole=whole)["b"], judged(*whole)["b"]):
        assert row["n_compared"] == 3 and row["p_adjusted"] == pytest.approx(min(3 * row["p_value"], 1))
