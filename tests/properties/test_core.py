"""Whatever schedule, sampler or knob: planned cost, invariance to the batch, closed forms, and knobs that invert."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from short_runs import variance_of_euler

from diffusion_core import GaussianDenoiser, sample
from diffusion_core.samplers import SAMPLERS, Euler, Sampler
from diffusion_core.samplers.dialects import alpha_beta, eta_from_beta, largest_eta
from diffusion_core.schedules import OWN_ENDS, SCHEDULES, alpha_beta_schedule, check_schedule

EXACT = GaussianDenoiser()
ratios = st.floats(0.01, 0.999)
ends = st.tuples(st.floats(0.5, 200.0), st.floats(1e-3, 0.4))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[float, ...]:
    name = draw(st.sampled_from([name for name in SCHEDULES if name not in OWN_ENDS]))
    return SCHEDULES[name](draw(st.integers(1, 12)), *draw(ends))


@given(st.sampled_from(sorted(set(SAMPLERS) - {"kadkhodaie-simoncelli"})), schedules(), st.integers(1, 70))
def test_cost_is_planned_and_samples_do_not_depend_on_the_batch(name: str, sigmas: tuple[float, ...], batch: int):
    sampler: Sampler = SAMPLERS[name]()
    try:
        planned = sampler.planned_nfe(sigmas)
    except ValueError:
        return  # they do not suit each other, and say so
    calls = []

    def model(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return EXACT(x, sigma)

    options = {"samples": range(61, 66), "shape": (1, 2, 2)}
    whole = sample(model, sigmas, sampler, batch_size=5, **options)
    assert calls == [5] * planned
    torch.testing.assert_close(sample(EXACT, sigmas, sampler, batch_size=batch, **options), whole, rtol=1e-4, atol=1e-4)


@given(schedules(), st.floats(0.0, 1.0))
def test_variance_on_a_gaussian_is_the_closed_form(sigmas: tuple[float, ...], eta: float):
    expected = variance_of_euler(sigmas, eta)
    x = sample(EXACT, sigmas, Euler(eta), n_samples=4000, shape=(1, 2, 2), batch_size=4000)
    assert x.var().item() == pytest.approx(expected, rel=6 * math.sqrt(2 / 16_000))
    assert abs(x.mean().item()) < 6 * math.sqrt(expected / 16_000)


@given(ratios, st.floats(0.0, 1.0))
def test_eta_and_beta_invert_each_other(ratio: float, share: float):
    eta = share * largest_eta(ratio)
    alpha, beta = alpha_beta(1.0, ratio, eta)
    assert 0 <= beta <= ratio
    assert eta_from_beta(beta, ratio) == pytest.approx(eta, rel=1e-9, abs=1e-12)
    assert math.hypot(1 - alpha, beta) == pytest.approx(ratio, rel=1e-12)


@given(st.floats(0.05, 1.0), st.floats(0.0, 0.99), ends)
def test_the_original_rule_ends_or_refuses(alpha: float, share: float, ends: tuple[float, float]):
    beta = share * math.sqrt(1 - (1 - alpha) ** 2)
    try:
        sigmas = alpha_beta_schedule(alpha, beta, *ends)
    except ValueError as error:
        assert "above 100000" in str(error)
        return
    check_schedule(sigmas)
    assert sigmas[-1] <= ends[1] < sigmas[-2]
