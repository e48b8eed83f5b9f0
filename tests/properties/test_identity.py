"""Different runs have different identities, equal ones equal; what a table prints can be typed again."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from diffusion_core.noise import LogNormal, LogUniform, Uniform
from diffusion_core.samplers import DPMpp2MSDE, Euler, Heun
from experiments.run.identity import identity
from experiments.run.machine import Machine
from experiments.run.networks import Trained
from experiments.run.runs import Reference, Run
from experiments.run.setting import Schedule, Setting, read_schedule
from experiments.user.parsing import parse_noise, parse_sampler

few = st.sampled_from([0.0, 0.5, 1.0])
laws = st.one_of(
    st.builds(LogNormal, st.sampled_from([-0.5, 0.3]), st.sampled_from([0.8, 1.2])),
    st.builds(LogUniform, st.sampled_from([0.03, 0.1]), st.just(100.0)),
    st.builds(Uniform, st.sampled_from([0.03, 0.1]), st.just(100.0)),
)
samplers = st.one_of(st.builds(Euler, few), st.builds(Heun, few), st.builds(DPMpp2MSDE, few))
machines = st.builds(Machine, precision=st.sampled_from(["fp32", "bf16"]), threads=st.integers(1, 2))
schedules, nothing = st.builds(Schedule, n_steps=st.integers(2, 3)), st.just(Reference("mnist5k", "digits", "x"))
settings = st.builds(Setting, st.just("any"), schedules, samplers, final_denoise=st.booleans())
runs = st.builds(Run, settings, st.builds(Trained, noise=laws, machine=machines), st.just(40), machines, nothing)


@given(runs, runs)
def test_identities_are_equal_exactly_if_runs_are(first: Run, second: Run):
    assert (identity(first) == identity(second)) == (first == second)
    assert Run(first.setting, first.network, 40, second.machine, first.reference).samples_id != first.samples_id or (
        first.machine == second.machine
    )


@given(laws, samplers, st.sampled_from([0.5, 7.0]), st.booleans())
def test_what_is_printed_can_be_typed(noise: Any, one: Any, rho: float, end: bool):
    assert parse_noise(noise.name, 0.5) == noise and parse_sampler(one.name) == one
    schedule = Schedule("karras", 5, 20.0, 0.05, (("rho", rho),))
    text = f"karras(rho={rho:g}, sigma_min=0.05, sigma_max=20{', end=0' * end})"
    assert (
        read_schedule(text, 5, 0.5) == (schedule, end) and read_schedule(schedule.name, 5, 0.5, 20, 0.05)[0] == schedule
    )


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_sampler_or_one_line(text: str):
    try:
        parse_sampler(text)
    except ValueError as error:
        assert str(error)
