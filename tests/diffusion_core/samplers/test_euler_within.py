"""Euler's variant that adds noise between two levels only."""

import torch
from short_runs import EXACT, LADDER, Noise, start

from diffusion_core.samplers import Euler, EulerInInterval, checked_steps


def test_noise_within_bounds_is_eulers_there_and_none_elsewhere() -> None:
    *_, inside = checked_steps(EXACT, EulerInInterval(0.8, s_min=LADDER[5], s_max=LADDER[2]), LADDER, start(), Noise())
    x, noise = start(), Noise()
    for eta, part in ((0.0, LADDER[:3]), (0.8, LADDER[2:7]), (0.0, LADDER[6:])):
        *_, x = checked_steps(EXACT, Euler(eta), part, x, noise)
    assert torch.equal(inside, x)
    (*_, first), (*_, second) = (
        checked_steps(EXACT, s, LADDER, start(), Noise()) for s in (EulerInInterval(0.8), Euler(0.8))
    )
    assert torch.equal(first, second)
