"""The page as a value, and numbers as text."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from reports import formats
from reports.formats import (
    decimals,
    difference,
    duration,
    is_missing,
    join,
    number,
    plural,
    scale_metric,
    short,
    values_and_difference,
)
from reports.page import Axis, Bar, Code, KeyFigure, Page, Row, Source, Table


def test_an_axis_goes_through_0_and_beyond_its_values_and_ends_at_its_edges():
    axis = Axis.over([5.0, 10.0, math.nan, math.inf])
    assert axis.at == pytest.approx((-0.6, 10.6)) and Axis.over([]).at == (-1.0, 1.0)
    assert [axis.place(value) for value in (-0.6, 5.0, 10.6, -99, math.inf)] == [0, 50, 100, 0, 100]


@pytest.mark.parametrize("scale", [1e-6, 0.013, 0.5, 1, 1.7, 3.3, 9.9, 123, 4.4e5])
@pytest.mark.parametrize("ends", [(-1, 0), (0, 1), (-1, 2)])
def test_an_axis_has_3_to_6_ticks_that_are_round_and_in_place(scale: float, ends: tuple[int, int]):
    axis = Axis.over([scale * end for end in ends])
    places, texts = zip(*axis.ticks, strict=True)
    values = [float(text.replace("−", "-").replace(",", "")) for text in texts]
    assert 3 <= len(values) <= 6 and "0" in texts and len({*texts}) == len(texts)
    assert places == pytest.approx([axis.place(value) for value in values], abs=0.1)


def test_a_bar_without_an_interval_is_a_dot_and_only_verdicts_have_colours():
    axis = Axis((0.0, 10.0))
    assert Bar.of(axis, [5, 2, 8], "better") == Bar("better", 20, 80, (("", 50),))
    assert Bar.of(axis, [5, math.nan, math.nan], "").low == Bar.of(axis, [5, math.nan, math.inf], "").high == 50
    looks = {word: Bar(word, 0, 0, ()).look for word in ("better", "worse", "no verdict", "real", "before")}
    assert looks == {word: word for word in looks} | {"no verdict": "not"}


def test_the_first_screen_as_text_and_the_names_of_all_strips():
    figures = [KeyFigure("Effect", "−2", ["95 %"], legend=[("real", "only where it is drawn")])]
    tables = [Table("", (), [Row("a", [], "s1"), Row("b", []), Row("c", [], "s1"), Row("d", [], "s2")])]
    page = Page(Source(), "Which?", "Yes.", "It helps.", advice="Use it.", also="So elsewhere.", warnings=["Far."],
                caveats=["Grain."], facts=[("Data", "digits"), ("Run again", Code("", "x"))], key_figures=figures,
                tables=tables)  # fmt: skip
    screen = [
        "verdict: Yes. It helps.",
        "what to do: Use it.",
        "also: So elsewhere.",
        "warning: Far.",
        "caveat: Grain.",
        "  Effect: −2 (95 %)",
        "  Data: digits",
    ]
    assert page.text == screen and page.finding == "Yes."
    assert page.strips == ["s1", "s2"] and Page(Source(), "", "", "None.").text == ["verdict: None."]


@pytest.mark.parametrize("metric", ["fd", "mmd"])
def test_a_reader_who_subtracts_what_is_shown_gets_the_difference_that_is_shown(metric: str):
    rng = np.random.default_rng(0)
    scale = {"fd": 1, "mmd": 1000}[metric]
    for before, change in zip(rng.uniform(0, 40, 300), [*rng.normal(0, 5, 290), *rng.normal(0, 0.01, 10)], strict=True):
        values = {"value_b": before, "value_a": before + change, "difference": change}
        row = pd.Series(
            {name: value / scale for name, value in values.items()}
            | {"metric": metric, "low": math.nan, "high": math.nan}
        )
        first, second, shown, interval = values_and_difference(row)
        exact = [Decimal(text.replace("−", "-")) for text in (first, second, shown)]
        assert exact[1] - exact[0] == exact[2] and shown.strip("−0.") and not interval


def test_one_number_of_decimals_suits_all_rows_of_a_table_or_the_fewest_are_shown():
    first, second, third = (
        pd.Series(
            {"metric": "fd", "value_b": 7.64, "value_a": 7.64 + change, "difference": change}
            | {"low": math.nan, "high": math.nan}
        )
        for change in (-2.56, 1.0, 0.0004)
    )
    assert [decimals(first), decimals(second), decimals(first, second), decimals()] == [2, 1, 2, 1]
    assert (decimals(first, third), decimals(first, third, most=3)) == (4, 1)


@pytest.mark.parametrize("half, shown", [
    (math.nan, "from 49.1453 to 46.2906 (difference −2.8547)"),
    (2.05, "from 49.15 to 46.29 (difference −2.85; −4.90 to −0.80)"),
    (0.34, "from 49.145 to 46.291 (difference −2.855; −3.195 to −2.515)"),
    (20.0, "from 49.1 to 46.3 (difference −2.9; −22.9 to 17.1)"),
])  # fmt: skip
def test_decimals_end_where_the_interval_has_three_digits(half: float, shown: str):
    change = -2.8547
    row = pd.Series({"metric": "fd", "value_b": 49.1453, "value_a": 46.2906, "difference": change, "verdict": "better",
                     "low": change - half, "high": change + half})  # fmt: skip
    before, after, text, interval = values_and_difference(row)
    assert f"from {before} to {after} (difference {text}{f'; {interval}' if interval else ''})" == shown


@pytest.mark.parametrize("value, digits, text", [
    (12.34, 1, "12.3"), (-12.34, 1, "−12.3"), (0.04, 1, "0.04"), (-0.0004, 1, "−0.0004"), (0.05, 1, "0.1"),
    (1e-9, 1, "0.0"), (-1e-9, 1, "0.0"), (-0.0, 1, "0.0"), (0, 0, "0"), (512000, 0, "512,000"), (0.3, 0, "0.3"),
    (math.inf, 1, "∞"), (-math.inf, 1, "−∞"), (math.nan, 1, ""), (-1.5e16, 1, "−1.5e16"), (1e15, 0, "1e15"),
])  # fmt: skip
def test_number(value: float, digits: int, text: str):
    assert number(value, digits) == text


def test_short_numbers_and_durations():
    values = (0.391529, -2.5, 999.4, 999.5, 1487.3)
    assert [short(value) for value in values] == ["0.392", "−2.5", "999", "1,000", "1,487"]
    times = {0.4: "0 s", 89.4: "89 s", 90: "2 min", 5399: "90 min", 5400: "1.5 h", 360000: "100.0 h"}
    assert {seconds: duration(seconds) for seconds in times} == times and formats.percent(0.954321) == "95.4 %"


def test_a_difference_is_turned_around_with_its_interval():
    row = pd.Series({"metric": "mmd", "difference": -0.0026, "low": -0.0032, "high": 0.001})
    assert difference(row) == ("−2.6", "−3.2 to 1.0") and difference(row, -1) == ("2.6", "−1.0 to 3.2")
    assert difference(row.replace({-0.0032: math.nan})) == ("−2.6", "")
    assert [scale_metric(*pair) for pair in (("mmd", 0.0021), ("fd", 2.1), ("recall", 0.512))] == ["2.1", "2.1", "0.51"]


def test_fd_and_kd_are_fid_and_kid_in_no_features_but_inceptions():
    names = {features: [formats.metric_name(name, features) for name in ("fd", "kd", "mmd")]
             for features in ("inception-v3-compat", "inception", "digits")}  # fmt: skip
    assert names.pop("inception-v3-compat") == ["FID", "KID ×1000", "MMD ×1000"]
    assert set(map(tuple, names.values())) == {("FD", "KD ×1000", "MMD ×1000")}


def test_words_and_missing_values():
    assert [join("a"), join("ab"), join("abc")] == ["a", "a and b", "a, b and c"]
    assert [plural(n, "run") for n in (0, 1, 1500)] == ["0 runs", "1 run", "1,500 runs"]
    assert [formats.capital(text) for text in ("use it", "eta 1", "")] == ["Use it", "eta 1", ""]
    assert [is_missing(value) for value in (None, "", math.nan, pd.NA, 0, False)] == [True] * 4 + [False] * 2
    assert [formats.is_set(value) for value in (True, False, pd.NA, "", 1.0)] == [True, False, False, False, True]
