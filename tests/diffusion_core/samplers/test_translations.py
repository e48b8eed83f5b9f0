"""Churn is the alpha/beta step seen half a step later, and mu is another name of its noise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from short_runs import EXACT, LADDER, Noise, start
from torch import Tensor

from diffusion_core.samplers import Accelerated, Churn, Euler, EulerChurn, Sampler, follow
from diffusion_core.samplers.base import Eps
from diffusion_core.samplers.base import Noise as Draw


@dataclass(frozen=True)
class Steps(Sampler):
    """alpha and beta of each step along a ladder."""

    pairs: tuple[tuple[float, float], ...]

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Draw) -> Iterator[Tensor]:
        for sigma, (alpha, beta) in zip(sigmas, self.pairs, strict=False):
            x.add_(eps(x, sigma), alpha=-alpha * sigma)
            if beta > 0:
                x.add_(noise(), alpha=beta * sigma)
            yield x


def mu_steps(mu: float) -> Steps:
    """1 - alpha = (sigma' / sigma)^(1 / (1 - mu)): Permenter & Yuan 2024, arXiv 2306.04848, with gam = 1."""
    ratios = [after / before for before, after in pairwise(LADDER)]
    downs = [ratio ** (1 / (1 - mu)) for ratio in ratios]
    return Steps(tuple((1 - down, math.sqrt(ratio**2 - down**2)) for ratio, down in zip(ratios, downs, strict=True)))


def churn_steps(churn: Churn) -> tuple[tuple[float, ...], Steps]:
    """From raised level to raised level, noise after the step; the last step goes to LADDER[-1] and adds nothing.

    Exact if x starts at the first raised level. Karras et al. 2022, arXiv 2206.00364, Algorithm 2.
    """
    raised = (*(churn.raised(sigma, len(LADDER) - 1) for sigma in LADDER[:-1]), LADDER[-1])
    levels = zip(raised, raised[1:], LADDER[1:], strict=False)
    pairs = ((1 - low / before, math.sqrt(after**2 - low**2) / before) for before, after, low in levels)
    return raised, Steps(tuple(pairs))


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [(Accelerated(gam=1.0, mu=0.4), mu_steps(0.4)), (Accelerated(gam=1.0), Euler()), (EulerChurn(), Euler())],
    ids=["mu", "no-mu", "no-churn"],
)
def test_one_chain_in_two_dialects(sampler: Sampler, steps: Sampler) -> None:
    pairs = zip(*(follow(EXACT, each, LADDER, start(), Noise()) for each in (sampler, steps)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_churn_is_euler_with_reinjection_half_a_step_later() -> None:
    churn, noise, other = EulerChurn(s_churn=2.0, s_max=5.0), Noise(), Noise()
    levels, steps = churn_steps(churn)
    assert levels[0] == LADDER[0]  # 10 is above s_max: nothing is drawn before the first step
    *_, ours = follow(EXACT, churn, LADDER, start(), noise)
    *_, theirs = follow(EXACT, steps, levels, start(), other)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert noise.calls == other.calls > 0
