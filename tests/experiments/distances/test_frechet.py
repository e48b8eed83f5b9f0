"""FD against torch-fidelity's formula, and what each image adds to it against leaving images out."""

import numpy as np
import pytest
from torch_fidelity.metric_fid import fid_statistics_to_metric

from experiments.distances.distance import Array
from experiments.distances.frechet import Moments, distance, terms

GROUPS = 20


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


@pytest.mark.parametrize(("n", "r", "d"), SIZES)
def test_what_images_add_is_what_leaving_them_out_takes_away(n: int, r: int, d: int) -> None:
    """With enough images to a few per cent. With n < d FD bends, and both standard errors are rough."""
    own, real = features(n, r, d)
    moments = Moments.of(own), Moments.of(real)
    value, added = distance(*moments), terms(own, *moments, real)
    for each, images, left_out in (
        (added[0], own, lambda part: distance(Moments.of(part), moments[1])),
        (added[1], real, lambda part: distance(moments[0], Moments.of(part))),
    ):
        group = np.arange(len(images)) % GROUPS
        exact = np.array([left_out(images[group != out]) for out in range(GROUPS)])
        linear = np.array([value - each[group == out].sum() / (group != out).sum() for out in range(GROUPS)])
        few = len(images) < 2 * d
        assert abs(each.mean()) < 1e-12 and np.corrcoef(exact, linear)[0, 1] > (0.9 if few else 0.99)
        assert linear.std() == pytest.approx(exact.std(), rel=0.4 if few else 0.06)


def test_nothing_of_real_images_that_are_fixed() -> None:
    own, real = features(100, 200, 5)
    moments = Moments.of(own), Moments.of(real)
    fixed, sampled = terms(own, *moments), terms(own, *moments, real)
    assert (fixed[0] == sampled[0]).all() and [len(fixed[1]), len(sampled[1])] == [0, 200]
