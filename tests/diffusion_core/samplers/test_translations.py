"""One chain in two dialects: a sampler of one paper takes the steps that another paper's knob gives."""

import math

import pytest
import torch
from dialect_steps import Steps, beta_ks_steps, churn_steps, eta_steps, mu_steps
from short_runs import EXACT, LADDER, Noise, start

from diffusion_core.exact import gaussian_moments
from diffusion_core.samplers import Accelerated, Churn, Euler, EulerChurn, Sampler, follow
from diffusion_core.samplers.dialects import beta_ks_from_alpha, mu_from_alpha


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [
        (Euler(0.7), eta_steps(LADDER, 0.7)),
        (Accelerated(gam=1.0, mu=0.4), mu_steps(LADDER, 0.4)),
        (Accelerated(gam=1.0, mu=0.0), eta_steps(LADDER, 0.0)),
        (EulerChurn(), eta_steps(LADDER, 0.0)),
    ],
    ids=["eta", "mu", "no-mu", "no-churn"],
)
def test_one_chain_in_two_dialects(sampler: Sampler, steps: Steps) -> None:
    pairs = zip(
        follow(EXACT, sampler, LADDER, start(), Noise()),
        follow(EXACT, steps, steps.sigmas, start(), Noise()),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_churn_is_euler_with_reinjection_half_a_step_later() -> None:
    churn = Churn(s_churn=2.0, s_max=5.0)
    steps, noise, other = churn_steps(LADDER, churn), Noise(), Noise()
    x = start()
    first = churn.add(x, LADDER[0], len(LADDER) - 1, other)  # 10 is above s_max: nothing is drawn
    assert steps.sigmas[0] == first == LADDER[0] and other.calls == 0
    churned = follow(EXACT, EulerChurn(s_churn=2.0, s_max=5.0), LADDER, start(), noise)
    translated = follow(EXACT, steps, steps.sigmas, x, other)
    (*_, ours), (*_, theirs) = churned, translated
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert noise.calls == other.calls > 0


def test_translations_invert_the_dialects() -> None:
    for steps, knob, inverse in (
        (mu_steps(LADDER, 0.3), 0.3, mu_from_alpha),
        (beta_ks_steps(LADDER, 0.7), 0.7, beta_ks_from_alpha),
    ):
        for sigma, sigma_next, alpha, beta in zip(*(LADDER, LADDER[1:], steps.alphas, steps.betas), strict=False):
            assert inverse(alpha, sigma_next / sigma) == pytest.approx(knob, rel=1e-9)
            assert math.hypot(1 - alpha, beta) == pytest.approx(sigma_next / sigma, rel=1e-12)
    assert set(mu_steps(LADDER, 0.0).betas) == set(beta_ks_steps(LADDER, 1.0).betas) == {0.0}


def test_variance_of_dialect_steps_is_closed_form() -> None:
    steps = mu_steps(LADDER, 0.5)
    variance = gaussian_moments(list(steps.sigmas), list(steps.alphas), list(steps.betas))[-1]
    x = start(40_000)
    *_, end = follow(EXACT, Accelerated(1.0, 0.5), LADDER, x, Noise(x.shape))
    assert end.var().item() == pytest.approx(variance, rel=0.02)
