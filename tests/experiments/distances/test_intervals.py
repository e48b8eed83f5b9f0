"""Intervals by hand; verdicts say what the intervals say. How often intervals hold: test_coverage.py."""

import numpy as np
import pytest

from experiments.distances.distance import Distance
from experiments.distances.intervals import LEVEL, POWER, Estimate, holm, of_one, of_pairs, predicted, verdict


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
    assert (estimate.interval, estimate.holds_for) == ("what each sample adds", 2)


@pytest.mark.parametrize(("difference", "clear", "word"), [
    (-2, True, "better"), (2, True, "worse"), (-2, False, "no difference detected"),
])  # fmt: skip
def test_verdict(difference: float, clear: bool, word: str) -> None:
    assert verdict(Estimate(difference, 1, difference - 1, difference + 1, "", clear, 0.5, 3, 9)) == word


def test_five_networks_speak_of_networks_in_general_and_four_of_these() -> None:
    alike, different = [1.0, 1.1, 0.9, 1.0, 1.0], [1.0, 2.0, 0.0, 3.0, -1.0]
    general = of_pairs([made(value, 0.5) for value in different])
    assert (general.interval, general.holds_for) == ("t over 5 networks", None)
    assert general.se == pytest.approx(np.sqrt(2.5 / 5))
    few = of_pairs([made(value, 0.5) for value in alike[:4]])
    assert (few.holds_for, few.interval) == (4, "what each sample adds") and few.se == pytest.approx(0.5 / 2)


def test_a_control_with_the_same_networks_is_over_images_whatever_their_number() -> None:
    pairs = [made(value, 0.5) for value in (1.0, 2.0, 0.0, 3.0, -1.0)]
    found = of_pairs(pairs, over_images=True)
    assert (found.interval, found.holds_for) == ("what each sample adds", 5) and found.se == pytest.approx(0.5 / 5**0.5)


def test_a_corrected_difference_keeps_its_interval_and_may_lose_its_verdict() -> None:
    alone = of_pairs([made(2.5, 1.0)])
    one = alone.corrected("exploration", *holm([alone.p_value, 0.5, 0.9])[:1], 3)
    assert alone.clear and not one.clear and (one.low, one.high) == (alone.low, alone.high)
    assert one.detectable > alone.detectable


def test_holm_is_a_step_down_of_bonferroni() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.6, 0.9]) == [1, 1]


def test_p_value_and_detectable_difference_belong_to_the_interval() -> None:
    at_the_edge = of_pairs([made(2.0281, 1.0)])  # t with 19 degrees of freedom: 2.0930
    assert at_the_edge.p_value == pytest.approx(0.0568, abs=2e-4)
    assert at_the_edge.detectable == pytest.approx(2.0930 + 0.8610, abs=1e-3)


def test_pairs_are_used_where_there_are_any() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=50)
    a, b = (Distance(value, shared + 0.1 * rng.normal(size=50)) for value in (1.0, 0.9))
    paired, apart = of_pairs([(a, b)]), of_pairs([(a, b)], paired=False)
    assert paired.se < apart.se / 4 and paired.difference == apart.difference


def test_an_interval_over_a_sample_of_real_images_says_so() -> None:
    estimate = of_one(Distance(1.0, np.ones(50), np.ones(9)))
    assert estimate.interval == "what each sample adds, and each real one"
    assert estimate.high - 1 == pytest.approx(2.306 * np.sqrt(1 / 49 + 1 / 8), rel=1e-3)  # 8 degrees of freedom


def test_two_networks_say_nothing_about_a_new_one() -> None:
    assert predicted([1.0, 2.0]) is None


def test_pages_may_say_95_and_80_per_cent() -> None:
    assert (LEVEL, POWER) == (0.95, 0.8)
