"""Contrasts and sets of the best from sides that are made up: one interval alone, all others as one family."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments.distances.distance import Distance
from experiments.distances.intervals import of_pairs
from experiments.distances.real import METRICS
from experiments.run import contrasts
from experiments.run.compare import (
    BestSet,
    Comparison,
    Contrast,
    Interaction,
    Row,
    Side,
    against_first,
    control,
    interactions,
)
from experiments.run.contrasts import Families, comparable

N = 200
ROW = {"data": "d", "features": "f", "n_samples": N, "n_reference": 800, "precision": 0.6, "recall": 0.6, "seconds": 3}
FLOORS = [
    {"data": "d", "features": "f", "n_samples": N, "n_reference": 800, "metric": name, "mean": 0.8}
    for name in ("precision", "recall")
]


def contrast_rows(comparisons: list[Comparison], floors: list[Row]) -> list[Row]:
    return list(contrasts.contrast_rows(comparisons, Families.over(comparisons), floors))


def best_set_rows(comparisons: list[Comparison], floors: list[Row]) -> list[Row]:
    return list(contrasts.best_set_rows(comparisons, Families.over(comparisons), floors))


def side(label: str, value: float, networks: int = 2, planned: int | None = None, group: str = "g", **row: Any) -> Side:
    """A setting with exactly this distance, to which each image adds noise of size 1."""
    rng = np.random.default_rng(sum(label.encode()))
    rows, distances = {}, {}
    for seed in range(networks):
        terms = rng.normal(size=N)
        known = {name: Distance(value, terms - terms.mean()) for name in METRICS}
        rows[seed] = ROW | {"run_id": f"{label}{seed}", "model_id": f"m{seed}", "nfe": 8, "fd": known["fd"].value} | row
        distances[seed] = known
    return Side(label, group, None, networks if planned is None else planned, rows, distances)


def pooled(rows: list[dict[str, Any]], metric: str = "mmd") -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["a"], row["b"]): row for row in rows if "verdict" in row and row["metric"] == metric}


def test_a_primary_contrast_has_its_own_interval_whatever_else_is_on_the_page() -> None:
    a, b, *others = (side(label, value) for label, value in zip("abcdef", (0.0, 0.3, 0.4, 0.5, 0.6, 0.7), strict=True))
    one = Contrast("primary", a, b)
    row = pooled(contrast_rows([one, *against_first("setting", [a, *others])], FLOORS))["a", "b"]
    alone = of_pairs(one.pairs("mmd"))
    assert (row["low"], row["high"], row["adjusted"]) == (alone.low, alone.high, None)


def test_verdicts_on_all_others_come_from_the_intervals_of_the_set_of_the_best() -> None:
    sides = [side(label, value) for label, value in zip("abcd", (0.3, 0.0, 0.05, 0.7), strict=True)]
    everything = [*against_first("setting", sides), BestSet(sides)]
    rows, sets = contrast_rows(everything, FLOORS), best_set_rows(everything, FLOORS)
    verdicts = {a: row["verdict"] for (a, _), row in pooled(rows).items()}
    assert verdicts["b"] == "better" and verdicts["d"] == "worse"
    in_set = {row["setting"]: row["in_set"] for row in sets}
    assert in_set == {"a": False, "b": True, "c": True, "d": False}
    assert all(row["adjusted"] == "simultaneous, 6 pairs" for row in pooled(rows).values())
    assert [row["setting"] for row in sets if row["recommended"]] == ["b"]
    margin = pooled(rows)["b", "a"]["high"] - pooled(rows)["b", "a"]["difference"]
    alone = of_pairs(Contrast("setting", sides[1], sides[0]).pairs("mmd"))
    assert margin > 1.1 * (alone.high - alone.difference)


@pytest.mark.parametrize(
    ("values", "grain", "expected"),
    [
        ((0.3, 0.0, 0.05), {}, "b"),
        ((0.3, 0.0, 0.05), {"b": 0.1}, "c"),  # b is detectably better too, but grainy
        ((0.3, 0.0, 0.05), {"b": 0.1, "c": 0.1}, "b"),
        ((0.3, 0.299, 0.7), {}, "a"),  # no other is detectably better, though one has a lower score
        ((0.0, 0.3, 0.7), {}, "a"),
    ],
)  # fmt: skip
def test_what_is_recommended_is_detectably_better_than_the_first_and_not_grainy(
    values: tuple[float, ...], grain: dict[str, float], expected: str
) -> None:
    sides = [side(label, value) for label, value in zip("abc", values, strict=True)]
    for one in sides:
        for row in one.rows.values():
            row["grain"] = grain.get(one.label, 0.0)
    sets = best_set_rows([BestSet(sides)], FLOORS)
    assert [row["setting"] for row in sets if row["recommended"]] == [expected]


def test_the_default_is_at_the_floor_only_if_its_interval_says_so() -> None:
    floor = {"data": "d", "features": "f", "n_samples": N, "n_reference": 800, "metric": "mmd", "mean": 0.2, "sd": 0.1}
    sides = [side("a", 0.5), side("b", 0.6)]
    noise = sum(each["mmd"].se ** 2 + 0.1**2 for each in sides[0].distances.values()) ** 0.5 / 2
    first, _ = best_set_rows([BestSet(sides)], [*FLOORS, floor])
    assert first["destroyed"] == pytest.approx((0.5 - 0.2 + 1.959964 * noise) ** 0.5)
    assert best_set_rows([BestSet(sides)], FLOORS)[0]["destroyed"] is None
    assert best_set_rows([BestSet([side("a", -9), side("b", 0)])], [*FLOORS, floor])[0]["destroyed"] == 0.0


def test_each_network_has_a_row_of_its_own() -> None:
    rows = contrast_rows([Contrast("primary", side("a", 0), side("b", 1))], FLOORS)
    each = [row for row in rows if row.get("train_seed") is not None]
    assert [(row["metric"], row["run_id_a"]) for row in each] == [(m, f"a{seed}") for m in METRICS for seed in (0, 1)]
    assert len(rows) == 3 * len(METRICS)


def test_a_setting_with_a_failed_run_gets_no_verdict_and_leaves_the_others_theirs() -> None:
    sides = [side("a", 0.0), side("b", 0.9), side("c", 0.9, networks=1, planned=2)]
    everything = [*against_first("setting", sides), BestSet(sides)]
    rows = pooled(contrast_rows(everything, FLOORS))
    assert rows["b", "a"]["verdict"] == "worse"
    assert (rows["c", "a"]["verdict"], rows["c", "a"]["no_verdict"]) == ("no verdict", "1 of its 2 runs failed")
    assert [row["setting"] for row in best_set_rows(everything, FLOORS)] == ["a", "b"]
    assert not contrast_rows([Contrast("primary", side("a", 0), side("b", 1, networks=0, planned=2))], FLOORS)


def test_settings_with_their_own_training_need_five_networks() -> None:
    few = [side("a", 0.0), side("b", 0.9, model_id="another")]
    rows = pooled(contrast_rows(list(against_first("setting", few)), FLOORS))
    assert rows["b", "a"]["verdict"] == "no verdict" and "5 networks or more" in rows["b", "a"]["no_verdict"]
    assert all("5 networks" in row["no_verdict"] for row in best_set_rows([BestSet(few)], FLOORS))
    many = [side("a", 0.0, networks=5), side("b", 0.9, networks=5, model_id="another")]
    assert pooled(contrast_rows(list(against_first("setting", many)), FLOORS))["b", "a"]["verdict"] == "worse"


def crossed(networks: int = 5, **row: Any) -> list[dict[str, Side]]:
    """Two groups with networks of their own: y against x is -0.5 in the second, -0.1 in the first."""
    values = {"narrow": {"x": 0.8, "y": 0.7}, "wide": {"x": 0.9, "y": 0.4}}
    out = list[dict[str, Side]]()
    for group, known in values.items():
        own = {label: side(label + group, value, networks, group=group, model_id=group, **row)
               for label, value in known.items()}  # fmt: skip
        out.append({label: replace(one, label=label) for label, one in own.items()})
    return out


def test_an_interaction_is_a_difference_of_differences_by_image_and_network() -> None:
    first, second = crossed()
    for seed, distances in second["y"].distances.items():  # networks differ by 0.1 per number
        distances["mmd"] = replace(distances["mmd"], value=0.4 + seed / 10)
    (one,) = interactions("y", "x", [first, {"x": first["x"]}, second])
    rows = contrast_rows([one, *against_first("setting", [*first.values()])], FLOORS)
    row = pooled(rows)["y against x (wide)", "y against x (narrow)"]
    differences = np.array([-0.5, -0.4, -0.3, -0.2, -0.1]) + 0.1
    half = 2.7764451 * differences.std(ddof=1) / 5**0.5  # Student's t, four degrees of freedom
    terms = [[part.distances[0]["mmd"].own for part in (group["y"], group["x"])] for group in (second, first)]
    over_images = (((terms[0][0] - terms[0][1]) - (terms[1][0] - terms[1][1])) ** 2).sum() / N / (N - 1)
    alone = next(each for each in rows if each["kind"] == "interaction" and each.get("train_seed") == 0)
    assert (alone["difference"], alone["se"]) == (pytest.approx(-0.4), pytest.approx(over_images**0.5))
    assert (row["value_a"], row["value_b"]) == (pytest.approx(-0.3), pytest.approx(-0.1))
    assert (row["low"], row["high"]) == tuple(pytest.approx(end, abs=1e-6) for end in (-0.2 - half, -0.2 + half))
    assert (row["verdict"], row["adjusted"], row["n_networks"]) == ("better", None, 5)
    other = Interaction((first["x"], second["x"]), (first["y"], second["y"]))
    both = pooled(contrast_rows([one, other], FLOORS))
    assert [*both][1] == ("x (narrow) against x (wide)", "y (narrow) against y (wide)")
    wide = both["y against x (wide)", "y against x (narrow)"]
    assert (wide["adjusted"], wide["verdict"]) == ("simultaneous, 2 interactions", "not detectable")
    assert wide["p_value"] == pytest.approx(2 * row["p_value"])
    assert (wide["high"] - wide["low"]) == pytest.approx(2 * half * 3.4954059 / 2.7764451)  # 97.5 %


def test_an_interaction_needs_five_networks_images_and_all_of_its_runs() -> None:
    def verdict(first: dict[str, Side], second: dict[str, Side]) -> Any:
        ((row,),) = [pooled(contrast_rows([*interactions("y", "x", [first, second])], FLOORS)).values()]
        return row["no_verdict"] or row["verdict"]

    assert verdict(*crossed()) == "better" and "5 networks or more" in verdict(*crossed(networks=4))
    assert "no images" in verdict(crossed(precision=0.0, recall=0.0)[0], crossed()[1])
    first, second = crossed()
    assert verdict(first, second | {"x": replace(second["x"], planned=6)}) == "1 of its 6 runs failed"
    more = {name: replace(one, rows={**one.rows, 5: one.rows[0]}, planned=6) for name, one in second.items()}
    assert comparable([*interactions("y", "x", [first, more])]) == []
    with pytest.raises(ValueError, match="takes two pairs of settings"):
        Interaction(first["x"], second["x"])  # type: ignore[arg-type]


def test_static_gets_no_verdict() -> None:
    static = [side(label, value, precision=0.0, recall=0.0) for label, value in (("a", 0.0), ("b", 0.9))]
    rows = pooled(contrast_rows(list(against_first("setting", static)), FLOORS))
    assert rows["b", "a"]["verdict"] == "no verdict" and "no images" in rows["b", "a"]["no_verdict"]
    assert all(row["in_set"] is None for row in best_set_rows([BestSet(static)], FLOORS))
    one = [static[0], side("b", 0.9)]
    assert pooled(contrast_rows(list(against_first("setting", one)), FLOORS))["b", "a"]["verdict"] == "worse"


def test_groups_with_different_networks_are_families_of_their_own_that_share_the_five_per_cent() -> None:
    few, many = [side("a", 0.0), side("b", 0.2)], [side(name, 0.1, networks=3, group="h") for name in "cd"]
    alone, both = (
        pooled(contrast_rows([*against_first("setting", few), *more], FLOORS))["b", "a"]
        for more in ((), against_first("setting", many))
    )
    assert both["high"] - both["low"] > 1.05 * (alone["high"] - alone["low"])


def test_settings_of_other_images_are_left_out_and_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    few, many = [side("a", 0.0), side("b", 0.2)], side("c", 0.1, networks=3)
    again = control(side("a", 0.1), few[0])
    asked = [*against_first("setting", [*few, many]), BestSet(few), BestSet([*few, many]), again]
    assert comparable(asked) == [asked[0], asked[2], again]
    assert caplog.messages == [
        f"{pair} of 'g' are not compared: they have images from different networks or noise"
        for pair in ("'c' and 'a'", "'a' and 'c'")
    ]


def test_a_set_of_the_best_may_be_given_as_a_generator() -> None:
    sides = [side(label, value) for label, value in (("a", 0.0), ("b", 0.1))]
    assert len(best_set_rows([BestSet(one for one in sides)], FLOORS)) == 2  # type: ignore[arg-type]


def test_a_control_is_not_paired_and_says_what_it_is() -> None:
    setting = side("eta 0", 0.0)
    other = replace(setting, distances={0: setting.distances[1], 1: setting.distances[0]})
    one = control(other, setting)
    assert (one.a.label, one.kind, one.a.paired) == ("eta 0, other noise", "control", False)
    (row,) = pooled(contrast_rows([one], FLOORS)).values()
    assert row["se"] == pytest.approx(of_pairs(one.pairs("mmd"), paired=False).se) and row["adjusted"] is None


def test_what_would_settle_a_difference_grows_with_its_interval() -> None:
    close = pooled(contrast_rows([Contrast("primary", side("a", 0.50), side("b", 0.5))], FLOORS))["a", "b"]
    assert close["verdict"] == "not detectable" and close["n_to_settle"] > N and close["minutes_to_settle"] > 0
    clear = pooled(contrast_rows([Contrast("primary", side("a", 0.0), side("b", 0.9))], FLOORS))["a", "b"]
    assert "n_to_settle" not in clear
