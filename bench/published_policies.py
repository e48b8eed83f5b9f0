"""Stochastic steps of flow models, of papers and as trainers run them, for published_policies.toml.

x = (1 - t) x0 + t z, and time falls from t to u. Each step returns x_next, log_prob (its mean over the dimensions, as
these papers have it), and the mean and std of x_next.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from experiments.conformance.policy.steps import uniform

Generators = torch.Generator | Sequence[torch.Generator] | None


def sample_noise(x: Tensor, generator: Generators) -> Tensor:
    """Unit noise in float32; from a list of generators, an image each."""
    if isinstance(generator, Sequence):
        return torch.cat([torch.randn(1, *x.shape[1:], generator=of_image) for of_image in generator])
    return torch.randn(x.shape, generator=generator)


def density(x_next: Tensor, mean: Tensor, std: Tensor, reduce=torch.mean) -> Tensor:
    """log N(x_next; mean, std^2), averaged over the dimensions."""
    log_prob = -(x_next.to(mean.dtype) - mean).square() / (2 * std**2) - std.log() - math.log(2 * math.pi) / 2
    return reduce(log_prob.flatten(1), 1)


def finish(x, mean, std, generator, x_next, reduce=torch.mean):
    """x_next in the dtype of x, and the log density of that stored number; 0 where there is no noise."""
    std = torch.as_tensor(std, dtype=mean.dtype)
    if x_next is None:
        x_next = (mean + std * sample_noise(x, generator)).to(x.dtype)
    log_prob = density(x_next, mean, std, reduce) if std > 0 else torch.zeros(len(x), dtype=mean.dtype)
    return x_next, log_prob, mean, std


def wide(x, v):
    """At least float32."""
    return (x, v) if x.dtype == torch.float64 else (x.float(), v.float())


def euler_maruyama(find_g2, usual):
    """A step of dx = (v - g^2 / 2 score) dt + g dw backwards in time, where score = -(x + (1 - t) v) / t.

    g^2 is find_g2(t, u, noise_level); `usual` is the noise level by default.
    """

    def step(x, t, u, v, generator=None, x_next=None, noise_level=usual, **options):
        y, w = wide(x, v)
        g2 = torch.as_tensor(find_g2(t, u, noise_level))
        mean = y + (u - t) * (w + g2 / (2 * t) * (y + (1 - t) * w))
        return finish(x, mean, (g2 * (t - u)) ** 0.5, generator, x_next, **options)

    return step


def of_flow_grpo(t, u, a):
    """Liu et al. 2025 (2505.05470), Eq. 9: g = a sqrt(t / (1 - t)), at t = 1 held at the second level."""
    return a**2 * t / (1 - (u if t == 1 else t))


flow_grpo = euler_maruyama(of_flow_grpo, 0.7)
# Euler-Maruyama of the time reversal of dx = -x / (1 - t) dt + sqrt(2 t / (1 - t)) dw, which has these marginals.
# Anderson 1982; in this form Song et al. 2021 (2011.13456), Eq. 6. It is Flow-GRPO's step with a = sqrt(2).
reverse_sde = euler_maruyama(lambda t, u, a: of_flow_grpo(t, u, 2**0.5 * a), 1.0)
# Xue et al. 2025 (2505.07818): constant g = eta.
dance_grpo = euler_maruyama(lambda t, u, a: a**2, 0.3)
# Ma et al. 2024 (2401.08740), the diffusion coefficient w, which they call sigma: g^2 = w = t, or w = sin^2(pi t).
sit_linear = euler_maruyama(lambda t, u, a: a * t, 1.0)
sit_sine = euler_maruyama(lambda t, u, a: a * (math.pi * t).sin().square(), 1.0)
# MixGRPO (Li et al. 2025, 2507.21802): Flow-GRPO's SDE where 0.3 < t < 0.8, else the ODE.
window = euler_maruyama(lambda t, u, a: of_flow_grpo(t, u, a if 0.3 < t < 0.8 else 0.0), 0.7)


def kept(find_cos2, usual):
    """A step to (1 - u) x0 + u (cos eps + sin z): what CPS, Precise and DDIM share. cos^2 as g^2 above."""

    def step(x, t, u, v, generator=None, x_next=None, noise_level=usual, **options):
        y, w = wide(x, v)
        cos2 = torch.as_tensor(find_cos2(t, u, noise_level)).clamp(0, 1)
        mean = (1 - u) * (y - t * w) + u * cos2**0.5 * (y + (1 - t) * w)
        return finish(x, mean, u * (1 - cos2) ** 0.5, generator, x_next, **options)

    return step


# Wang & Yu 2025 (2509.05952): the same angle c pi / 2 at every step.
cps = kept(lambda t, u, c: math.cos(c * math.pi / 2) ** 2, 0.5)
# Zou et al. 2026 (2605.23522), x0 frozen over a step: cos^2 = exp(-int_u^t g^2 / s^2 ds) with g of Flow-GRPO.
precise = kept(lambda t, u, a: (u * (1 - t) / (t * (1 - u))) ** (a**2), 1.0)
# The step of `precise`, x0 frozen over a step, with DanceGRPO's constant g: cos^2 = exp(-g^2 (t - u) / (t u)).
dance_frozen = kept(lambda t, u, g: torch.exp(-(g**2) * (t - u) / (t * u).clamp(min=1e-12)), 0.3)
# Song et al. 2021 (2010.02502), Eq. 16, in sigma = t / (1 - t): sin^2 = eta^2 (1 - sigma_next^2 / sigma^2).
# With eta = 1 it is DDPM's step, and SDE-DPM-Solver++ of first order (Lu et al. 2022, 2211.01095).
ddim = kept(lambda t, u, eta: 1 - eta**2 * (1 - (u * (1 - t) / (t * (1 - u))) ** 2), 1.0)


def diffusers_stochastic(x, t, u, v, generator=None, x_next=None, **options):
    """FlowMatchEulerDiscreteScheduler(stochastic_sampling=True), whose step is (1 - u) x0 + u z; log_prob is added."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    y, w = wide(x, v)
    scheduler.set_timesteps(sigmas=[float(t), float(u)] if u > 0 else [float(t)])
    if x_next is None:
        first = scheduler.timesteps[0]
        x_next = scheduler.step(v, first, x, generator=generator, return_dict=False)[0].to(x.dtype)
    return finish(x, (1 - u) * (y - t * w), u, None, x_next, **options)


