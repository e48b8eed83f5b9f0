"""Ladders decrease, hit their ends, and follow the original's stopping rule."""

import itertools
import math

import numpy as np
import pytest

from diffusion_core.schedules import alpha_beta_ladder, alpha_beta_ratio, geometric


@pytest.mark.parametrize("n_steps", [1, 2, 66, 1000])
def test_geometric_has_exact_ends_and_constant_ratio(n_steps: int) -> None:
    sigmas = geometric(n_steps, 30.0, 0.03)
    assert len(sigmas) == n_steps + 1
    assert sigmas[0] == 30.0 and sigmas[-1] == 0.03
    np.testing.assert_allclose(sigmas, np.geomspace(30, 0.03, n_steps + 1), rtol=1e-13)
    assert all(before > after for before, after in itertools.pairwise(sigmas))


@pytest.mark.parametrize(
    ("beta", "n_steps", "ratio"),
    [(0, 66, 0.9), (0.2, 86, 0.9220), (0.3, 132, 0.9487), (0.35, 198, 0.9657), (0.4, 454, 0.9849)],
)
def test_alpha_beta_ladder_has_the_original_number_of_steps(beta: float, n_steps: int, ratio: float) -> None:
    sigmas = alpha_beta_ladder(0.1, beta, 30.0, 0.03)
    assert len(sigmas) - 1 == n_steps
    assert sigmas[1] / sigmas[0] == pytest.approx(ratio, abs=5e-5)
    assert sigmas[-2] > 0.03 >= sigmas[-1]  # it stops at the first level at or below sigma_min


def test_alpha_one_without_noise_reaches_sigma_min_in_one_step() -> None:
    assert alpha_beta_ladder(1.0, 0.0) == (30.0, 0.03)


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        (0.1, 0.43589, r"beta=0.43589: .* below sqrt\(1 - \(1 - alpha\)\^2\) = 0.43589"),
        (0.1, 2.0, "sampling never ends"),
        (0.1, -0.1, "beta=-0.1: it must be at least 0"),
        (0.1, math.nan, "beta=nan"),
        (0.0, 0.0, "alpha=0.0: it must be above 0"),
        (1.1, 0.0, "alpha=1.1: it must be above 0 and at most 1"),
        (0.1, 0.4358898943, "above 100000"),
    ],
)
def test_bad_alpha_and_beta_are_named(alpha: float, beta: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alpha_beta_ladder(alpha, beta)


def test_ratio_is_the_length_of_the_two_parts() -> None:
    assert alpha_beta_ratio(0.3, 0.5) == pytest.approx(math.sqrt(0.49 + 0.25))


@pytest.mark.parametrize(
    ("sigma_max", "sigma_min"), [(0.03, 30), (1, 1), (1, 0), (1, -1), (math.inf, 1), (math.nan, 1)]
)
def test_bad_ends_are_named(sigma_max: float, sigma_min: float) -> None:
    for make in (lambda: geometric(4, sigma_max, sigma_min), lambda: alpha_beta_ladder(0.1, 0, sigma_max, sigma_min)):
        with pytest.raises(ValueError, match=r"sigma_min=.*above 0 and below sigma_max="):
            make()


@pytest.mark.parametrize("n_steps", [0, -3, 10**9])
def test_bad_n_steps_is_named(n_steps: int) -> None:
    with pytest.raises(ValueError, match=f"n_steps={n_steps}: it must be between 1 and"):
        geometric(n_steps)
