"""Intervals by hand; verdicts say what the intervals say. How often intervals hold: test_coverage.py."""

import numpy as np
import pytest

from experiments.metrics.intervals import Estimate, holm, pooled, predicted, verdict


def test_two_networks_by_hand() -> None:
    estimate = pooled([1.0, 3.0], [0.3, 0.4])
    assert estimate.difference == 2.0 and estimate.se == pytest.approx(0.25)
    freedom = 19 * (0.09 + 0.16) ** 2 / (0.09**2 + 0.16**2)
    assert freedom == pytest.approx(35.24, abs=0.01)
    assert estimate.high - 2 == pytest.approx(2.0296 * 0.25, abs=2e-4)
    assert (estimate.interval, estimate.holds_for) == ("delete-group jackknife over images", 2)


def make(difference: float, clear: bool) -> Estimate:
    return Estimate(difference, 1, difference - 1, difference + 1, "", clear, 0.01 if clear else 0.5, 3, None, None, 2)


@pytest.mark.parametrize(
    ("difference", "clear", "word"),
    [(-2, True, "better"), (2, True, "worse"), (-2, False, "not detectable"), (2, False, "not detectable")],
)
def test_verdict(difference: float, clear: bool, word: str) -> None:
    assert verdict(make(difference, clear)) == word


def test_five_networks_speak_of_networks_in_general_and_four_of_these() -> None:
    alike, different = [1.0, 1.1, 0.9, 1.0, 1.0], [1.0, 2.0, 0.0, 3.0, -1.0]
    general = pooled(different, [0.5] * 5)
    assert (general.interval, general.holds_for) == ("t over 5 networks", None)
    assert general.se == pytest.approx(np.sqrt(2.5 / 5))
    for n in (4, 5):  # the wider of both intervals; four have one only
        images = pooled(alike[:n], [0.5] * n)
        assert images.holds_for == (n if n < 5 else None) and "jackknife" in images.interval
        assert images.se == pytest.approx(0.5 / np.sqrt(n)) and images.detectable_low is None


def test_what_was_detectable_is_a_range_if_the_spread_between_networks_is_estimated() -> None:
    estimate = pooled([1.0, 2.0, 0.0, 3.0, -1.0], [0.5] * 5)  # chi-square limits at 4 degrees of freedom: 0.484, 11.14
    assert estimate.detectable_low == pytest.approx(np.sqrt(4 / 11.143) * estimate.detectable, rel=1e-3)
    assert estimate.detectable_high == pytest.approx(np.sqrt(4 / 0.4844) * estimate.detectable, rel=1e-3)


def test_p_value_and_detectable_difference_belong_to_the_interval() -> None:
    at_the_edge = pooled([2.0281], [1.0], level=0.95)  # t with 19 degrees of freedom: 2.0930
    assert at_the_edge.p_value == pytest.approx(0.0568, abs=2e-4)
    assert at_the_edge.detectable == pytest.approx(2.0930 + 0.8610, abs=1e-3)
    wider = pooled([2.0281], [1.0], level=0.99)
    assert wider.p_value == at_the_edge.p_value and wider.high > at_the_edge.high


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_two_networks_say_nothing_about_a_new_one() -> None:
    assert predicted([1.0, 2.0]) is None
