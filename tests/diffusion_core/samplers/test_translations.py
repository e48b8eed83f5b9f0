"""Churn is the alpha/beta step seen half a step later, and mu is another name of its noise."""

import math

import pytest
import torch
from short_runs import EXACT, LADDER, Noise, start

from diffusion_core.samplers import Accelerated, Euler, EulerChurn, Sampler, checked_steps
from diffusion_core.samplers.dialects import eta_from_beta

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
