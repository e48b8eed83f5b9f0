"""The intervals of `score`: their variance by parts, how they hold, and the numbers of images that follow from them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments import compare
from experiments.metrics.distances import METRICS as METRICS_OF_RUNS
from experiments.metrics.distances import Reference, jackknife_se
from experiments.metrics.influence import Influence
from experiments.metrics.kernels import groups
from experiments.scoring import space
from experiments.scoring.distances import Parts, Real, by_kernel, of_one, of_pairs, of_two, parts_of_two
from reports.schema import METRICS


@pytest.mark.parametrize("paired", [True, False])
def test_without_what_pairs_add_intervals_are_the_jackknife_over_both_sides(paired: bool) -> None:
    """Its replicates leave out each image in turn, of the sets and of the real images."""
    rng, n = np.random.default_rng(1), 100
    real, a = rng.normal(size=(n, 3)), 1.2 * rng.normal(size=(n, 3))
    sets = [a, a + 0.3 * rng.normal(size=(n, 3))]

    def kd(own: np.ndarray, others: np.ndarray) -> float:
        return METRICS_OF_RUNS["kd"](own, Reference.of(others))[0]

    own = [np.array([kd(np.delete(part, i, axis=0), real) for i in range(n)]) for part in sets]
    of_real = [np.array([kd(part, np.delete(real, i, axis=0)) for i in range(n)]) for part in sets]
    distances = [replace(Real.of(real).of_kernels(part)["kd"], cells=np.zeros((40, 40))) for part in sets]
    difference = of_two(*distances, paired)
    assert difference.difference == pytest.approx(kd(a, real) - kd(sets[1], real), rel=1e-10)
    parts = [own[0] - own[1]] if paired else own
    ses = [jackknife_se(part) for part in (*parts, of_real[0] - of_real[1])]
    assert difference.se == pytest.approx(np.sqrt(np.square(ses).sum()), rel=0.02)
    assert of_one(distances[0]).se == pytest.approx(np.hypot(jackknife_se(own[0]), jackknife_se(of_real[0])), rel=0.02)


def linear(x: np.ndarray, z: np.ndarray) -> Influence:
    """The distance with k(x, y) = x.y."""
    of_x, of_z = groups(len(x)), groups(len(z))
    within = [p @ (m.T @ p).T - m * (p**2).sum(axis=1)[:, None] for p, m in ((x, of_x), (z, of_z))]
    return by_kernel(*within, x @ (of_z.T @ z).T, z @ x.sum(axis=0))


def test_what_pairs_of_images_add_counts_once() -> None:
    """With k(x, y) = x.y and mean 0, single images add nothing, and the variance has a closed form; 300 draws."""
    rng, n, r, d = np.random.default_rng(4), 60, 80, 10
    own, real, both = 2 / (n * (n - 1)), 2 / (r * (r - 1)), 4 / (n * r)
    exact = d * np.array([(2 * own, 2 * both, 0), (9 * own, both, 0), (own, both, real)])
    pairs, errors = [], []
    for _ in range(300):
        x, y, z = rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.normal(size=(r, d))
        a, b, twice = linear(x, z), linear(y, z), linear(2 * x, z)
        cases = [([a, b], a - b), ([twice - a], twice - a), ([a], a)]  # two, two in pairs, and one
        pairs.append([of_pairs(*case) for case in cases])
        errors.append([parts_of_two(*case).total for case in ((a, b, False), (twice, a, True))])
    assert np.mean(pairs, axis=0) == pytest.approx(exact, rel=0.06, abs=1e-12)
    ratio = np.mean(errors, axis=0) / exact[:2].sum(axis=1)  # above 1: at most half is subtracted; the jackknife has 2
    assert (ratio > 0.95).all() and (ratio < 1.3).all()


def test_the_number_of_images_for_a_variance_knows_how_each_part_falls() -> None:
    assert Parts(3.0, 1.0, 0.5, 2.0).times(6.5) == 1
    for parts, wanted in (
        (Parts(4, 0, 0, 1), 4),
        (Parts(0, 4, 0, 1), 2),
        (Parts(0, 0, 4, 1), 4),
        (Parts(1, 2, 0, 0), 1),
    ):
        assert parts.times(3.0 if wanted == 1 else 2.0) == pytest.approx(wanted)
    assert Parts(4, 0, 0, 2).times(2.0) is None  # the real images alone have it


@pytest.mark.parametrize(("n", "r"), [(40, 300), (300, 40)])
def test_the_interval_has_the_spread_and_the_freedom_of_the_smaller_sample(n: int, r: int) -> None:
    rng = np.random.default_rng(8)
    against = Real.of(rng.normal(size=(r, 3)))
    a, b = (against.of_kernels(scale * rng.normal(size=(n, 3)))["mmd"] for scale in (1.2, 1.5))
    spread = np.hypot(a.own.std(ddof=1) / n**0.5, a.real.std(ddof=1) / r**0.5)
    assert of_one(a).se == pytest.approx(spread, rel=1e-9)
    for estimate in (of_one(a), of_two(a, b, True), of_two(a, b, False)):
        assert (estimate.high - estimate.difference) / estimate.se == pytest.approx(stats.t.ppf(0.975, 39), rel=1e-9)


def test_what_several_differences_could_have_detected_is_corrected_for_their_number() -> None:
    """At a level of 1 - 0.05 / 3, as the first step of Holm's method tests; and with it the images that are needed."""
    rng = np.random.default_rng(5)
    real, *sets = rng.normal(size=(5, 100, 4)) + np.array([0, 1, 1.4, 1.5, 1.6])[:, None, None]
    one, three = (compare(real, *part, pairs="order").spaces[0].differences for part in (sets[:2], sets))
    for metric in METRICS:
        alone, corrected = one[0].values[metric], three[0].values[metric]
        assert (corrected.low, corrected.p_value) == (alone.low, alone.p_value)
        power = stats.t.ppf(0.8, 99), stats.t.ppf(1 - 0.025 / 3, 99), stats.t.ppf(0.975, 99)
        assert corrected.detectable / alone.detectable == pytest.approx((power[0] + power[1]) / (power[0] + power[2]))
    needed = [each[0].needed for each in (one, three)]
    assert needed[0] is not None and needed[1] is not None and needed[1] > needed[0]


