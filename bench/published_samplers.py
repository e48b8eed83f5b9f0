"""Samplers of other packages and papers, from their formulas, for published_samplers.toml.

Those with (model, x, sigmas) have k-diffusion's signature: model(x, sigma) is the denoised x. Its own package needs
others that pin an old numpy. Sources: Karras et al. 2022 (arXiv 2206.00364), Lu et al. 2022 (2211.01095), Crowson's
k-diffusion (MIT), and the papers named below.
"""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from experiments.conformance import Oracle
from experiments.conformance.wrappers import default_levels


def ancestral(sigma: float, after: float, eta: float = 1.0) -> tuple[float, float]:
    """sigma_down and sigma_up."""
    up = min(after, eta * math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2))
    return math.sqrt(after**2 - up**2), up


def k_heun(model, x, sigmas, corrected=True, s_churn=0.0):
    """Karras et al., Algorithm 2; without the correction it is Euler's step."""
    gamma = min(s_churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for sigma, after in pairwise(sigmas.tolist()):
        hat = sigma * (1 + gamma)
        if gamma > 0:
            x = x + math.sqrt(hat**2 - sigma**2) * torch.randn_like(x)
        slope = (x - model(x, hat)) / hat
        if corrected and after > 0:
            guess = x + (after - hat) * slope
            slope = (slope + (guess - model(guess, after)) / after) / 2
        x = x + (after - hat) * slope
    return x


k_euler = partial(k_heun, corrected=False)


def each_step(step):
    """The sampler of a step(model, x, sigma, after)."""

    def sampler(model, x, sigmas, **options):
        for sigma, after in pairwise(sigmas.tolist()):
            x = step(model, x, sigma, after, **options)
        return x

    return sampler


@each_step
def k_dpm_2(model, x, sigma, after, eta=0.0):
    """DPM-Solver-2 with the middle in ln sigma; with eta its ancestral form."""
    down, up = ancestral(sigma, after, eta)
    slope = (x - model(x, sigma)) / sigma
    if down > 0:
        middle = math.sqrt(sigma * down)
        guess = x + (middle - sigma) * slope
        slope = (guess - model(guess, middle)) / middle
        x = x + up * torch.randn_like(x)
    return x + (down - sigma) * slope


def k_lms(model, x, sigmas, order=4):
    """Adams-Bashforth on uneven levels: the integral of the polynomial through the last slopes."""
    slopes = []
    levels = sigmas.tolist()
    for step, (sigma, after) in enumerate(pairwise(levels)):
        slope = (x - model(x, sigma)) / sigma
        slopes = [*slopes[1 - order :], slope] if order > 1 else [slope]
        points = levels[step - len(slopes) + 1 : step + 1]
        for at, slope in enumerate(slopes):
            others = [point for point in points if point != points[at]]
            scale = np.prod([points[at] - other for other in others])
            whole = np.polynomial.Polynomial.fromroots(others).integ() if others else np.polynomial.Polynomial([0, 1])
            x = x + float(whole(after) - whole(sigma)) / scale * slope
    return x


@each_step
def k_euler_ancestral(model, x, sigma, after, eta=1.0, s_noise=1.0):
    down, up = ancestral(sigma, after, eta)
    return x + (down - sigma) * (x - model(x, sigma)) / sigma + s_noise * up * torch.randn_like(x)


@each_step
def k_dpmpp_2s_ancestral(model, x, sigma, after):
    down, up = ancestral(sigma, after)
    denoised = model(x, sigma)
    if down > 0:
        middle = math.sqrt(sigma * down)
        denoised = model(middle / sigma * x + (1 - middle / sigma) * denoised, middle)
    return down / sigma * x + (1 - down / sigma) * denoised + up * torch.randn_like(x)


@each_step
def k_dpmpp_sde(model, x, sigma, after):
    """DPM-Solver++ (stochastic), r = 1/2; both noises are increments of one Brownian path in sigma."""
    denoised = model(x, sigma)
    if after == 0:
        return denoised
    middle = math.sqrt(sigma * after)
    first = torch.randn_like(x)
    second = torch.randn_like(x)
    down, up = ancestral(sigma, middle)
    guess = down / sigma * x + (1 - down / sigma) * denoised + up * first
    denoised = model(guess, middle)
    down, up = ancestral(sigma, after)
    path = (math.sqrt(sigma - middle) * first + math.sqrt(middle - after) * second) / math.sqrt(sigma - after)
    return down / sigma * x + (1 - down / sigma) * denoised + up * path


def k_dpmpp_2m(model, x, sigmas, eta=0.0, kind="midpoint", order=2):
    """DPM-Solver++(2M) and its SDE form, `kind` being its solver_type; of order 3 it is 3M."""
    past = []  # the estimates of earlier steps and their h, the latest first
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = model(x, sigma)
        if after == 0:
            return denoised
        h = math.log(sigma / after)
        whole = h * (1 + eta)
        phi_1 = -math.expm1(-whole)
        phi_2 = phi_1 / 2 if kind == "midpoint" else 1 - phi_1 / whole
        x = math.exp(-whole) * x + phi_1 * denoised
        if past:
            one, h_one = past[0]
            near = (denoised - one) * h / h_one
            if order == 3 and len(past) == 2:
                two, h_two = past[1]
                curve = (near - (one - two) * h / h_two) * h / (h_one + h_two)
                x = x - (phi_2 / whole - 0.5) * curve
                near = near + curve * h_one / h
            x = x + phi_2 * near
        x = x + after * math.sqrt(-math.expm1(-2 * h * eta)) * torch.randn_like(x)
        past = [(denoised, h), *past[:1]]
    return x


k_dpmpp_3m_sde = partial(k_dpmpp_2m, eta=1.0, kind="heun", order=3)


@each_step
def k_lcm(model, x, sigma, after):
    """Multistep consistency sampling (Song et al. 2023, arXiv 2303.01469, Algorithm 1) with a denoiser."""
    return model(x, sigma) + after * torch.randn_like(x)


def alphafold3(denoiser: Oracle, n_steps: int, noise: Tensor, gamma_0=0.8, noise_scale=1.003, step_scale=1.5) -> Tensor:
    """Abramson et al. 2024, Algorithm 18, sigma in data standard deviations: gamma_min = 1 A is 1/16 of them."""
    levels = default_levels(n_steps)
    x = noise * levels[0]
    for before, after in pairwise(levels):
        gamma = gamma_0 if after > 1 / 16 else 0.0
        hat = before * (gamma + 1)
        x = x + noise_scale * math.sqrt(hat**2 - before**2) * torch.randn_like(x)
        x = x + step_scale * (after - hat) * denoiser.eps(x, hat)
    return x


def flow_euler(x, t, dt, v):
    return x + dt * v


def flow_sde(x, t, dt, v, g2, drift=1.0):
    """An Euler-Maruyama step of dx = (v - g^2 / 2 score) dt + g dw backwards in time; score = -(x + (1 - t) v) / t.

    drift 0 leaves out the compensation of the noise, as in zea before it was fixed.
    """
    mean = x + dt * (v + drift * g2 / (2 * t) * (x + (1 - t) * v))
    return mean + (-g2 * dt) ** 0.5 * torch.randn_like(x)


def flow_grpo(x, t, dt, v, a=0.7, drift=1.0):
    """Liu et al. 2025 (2505.05470), Eq. 9: g = a sqrt(t / (1 - t)), at t = 1 held at the second level."""
    return flow_sde(x, t, dt, v, a**2 * t / (1 - (t + dt if t == 1 else t)), drift)


def dance_grpo(x, t, dt, v):
    """Xue et al. 2025 (2505.07818): constant g = 0.3."""
    return flow_sde(x, t, dt, v, 0.09)


def sit_sde(x, t, dt, v):
    """Ma et al. 2024 (2401.08740), the diffusion coefficient w = t, which they call sigma: g^2 = w."""
    return flow_sde(x, t, dt, v, t)


def keep_noise(x, t, dt, v, cos2):
    """A step to (1 - t') x0 + t' (cos eps + sin z), t' = t + dt: what CPS and DDIM share."""
    after = t + dt
    mean = (1 - after) * (x - t * v) + after * cos2**0.5 * (x + (1 - t) * v)
    return mean + after * (1 - cos2) ** 0.5 * torch.randn_like(x)


def cps(x, t, dt, v, c=0.5):
    """Wang & Yu 2025 (2509.05952): the same angle c pi / 2 at every step."""
    return keep_noise(x, t, dt, v, math.cos(c * math.pi / 2) ** 2)


def eta_flow(x, t, dt, v):
    """CPS with sin(c pi / 2) = sigma_up / sigma_next: DDIM with eta = 1 in sigma = t / (1 - t)."""
    after = t + dt
    return keep_noise(x, t, dt, v, (after * (1 - t) / (t * (1 - after))) ** 2)


def flow_ancestral(x, t, dt, v):
    """The ancestral step of variance-exploding levels, with t in place of sigma and without scaling the image."""
    after = t + dt
    up = after * (1 - (after / t) ** 2).sqrt()
    return x + ((after**2 - up**2).clamp(min=0).sqrt() - t) * v + up * torch.randn_like(x)


def runge_kutta(denoiser: Oracle, n_steps: int, noise: Tensor, nodes, weights) -> Tensor:
    """Each stage starts from the slope of the one before, at t + node dt."""
    x = noise
    for t, after in pairwise(np.linspace(1, 0, n_steps + 1).tolist()):
        dt = after - t
        slope = 0.0
        mean = 0.0
        for node, weight in zip(nodes, weights, strict=True):
            slope = denoiser.velocity(x + node * dt * slope, t + node * dt)
            mean = mean + weight * slope
        x = x + dt * mean
    return x


flow_heun = partial(runge_kutta, nodes=(0, 1), weights=(1 / 2, 1 / 2))
flow_midpoint = partial(runge_kutta, nodes=(0, 1 / 2), weights=(0, 1))
flow_rk4 = partial(runge_kutta, nodes=(0, 1 / 2, 1 / 2, 1), weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6))
