"""Schedules: exact ends, strictly decreasing, their formulas, and errors that name the field."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from refusals import argument, refused
from scipy import stats
from tables import cells

from diffusion_core.schedules import OWN_ENDS, SCHEDULES
from diffusion_core.schedules.process_time import (
    BETAS,
    Spacing,
    cosine,
    ddpm,
    ddpm_table,
    flow,
    leading,
    linspace,
    trailing,
    vp,
)
from diffusion_core.schedules.sigma import (
    alpha_beta_ratio,
    alpha_beta_schedule,
    check_schedule,
    geometric,
    karras,
    linear,
    polyexponential,
)

BETWEEN_ENDS = {name: make for name, make in SCHEDULES.items() if name not in OWN_ENDS} | {  # a new one is tested too
    "karras-rho-0.01": lambda *ends: karras(*ends, rho=0.01),
    "karras-rho-1e4": lambda *ends: karras(*ends, rho=1e4),
    "polyexponential-rho-2": lambda *ends: polyexponential(*ends, rho=2.0),
    "vp-without-start": lambda *ends: vp(*ends, vp_beta_min=0.0),
    "v-diffusion": lambda *ends: cosine(*ends, offset=0.0),
}
BAD_ENDS = [(0.03, 30), (1, 1), (1, 0), (math.inf, 1), (math.nan, 1)]
Schedule = Callable[[int, float, float], tuple[float, ...]]
by_name = pytest.mark.parametrize("make", BETWEEN_ENDS.values(), ids=BETWEEN_ENDS.keys())


@by_name
def test_ends_are_exact_and_levels_decrease(make: Schedule):
    for n_steps, ends in itertools.product((1, 2, 66, 1000), ((30.0, 0.03), (160.0, 0.004), (0.2, 0.1))):
        sigmas = make(n_steps, *ends)
        assert len(sigmas) == n_steps + 1 and (sigmas[0], sigmas[-1]) == ends
        assert all(before > after for before, after in itertools.pairwise(sigmas))
        assert all(type(sigma) is float for sigma in sigmas)


def test_karras_geometric_and_polyexponential_are_the_papers_formulas_and_their_limits():
    by_hand = (30 ** (1 / 7) + np.arange(13) / 12 * (0.03 ** (1 / 7) - 30 ** (1 / 7))) ** 7
    assert_allclose(karras(12), by_hand, rtol=1e-12)
    assert_allclose(geometric(66), np.geomspace(30, 0.03, 67), rtol=1e-13)
    by_hand = np.exp(np.linspace(1, 0, 9) ** 1.5 * np.log(30 / 0.03) + np.log(0.03))
    assert_allclose(polyexponential(8, rho=1.5), by_hand, rtol=1e-12)
    assert_allclose(karras(10, rho=1.0), linear(10), rtol=1e-12)
    assert_allclose(karras(10, rho=1e7), geometric(10), rtol=1e-5)
    assert_allclose(polyexponential(10), geometric(10), rtol=1e-12)


@pytest.mark.parametrize("name, a, b", [("beta", 0.6, 0.6), ("beta57", 0.5, 0.7)])
def test_beta_schedules_are_quantiles(name: str, a: float, b: float):
    by_hand = 0.03 + stats.beta.ppf(1 - np.arange(13) / 12, a, b) * (30 - 0.03)
    assert_allclose(BETWEEN_ENDS[name](12), by_hand, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 8, 28, 300])
def test_bong_tangent_is_two_pieces_of_an_arctangent(n: int):
    """n evaluations, then 0. Each piece by itself: 0.6 of n + 2 levels from 1 to 1/2, the others from 1/2 to 0."""
    meet = int((n + 2) * 0.6)
    upper = np.arctan(0.2 * 40 / (n + 2) * (meet - np.arange(meet)))
    lower = -np.arctan(0.2 * 40 / (n + 2) * np.arange(n + 2 - meet))
    times = [*(1 + (upper - upper[-1]) / (upper[0] - upper[-1]))[:-1] / 2, *(lower - lower[-1]) / -lower[-1] / 2]
    units = 0.55 * np.array(SCHEDULES["bong-tangent"](n - 1, 0, 0, data_std=0.55))
    assert len(times) == n + 1 == len(units) + 1 and (times[0], times[-1]) == (1, 0)
    assert_allclose((units / (1 + units))[1:], times[1:-1], rtol=1e-9)
    assert units[0] == pytest.approx(999) or n == 300


def test_vp_is_even_in_time():
    """sqrt(1 / abar - 1) with abar = exp(-integral of beta(t)), integrated numerically."""
    sigmas = np.array(vp(10)) * 0.5
    time = np.linspace(0, 1, 200_001)
    rate = 0.1 + 19.9 * time
    log_abar = -np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2)]) * (time[1] - time[0])
    times = np.interp(np.log1p(sigmas**2), -log_abar, time)
    assert_allclose(np.diff(times), (times[-1] - times[0]) / 10, rtol=1e-4)


@pytest.mark.parametrize("offset", [0.0, 0.008])
def test_cosine_is_even_in_time(offset: float):
    abar = 1 / (1 + (np.array(cosine(10, offset=offset)) * 0.5) ** 2)
    first = np.cos(np.pi / 2 * offset / (1 + offset))
    times = np.arccos(np.sqrt(abar) * first) * 2 / np.pi * (1 + offset) - offset
    assert_allclose(np.diff(times), (times[-1] - times[0]) / 10, rtol=1e-9)


def test_data_std_only_rescales():
    for make in (vp, cosine):
        assert_allclose(make(7, 30, 0.03, data_std=1.0), np.array(make(7, 60, 0.06)) * 0.5, rtol=1e-12)
    assert_allclose(ddpm_table(data_std=1.0), np.array(ddpm_table()) * 0.5, rtol=1e-12)
    assert SCHEDULES["ddpm-linspace"](7, 0, 0, data_std=1.0) == ddpm(7, data_std=1.0)


def test_ddpm_table_is_a_cumulative_product():
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    assert_allclose(ddpm_table(data_std=1.0), np.sqrt(1 / abar - 1), rtol=1e-10)
    assert ddpm_table()[0] == pytest.approx(0.02, abs=1e-4) and ddpm_table()[-1] == pytest.approx(315, abs=1)


@pytest.mark.parametrize("n_steps", [1, 2, 7, 66, 500, 666])
@pytest.mark.parametrize("spacing", [linspace, leading, trailing])
def test_ddpm_schedules_come_from_the_table_and_end_at_its_first_level(spacing: Spacing, n_steps: int):
    sigmas = ddpm(n_steps, spacing=spacing)
    assert len(sigmas) == n_steps + 1 and set(sigmas) <= set(ddpm_table()) and sigmas[-1] == ddpm_table()[0]
    assert (sigmas[0] == ddpm_table()[-1]) == (spacing is not leading)


def test_spacings_of_the_papers_example():
    """Lin et al. 2024, Table 2: T = 1000 in 10 steps, counted from 1 there and from 0 here."""
    assert leading(9, 1000) == list(range(900, -1, -100))
    assert trailing(10, 1000) == [*range(999, 0, -100), 0]
    assert trailing(16, 1000)[:3] == [999, 937, 874]  # diffusers rounds 937.5 before it takes 1 away
    assert linspace(9, 1000) == list(range(999, -1, -111))


REFUSED: dict[Callable[..., object], list[str]] = {  # what is made -> what the error says, mostly of an argument
    partial(vp, 4): [
        "vp_beta_d=0.0: it must be above 0",
        "vp_beta_min=-1.0: it must be at least 0",
        "data_std=0.0: it must be above 0",
    ],
    partial(cosine, 4): ["offset=1.0: it must be at least 0 and below 1"],
    partial(SCHEDULES["beta57"], 4): ["a=0.0: it must be above 0"],
    partial(karras, 4): ["rho=0.0: it must be above 0"],
    partial(polyexponential, 4): ["rho=0.0: it must be above 0"],
    partial(karras, 3, rho=1e18): ["decrease strictly"],
    partial(ddpm, 999, spacing=trailing): ["level 998 is 0.02.* and level 999 is 0.02"],
    ddpm: ["n_steps=1000: it must be between 1 and n_table - 1 = 999"],
    partial(ddpm_table, vp_beta_end=1.0): ["vp_beta_start=0.0001: .*vp_beta_end=1.0 < 1"],
    partial(alpha_beta_schedule, 0.1): [
        r"beta=0.4358898943540673: .* below sqrt\(1 - .* = 0.43589",
        "beta=-0.1: it must be at least 0",
        "beta=0.4358898943: .* above 100000",
    ],
    partial(alpha_beta_schedule, beta=0.0): ["alpha=1.1: it must be above 0 and at most 1"],
}


@cells(REFUSED)
def test_bad_constants_are_named(row: Callable[..., object], cell: str):
    with refused(cell):
        row(**argument(cell))


@by_name
def test_bad_ends_and_n_steps_are_named(make: Schedule):
    for sigma_max, sigma_min in BAD_ENDS:
        with refused(r"sigma_min=.*above 0 and below sigma_max="):
            make(4, sigma_max, sigma_min)
        with refused(r"sigma_min=.*above 0 and below sigma_max="):
            alpha_beta_schedule(0.1, 0, sigma_max, sigma_min)
    for n_steps in (0, -3, 10**9):
        with refused(f"n_steps={n_steps}: it must be between 1 and"):
            make(n_steps, 30.0, 0.03)


@pytest.mark.parametrize("sigmas", [(), (1.0,), (1.0, 1.0), (1.0, 2.0), (1.0, -0.1), (math.nan, 1.0), (math.inf, 1.0)])
def test_what_is_not_a_schedule_is_refused(sigmas: tuple[float, ...]):
    with refused("sigmas"):
        check_schedule(sigmas)
    check_schedule((1.0, 0.0))


@pytest.mark.parametrize(
    "beta, n_steps, ratio",
    [(0, 66, 0.9), (0.2, 86, 0.9220), (0.3, 132, 0.9487), (0.35, 198, 0.9657), (0.4, 454, 0.9849)],
)
def test_alpha_beta_schedule_has_the_original_number_of_steps(beta: float, n_steps: int, ratio: float):
    sigmas = alpha_beta_schedule(0.1, beta, 30.0, 0.03)
    assert len(sigmas) - 1 == n_steps
    assert sigmas[1] / sigmas[0] == pytest.approx(ratio, abs=5e-5)
    assert sigmas[-2] > 0.03 >= sigmas[-1]  # it stops at the first level at or below sigma_min
    assert alpha_beta_schedule(1.0, 0.0) == (30.0, 0.03)
    assert alpha_beta_ratio(0.3, 0.5) == pytest.approx(math.sqrt(0.49 + 0.25))


@pytest.mark.parametrize("name", BETAS)
def test_variances_are_those_of_diffusers(name: str):
    theirs = pytest.importorskip("diffusers").DDPMScheduler(500, 0.001, 0.013, beta_schedule=name)
    assert_allclose(BETAS[name](500, 0.001, 0.013), theirs.betas, rtol=1e-4)


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_flow_is_the_loop_of_diffusers(shift: float):
    theirs = pytest.importorskip("diffusers").FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / 8, 8))
    units = 0.55 * np.array(flow(7, 0, 0, shift=shift, data_std=0.55))
    times = units / (1 + units)
    assert_allclose(times, [0.999, *theirs.sigmas[1:-1]], rtol=1e-6)
    with refused("shift=0: it must be"):
        flow(7, 0, 0, shift=0)
