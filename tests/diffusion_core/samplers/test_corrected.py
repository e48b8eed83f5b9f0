"""Euler's variants: noise within bounds, and corrections of the estimate's size and level."""

import torch
from short_runs import EXACT, LADDER, Noise, forbidden, start

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import Euler, EulerCorrected, EulerWithin, follow


def test_noise_within_bounds_is_eulers_there_and_none_elsewhere() -> None:
    *_, inside = follow(EXACT, EulerWithin(0.8, s_min=LADDER[5], s_max=LADDER[2]), LADDER, start(), Noise())
    x, noise = start(), Noise()
    for eta, part in ((0.0, LADDER[:3]), (0.8, LADDER[2:7]), (0.0, LADDER[6:])):
        *_, x = follow(EXACT, Euler(eta), part, x, noise)
    assert torch.equal(inside, x)
    (*_, first), (*_, second) = (follow(EXACT, s, LADDER, start(), Noise()) for s in (EulerWithin(0.8), Euler(0.8)))
    assert torch.equal(first, second)


def test_corrections_that_change_nothing_are_eulers() -> None:
    plain = list(follow(EXACT, Euler(0.8), LADDER, start(), Noise()))[-1]
    for same in (EulerCorrected(0.8), EulerCorrected(0.8, scale=0.5, shift=2.0, s_max=0.01)):
        torch.testing.assert_close(list(follow(EXACT, same, LADDER, start(), Noise()))[-1], plain)


def test_a_corrected_step_is_the_formula() -> None:
    """From 1 to 0.5 at eta 0, taken to be at 1.2: x + (0.5 - 1.2) 0.9 eps(x, 1.2), and Euler's step from 2 to 1."""
    sampler = EulerCorrected(scale=0.9, shift=1.2, s_max=1.0)
    first = second = None
    for x in follow(EXACT, sampler, (2.0, 1.0, 0.5), start(), forbidden):
        first, second = second, x.clone()
    assert first is not None and second is not None
    torch.testing.assert_close(first, start() - EXACT(start(), torch.tensor([2.0, 2.0])))
    torch.testing.assert_close(second, first - 0.7 * 0.9 * EXACT(first, torch.tensor([1.2, 1.2])))


def test_a_shift_is_right_where_samples_are_that_much_noisier() -> None:
    """Data that is one point, samples at 1.1 times the ladder's level: the corrected step ends on the ladder."""
    point = GaussianDenoiser(std=0.0)
    x = 1.1 * start() / 10  # std 1.1 at level 1
    *_, end = follow(point, EulerCorrected(shift=1.1), (1.0, 0.5), x.clone(), forbidden)
    torch.testing.assert_close(end, x * 0.5 / 1.1)
