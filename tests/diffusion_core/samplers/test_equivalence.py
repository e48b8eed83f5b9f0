"""Every sampler against another implementation: numpy loops from the papers, diffusers, smalldiffusion.

Both sides get the same network, the same start and the same noise; the whole trajectory is compared. The packages are
the extra `peers` of pyproject.toml; without them their tests are skipped. Formulas of schedules:
tests/diffusion_core/schedules.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from short_runs import Noise
from torch import Tensor, nn

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import (
    ERSDE,
    RES2M,
    RES2S,
    Accelerated,
    DPMpp2M,
    DPMpp2MSDE,
    Euler,
    EulerChurn,
    EulerTwoPart,
    Heun,
    Interval,
    KadkhodaieSimoncelli,
    Restart,
    Sampler,
    checked_steps,
)
from diffusion_core.schedules import ddpm, geometric, karras
from diffusion_core.schedules.process_time import leading, linspace, trailing

SHAPE = (3, 1, 8, 8)
N = 20


class Tiny(nn.Module):
    """A fixed convolution that depends on x and sigma without symmetry; in the dtype of x."""

    def __init__(self):
        super().__init__()
        kernel = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        self.kernel = nn.Parameter(kernel / 3, requires_grad=False)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.view(-1, 1, 1, 1).to(x)
        scale = (1 + sigma**2).rsqrt()
        hidden = nn.functional.conv2d(x * scale, self.kernel.to(x), padding=1)
        return x * sigma * scale**2 + 0.5 * torch.tanh(hidden + torch.cos(sigma.log())) * scale


TINY = Tiny()


def replayed(dtype: torch.dtype, shape: tuple[int, ...] = SHAPE) -> Noise:
    """The same sequence of unit noise for both sides."""
    return Noise(shape, 11, dtype)


def start(sigma: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return sigma * torch.randn(SHAPE, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(dtype)


def ours(sampler: Sampler, sigmas: tuple[float, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [x.clone() for x in checked_steps(TINY, sampler, sigmas, start(sigmas[0], dtype), replayed(dtype))]


def assert_same(mine: Iterable[Any], theirs: Iterable[Any], tolerance: float = 1e-5):
    """The trajectories agree at every step, relative to the peer's largest value."""
    for left, right in zip(mine, theirs, strict=True):
        left, right = (torch.as_tensor(np.asarray(side), dtype=torch.float64) for side in (left, right))
        assert left.shape == right.shape
        assert (left - right).abs().max() < tolerance * right.abs().max()


def assert_steps(sampler: Sampler, sigmas: tuple[float, ...], step: Callable[..., np.ndarray]):
    """The sampler goes as the loop over x = step(x, sigma, after, noise), where noise() is unit noise."""
    replay, out = replayed(torch.float64), []
    x = start(sigmas[0]).numpy()
    for sigma, after in itertools.pairwise(sigmas):
        x = step(x, sigma, after, lambda: replay().numpy())
        out.append(x)
    assert_same(ours(sampler, sigmas), out)


def slope(x: np.ndarray, sigma: float) -> np.ndarray:
    return TINY(torch.from_numpy(x), torch.tensor([sigma], dtype=torch.float64)).numpy()


