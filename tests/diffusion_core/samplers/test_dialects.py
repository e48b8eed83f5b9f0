"""One noise in several notations: numbers worked out by hand, inverses, and the same chain by other samplers."""

import math

import pytest
import torch
from short_runs import EXACT, LADDER, Noise, start

from diffusion_core.samplers import Accelerated, Euler, EulerChurn, Sampler, checked_steps, dialects
from diffusion_core.samplers.dialects import eta_from_beta


@pytest.mark.parametrize(
    ("beta", "eta", "s_churn"), [(0, 0, 0), (0.2, 0.56, 2.1), (0.3, 1.0, 7.1), (0.35, 1.40, 14.4), (0.4, 2.34, 42.8)]
)
def test_reference_numbers_at_alpha_a_tenth(beta: float, eta: float, s_churn: float) -> None:
    ratio = math.hypot(0.9, beta)
    n_steps = {0: 66, 0.2: 86, 0.3: 132, 0.35: 198, 0.4: 454}[beta]
    assert dialects.eta_from_beta(beta, ratio) == pytest.approx(eta, abs=6e-3)
    assert dialects.s_churn_from_beta(0.1, beta, n_steps) == pytest.approx(s_churn, abs=0.06)


def test_eta_one_is_the_ddpm_posterior_variance() -> None:
    """Ho et al. 2020, Eq. 7: beta_tilde_t = (1 - abar') / (1 - abar) beta_t, divided by abar' to leave VP scaling."""
    sigma, sigma_next = 0.7, 0.6
    abar, abar_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    posterior = (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
    beta = dialects.beta_from_eta(1.0, sigma_next / sigma)
    assert (beta * sigma) ** 2 == pytest.approx(posterior / abar_next, rel=1e-12)


def test_largest_eta_leaves_nothing_but_noise() -> None:
    ratio = 0.9
    beta = dialects.beta_from_eta(dialects.largest_eta(ratio), ratio)
    assert beta == pytest.approx(ratio) and dialects.alpha_from_beta(beta, ratio) == pytest.approx(1, abs=1e-7)
    assert dialects.largest_eta((0.001) ** (1 / 20)) == pytest.approx(1.42, abs=5e-3)
    assert dialects.largest_eta((0.001) ** (1 / 66)) == pytest.approx(2.30, abs=5e-3)


@pytest.mark.parametrize("eta", [-0.1, 2.30, math.nan])
def test_impossible_eta_is_named(eta: float) -> None:
    for ratio in (0.9, 0.0) if eta != 2.30 else (0.9,):  # a step to 0 has no largest eta
        with pytest.raises(ValueError, match=rf"eta=.*between 0 and 1/sqrt\(1 - r\^2\) = {2.29 if ratio else 'inf'}"):
            dialects.beta_from_eta(eta, ratio)


@pytest.mark.parametrize("eta", [0.0, 1.0, 1.2, 50.0])
def test_a_step_to_zero_adds_no_noise_whatever_eta_is(eta: float) -> None:
    assert dialects.largest_eta(0.0) == math.inf
    assert dialects.alpha_beta(8.0, 0.0, eta) == (1.0, 0.0)


def test_the_other_dialects_are_the_papers_splits_of_the_step() -> None:
    """gam = 1: sigma' = sigma^mu ((1 - alpha) sigma)^(1 - mu); Kadkhodaie & Simoncelli: r = 1 - beta_ks alpha.

    Churn is the same chain shifted by half a step: noise up to sigma (1 + gamma), then Euler down by 1 - alpha.
    """
    alpha, ratio = 0.2, 0.9
    assert (1 - alpha) ** (1 - dialects.mu_from_alpha(alpha, ratio)) == pytest.approx(ratio, rel=1e-12)
    assert 1 - dialects.beta_ks_from_alpha(alpha, ratio) * alpha == pytest.approx(ratio, rel=1e-12)
    gamma = dialects.s_churn_from_beta(0.1, 0.3, 1)
    assert 0.9 * (1 + gamma) == pytest.approx(math.hypot(0.9, 0.3), rel=1e-12)
    no_noise = dialects.mu_from_alpha(0.1, 0.9), dialects.beta_ks_from_alpha(0.1, 0.9)
    assert no_noise == (0, pytest.approx(1)) and dialects.s_churn_from_beta(1.0, 0.5, 10) == math.inf


RATIO = LADDER[1] / LADDER[0]  # of every step


def euler(down: float) -> Euler:
    """Steps from sigma down to down * sigma, from where fresh noise leads up to the next level, RATIO * sigma."""
    return Euler(eta_from_beta(math.sqrt(RATIO**2 - down**2), RATIO))


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [
        (Accelerated(gam=1.0, mu=0.4), euler(RATIO ** (1 / 0.6))),  # Permenter & Yuan 2024, arXiv 2306.04848
        (Accelerated(gam=1.0), Euler()),
        (EulerChurn(), Euler()),
    ],
    ids=["mu", "no-mu", "no-churn"],
)
def test_one_chain_in_two_dialects(sampler: Sampler, steps: Sampler) -> None:
    pairs = zip(*(checked_steps(EXACT, each, LADDER, start(), Noise()) for each in (sampler, steps)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_churn_is_euler_with_reinjection_half_a_step_later() -> None:
    """From raised level to raised level (Karras et al. 2022, arXiv 2206.00364, Algorithm 2); the last adds none."""
    churn, noise = EulerChurn(s_churn=2.0), Noise()
    *_, ours = checked_steps(EXACT, churn, LADDER, start(), Noise())
    gain = churn.gain(len(LADDER) - 1)
    raised = tuple(gain * sigma for sigma in LADDER[:-1])
    x = start() + math.sqrt(raised[0] ** 2 - LADDER[0] ** 2) * noise()
    for sampler, levels in ((euler(RATIO / gain), raised), (Euler(), (raised[-1], LADDER[-1]))):
        *_, x = checked_steps(EXACT, sampler, levels, x, noise)
    torch.testing.assert_close(ours, x, rtol=1e-10, atol=1e-12)
    assert noise.calls == len(LADDER) - 1
