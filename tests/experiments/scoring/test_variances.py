"""Intervals of `score`: over images and real images, in pairs or not, with copies as one image."""

import numpy as np
import pytest

from experiments import compare, score
from experiments.distances.real import METRICS
from experiments.scoring import space


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_are_the_jackknife_over_both_sides(paired: bool) -> None:
    """It leaves out each image in turn, of the sets and of the real images."""
    rng, n = np.random.default_rng(1), 100
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
    found = compare(real, a, b, pairs="order" if paired else "none").spaces[0]
    difference = found.differences[0].values["kd"]
    assert difference.difference == pytest.approx(kd(b, real) - kd(a, real), rel=1e-4)  # float32 features
    parts = [np.subtract(*own)] if paired else own
    ses = [se(list(part)) for part in (*parts, np.subtract(*of_real))]
    assert difference.se == pytest.approx(np.sqrt(np.square(ses).sum()), rel=0.02)
    assert found.sides[0].values["kd"].se == pytest.approx(np.hypot(se(own[0]), se(of_real[0])), rel=0.02)


@pytest.mark.parametrize(("n", "r"), [(40, 300), (300, 40)])
def test_the_interval_has_the_freedom_of_the_smaller_sample(n: int, r: int) -> None:
    rng = np.random.default_rng(8)
    real, a, b = rng.normal(size=(r, 3)), 1.2 * rng.normal(size=(n, 3)), 1.5 * rng.normal(size=(n, 3))
    found = compare(real, a, b).spaces[0]
    for estimate in (found.sides[0].values["mmd"], found.differences[0].values["mmd"]):
        assert (estimate.high - estimate.difference) / estimate.se == pytest.approx(2.02269, rel=1e-4)  # t, 39 degrees


def test_differences_of_several_sets_hold_at_once_and_agree_with_the_best() -> None:
    rng = np.random.default_rng(5)
    real, *sets = rng.normal(size=(5, 100, 4)) + np.array([0, 1, 1.4, 1.5, 1.6])[:, None, None]
    one, three = (compare(real, *part, pairs="order").spaces[0] for part in (sets[:2], sets))
    for metric in METRICS:
        alone, together = one.differences[0].values[metric], three.differences[0].values[metric]
        assert together.difference == alone.difference and together.high > alone.high
        assert together.detectable > alone.detectable and together.p_value >= alone.p_value
    needed = [each.differences[0].needed for each in (one, three)]
    assert needed[0] is not None and needed[1] is not None and needed[1] > needed[0]
    worse = {pair.a for pair in three.differences if pair.verdict == "worse"}
    assert worse and not worse & set(three.best) and "set 1" in three.best


def test_pairs_are_worth_images() -> None:
    rng = np.random.default_rng(9)
    real, a = rng.normal(size=(400, 8)), 1.3 * rng.normal(size=(200, 8))
    b = a + 0.2 * rng.normal(size=(200, 8))
    pairs, apart = (compare(real, a, b, pairs=how).spaces[0].differences[0] for how in ("order", "none"))
    assert pairs.gain is not None and pairs.gain > 2 and apart.gain is None
    assert pairs.values["mmd"].se < apart.values["mmd"].se


def test_no_more_images_are_advised_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    real, a, b = rng.normal(size=(400, 4)), 1.2 + rng.normal(size=(100, 4)), 1.4 + rng.normal(size=(100, 4))
    needed = compare(real, a, b).spaces[0].differences[0].needed
    assert needed is not None and needed > 400
    for limit, advised in ((needed, needed), (needed - 1, None)):
        monkeypatch.setattr(space, "KERNEL_IMAGES", limit)
        assert compare(real, a, b).spaces[0].differences[0].needed == advised


def test_copies_do_not_make_an_interval_narrower() -> None:
    rng = np.random.default_rng(10)
    real, a = rng.normal(size=(600, 16)), 1.2 * rng.normal(size=(100, 16))
    once, often = score(real, a), score(real, np.tile(a, (4, 1)))
    se = [each.spaces[0].sides[0].values["mmd"].se for each in (once, often)]
    assert se[1] > 0.9 * se[0]
    assert often.warnings == ("set 1: 300 of 400 images are copies of others in it; copies count as one",)
    pair = compare(real, np.tile(a, (4, 1)), np.tile(1.1 * a, (4, 1)), pairs="order").spaces[0].differences[0]
    alone = compare(real, a, 1.1 * a, pairs="order").spaces[0].differences[0]
    assert pair.values["mmd"].se > 0.9 * alone.values["mmd"].se
    with pytest.raises(ValueError, match=r"set 1, or the real images: all images belong to one group"):
        score(real, np.tile(a[:1], (50, 1)))


def test_a_set_nearer_than_real_images_is_a_finding() -> None:
    """Copies that are too far from their originals to be told one by one."""
    rng = np.random.default_rng(12)
    real = rng.normal(size=(200, 4))
    found = score(real, real + 0.02 * rng.normal(size=real.shape)).warnings
    assert len(found) == 1
    assert found[0].startswith("set 1 is nearer to REAL than other real images would be (MMD ×1000 -")
    assert not any(score(rng.normal(size=(100, 4)), rng.normal(size=(100, 4))).warnings for _ in range(10))


def test_copies_are_looked_for_among_as_many_images_as_kernels_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    real, a = rng.normal(size=(100, 16)), np.tile(rng.normal(size=(50, 16)), (2, 1))
    monkeypatch.setattr(space, "KERNEL_IMAGES", 60)
    copies = score(real, a).spaces[0].sides[0].copies
    assert len(copies.groups) == 100 and 0 < copies.repeats <= 30
