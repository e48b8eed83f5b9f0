"""Different runs have different identities, equal ones equal; what a table prints can be typed again."""

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from diffusion_core.noise import LogNormal, LogUniform, Uniform
from diffusion_core.registry import SAMPLERS
from diffusion_core.samplers import DPMpp2MSDE, Euler, Heun
from diffusion_core.spelling import spell_value
from experiments.names import parse_sampler
from experiments.run.identity import identity
from experiments.run.machine import Machine
from experiments.run.networks import Trained
from experiments.run.runs import Reference, Run
from experiments.settings import Schedule, Setting

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


ends = st.tuples(st.floats(1.0, 80.0), st.floats(1e-3, 0.9)).map(lambda pair: ", ".join(map(spell_value, pair)))
rules = st.sampled_from([
    "geometric({})", "karras({})", "karras({}, rho=5.5)", "vp({})", "cosine({}, offset=0.01)", "beta57({})",
    "polyexponential({}, rho=0.1)", "linear({}, end=0)", "vp({}, data_std=0.3, vp_beta_d=20.5, end=0)", "flow(shift=3)",
    "flow", "bong-tangent", "ddpm-trailing", f"{__name__}:Power({{}})", f"{__name__}:Power({{}}, power=1.5, end=0)",
])  # fmt: skip
named = st.sampled_from([
    *SAMPLERS, "euler(eta=1)", "heun(s_churn=10, s_min=0.1)", "dpm++2m-sde(eta=0.123456789)", "er-sde", "euler-churn",
    "restart(intervals=((0.12, 0.7, 3, 2), (1, 4, 3, 2)), rho=5)", f"{__name__}:Mine", f"{__name__}:Mine(eta=0.5)",
])  # fmt: skip
factors = st.sampled_from([
    "", "; train_noise=log-normal(0.1, 1)", "; train_noise=log-uniform(0.03, 100), weighting=unit-eps, lr=0.001",
    "; output=eps, stable_above=inf, stratified=True, batch=64",
])  # fmt: skip


@dataclass(frozen=True)
class Power(Schedule):
    power: float = 1.0

    def sigmas(self) -> tuple[float, ...]:
        shares = (1 - step / self.n_steps for step in range(self.n_steps + 1))
        return tuple(self.sigma_min + (self.sigma_max - self.sigma_min) * share**self.power for share in shares)


@dataclass(frozen=True)
class Mine(Euler):
    eta: float = 1.0


@given(rules, ends, named, st.integers(3, 12), st.sampled_from(["", " steps"]), factors)
def test_a_setting_is_its_text(rule: str, between: str, sampler: str, n: int, steps: str, special: str):
    text = f"{rule.format(between)}, {sampler}, {n}{steps}{special}"
    setting = Setting.parse(text, 0.55)
    assert str(setting) == text and Setting.parse(str(setting), 0.55) == setting
    assert Setting.parse(f"{setting.label}, {n}{steps}", 0.55) == replace(setting, training={})


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_sampler_or_one_line(text: str):
    try:
        parse_sampler(text)
    except ValueError as error:
        assert str(error)
