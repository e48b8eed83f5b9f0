"""Our distances equal torch-fidelity's on the same images, and their jackknife equals a plain loop."""

import numpy as np
import pytest
import torch
from fidelity_pixels import fidelity

from diffusion_core.data import Images
from experiments.metrics.distances import (
    GROUPS,
    METRICS,
    Pool,
    Reference,
    frechet_distance,
    jackknife_se,
    precision_recall,
)
from experiments.metrics.kernels import both, group_sums
from experiments.own.features import extract

N = 300


@pytest.fixture(scope="module")
def pixels(digits: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits with noise on them, and other digits."""
    noise = torch.randint(0, 90, (N, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    return (digits.pixels[:N] + noise).clamp(max=255).to(torch.uint8), digits.pixels[N : 2 * N]


@pytest.fixture(scope="module")
def features(pixels: tuple[torch.Tensor, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    left, right = (extract("digits", part)[0].double().numpy() for part in pixels)
    return left, right


@pytest.mark.slow
def test_fd_kd_precision_and_recall_equal_torch_fidelity(
    pixels: tuple[torch.Tensor, torch.Tensor], features: tuple[np.ndarray, np.ndarray]
) -> None:
    theirs = fidelity(*pixels)
    reference = Reference.of(features[1])
    assert frechet_distance(features[0], reference) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    kd = METRICS["kd"](features[0], reference)[0]
    assert kd == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    assert precision_recall(*features) == (theirs["precision"], theirs["recall"])
    assert theirs["frechet_inception_distance"] > 1  # the noise is seen


KERNELS = {"mmd": lambda a, b: np.exp(-((a - b) ** 2).sum() / WIDE**2), "kd": lambda a, b: (a @ b / 3 + 1) ** 3}
WIDE = 1.3


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_distance_is_the_u_statistic_at_unequal_sizes(name: str) -> None:
    rng, k = np.random.default_rng(0), KERNELS[name]
    x, y = rng.normal(size=(7, 3)), rng.normal(1, 2, size=(11, 3))
    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    distances = [np.linalg.norm(a - b) for i, a in enumerate(y) for b in y[:i]]
    reference = Reference.of(y, width=WIDE / float(np.median(distances)))
    assert METRICS[name](x, reference)[0] == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


@pytest.mark.parametrize("n", [200, 213])
def test_replicates_equal_leaving_each_group_out(n: int) -> None:
    rng = np.random.default_rng(1)
    x, reference = rng.normal(size=(n, 5)), Reference.of(rng.normal(0.3, 1.2, size=(400, 5)))
    kept = [x[np.arange(n) % GROUPS != group] for group in range(GROUPS)]
    for metric in METRICS.values():
        left_out = [metric(part, reference)[0] for part in kept]
        np.testing.assert_allclose(metric(x, reference)[1], left_out, rtol=1e-8)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    groups = np.random.default_rng(2).normal(size=GROUPS)
    left_out = (groups.sum() - groups) / (GROUPS - 1)
    assert jackknife_se(left_out) == pytest.approx(groups.std(ddof=1) / np.sqrt(GROUPS), rel=1e-12)


def test_the_floor_and_rows_compare_disjoint_real_images_of_equal_sizes() -> None:
    features = np.random.default_rng(3).normal(size=(60, 4))
    pool = Pool.of(features)
    floor = pool.floor(20, range(1, 4))
    for draw in range(3):
        aside = pool.aside(20, draw + 1)
        assert aside.sum() == 20 and not (aside == pool.aside(20, 0)).all()
        rest = pool.without(aside)
        for name, metric in METRICS.items():
            assert floor[name][draw] == pytest.approx(metric(features[aside], rest)[0], rel=1e-9)
    assert len(set(floor["fd"])) == 3
    known = {name: sums.sum(axis=1) for name, sums in group_sums(both(pool.width), features[:30]).items()}
    part = Pool(features, pool.width, known)
    few, aside = part.floor(20, [1], most=5), part.aside(20, 1)[:30]
    rest = Pool(features[:30], pool.width, known).without(aside)
    assert few["mmd"][0] == pytest.approx(METRICS["mmd"](features[:30][aside], rest)[0], rel=1e-9)
    reference = pool.reference(20)
    assert len(reference.features) == 40
    assert reference.within["kd"] == pytest.approx(Reference.of(reference.features).within["kd"], rel=1e-12)
    with pytest.raises(ValueError, match="n_samples=59: the data set has 60 images, and 2 must stay"):
        pool.reference(59)


@pytest.mark.parametrize(("n", "inside"), [(4, 4), (10, 10), (25, 15), (58, 28)])
def test_kernel_floors_of_a_large_pool_are_of_n_images(n: int, inside: int) -> None:
    """Of 60 images, kernel distances know the first 30."""
    features = np.random.default_rng(4).normal(size=(60, 4))
    sums = Pool.of(features[:30]).row_sums
    aside = Pool(features, 1.0, sums).aside(n, 1)
    assert (aside.sum(), aside[:30].sum()) == (n, inside)
    everything = np.random.default_rng([7, 1]).permutation(60)[:n]
    assert set(np.flatnonzero(Pool.of(features).aside(n, 1))) == set(everything)  # as ever, where all are known


def test_precision_and_recall_do_not_depend_on_a_common_offset() -> None:
    rng = np.random.default_rng(5)
    real, shifted = rng.normal(size=(2, 100, 4)) + np.array([0, 20])[:, None, None]
    assert precision_recall(shifted, real) == (0, 0)
    for offset in (90, 110, 1e5, 1e7):
        same = precision_recall(real[::-1] + 0.3 + offset, real + offset)
        assert precision_recall(shifted + offset, real + offset) == (0, 0)
        assert same == pytest.approx(precision_recall(real[::-1] + 0.3, real), abs=0.02)
