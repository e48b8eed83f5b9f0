"""Training laws: samples follow the declared density."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from diffusion_core.noise import LogNormal, LogUniform

LAWS = [LogNormal(), LogNormal(0.3, 0.5), LogUniform(), LogUniform(0.1, 2.0)]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_samples_follow_the_density(law: LogNormal | LogUniform) -> None:
    sigma = law.sample(20_000, torch.Generator().manual_seed(3))
    assert sigma.dtype == torch.float32 and (sigma > 0).all()
    grid = np.linspace(-8, 8, 16_001)
    density = law.log_density(torch.from_numpy(grid)).exp().numpy()
    cumulative = integrate.cumulative_trapezoid(density, grid, initial=0)
    assert cumulative[-1] == pytest.approx(1, abs=1e-3)
    result = stats.kstest(sigma.log().numpy(), lambda value: np.interp(value, grid, cumulative))
    assert result.pvalue > 0.01


def test_karras_law_in_unit_data() -> None:
    assert LogNormal().p_mean == pytest.approx(-1.2 + math.log(2), abs=5e-4)
    assert LogNormal().name == "log-normal(-0.507, 1.2)"


def test_same_generator_state_same_levels() -> None:
    draws = [LogUniform().sample(5, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], LogUniform().sample(5, torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("p_std", [0.0, -1.0, math.nan])
def test_bad_p_std_is_named(p_std: float) -> None:
    with pytest.raises(ValueError, match=r"p_std=.*: it must be above 0"):
        LogNormal(p_std=p_std)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2, 1), (1, 1)])
def test_bad_ends_are_named(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=r"sigma_min=.*below sigma_max="):
        LogUniform(low, high)
