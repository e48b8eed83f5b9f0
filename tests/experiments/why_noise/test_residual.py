"""The Fokker-Planck residual: 0 for the denoiser of a distribution, right or wrong, and above it for any other."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from diffusion_core.exact import Mixture
from diffusion_core.schedules import geometric
from experiments.why_noise.blend import Blend
from experiments.why_noise.residual import residual
from experiments.why_noise.wrong import Scaled, WrongConfig, changed

GENERATOR = torch.Generator().manual_seed(0)
K, D, R = 4, 16, 2
LAW = Mixture(
    torch.full((K,), 1 / K, dtype=torch.float64),
    torch.randn(K, D, dtype=torch.float64, generator=GENERATOR),
    torch.linalg.qr(torch.randn(K, D, R, dtype=torch.float64, generator=GENERATOR)).Q,
    torch.rand(K, R, dtype=torch.float64, generator=GENERATOR),
    torch.full((K,), 0.3, dtype=torch.float64),
)
N = 300
CLEAN = LAW.sample(N, torch.Generator().manual_seed(1)).view(N, 1, 4, 4)


def mean(model: nn.Module) -> tuple[float, float]:
    """The mean over steps, and its standard error."""
    setup = SimpleNamespace(
        model=model, clean=CLEAN, sigmas=geometric(80, 5.0, 0.1), config=SimpleNamespace(n_samples=N, seed=0)
    )
    *_, last = residual(setup)  # type: ignore[arg-type]  # only these parts are used
    assert "sigma" not in last
    return float(last["value"]), float(last["se"])


def test_the_denoiser_of_any_distribution_has_none() -> None:
    for law in (LAW, changed(LAW, WrongConfig("mnist5k", "weights", 1.0))):
        value, se = mean(law)
        assert abs(value) < 4 * se < 5e-5


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_eps_of_the_wrong_size_has_one(factor: float) -> None:
    value, se = mean(Scaled(LAW, factor))
    assert value > 5 * se


def test_a_change_between_two_levels_has_one() -> None:
    value, se = mean(Blend(changed(LAW, WrongConfig("mnist5k", "wider", 0.3)), LAW, 1.0, 100.0))
    assert value > 5 * se
