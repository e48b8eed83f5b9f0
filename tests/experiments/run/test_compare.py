"""Contrasts and sets of the best from sides that are made up: one interval alone, all others as one family."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments.distances.distance import Distance
from experiments.distances.intervals import estimate_pairs, networks_to_detect
from experiments.run import contrasts
from experiments.run.compare import (
    Comparison,
    Contrast,
    Row,
    Side,
    against_first,
    control,
    find_repeated,
)
from experiments.run.contrasts import Judge, filter_comparable
from reports.schema import METRICS

N = 200
ROW = {"data": "d", "features": "f", "n_samples": N, "n_reference": 800, "precision": 0.6, "recall": 0.6, "seconds": 3}
FLOORS = [
    {"data": "d", "features": "f", "n_samples": N, "n_reference": 800, "metric": name, "mean": 0.8}
    for name in ("precision", "recall")
]


def contrast_rows(comparisons: list[Comparison], floors: list[Row]) -> list[Row]:
    return list(contrasts.contrast_rows(comparisons, Judge.of(comparisons, floors)))


def side(
    label: str, value: float, networks: int = 2, planned: int | None = None, section: str = "g", **row: Any
) -> Side:
    """A setting with exactly this distance, to which each image adds noise of size 1."""
    rng = np.random.default_rng(sum(label.encode()))
    rows = {}
    distances = {}
    for seed in range(networks):
        terms = rng.normal(size=N)
        distance_by_metric = {name: Distance(value, terms - terms.mean()) for name in METRICS}
        rows[seed] = (
            ROW | {"run_id": f"{label}{seed}", "model_id": f"m{seed}", "nfe": 8, "fd": value, "mmd": value} | row
        )
        distances[seed] = distance_by_metric
    return Side(label, section, None, networks if planned is None else planned, rows, distances)


def pooled(rows: list[dict[str, Any]], metric: str = "mmd") -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["a"], row["b"]): row for row in rows if "verdict" in row and row["metric"] == metric}


def test_a_primary_contrast_has_its_own_interval_whatever_else_is_on_the_page() -> None:
    a, b, *others = (side(label, value) for label, value in zip("abcdef", (0.0, 0.3, 0.4, 0.5, 0.6, 0.7), strict=True))
    one = Contrast("primary", a, b)
    row = pooled(contrast_rows([one, *against_first("setting", [a, *others])], FLOORS))["a", "b"]
    alone = estimate_pairs(one.pairs("mmd"))
    assert (row["low"], row["high"], row["p_adjusted"], row["n_compared"]) == (alone.low, alone.high, None, 1)


def test_verdicts_on_all_others_come_from_the_intervals_of_the_set_of_the_best() -> None:
    sides = [side(label, value) for label, value in zip("abcd", (0.3, 0.0, 0.05, 0.7), strict=True)]
    everything: list[Comparison] = [*against_first("setting", sides)]
    rows = contrast_rows(everything, FLOORS)
    sets = contrasts.best_set_rows(sides, Judge.of(everything, FLOORS))
    verdicts = {a: row["verdict"] for (a, _), row in pooled(rows).items()}
    assert verdicts["b"] == "better" and verdicts["d"] == "worse"
    in_set = {row["setting"]: row["in_set"] for row in sets}
    assert in_set == {"a": False, "b": True, "c": True, "d": False}
    assert all(row["n_compared"] == 3 for row in pooled(rows).values())
    alone = estimate_pairs(Contrast("setting", sides[1], sides[0]).pairs("mmd"))
    assert pooled(rows)["b", "a"]["high"] == alone.high and pooled(rows)["b", "a"]["detectable"] > alone.detectable
    pair = [side("a", 0.16), side("b", 0.0)]  # clear alone, and not among eight
    everything = [
        *against_first("setting", pair),
        *against_first("setting", [side(x, 0.0, section="h") for x in "cdefghij"]),
    ]
    assert all(row["in_set"] for row in contrasts.best_set_rows(pair, Judge.of(everything, FLOORS)))


@pytest.mark.parametrize(
    ("values", "noise", "expected"),
    [
        ((0.3, 0.1, 0.0, 0.05), {}, "c"),
        ((0.3, 0.1, 0.0, 0.05), {"c": 0.05}, "d"),
        ((0.3, 0.1, 0.0, 0.05), {"c": None}, "c"),  # it was not measured: points
        ((0.3, 0.299, 0.298, 0.7), {}, ""),
        ((0.3, 0.0, 0.7, 0.7), {}, ""),  # b is confirmed only since its score is lowest
    ],
)
def test_of_what_was_confirmed_the_lowest_that_is_better_and_within_the_limit_of_noise_is_recommended(
    values: tuple[float, ...], noise: dict[str, float | None], expected: str
) -> None:
    default, *others = (
        side(label, value, section="confirm", visible_noise=noise.get(label, 0.0))
        for label, value in zip("abcd", values, strict=True)
    )
    kinds = ("all evaluations", "confirm", "confirm")  # all of them are of confirmers
    duels = [
        Contrast(kind, one, default, 8, "challenger", one.label != "b") for kind, one in zip(kinds, others, strict=True)
    ]
    rows = pooled(contrast_rows([*duels, *against_first("setting", [side("e", 0.0), side("f", 0.0)])], FLOORS))
    confirmed = {a: row for (a, _), row in rows.items() if a in "bcd"}
    assert [a for a, row in confirmed.items() if row["recommended"]] == [*expected]
    assert {(row["family"], row["n_compared"], row["budget"]) for row in confirmed.values()} == {("confirm", 3, 8)}
    level = noise.get("c", 0.0)
    assert confirmed["c"]["visible_noise_a"] == level and confirmed["c"]["more_noise"] == (level and level > 0.04)


def measured(label: str, values: Sequence[float], section: str = "confirm") -> Side:
    """A setting with these distances, one per network."""
    by_network = [side(label, value, networks=1, section=section) for value in values]
    rows = {seed: one.rows[0] | {"run_id": f"{label}{seed}"} for seed, one in enumerate(by_network)}
    return replace(
        by_network[0], planned=len(values), rows=rows, distances=dict(enumerate(one.distances[0] for one in by_network))
    )


@pytest.mark.parametrize(("within", "of_all", "depends"), [
    ((-1.0, -1.1, -0.9, -1.0, -1.2), (1.0, 1.1, 0.9, 1.0, 1.2), True),  # better, and worse
    ((0.1, -0.1, 0.2, -0.2, 0.0), (-0.9, -1.1, -0.8, -1.2, -1.0), True),  # their change is clear
    ((0.1, -0.1, 0.2, -0.2, 0.0), (-2.0, 1.5, -1.0, 1.2, 0.0), False),  # neither is
    ((-1.0, -1.1, -0.9, -1.0, -1.2), (-1.1, -1.0, -1.0, -0.9, -1.2), False),
])  # fmt: skip
def test_an_answer_depends_on_visible_noise_if_the_change_is_significant(
    within: Sequence[float], of_all: Sequence[float], depends: bool
) -> None:
    b = measured("b", [5.0] * 5)
    compared = [
        Contrast(kind, measured(f"a{kind}", [5 + d for d in differences]), b, 8, "with")
        for kind, differences in (("confirm", within), ("any visible noise", of_all))
    ]
    rows = pooled(contrast_rows([*compared], FLOORS))
    assert rows["aany visible noise", "b"]["depends"] is depends and "depends" not in rows["aconfirm", "b"]


def test_a_row_says_on_how_many_networks_a_is_lower_and_which_network_is_odd() -> None:
    b = measured("b", [5.0, 5.1, 4.9, 5.0, 5.05])
    usual, odd = measured("a", [4.0, 4.6, 3.5, 5.2, 4.1]), measured("c", [4.0, 4.2, 3.9, 4.1, 14.0])
    row = pooled(contrast_rows([Contrast("confirm", usual, b)], FLOORS))["a", "b"]
    assert row["n_lower"] == 4 and "odd_seed" not in row
    row = pooled(contrast_rows([Contrast("confirm", odd, b)], FLOORS))["c", "b"]
    assert (row["n_lower"], row["odd_seed"]) == (4, 4) and row["low"] < 0 < row["high"]
    assert row["odd_high"] < 0 and row["odd_difference"] == pytest.approx(-0.95)


def test_a_setting_with_a_failed_run_gets_no_verdict_and_leaves_the_others_theirs() -> None:
    sides = [side("a", 0.0), side("b", 0.9), side("c", 0.9, networks=1, planned=2)]
    rows = pooled(contrast_rows([*against_first("setting", sides)], FLOORS))
    assert rows["b", "a"]["verdict"] == "worse"
    assert (rows["c", "a"]["verdict"], rows["c", "a"]["no_verdict"]) == ("no verdict", "1 of its 2 runs failed")
    assert not contrast_rows([Contrast("primary", side("a", 0), side("b", 1, networks=0, planned=2))], FLOORS)


def test_settings_with_their_own_training_need_five_networks() -> None:
    few = [side("a", 0.0), side("b", 0.9, model_id="another")]
    rows = pooled(contrast_rows(list(against_first("setting", few)), FLOORS))
    assert rows["b", "a"]["verdict"] == "no verdict" and "5 networks or more" in rows["b", "a"]["no_verdict"]
    assert not Judge.of([control(few[1], few[0])], FLOORS).failed
    many = [side("a", 0.0, networks=5), side("b", 0.9, networks=5, model_id="another")]
    assert pooled(contrast_rows(list(against_first("setting", many)), FLOORS))["b", "a"]["verdict"] == "worse"


def test_static_gets_no_verdict() -> None:
    static = [side(label, value, precision=0.0, recall=0.0) for label, value in (("a", 0.0), ("b", 0.9))]
    rows = pooled(contrast_rows(list(against_first("setting", static)), FLOORS))
    assert rows["b", "a"]["verdict"] == "no verdict" and "look like images" in rows["b", "a"]["no_verdict"]
    assert all(row["in_set"] is None for row in contrasts.best_set_rows(static, Judge.of([], FLOORS)))
    one = [static[0], side("b", 0.9)]
    assert pooled(contrast_rows(list(against_first("setting", one)), FLOORS))["b", "a"]["verdict"] == "worse"


def control_of(values: Sequence[float], model: str = "m", networks: int = 5) -> Row:
    """The row of a control: what it adds to the baseline, network by network; `model` names other networks."""
    first = side("a", 0.8, networks=networks)
    moved = {
        seed: {name: replace(one, value=0.8 + value) for name, one in by_metric.items()}
        for (seed, by_metric), value in zip(side("b", 0.8, networks=networks).distances.items(), values, strict=True)
    }
    again = replace(first, distances=moved)
    if model != "m":
        again = replace(again, rows={seed: row | {"model_id": model} for seed, row in first.rows.items()})
    (row,) = pooled(contrast_rows([control(again, first)], FLOORS)).values()
    return row


def test_a_control_is_over_images_if_its_networks_are_the_same_and_else_over_networks() -> None:
    repeated = control_of([0.01, -0.01, 0, 0, 0.02])
    retrained = control_of([0.1, 0.3, 0.2, 0.25, 0.15], "again")
    assert (repeated["interval"], repeated["verdict"], repeated["family"]) == (
        "what each sample adds",
        "passed",
        "control",
    )
    assert (retrained["interval"], retrained["verdict"]) == ("mean over 5 networks", "unusual")
    assert control_of([0.1, 0.101, 0.099, 0.1, 0.1], "again")["verdict"] == "failed"
    assert "5 networks" in control_of([0.1, 0.101], "again", networks=2)["no_verdict"]


def test_after_a_failed_control_no_comparison_has_a_verdict() -> None:
    first = side("a", 0.8, networks=5)
    other = side("b", 0.2, networks=5)
    far = {
        seed: {name: replace(one, value=9.0) for name, one in by_metric.items()}
        for seed, by_metric in other.distances.items()
    }
    broken = control(replace(first, distances=far), first)
    rows = pooled(contrast_rows([Contrast("setting", other, first), broken], FLOORS))
    assert (rows["b", "a"]["verdict"], rows["b", "a"]["no_verdict"]) == ("no verdict", "the A/A test failed")
    assert rows["a, other noise", "a"]["verdict"] == "failed"


def test_a_failed_run_makes_no_network_another_one() -> None:
    """Whose first row then is of another seed."""
    first = side("a", 0.8, networks=5)
    fewer = side("b", 0.2, networks=5)
    fewer = replace(fewer, rows={seed: row for seed, row in fewer.rows.items() if seed})
    (row,) = pooled(contrast_rows([Contrast("primary", fewer, first)], FLOORS)).values()
    assert row["verdict"] == "better" and row["n_networks"] == 4
    assert row["new_network_low"] == row["new_network_high"] == pytest.approx(-0.6)
    assert control(replace(first, rows=fewer.rows), first).a.label == "a, other noise"


def test_the_same_samples_under_two_names_are_one_comparison() -> None:
    rows = {label: side(label, value, samples_id=label) for label, value in zip("abc", (0.5, 0.0, 0.6), strict=True)}
    again = {label: replace(one, section="h") for label, one in rows.items()}
    everything = [*against_first("setting", [*rows.values()]), *against_first("setting", [again["a"], again["b"]])]
    judged = [row for row in contrast_rows(everything, FLOORS) if "verdict" in row and row["metric"] == "mmd"]
    assert [(row["a"], row["n_compared"], row["family"]) for row in judged] == [
        (name, 2, "exploration") for name in "bcb"
    ]


def test_settings_of_other_images_are_left_out_and_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    few = [side("a", 0.0), side("b", 0.2)]
    many = side("c", 0.1, networks=3)
    again = control(side("a", 0.1), few[0])
    asked = [*against_first("setting", [*few, many]), again]
    assert filter_comparable(asked) == [asked[0], again]
    assert caplog.messages == ["'c' and 'a' of 'g' are not compared: they have images from different networks or noise"]


def test_a_part_of_a_study_is_corrected_for_all_that_the_study_plans() -> None:
    """The smallest p value is multiplied by the number of planned comparisons, with a verdict or without."""
    sides = [side("a", 0.5), side("b", 0.4), side("c", 0.9, networks=1, planned=2), side("d", 0, networks=0, planned=2)]
    asked, whole = (list(against_first("setting", some)) for some in (sides[:2], sides))
    for rows in (list(contrasts.contrast_rows(asked, Judge.of(asked, FLOORS, whole))), contrast_rows(whole, FLOORS)):
        row = pooled(rows)["b", "a"]
        assert row["n_compared"] == 3 and row["p_adjusted"] == pytest.approx(min(3 * row["p_value"], 1))


def test_a_control_is_not_paired_and_says_what_it_is() -> None:
    setting = side("eta 0", 0.0)
    other = replace(setting, distances={0: setting.distances[1], 1: setting.distances[0]})
    assert find_repeated(other, [side("other", 0.0), setting]) is setting
    one = control(other, setting)
    assert (one.a.label, one.kind, one.a.paired) == ("eta 0, other noise", "control", False)
    (row,) = pooled(contrast_rows([one], FLOORS)).values()
    assert row["se"] == pytest.approx(estimate_pairs(one.pairs("mmd"), paired=False).se) and row["p_adjusted"] is None


def test_what_would_settle_a_difference_grows_with_its_interval() -> None:
    close = pooled(contrast_rows([Contrast("primary", side("a", 0.50), side("b", 0.5))], FLOORS))["a", "b"]
    assert close["verdict"] == "no difference detected" and close["n_to_settle"] > N
    size = max(abs(close["difference"]), contrasts.SMALLEST * close["value_b"])
    assert close["n_to_settle"] == math.ceil(N * (close["detectable"] / size) ** 2), "the interval falls with the root"
    clear = pooled(contrast_rows([Contrast("primary", side("a", 0.0), side("b", 0.9))], FLOORS))["a", "b"]
    assert "n_to_settle" not in clear
    base, *others = (side(label, 0.5, networks=5, model_id=label) for label in "abc")
    spread = {seed: {name: Distance(0.4 + seed / 20, np.zeros(N)) for name in METRICS} for seed in base.rows}
    trained = [base, *(replace(one, distances=spread) for one in others)]
    row = pooled(contrast_rows([*against_first("setting", trained)], FLOORS))["b", "a"]
    assert row["networks_to_settle"] == networks_to_detect(0.05, row["se"], 5, n_compared=2)
