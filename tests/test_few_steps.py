"""docs/examples/consistency.py: its samplers against a loop, its tuning against a closed form, its tables."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from diffusion_core import GaussianDenoiser, sample
from diffusion_core.samplers.seeded_noise import BlockNoise

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs" / "data"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("consistency", ROOT / "docs" / "examples" / "consistency.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["predicted", "fresh", "reused"])
def test_noise_is_fresh_reused_or_predicted(example, name: str):
    model, shape, sigmas = GaussianDenoiser(0.0, 1.0), (1, 4, 4), (30.0, 2.0, 0.5, 0.0)
    noise = BlockNoise(0, range(3), shape, torch.device("cpu"))
    first = noise()
    x = 30 * first
    for sigma, after in pairwise(sigmas):
        eps = model(x, torch.full((3,), sigma))
        denoised = x - sigma * eps
        z = {"predicted": eps, "reused": first, "fresh": noise() if name == "fresh" and after > 0 else first}[name]
        x = denoised + after * z
    drawn = sample(model, sigmas, example.NOISES[name], n_samples=3, shape=shape)
    torch.testing.assert_close(drawn, x, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_tuning_makes_the_denoised_images_of_one_noise_agree(example):
    class Linear(nn.Module):  # of data N(0, 1) per pixel: denoised = gain(sigma) x, whose consistent gain is known
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 1))

        def forward(self, x, sigma):
            gain = torch.sigmoid(self.layers(sigma.log()[:, None]))[:, :, None, None]
            return x * (1 - gain) / sigma[:, None, None, None]

    torch.manual_seed(0)
    model = Linear()
    example.tune(model, torch.randn(512, 1, 4, 4), n_images=100_000, lr=3e-3)
    for sigma in (0.5, 1.0, 4.0):
        x = torch.ones(1, 1, 4, 4)
        gain = float((x - sigma * model(x, torch.tensor([sigma]))).mean().detach())
        exact = (1 + sigma**2) ** -0.5  # of the probability-flow ODE down to 0; the denoiser's is its square
        assert gain == pytest.approx(exact, rel=0.2)
        assert abs(gain - exact) < abs(gain - exact**2)


def test_the_published_differences_are_those_of_the_published_scores(example):
    scores, said = pd.read_csv(DATA / "consistency_scores.csv"), pd.read_csv(DATA / "consistency.csv")
    wide = scores[scores["section"].isna()].set_index(["network", "nfe", "noise", "seed"])["mmd"].sort_index()
    for row in said.itertuples():
        d = wide[row.network, row.nfe, row.a] - wide[row.network, row.nfe, row.b]
        low, high = stats.t.interval(0.95, len(d) - 1, d.mean(), d.sem())
        assert [row.difference, row.low, row.high] == pytest.approx([d.mean(), low, high])
        assert row.p_value == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