@pytest.mark.parametrize(
    "sampler, above, below, s_noise",
    [(Euler(1.3), 1.3, 1.3, 1.0),
     (EulerTwoPart(1.3, 0.4, split=1.0, s_noise=0.97), 1.3, 0.4, 0.97)],
    ids=str,
)  # fmt: skip
def test_euler_is_k_diffusions_ancestral_step(sampler: Sampler, above: float, below: float, s_noise: float):
    def step(x, sigma, after, noise):
        eta = above if sigma > 1.0 else below
        up = min(after, eta * (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5)
        x = x + slope(x, sigma) * ((after**2 - up**2) ** 0.5 - sigma)
        return x + s_noise * up * noise() if eta else x

    assert_steps(sampler, geometric(N), step)


@pytest.mark.parametrize("s_churn", [0.0, 5.0, 40.0])
def test_heun_is_karras_algorithm_2(s_churn: float):
    """With every knob: N S_churn above the cap at 40, S_min and S_max inside the schedule, S_noise not 1; ends at 0."""

    def step(x, sigma, after, noise):
        gamma = min(s_churn / (N + 1), math.sqrt(2) - 1) if 0.1 <= sigma <= 10 else 0
        hat = sigma + gamma * sigma
        if gamma > 0:
            x = x + math.sqrt(hat**2 - sigma**2) * 1.007 * noise()
        d = slope(x, hat)
        x_next = x + (after - hat) * d
        return x + (after - hat) * (d + slope(x_next, after)) / 2 if after > 0 else x_next

    assert_steps(Heun(s_churn, s_min=0.1, s_max=10.0, s_noise=1.007), (*karras(N), 0.0), step)


@pytest.mark.parametrize("multistep", [True, False])
def test_res_is_zhangs_exponential_integrator(multistep: bool):
    """b_1 = phi_1 - phi_2 / c_2, b_2 = phi_2 / c_2: c_2 is 1/2, or -h_previous / h for the denoised image before."""
    past = [(None, 0.0)]  # denoised images and their h

    def step(x, sigma, after, noise):
        d = x - sigma * slope(x, sigma)
        if not after:
            return d
        h = math.log(sigma / after)
        phi_1, phi_2 = (1 - math.exp(-h)) / h, (math.exp(-h) - 1 + h) / h**2
        other, before = past[-1]
        past.append((d, h))
        c_2 = -before / h if multistep else 0.5
        if not multistep:
            inside = math.exp(-h / 2) * x + (1 - math.exp(-h / 2)) * d
            other = inside - math.sqrt(sigma * after) * slope(inside, math.sqrt(sigma * after))
        elif other is None:
            return math.exp(-h) * x + h * phi_1 * d
        return math.exp(-h) * x + h * (phi_1 - phi_2 / c_2) * d + h * phi_2 / c_2 * other

    assert_steps(RES2M() if multistep else RES2S(), (*karras(N), 0.0), step)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_er_sde_is_cuis_ve_solver(order: int):
    """In units in which the data have a standard deviation of 0.5, with integrals by scipy."""
    seen, slopes, before = [], [], []

    def phi(s: float) -> float:
        return s * (math.exp(s**0.3) + 10)

    def step(x, sigma, after, noise):
        x, s, after = 0.5 * x, 0.5 * sigma, 0.5 * after
        d = x - s * slope(2 * x, 2 * s)
        r = phi(after) / phi(s)
        x = r * x + (1 - r) * d
        if not after:
            return 2 * x
        if seen:
            slopes.append((d - seen[-1]) / (s - before[-1]))
        if order > 1 and seen:
            x = x + (after - s + phi(after) * quad(lambda t: 1 / phi(t), after, s)[0]) * slopes[-1]
        if order > 2 and len(seen) > 1:
            bend = (slopes[-1] - slopes[-2]) / ((s - before[-2]) / 2)
            area = quad(lambda t: (t - s) / phi(t), after, s)[0]
            x = x + ((after - s) ** 2 / 2 + phi(after) * area) * bend
        seen.append(d)
        before.append(s)
        return 2 * (x + math.sqrt(after**2 - s**2 * r**2) * noise())

    assert_steps(ERSDE(order), (*karras(N), 0.0), step)


def test_restart_is_xus_algorithm_1():
    sigmas = geometric(8, 10.0, 0.1)

    def down(x: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
        for high, low in itertools.pairwise(levels):
            d = slope(x, high)
            x = x + (low - high) * (d + slope(x + (low - high) * d, low)) / 2
        return x

    def step(x, high, low, noise):
        x = down(x, (high, low))
        for at, top, n_steps, times in ((sigmas[7], 2.0, 3, 2), (sigmas[4], 4.0, 1, 1)):
            for _ in range(times if low == at else 0):
                x = down(x + np.sqrt(top**2 - at**2) * noise(), karras(n_steps, top, at))
        return x

    # 0.77 is nearest to 1 in ln sigma
    assert_steps(Restart((Interval(0.2, 2.0, 3, 2), Interval(0.77, 4.0, 1, 1))), sigmas, step)


@pytest.mark.parametrize("beta_ks", [0.1, 0.5, 1.0])
def test_kadkhodaie_simoncelli_is_their_algorithm_1(beta_ks: float):
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
    assert_same([x.clone() for x in run], out)


# diffusers 0.42 turns tensors into arrays in a way that numpy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


# ---------------------------------------------------------------------------------------------------- diffusers


@pytest.fixture(scope="module")
def diffusers() -> Any:
    return pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")


def levels(abar: Tensor) -> tuple[float, ...]:
    """sigma = sqrt(1 / abar - 1) of the peer's own float32 table, without further rounding."""
    return tuple(((1 - abar.double()) / abar.double()).sqrt().tolist())


def ve(x: Tensor, sigma: float) -> Tensor:
    """From the variance-preserving scale to ours."""
    return x * math.sqrt(1 + sigma**2)


def vp(x: Tensor, sigma: float) -> Tensor:
    return x / math.sqrt(1 + sigma**2)


def evaluate(x: Tensor, sigma: float) -> Tensor:
    return TINY(x, torch.full((len(x),), sigma, dtype=x.dtype))


def of_vp(peer: Any, sigmas: tuple[float, ...], how: Callable[[], dict[str, Any]], dtype: torch.dtype) -> list[Tensor]:
    """x after each step of a scheduler whose x has unit variance; `how`: further arguments of a step."""
    x, out = vp(start(sigmas[0], dtype), sigmas[0]), []
    for timestep, (sigma, after) in zip(peer.timesteps, itertools.pairwise(sigmas), strict=True):
        x = peer.step(evaluate(ve(x, sigma), sigma), timestep, x, return_dict=False, **how())[0]
        out.append(ve(x, after))
    return out


@pytest.mark.parametrize("s_churn", [0.0, 4.0, 40.0])
def test_euler_with_churn_is_diffusers_euler_discrete(diffusers: Any, s_churn: float):
    """diffusers adds the noise after the network was asked; so it is asked here as Algorithm 2 says, at sigma_hat."""
    peer = diffusers.EulerDiscreteScheduler()
    peer.set_timesteps(sigmas=list(karras(N, 30.0, 0.03)))
    peer.set_begin_index(0)
    sigmas, replay, out = tuple(peer.sigmas.tolist()), replayed(torch.float32), []
    generator = torch.Generator().manual_seed(11)
    x = start(sigmas[0], torch.float32)
    for step, sigma in enumerate(sigmas[:-1]):
        hat, asked = sigma * (1 + min(s_churn / N, math.sqrt(2) - 1)), x
        if s_churn:
            asked = x + replay() * math.sqrt(hat**2 - sigma**2)
        peer.scale_model_input(x, peer.timesteps[step])
        arguments = (evaluate(asked, hat), peer.timesteps[step], x)
        x = peer.step(*arguments, s_churn=s_churn, generator=generator, return_dict=False)[0]
        out.append(x)
    assert_same(ours(EulerChurn(s_churn), sigmas, torch.float32), out)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_euler_is_diffusers_ddim(diffusers: Any, eta: float):
    peer = diffusers.DDIMScheduler(clip_sample=False)
    peer.set_timesteps(N)
    sigmas = (*levels(peer.alphas_cumprod[peer.timesteps]), 0.0)
    noise = replayed(torch.float64)
    out = of_vp(peer, sigmas, lambda: {"eta": eta, "variance_noise": noise() if eta else None}, torch.float64)
    assert_same(ours(Euler(eta), sigmas), out)


@pytest.mark.parametrize("final", ["sigma_min", "zero"])
@pytest.mark.parametrize("sampler", [DPMpp2M(), DPMpp2MSDE(1.0)], ids=lambda sampler: sampler.name)
def test_dpmpp_2m_is_diffusers_multistep(diffusers: Any, sampler: Sampler, final: str):
    sde = isinstance(sampler, DPMpp2MSDE)
    peer = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++", lower_order_final=False, final_sigmas_type=final
    )
    peer.set_timesteps(N)
    peer.set_begin_index(0)
    sigmas, noise = tuple(peer.sigmas.double().tolist()), replayed(torch.float32)
    out = of_vp(peer, sigmas, lambda: {"variance_noise": noise() if sde else None}, torch.float32)
    assert_same(ours(sampler, sigmas, torch.float32), out)


@pytest.mark.parametrize("spacing, n_steps, keep", [(linspace, N - 1, N), (leading, N - 1, N), (trailing, N, N)])
def test_ddpm_schedules_are_diffusers(diffusers: Any, spacing: Any, n_steps: int, keep: int):
    """diffusers' table is a cumulative product in float32: 1 - abar has four digits at its lowest level."""
    peer = diffusers.DDIMScheduler(timestep_spacing=spacing.__name__)
    peer.set_timesteps(N)
    assert spacing(n_steps, 1000)[:keep] == peer.timesteps.tolist()
    mine, theirs = ddpm(n_steps, spacing=spacing, data_std=1.0)[:keep], levels(peer.alphas_cumprod[peer.timesteps])
    assert_same(mine, theirs, tolerance=5e-4)


# ---------------------------------------------------------------------------------------------------- smalldiffusion


@pytest.fixture(scope="module")
def smalldiffusion() -> Any:
    return pytest.importorskip("smalldiffusion", reason="smalldiffusion is not installed (extra `peers`)")


@pytest.mark.parametrize("gam, mu", [(1.0, 0.0), (2.0, 0.0), (1.0, 0.5), (1.7, 0.3)])
def test_accelerated_is_smalldiffusions_samples(smalldiffusion: Any, gam: float, mu: float):
    """smalldiffusion draws noise at every step, and with mu = 0 multiplies it by 0."""
    sigmas, noise = geometric(N), replayed(torch.float64)
    peer = SimpleNamespace(
        eval=lambda: None, rand_input=lambda n: noise(), predict_eps_cfg=lambda x, sigma, *_: TINY(x, sigma.view(1))
    )
    schedule = torch.tensor(sigmas, dtype=torch.float64)
    run = smalldiffusion.samples(peer, schedule, gam, mu, xt=start(30), accelerator=SimpleNamespace(device="cpu"))
    theirs = [x.clone() for x in run]
    assert_same(ours(Accelerated(gam, mu), sigmas), theirs)
