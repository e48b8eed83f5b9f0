"""Every sampler against a short numpy loop from its paper.

Both sides get the same network, the same start and the same noise; the whole trajectory is compared.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from trajectories import SHAPE, TINY, N, compare, ours, replayed, start

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import (
    Euler,
    EulerTwoPart,
    Heun,
    Interval,
    KadkhodaieSimoncelli,
    Restart,
    Sampler,
    checked_steps,
)
from diffusion_core.schedules import geometric, karras


def slope(x: np.ndarray, sigma: float) -> np.ndarray:
    return TINY(torch.from_numpy(x), torch.tensor([sigma], dtype=torch.float64)).numpy()


@pytest.mark.parametrize(
    ("sampler", "above", "below", "s_noise"),
    [(Euler(1.3), 1.3, 1.3, 1.0),
     (EulerTwoPart(1.3, 0.4, split=1.0, s_noise=0.97), 1.3, 0.4, 0.97)],
    ids=str,
)  # fmt: skip
def test_euler_is_k_diffusions_ancestral_step(sampler: Sampler, above: float, below: float, s_noise: float) -> None:
    sigmas, noise, out = geometric(N), replayed(torch.float64), []
    x = start(30).numpy()
    for sigma, after in itertools.pairwise(sigmas):
        eta = above if sigma > 1.0 else below
        up = min(after, eta * (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5)
        x = x + slope(x, sigma) * ((after**2 - up**2) ** 0.5 - sigma)
        if eta:
            x = x + s_noise * up * noise().numpy()
        out.append(x)
    compare(sampler.name, "numpy: k-diffusion's ancestral step", ours(sampler, sigmas), out)


@pytest.mark.parametrize("s_churn", [0.0, 5.0, 40.0])
def test_heun_is_karras_algorithm_2(s_churn: float) -> None:
    """With every knob: N S_churn above the cap at 40, S_min and S_max inside the ladder, S_noise not 1; ends at 0."""
    sigmas, noise, out = (*karras(N), 0.0), replayed(torch.float64), []
    x = start(30).numpy()
    for sigma, after in itertools.pairwise(sigmas):
        gamma = min(s_churn / (N + 1), math.sqrt(2) - 1) if 0.1 <= sigma <= 10 else 0
        hat = sigma + gamma * sigma
        if gamma > 0:
            x = x + math.sqrt(hat**2 - sigma**2) * 1.007 * noise().numpy()
        d = slope(x, hat)
        x_next = x + (after - hat) * d
        if after > 0:
            x_next = x + (after - hat) * (d + slope(x_next, after)) / 2
        x = x_next
        out.append(x)
    sampler = Heun(s_churn, s_min=0.1, s_max=10.0, s_noise=1.007)
    compare(f"Heun(s_churn={s_churn:g}, ...)", "numpy: Karras et al., Algorithm 2", ours(sampler, sigmas), out)


def test_restart_is_xus_algorithm_1() -> None:
    sigmas, noise, out = geometric(8, 10.0, 0.1), replayed(torch.float64), []

    def down(x: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
        for high, low in itertools.pairwise(levels):
            d = slope(x, high)
            x = x + (low - high) * (d + slope(x + (low - high) * d, low)) / 2
        return x

    x = start(10).numpy()
    for high, low in itertools.pairwise(sigmas):
        x = down(x, (high, low))
        for at, top, n_steps, times in ((sigmas[7], 2.0, 3, 2), (sigmas[4], 4.0, 1, 1)):
            for _ in range(times if low == at else 0):
                x = down(x + np.sqrt(top**2 - at**2) * noise().numpy(), karras(n_steps, top, at))
        out.append(x)
    sampler = Restart((Interval(0.2, 2.0, 3, 2), Interval(1.0, 4.0, 1, 1)))
    compare("Restart(two intervals)", "numpy: Xu et al., Algorithm 1", ours(sampler, sigmas), out)


@pytest.mark.parametrize("beta_ks", [0.1, 0.5, 1.0])
def test_kadkhodaie_simoncelli_is_their_algorithm_1(beta_ks: float) -> None:
    """For one image and the blind denoiser that is exact for data of one point, f(y) = -y."""
    x, noise = start(10).numpy()[:1], replayed(torch.float64, (1, *SHAPE[1:]))
    sigma, out = math.inf, []
    first = torch.from_numpy(x.copy())
    while sigma > 0.1:
        h = 0.01 * (len(out) + 1) / (1 + 0.01 * len(out))
        d = -x
        sigma = math.sqrt((d**2).sum() / d.size)
        gamma = math.sqrt((1 - beta_ks * h) ** 2 - (1 - h) ** 2) * sigma
        x = x + h * d + (gamma * noise().numpy() if beta_ks < 1 else 0)
        out.append(x)
    sampler, fresh = KadkhodaieSimoncelli(beta_ks), replayed(torch.float64, (1, *SHAPE[1:]))
    run = checked_steps(GaussianDenoiser(std=0.0), sampler, (10.0, 0.1), first, fresh)
    mine = [x.clone() for x in run]
    compare(f"KadkhodaieSimoncelli(beta_ks={beta_ks:g})", "numpy: their Algorithm 1", mine, out)