def shifted(n_steps: int, shift: float = 3.0) -> Tensor:
    """The levels of Stable Diffusion 3."""
    return uniform(n_steps, shift)


# --- As trainers run them: what their code computes, written anew. The list links each. ---

unirl = flow_grpo  # x_next is rounded before its log_prob


def flow_grpo_sde(x, t, u, v, generator=None, x_next=None, noise_level=0.7):
    """Flow-GRPO; the std that it returns, by which the KL is divided, is g alone. x_next stays in float32."""
    y, w = wide(x, v)
    *out, std = flow_grpo(y, t, u, w, generator, x_next, noise_level)
    return *out, std / (t - u) ** 0.5


def squares(step, x, t, u, v, *rest):
    """A step with log_prob = -(x_next - mean)^2, averaged over the dimensions. x_next stays in float32."""
    y, w = wide(x, v)
    x_next, _, mean, std = step(y, t, u, w, *rest)
    return x_next, -(x_next - mean).square().flatten(1).mean(1), mean, std


def flow_grpo_cps(x, t, u, v, generator=None, x_next=None, noise_level=0.7):
    """CPS; log_prob is without std."""
    return squares(cps, x, t, u, v, generator, x_next, noise_level)


def sglang_no_const(x, t, u, v, generator=None, noise_level=0.7):
    """Flow-GRPO with the option rollout_log_prob_no_const: log_prob is without std. It takes no stored x_next."""
    return squares(flow_grpo, x, t, u, v, generator, None, noise_level)


def dance_grpo_flux(x, t, u, v, generator=None, x_next=None, noise_level=0.3):
    """DanceGRPO; log(std sqrt(2 pi)) is subtracted in a statement of its own, without effect. It returns no std.

    The reward is that of the last prediction of x0, not of the last x_next.
    """
    x_next, log_prob, _, std = squares(dance_grpo, x, t, u, v, generator, x_next, noise_level)
    return x_next, log_prob / (2 * std**2)


def stable_diffusion(n_steps: int) -> Tensor:
    """Even steps in the time of Stable Diffusion's VP process, where sqrt(beta) is linear, as times of a flow.

    The last, that of its first level, is called 0: `ddpo` ends there.
    """
    s = torch.linspace(1, 0.001, n_steps + 1, dtype=torch.float64)
    low, high = 0.00085**0.5, 0.012**0.5  # roots of the first and the last beta
    integral = 1000 * (low**2 * s + low * (high - low) * s**2 + (high - low) ** 2 * s**3 / 3)  # -log abar
    sigma = integral.expm1().sqrt()
    sigma[-1] = 0
    return sigma / (1 + sigma)


def ddpo(x, t, u, v, generator=None, x_next=None, half=False):
    """Black et al. 2023 (2305.13301), in flow's units: DDIM with eta = 1, whose last step ends at abar = 1 - 0.00085.

    x_next is rounded to the format of the network, by default fp16, after its log_prob. `half`: all is computed in it,
    and log_prob is summed.
    """
    first = (0.00085 / 0.99915) ** 0.5
    u, c = (u, 1.0) if u > 0 else (first / (1 + first), math.hypot(1, first) / (1 + first))  # y = x / c
    y, w = (x, v) if half else wide(x, v)
    cos = u * (1 - t) / (t * (1 - u))
    mean = ((1 - u) * (y - t * w) + u * cos * (y + (1 - t) * w)) / c
    std = u * (1 - cos**2) ** 0.5 / c
    if x_next is None:
        x_next = mean + std * sample_noise(x, generator).to(y.dtype)
    return x_next.to(x.dtype), density(x_next, mean, std, torch.sum if half else torch.mean)
