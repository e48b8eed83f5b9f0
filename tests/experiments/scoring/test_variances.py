"""Intervals of `score`: over images and real images, in pairs or not, with copies as one image."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import compare, score
from experiments.scoring import sides


def half_width(row: SimpleNamespace) -> float:
    return float(row.high - row.difference)


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_are_the_jackknife_over_both_sides(paired: bool):
    """It leaves out each image in turn, of the sets and of the real images."""
    rng = np.random.default_rng(1)
    n = 100
    real, a = rng.normal(size=(n, 3)), 1.2 * rng.normal(size=(n, 3))
    b = a + 0.3 * rng.normal(size=(n, 3))

    def kd(own: np.ndarray, others: np.ndarray) -> float:
        def mean(x: np.ndarray, y: np.ndarray, same: bool) -> float:
            matrix = (x @ y.T / 3 + 1) ** 3
            return float((matrix.sum() - np.trace(matrix)) / (len(x) * (len(x) - 1)) if same else matrix.mean())

        return mean(own, own, True) + mean(others, others, True) - 2 * mean(own, others, False)

    def se(values: list[float]) -> float:
        return float(np.sqrt((n - 1) ** 2 / n * np.var(values, ddof=1)))

    own = [[kd(np.delete(part, i, axis=0), real) for i in range(n)] for part in (a, b)]
    of_real = [[kd(part, np.delete(real, i, axis=0)) for i in range(n)] for part in (a, b)]
    scores = compare(real, a, b, pairs="order" if paired else "none")
    difference = scores.differences["set 2"]["kd"]
    assert difference.difference == pytest.approx(kd(b, real) - kd(a, real), rel=1e-4)  # float32 features
    parts = [np.subtract(*own)] if paired else own
    ses = [se(list(part)) for part in (*parts, np.subtract(*of_real))]
    expected = np.sqrt(np.square(ses).sum())
    assert half_width(difference) == pytest.approx(1.984217 * expected, rel=0.02)  # t, 99 degrees
    assert scores.tables["table.csv"][0]["kd_se"] == pytest.approx(np.hypot(se(own[0]), se(of_real[0])), rel=0.02)


def test_sets_keep_their_intervals_and_verdicts_are_corrected():
    rng = np.random.default_rng(5)
    real, *sets = rng.normal(size=(5, 100, 4)) + np.array([0, 1, 1.4, 1.5, 1.6])[:, None, None]
    one, three = (compare(real, *part, pairs="order") for part in (sets[:2], sets))
    alone, together = one.differences["set 2"]["mmd"], three.differences["set 2"]["mmd"]
    assert (together.low, together.high, together.p) == (alone.low, alone.high, alone.p)
    assert together.detectable > alone.detectable and together.compared == 3
    worse = {name for name, each in three.differences.items() if each["mmd"].verdict == "worse"}
    assert worse and not worse & set(three.best) and "set 1" in three.best


def test_copies_of_all_images_are_one_unit_and_others_a_finding():
    rng = np.random.default_rng(10)
    real, a, b = rng.normal(size=(600, 16)), 1.2 * rng.normal(size=(100, 16)), 1.2 * rng.normal(size=(100, 16))
    once, twice = compare(real, a, b), compare(real, np.tile(a, (2, 1)), np.tile(b, (2, 1)))
    assert (twice.difference.difference, half_width(twice.difference)) == pytest.approx(
        (once.difference.difference, half_width(once.difference))
    )  # whose pairs of copies do not meet
    assert any("every image stands 2 times in it" in text for text in twice.warnings)
    b[:30] = b[0]
    scores = compare(real, a, b)
    assert scores.verdict == "worse" and scores.differences["set 2"]["copies"].low > 0.2
    said = "set 2 repeats images: 29 of 100 are copies of others in it, of set 1 0 of 100 (difference 29.0 %; "
    assert any(text.startswith(said) for text in scores.warnings)
    assert score(real, np.tile(a[:1], (50, 1))).values["set 1"]["mmd"].value > 0


def test_a_set_nearer_than_real_images_is_a_finding():
    """Copies that are too far from their originals to be told one by one."""
    rng = np.random.default_rng(12)
    real = rng.normal(size=(200, 4))
    warnings = score(real, real + 0.02 * rng.normal(size=real.shape)).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("set 1 is nearer to REAL than other real images would be (MMD ×1000 -")
    assert not any(score(rng.normal(size=(100, 4)), rng.normal(size=(100, 4))).warnings for _ in range(10))


def test_copies_are_a_share_of_the_images_that_are_searched(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(13)
    real, once = rng.normal(size=(100, 16)), rng.normal(size=(100, 16))
    some = np.where(rng.random((100, 1)) < 0.5, once[:1], once)
    monkeypatch.setattr(sides, "KERNEL_IMAGES", 60)
    repeated, n = score(real, some).space.copies[1].share()
    assert n == 60 and 20 < repeated < 40
    assert score(real, np.tile(once, (2, 1))).space.copies[1].share() == (0, 60)  # every image twice is no collapse


def test_a_set_that_repeats_images_is_not_the_best():
    rng = np.random.default_rng(14)
    real, a, b, c = rng.normal(size=(4, 300, 16))
    a, b = 1.3 * a, 1.2 * b
    c[:60] = c[0]
    scores = compare(real, a, b, c)
    assert scores.differences["set 3"]["copies"].verdict == "worse"
    assert "set 3" not in scores.best and "set 2" in scores.best
