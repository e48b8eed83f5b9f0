"""FD against torch-fidelity's formula, and what each image adds to it against leaving groups of images out."""

import numpy as np
import pytest
from torch_fidelity.metric_fid import fid_statistics_to_metric

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
    found, moments = influence(own, real), (Moments.of(own), Moments.of(real))
    for terms, images, left_out in (
        (found.own, own, lambda part: distance(Moments.of(part), moments[1])),
        (found.real, real, lambda part: distance(moments[0], Moments.of(part))),
    ):
        kept = [GROUP_OF[: len(images)] != group for group in range(GROUPS)]
        exact = np.array([left_out(images[part]) for part in kept])
        linear = np.array([found.value - terms[~part].sum() / part.sum() for part in kept])
        assert abs(terms.mean()) < 1e-12
        few = len(images) < 2 * d
        assert np.corrcoef(exact, linear)[0, 1] > (0.9 if few else 0.99)
        assert jackknife_se(linear) == pytest.approx(jackknife_se(exact), rel=0.4 if few else 0.06)
