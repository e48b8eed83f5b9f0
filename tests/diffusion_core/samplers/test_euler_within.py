"""Euler's variant that adds noise between two levels only."""

import torch
from short_runs import EXACT, LADDER, Noise, start

from diffusion_core.samplers import Euler, EulerWithin, follow


def test_noise_within_bounds_is_eulers_there_and_none_elsewhere() -> None:
    *_, inside = follow(EXACT, EulerWithin(0.8, s_min=LADDER[5], s_max=LADDER[2]), LADDER, start(), Noise())
    x, noise = start(), Noise()
    for eta, part in ((0.0, LADDER[:3]), (0.8, LADDER[2:7]), (0.0, LADDER[6:])):
        *_, x = follow(EXACT, Euler(eta), part, x, noise)
    assert torch.equal(inside, x)
    (*_, first), (*_, second) = (follow(EXACT, s, LADDER, start(), Noise()) for s in (EulerWithin(0.8), Euler(0.8)))
    assert torch.equal(first, second)
