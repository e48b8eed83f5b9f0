"""FD against torch-fidelity's formula, and what each image adds to it against leaving groups of images out."""

import numpy as np
import pytest
from torch_fidelity.metric_fid import fid_statistics_to_metric

from experiments.metrics import frechet
from experiments.metrics.distances import GROUPS, jackknife_se
from experiments.metrics.frechet import Array, Moments, distance, influence

GROUP_OF = np.arange(10_000) % GROUPS


def features(n: int, r: int, d: int) -> tuple[Array, Array]:
    """Two correlated sets, not normal, whose directions differ in scale by e^4."""
    rng = np.random.default_rng(0)
    scales, axes = np.exp(-4 * np.arange(d) / d), np.linalg.qr(rng.normal(size=(d, d)))[0]
    own = np.tanh(1.2 * rng.normal(size=(n, d)) + 0.1 * rng.normal(size=d)) * scales
    return own @ axes, (rng.normal(size=(r, d)) * scales) @ axes


SIZES = [(400, 900, 20), (900, 400, 20), (150, 900, 128), (60, 300, 128), (300, 60, 128)]  # near d, and below it


@pytest.mark.parametrize(("n", "r", "d"), SIZES)
def test_fd_is_torch_fidelitys(n: int, r: int, d: int) -> None:
    own, real = features(n, r, d)
    parts = [{"mu": part.mean(axis=0), "sigma": np.cov(part, rowvar=False)} for part in (own, real)]
    theirs = fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"]
    assert distance(Moments.of(own), Moments.of(real)) == pytest.approx(theirs, rel=1e-6)
    assert influence(own, real).value == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(("n", "r", "d"), SIZES)
def test_what_images_add_gives_the_replicates_of_the_jackknife(n: int, r: int, d: int) -> None:
    """With enough images to a few per cent. With n < d replicates bend, and both standard errors are rough."""
    own, real = features(n, r, d)
    added, moments = influence(own, real), (Moments.of(own), Moments.of(real))
    for terms, images, left_out in (
        (added.own, own, lambda part: distance(Moments.of(part), moments[1])),
        (added.real, real, lambda part: distance(moments[0], Moments.of(part))),
    ):
        kept = [GROUP_OF[: len(images)] != group for group in range(GROUPS)]
        exact = np.array([left_out(images[part]) for part in kept])
        linear = np.array([added.value - terms[~part].sum() / part.sum() for part in kept])
        assert abs(terms.mean()) < 1e-12
        few = len(images) < 2 * d
        assert np.corrcoef(exact, linear)[0, 1] > (0.9 if few else 0.99)
        assert jackknife_se(linear) == pytest.approx(jackknife_se(exact), rel=0.4 if few else 0.06)


def test_cells_are_the_second_derivative_by_the_weights_of_two_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what one group adds by itself. Here by finite differences of FD; n - 1 in covariances makes 1 to 2 %."""
    monkeypatch.setattr(frechet, "ROWS", 3)  # of 4
    sides, step = features(120, 200, 4), 1e-2
    cells = influence(*sides).cells
    hat = np.eye(GROUPS) - 1 / GROUPS

    def fd(*heavier: tuple[int, int, float]) -> float:
        """FD if groups (side, group, by) weigh more."""
        weights = [np.full(len(side), 1 / len(side)) for side in sides]
        for side, group, by in heavier:
            member = GROUP_OF[: len(sides[side])] == group
            weights[side] += by * (member / member.sum() - 1 / len(member))
        moments = [
            Moments(len(x), w @ x, (w * (x - w @ x).T) @ (x - w @ x)) for w, x in zip(weights, sides, strict=True)
        ]
        return distance(*moments)

    for (a, g), (b, h) in (((0, 0), (0, 1)), ((0, 2), (1, 2)), ((1, 3), (1, 4))):
        signs = [(s, t) for s in (-step, step) for t in (-step, step)]
        mixed = sum(np.sign(s * t) * fd((a, g, s), (b, h, t)) for s, t in signs) / (4 * step**2)
        block = hat @ cells[a * GROUPS : (a + 1) * GROUPS, b * GROUPS : (b + 1) * GROUPS] @ hat
        assert 2 * block[g, h] == pytest.approx(mixed, rel=0.04, abs=0.002 * np.abs(block).max())
