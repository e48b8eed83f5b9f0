"""Different configs have different identities, equal ones equal; what a table prints can be typed again."""

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from diffusion_core.noise import LogNormal, LogUniform, Uniform
from diffusion_core.samplers import DPMpp2MSDE, Euler, Heun
from experiments.config.config import Ladder, SampleConfig
from experiments.config.denoisers import Machine
from experiments.config.identity import identity
from experiments.config.trained import TrainConfig
from experiments.own.names import law, sampler

few = st.sampled_from([0.0, 0.5, 1.0])
laws = st.one_of(
    st.builds(LogNormal, st.sampled_from([-0.5, 0.3]), st.sampled_from([0.8, 1.2])),
    st.builds(LogUniform, st.sampled_from([0.03, 0.1]), st.just(100.0)),
    st.builds(Uniform, st.sampled_from([0.03, 0.1]), st.just(100.0)),
)
samplers = st.one_of(st.builds(Euler, few), st.builds(Heun, few), st.builds(DPMpp2MSDE, few))
trainings = st.builds(
    TrainConfig, noise=laws, images_seen=st.sampled_from([100, 200]), seed=st.integers(0, 2), lr=st.just(3e-3),
    machine=st.builds(Machine, precision=st.sampled_from(["fp32", "bf16"]), threads=st.integers(1, 2)),
)  # fmt: skip
samplings = st.builds(
    SampleConfig, trainings, st.builds(Ladder, n_steps=st.integers(2, 3)), samplers, st.sampled_from([40, 50]),
    seed=st.integers(0, 1), final_denoise=st.booleans(),
)  # fmt: skip


@given(samplings, samplings)
def test_identities_are_equal_exactly_if_configs_are(first: SampleConfig, second: SampleConfig) -> None:
    assert (identity(first) == identity(second)) == (first == second)


@given(samplings, st.sampled_from([None, 8, 64]))
def test_what_is_not_in_the_identity_does_not_change_it(config: SampleConfig, batch_size: int | None) -> None:
    assert identity(dataclasses.replace(config, batch_size=batch_size)) == identity(config)


@given(laws, samplers)
def test_what_is_printed_can_be_typed(noise: Any, one: Any) -> None:
    assert law(noise.name, 0.5) == noise and sampler(one.name) == one


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_sampler_or_one_line(text: str) -> None:
    try:
        sampler(text)
    except ValueError as error:
        assert str(error)
