"""The code that a page shows makes what was measured: it runs beside the package, with the same noise."""

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from diffusion_core.registry import NOISE_DISTRIBUTIONS
from diffusion_core.schedules import SCHEDULES
from diffusion_core.weightings import WEIGHTINGS
from experiments.names import parse_sampler
from reports import snippets

ROW = {"sigma_max": 30.0, "sigma_min": 0.03, "n_steps": 7, "final_denoise": True, "eta": math.nan}


def eps(x: torch.Tensor, sigma: Any) -> torch.Tensor:
    """Any smooth function."""
    return x * sigma / (1 + sigma**2) + 0.1 * torch.sin(x)


@pytest.mark.parametrize("final", [True, False], ids=["end=0", "ends above 0"])
@pytest.mark.parametrize("schedule", snippets.SCHEDULES)
@pytest.mark.parametrize("sampler", ["euler", "euler(eta=0.5)", "euler(eta=1)", *snippets.SAMPLERS])
def test_schedule_and_sampler_make_the_samples_of_the_package(schedule: str, sampler: str, final: bool):
    known = parse_sampler(sampler)
    row = ROW | {"schedule": schedule, "sampler": sampler, "final_denoise": final}
    row["eta"] = known.eta if sampler.startswith("euler") else math.nan
    sigmas = SCHEDULES[schedule](7, 30.0, 0.03)
    start = 30 * torch.randn(5, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    x = start.clone()
    for _ in known.run(eps, x, sigmas, lambda: torch.randn_like(x)):
        pass
    expected = x - sigmas[-1] * eps(x, sigmas[-1]) if final else x
    torch.manual_seed(0)
    scope = {"torch": torch, "math": math, "eps": eps, "x": start.clone()}
    exec(snippets.write_sampling(pd.Series(row)), scope)
    assert_close(scope["sigmas"][:8], torch.tensor(sigmas), rtol=1e-5, atol=1e-6)
    assert_close(scope["x"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parameterisation", snippets.INPUTS)
def test_the_loss_of_a_training_is_that_of_the_package(parameterisation: str):
    noise = NOISE_DISTRIBUTIONS["log-normal"](0.5955, 1.0)
    row = pd.Series({"p_mean": noise.p_mean, "p_std": noise.p_std, "weighting": "karras",
                     "parameterisation": parameterisation})  # fmt: skip
    noisy = list[Any]()
    scope = {"torch": torch, "x0": torch.zeros(20_000, 1, 1, 1), "images": None}
    scope["denoise"] = lambda given, _: noisy.append(given) or 0.5 * given[:, :1]
    scope["TiedMixture"] = SimpleNamespace(fit=lambda _: lambda x, sigma: 0.5 * x / sigma.reshape(-1, 1, 1, 1))
    torch.manual_seed(0)
    exec(snippets.write_training(row), scope)
    sigma, (given,) = scope["sigma"], noisy
    x, more = given[:, :1], given[:, 1:]
    assert torch.equal(more, 0.5 * x) == (parameterisation == "mixture-input")
    logs = sigma.log().flatten()
    drawn = noise.sample(20_000, torch.Generator().manual_seed(1)).log()
    assert_close(torch.stack([logs.mean(), logs.std()]), torch.stack([drawn.mean(), drawn.std()]),
                               rtol=0, atol=0.03)  # fmt: skip
    error = (x - scope["D"]) / sigma - x / sigma  # of eps
    assert_close(scope["loss"], (WEIGHTINGS["karras"](sigma) * error**2).mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("change", [{"schedule": "cosine"}, {"sampler": "heun"}])
def test_what_has_no_code_is_not_shown(change: dict[str, str]):
    row = pd.Series(ROW | {"schedule": "linear", "sampler": "res-2m"})
    assert snippets.show(snippets.write_sampling(row))
    assert snippets.show(snippets.write_sampling(pd.Series({**row, **change}))) == []
