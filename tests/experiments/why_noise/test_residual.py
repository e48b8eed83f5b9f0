"""The Fokker-Planck residual: 0 for the denoiser of a distribution, right or wrong, and above it for any other."""

from types import SimpleNamespace

import pytest
import torch
from small_mixture import mixture
from torch import nn

from diffusion_core.schedules import geometric
from experiments.why_noise.blend import Blend
from experiments.why_noise.residual import Residual
from experiments.why_noise.wrong import Scaled, WrongConfig, changed

LAW = mixture(4, 16, 2)
LAW.stds.fill_(0.3)
LAW.variances.div_(4)
N = 300
CLEAN = LAW.sample(N, torch.Generator().manual_seed(1)).view(N, 1, 4, 4)


def mean(model: nn.Module) -> tuple[float, float]:
    """The mean over steps, and its standard error."""
    setup = SimpleNamespace(
        model=model, clean=CLEAN, sigmas=geometric(80, 5.0, 0.1), config=SimpleNamespace(n_samples=N, seed=0)
    )
    *_, last = Residual.measured(setup)  # type: ignore[arg-type]  # only these parts are used
    assert "sigma" not in last
    return float(last["value"]), float(last["se"])


@pytest.mark.slow
def test_the_denoiser_of_any_distribution_has_none() -> None:
    for law in (LAW, changed(LAW, WrongConfig("mnist5k", "weights", 1.0))):
        value, se = mean(law)
        assert abs(value) < 4 * se < 5e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [Scaled(LAW, 0.8), Scaled(LAW, 1.2), Blend(changed(LAW, WrongConfig("mnist5k", "wider", 0.3)), LAW, 1.0, 100.0)],
    ids=["too small", "too large", "another below a level"],
)
def test_other_denoisers_have_one(model: nn.Module) -> None:
    value, se = mean(model)
    assert value > 5 * se
