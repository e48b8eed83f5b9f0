"""Schedules are named in closed form, planted faults are named, and right schedules have none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusion_core.schedules import OWN_ENDS, SCHEDULES, karras
from experiments.conformance import assert_levels, find_levels, known_schedules, wrappers
from experiments.conformance.known_schedules import Facts, logit, shift_times
from experiments.conformance.levels import name_levels, read_config

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
N = 28
TABLES = known_schedules.usual_tables()
LINEAR, SCALED = TABLES["linear"], TABLES["scaled_linear"]


def even(n: int, last: float | None = None) -> np.ndarray:
    return np.linspace(1, last or 1 / n, n)


def flow(shift: float, n: int = N, last: float | None = None) -> np.ndarray:
    return shift_times(even(n, last), shift)


def leading(n: int, later: int = 0) -> np.ndarray:
    return (np.arange(n) * (1000 // n))[::-1] + later


def trailing(n: int) -> np.ndarray:
    return (np.round(np.arange(1000, 0, -1000 / n)) - 1).astype(int)


SHIFT3 = flow(3)
WRONG_TIMES = {  # of flow matching
    "shift 3 twice": (shift_times(SHIFT3, 3), "flow(shift=3)", "shift 3 is applied twice"),
    "shift 3 twice, to 1/1000": (shift_times(flow(3, last=0.001), 3), "flow(shift=3)", "shift 3 is applied twice"),
    "shift 3 twice at its end": (
        flow(3, last=float(shift_times(0.001, 3))), "", "shift 3 is applied twice at its end"),
    "shift 12 twice at its end": (
        flow(12, 8, float(shift_times(0.001, 12))), "", "twice at its end (last t 0.126"),
    "shift forgotten": (even(N), "flow(shift=3)", "shift 3 is missing"),
    "another shift": (flow(5), "flow(shift=3)", "shift is 5, not 3"),
    "a shift almost right": (flow(3.01), "flow(shift=3)", "shift is 3.01, not 3"),
    "last step twice as long": (shift_times(np.linspace(1, 0, N + 2)[:-2], 3), "", "one step too few"),
    "whole times": (np.floor(1000 * flow(3.0)) / 1000, "", "to whole ones"),
    "reversed": (SHIFT3[::-1], "", "runs backwards"),
    "another end than expected": (flow(3, last=0.001), "flow(shift=3, end=1/n)", "not flow(shift=3"),
}  # fmt: skip
WRONG_LEVELS = {
    **{name: (logit(times), *more) for name, (times, *more) in WRONG_TIMES.items()},
    "ddim backwards": (LINEAR[leading(8)][::-1], "", "runs backwards"),
    "another rho than expected": (np.log(karras(N, 80, 0.002, rho=6.9)), "karras(rho=7)", "not karras(rho=7)"),
    "few levels": (np.log(karras(3, 70, 0.03, rho=7)), "", "4 levels fit too many forms; ask for more steps"),
}


@pytest.mark.parametrize("case", WRONG_LEVELS)
def test_a_fault_of_levels_is_named(case: str):
    log_sigmas, expect, words = WRONG_LEVELS[case]
    levels = name_levels(log_sigmas, len(log_sigmas), expect=expect)
    assert words in "; ".join(levels.faults), levels.sentence
    assert not levels.right


FLOW, DDIM = "FlowMatchEulerDiscreteScheduler", "DDIMScheduler"
WRONG_LOOPS = {  # over a scheduler whose config says something else
    "one step too few": (logit(flow(3, 7)), FLOW, {"shift": 3.0}, "one step too few"),
    "one step too many": (logit(flow(3, 9)), FLOW, {"shift": 3.0}, "one step too many"),
    "mu is missing": (logit(even(8)), FLOW, {"use_dynamic_shifting": True}, "mu is missing"),
    "other betas": (SCALED[leading(8)], DDIM, {}, "its betas are scaled_linear, where its config has linear"),
    "the first level is missing": (LINEAR[leading(8)[1:]], DDIM, {}, "the first level is missing: one step too few"),
    "zero SNR": (TABLES["linear, zero SNR"][trailing(8)], DDIM, {}, "its betas are linear, zero SNR"),
    "one step too many of a table": (LINEAR[trailing(9)], DDIM, {}, "one step too many"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_LOOPS)
def test_a_fault_against_a_config_is_named(case: str):
    levels, name, options, words = WRONG_LOOPS[case]
    facts = replace(read_config(getattr(pytest.importorskip("diffusers"), name)(**options)), sigmas=None)
    assert words in "; ".join(name_levels(levels, 8, facts).faults)


def test_fewer_steps_than_asked_for():
    """torch.linspace(1, 0, 8) has 8 points, so 7 evaluations, as two inference engines had with 8 steps asked for."""
    levels = name_levels(logit(shift_times(np.linspace(1, 0, 8)[:-1], 12)), 8)
    assert levels.faults == ("one step too few",)
    assert "flow(shift=12, end=1/n)" in levels.names


SCHEDULERS = {
    "EulerDiscreteScheduler": ({}, "ddpm-linspace(betas=linear)"),
    "EulerDiscreteScheduler, karras": ({"use_karras_sigmas": True}, "karras(rho=7, betas=linear)"),
    "EulerDiscreteScheduler, beta": ({"use_beta_sigmas": True}, "beta(betas=linear)"),
    "EulerDiscreteScheduler, exponential": ({"use_exponential_sigmas": True}, "geometric(betas=linear)"),
    "DDIMScheduler": ({}, "ddpm-leading(betas=linear)"),
    "DDIMScheduler, cosine": ({"beta_schedule": "squaredcos_cap_v2"}, "ddpm-leading(betas=cosine)"),
    "UniPCMultistepScheduler": ({}, "ddpm-linspace(betas=linear)"),
    "FlowMatchEulerDiscreteScheduler": ({}, "flow(shift=1, end=1/1000)"),
    "FlowMatchEulerDiscreteScheduler, mu": ({"use_dynamic_shifting": True, "mu": 1.15}, "flow(shift=3.158)"),
    "FlowMatchEulerDiscreteScheduler, terminal": (
        {"use_dynamic_shifting": True, "mu": 0.9, "shift_terminal": 0.1}, "flow(shift=2.46)"),
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEDULERS)
def test_a_scheduler_of_diffusers_is_named_at_every_number_of_steps(case: str):
    pytest.importorskip("diffusers")
    options, expect = SCHEDULERS[case]
    sampler = wrappers.diffusers(case.partition(",")[0], **options)
    for n_steps in (8, 28, 50):
        levels = find_levels(sampler, n_steps)
        assert levels.right and known_schedules.find_meant(levels.names, expect), levels.sentence


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, "shift 3 is applied twice at its end (last t 0.008929"),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, "rounded to whole times: 9.6 % off at step 27"),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}, "times are cut"),
    ],
)
def test_what_it_finds_in_diffusers(name: str, options: dict[str, object], words: str):
    pytest.importorskip("diffusers")
    sampler = wrappers.diffusers(name, **options)
    assert words in find_levels(sampler, 28).sentence
    with pytest.raises(AssertionError, match=r"off at step|applied twice"):
        assert_levels(sampler, "", 28)


@pytest.mark.parametrize("at", [3, 14, 27])
def test_a_schedule_with_one_level_moved_has_no_name(at: int):
    levels = np.log(karras(27, 80, 0.002))
    levels[at] += 0.01
    assert name_levels(levels, 28).names == ()


def test_a_schedule_of_your_own_has_its_name(monkeypatch: pytest.MonkeyPatch):
    """At first with the ends that are asked for, then with ends of its own."""

    def even_cubes(n_steps: int, high: float = 20, low: float = 0.5) -> tuple[float, ...]:
        return tuple(np.cbrt(np.linspace(high**3, low**3, n_steps + 1)).tolist())

    values = np.log(even_cubes(N))
    assert not name_levels(values, N + 1).right
    monkeypatch.setitem(SCHEDULES, "mine", even_cubes)
    assert name_levels(values, N + 1).names == ("mine(sigma_max=20, sigma_min=0.5)",)
    for table in (SCHEDULES, OWN_ENDS):
        monkeypatch.setitem(table, "mine", lambda n_steps, high, low: even_cubes(n_steps))
    assert name_levels(values, N + 1).names == ("mine",)


def test_more_evaluations_per_step_are_counted_apart():
    def midpoint(denoiser, n_steps, noise):
        for sigma in wrappers.default_levels(n_steps)[:-1]:
            for level in (sigma, 0.9 * sigma):
                denoiser.eps(noise, level)
        return noise

    levels = find_levels(midpoint, 10)
    assert levels.right
    assert levels.form == "karras(rho=7, sigma_max=160, sigma_min=0.004); 10 more evaluations, between or again"


def test_what_the_network_receives_is_compared_with_what_the_scheduler_works_with():
    facts = Facts(sigmas=np.log(karras(9, 80, 0.002)))
    levels = np.log(karras(9, 80, 0.002))
    levels[4] *= 0.9
    assert "the network receives the time of sigma" in name_levels(levels, 10, facts).sentence


def test_a_recording_changes_no_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    find_levels(lambda denoiser, n_steps, noise: denoiser.eps(noise + torch.randn(()), 1.0), 4)
    assert torch.equal(before, torch.get_rng_state())


def test_a_sampler_that_asks_for_nothing_has_no_levels():
    with pytest.raises(ValueError, match="the network is asked at no noise level above 0"):
        find_levels(lambda denoiser, n_steps, noise: noise, 4)
