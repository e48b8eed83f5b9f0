"""Intervals by hand; verdicts say what the intervals say. How often intervals hold: test_coverage.py."""

import numpy as np
import pytest

from experiments.distances.distance import Distance
from experiments.distances.intervals import Estimate, of_one, of_pairs, predicted, verdict
from reports import schema


def made(value: float, se: float, n: int = 20) -> tuple[Distance, Distance]:
    """A pair whose difference has this standard error over n images."""
    own = np.where(np.arange(n) % 2, -1.0, 1.0)
    return Distance(value, se * np.sqrt(n - 1) * own), Distance(0.0, np.zeros(n))


def test_two_networks_by_hand() -> None:
    estimate = of_pairs([made(1.0, 0.3), made(3.0, 0.4)])
    assert estimate.difference == 2.0 and estimate.se == pytest.approx(0.25)
    freedom = 19 * (0.09 + 0.16) ** 2 / (0.09**2 + 0.16**2)
    assert freedom == pytest.approx(35.24, abs=0.01)
    assert estimate.high - 2 == pytest.approx(2.0296 * 0.25, abs=2e-4)
    assert (estimate.interval, estimate.holds_for) == ("what each image adds", 2)


@pytest.mark.parametrize(
    ("difference", "clear", "word"),
    [(-2, True, "better"), (2, True, "worse"), (-2, False, "not detectable"), (2, False, "not detectable")],
)
def test_verdict(difference: float, clear: bool, word: str) -> None:
    assert verdict(Estimate(difference, 1, difference - 1, difference + 1, "", clear, 0.5, 3)) == word


def test_five_networks_speak_of_networks_in_general_and_four_of_these() -> None:
    alike, different = [1.0, 1.1, 0.9, 1.0, 1.0], [1.0, 2.0, 0.0, 3.0, -1.0]
    general = of_pairs([made(value, 0.5) for value in different])
    assert (general.interval, general.holds_for) == ("t over 5 networks", None)
    assert general.se == pytest.approx(np.sqrt(2.5 / 5))
    for n in (4, 5):  # the wider of both intervals; four have one only
        images = of_pairs([made(value, 0.5) for value in alike[:n]])
        assert images.holds_for == (n if n < 5 else None) and images.interval == "what each image adds"
        assert images.se == pytest.approx(0.5 / np.sqrt(n)) and images.detectable_low is None


def test_what_was_detectable_is_a_range_if_the_spread_between_networks_is_estimated() -> None:
    estimate = of_pairs([made(value, 0.01) for value in (1.0, 2.0, 0.0, 3.0, -1.0)])
    assert estimate.detectable_low == pytest.approx(np.sqrt(4 / 11.143) * estimate.detectable, rel=1e-3)
    assert estimate.detectable_high == pytest.approx(np.sqrt(4 / 0.4844) * estimate.detectable, rel=1e-3)


def test_p_value_and_detectable_difference_belong_to_the_interval() -> None:
    at_the_edge = of_pairs([made(2.0281, 1.0)])  # t with 19 degrees of freedom: 2.0930
    assert at_the_edge.p_value == pytest.approx(0.0568, abs=2e-4)
    assert at_the_edge.detectable == pytest.approx(2.0930 + 0.8610, abs=1e-3)
    wider = of_pairs([made(2.0281, 1.0)], level=0.99)
    assert wider.p_value == at_the_edge.p_value and wider.high > at_the_edge.high


def test_pairs_are_used_where_there_are_any() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=50)
    a, b = (Distance(value, shared + 0.1 * rng.normal(size=50)) for value in (1.0, 0.9))
    paired, apart = of_pairs([(a, b)]), of_pairs([(a, b)], paired=False)
    assert paired.se < apart.se / 4 and paired.difference == apart.difference
    with pytest.raises(ValueError, match="own: 50 and 20 images"):
        of_pairs([(a, made(0, 1)[0])])


def test_an_interval_over_a_sample_of_real_images_says_so() -> None:
    estimate = of_one(Distance(1.0, np.ones(50), np.ones(9)))
    assert estimate.interval == "what each image adds, and each real image"
    assert estimate.high - 1 == pytest.approx(2.306 * np.sqrt(1 / 49 + 1 / 8), rel=1e-3)  # 8 degrees of freedom


def test_two_networks_say_nothing_about_a_new_one() -> None:
    assert predicted([1.0, 2.0]) is None


def test_reports_use_the_same_words_and_numbers() -> None:
    from experiments.distances import intervals

    for name in ("BETTER", "WORSE", "NOT_DETECTABLE", "NO_VERDICT"):
        assert getattr(intervals, name) == getattr(schema, name)
    assert (intervals.LEVEL, intervals.POWER) == (0.95, 0.8)  # pages say "95 %" and "80 % power"