def test_no_more_images_are_advised_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    real, a, b = rng.normal(size=(400, 4)), 1.2 + rng.normal(size=(100, 4)), 1.6 + rng.normal(size=(100, 4))
    needed = compare(real, a, b).spaces[0].differences[0].needed
    assert needed is not None and needed > 40
    for limit, advised in ((needed, needed), (needed - 1, None)):
        monkeypatch.setattr(space, "KERNEL_IMAGES", limit)
        assert compare(real, a, b).spaces[0].differences[0].needed == advised


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_intervals_contain_the_true_difference_as_often_as_they_say(paired: bool) -> None:
    """Over the choice of real images too. The truth is the mean over 300 comparisons: 95 % of them, +- 3 errors."""
    rng, rows = np.random.default_rng(3), list[dict[str, tuple[float, float, float]]]()
    for _ in range(300):
        real, a, other = rng.normal(size=(3, 200, 3))
        a, b = 1.4 * a, 1.3 * (a if paired else other) + 0.1 * rng.normal(size=(200, 3))
        against = Real.of(real)
        of_b, of_a = (against.of_kernels(part) | {"fd": against.fd(part)} for part in (b, a))
        values = {metric: of_two(of_b[metric], of_a[metric], paired) for metric in METRICS}
        rows.append({metric: (value.difference, value.low, value.high) for metric, value in values.items()})
    for metric in METRICS:
        difference, low, high = np.array([row[metric] for row in rows]).T
        truth = difference.mean()
        assert 0.91 <= ((low <= truth) & (truth <= high)).mean() <= 0.985, metric
