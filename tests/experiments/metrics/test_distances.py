"""Our distances equal torch-fidelity's on the same images, and their jackknife equals a plain loop."""

import numpy as np
import pytest
import torch
from fidelity_pixels import fidelity

from diffusion_core.data import Images
from experiments.metrics.distances import (
    GROUPS,
    Pool,
    Reference,
    fd_replicates,
    frechet_distance,
    jackknife_se,
    kd_replicates,
    kernel_distance,
    kernel_row_sums,
    precision_recall,
)
from experiments.metrics.features import extract

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
    assert kernel_distance(features[0], reference) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    assert precision_recall(features[0], reference) == (theirs["precision"], theirs["recall"])
    assert theirs["frechet_inception_distance"] > 1  # the noise is seen


def test_kernel_distance_is_the_u_statistic_at_unequal_sizes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(1, 2, size=(11, 3))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, Reference.of(y)) == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


@pytest.mark.parametrize("n", [200, 213])
def test_replicates_equal_leaving_each_group_out(n: int) -> None:
    rng = np.random.default_rng(1)
    x, reference = rng.normal(size=(n, 5)), Reference.of(rng.normal(0.3, 1.2, size=(400, 5)))
    kept = [x[np.arange(n) % GROUPS != group] for group in range(GROUPS)]
    for replicates, distance in ((fd_replicates, frechet_distance), (kd_replicates, kernel_distance)):
        np.testing.assert_allclose(replicates(x, reference), [distance(part, reference) for part in kept], rtol=1e-8)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    groups = np.random.default_rng(2).normal(size=GROUPS)
    left_out = (groups.sum() - groups) / (GROUPS - 1)
    assert jackknife_se(left_out) == pytest.approx(groups.std(ddof=1) / np.sqrt(GROUPS), rel=1e-12)


def test_the_floor_and_rows_compare_disjoint_real_images_of_equal_sizes() -> None:
    features = np.random.default_rng(3).normal(size=(60, 4))
    pool = Pool(features, kernel_row_sums(features))
    floor = pool.floor(20, repeats=3)
    for draw in range(3):
        aside = pool.aside(20, draw + 1)
        assert aside.sum() == 20 and not (aside == pool.aside(20, 0)).all()
        rest = Reference.of(features[~aside])
        assert floor["fd"][draw] == pytest.approx(frechet_distance(features[aside], rest), rel=1e-9)
        assert floor["kd"][draw] == pytest.approx(kernel_distance(features[aside], rest), rel=1e-9)
    assert len(set(floor["fd"])) == 3
    reference = pool.reference(20)
    assert len(reference.features) == 40
    assert reference.mean_kernel == pytest.approx(Reference.of(reference.features).mean_kernel, rel=1e-12)
    with pytest.raises(ValueError, match="n_samples=59: the data set has 60 images, and 2 must stay"):
        pool.reference(59)
