"""The page as a value."""

import math

import pytest

from reports.page import Axis, Bar, KeyFigure, Page, Row, SampleGrid, Source, Table


def test_an_axis_goes_through_0_and_beyond_its_values_and_ends_at_its_edges() -> None:
    axis, log = Axis.over([5.0, 10.0, math.nan, math.inf]), Axis((-1.0, 1.0), log=True)
    assert axis.at == pytest.approx((-0.6, 10.6)) and Axis.over([]).at == (-1.0, 1.0)
    assert [axis.place(value) for value in (-0.6, 5.0, 10.6, -99, math.inf)] == [0, 50, 100, 0, 100]
    assert [log.place(value) for value in (0.1, 1, 10, 0, -5, 1e9)] == [0, 50, 100, 0, 0, 100]


@pytest.mark.parametrize("scale", [1e-6, 0.013, 0.5, 1, 1.7, 3.3, 9.9, 123, 4.4e5])
@pytest.mark.parametrize("ends", [(-1, 0), (0, 1), (-1, 2)])
def test_an_axis_has_3_to_6_ticks_that_are_round_and_in_place(scale: float, ends: tuple[int, int]) -> None:
    axis = Axis.over([scale * end for end in ends])
    places, texts = zip(*axis.ticks, strict=True)
    values = [float(text.replace("−", "-").replace(",", "")) for text in texts]
    assert 3 <= len(values) <= 6 and "0" in texts and len({*texts}) == len(texts)
    assert places == pytest.approx([axis.place(value) for value in values], abs=0.1)


def test_a_bar_without_an_interval_is_a_dot_and_only_verdicts_have_colours() -> None:
    axis = Axis((0.0, 10.0))
    assert Bar.of(axis, [5, 2, 8], "better") == Bar("better", 20, 80, (("", 50),))
    assert Bar.of(axis, [5, math.nan, math.nan], "").low == Bar.of(axis, [5, math.nan, math.inf], "").high == 50
    looks = {word: Bar(word, 0, 0, ()).look for word in ("better", "worse", "no verdict", "real", "before")}
    assert looks == {word: word for word in looks} | {"no verdict": "not"}


def test_the_first_screen_as_text_and_the_names_of_all_strips() -> None:
    figures = [KeyFigure("Effect", "−2", ["95 %"], legend=[("real", "only where it is drawn")])]
    rest = {"grid": SampleGrid("", "", ["8"], [("eta 0", [("s2", "1.0"), None])]),
            "tables": [Table("", (), [Row("a", [], "s1"), Row("b", []), Row("c", [], "s1")])]}  # fmt: skip
    page = Page(Source(), "Which?", "Yes.", "It helps.", also="So elsewhere.", warnings=["Far."], caveats=["Grain."],
                key_figures=figures, **rest)  # fmt: skip
    screen = [
        "verdict: Yes. It helps.",
        "also: So elsewhere.",
        "warning: Far.",
        "caveat: Grain.",
        "  Effect: −2 (95 %)",
    ]
    assert page.text == screen
    assert page.strips == ["s1", "s2"] and Page(Source(), "", "", "None.").text == ["verdict: None."]
