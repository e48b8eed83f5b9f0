"""Settings as text, and proposals of new ones."""

import re

import pytest

from diffusion_core.samplers import Euler, EulerSplit, Heun, Sampler
from experiments.config.config import Ladder, SampleConfig
from experiments.config.trained import TrainConfig
from experiments.tune.proposals import LADDERS, Scope, installed, propose, samplers
from experiments.tune.settings import SamplerSetting, exactly

STD = 0.55
SCOPE = Scope(8, 30.0, 0.03, STD)
ENDS = (30.0, 0.03)
optuna = pytest.mark.skipif(not installed(), reason="Optuna is not installed (extra `tune`)")


@pytest.mark.parametrize(
    ("text", "setting", "ladder", "sampler"),
    [
        ("vp, eta 0.5", SamplerSetting("vp", "eta 0.5"),
         Ladder("vp", 8, 30.0, 0.03, (("data_std", STD),)), Euler(0.5)),
        ("karras(rho=5) from 20 to 0.05, euler-split(1, 0, 0.5), ending at 0",
         SamplerSetting("karras(rho=5) from 20 to 0.05", "euler-split(1, 0, 0.5)", True),
         Ladder("karras", 8, 20.0, 0.05, (("rho", 5.0),)), EulerSplit(1.0, 0.0, 0.5)),
    ],
)  # fmt: skip
def test_a_setting_is_read_from_its_name_and_is_a_ladder_and_a_sampler(
    text: str, setting: SamplerSetting, ladder: Ladder, sampler: Sampler
) -> None:
    assert SamplerSetting.read(text) == setting and setting.name == text
    assert setting.parts(8, ENDS, STD) == (ladder, sampler)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("karras", "settings='karras': it must read like"),
        ("karras, heun, at 0", "settings='karras, heun, at 0': it must read like"),
        ("karras from 20, heun", "ladder='karras from 20': its ends must read like 'from 20 to 0.05'"),
        ("karras, eta much", "sampler='eta much': could not convert"),
        ("karas, heun", "did you mean karras?"),
        ("karras, hoin", "sampler='hoin': it must be one of"),
    ],
)
def test_a_text_that_is_no_setting_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SamplerSetting.read(text).parts(8, ENDS, STD)


def test_a_budget_is_taken_exactly_or_not_at_all() -> None:
    ladder = Ladder("karras", 9)
    for budget, to_zero, expected in ((9, False, None), (9, True, 4), (8, False, 4), (8, True, None)):
        found = exactly(budget, ladder, Heun(), to_zero)
        assert (found and found.n_steps) == expected


# ---------------------------------------------------------------------------------------------------------- proposals


def run_of(text: str) -> SampleConfig:
    setting = SamplerSetting.read(text)
    ladder, sampler = setting.parts(SCOPE.budget, ENDS, STD)
    ladder = exactly(SCOPE.budget, ladder, sampler, setting.to_zero) or ladder
    return SampleConfig(TrainConfig(), ladder, sampler, 40, final_denoise=setting.to_zero)


NAMED = [f"{ladder}, {sampler}" for ladder in ("vp", "karras", "cosine") for sampler in ("eta 0", "eta 1", "heun")]
TRIED = {text: (run_of(text), 0.1 + 0.01 * number) for number, text in enumerate(NAMED)}


@optuna
def test_proposals_are_new_within_the_ranges_and_take_exactly_the_budget() -> None:
    found = propose(30, SCOPE, TRIED, [run_of("cosine, eta 1"), run_of("vp, heun")], seed=1)
    assert len(set(found)) == 30 and not {setting.name for setting in found} & set(TRIED)
    labels = set()
    for setting in found:
        assert SamplerSetting.read(setting.name) == setting
        run = run_of(setting.name)
        assert run.planned_nfe == SCOPE.budget
        assert 0.03 <= run.ladder.sigma_min < run.ladder.sigma_max <= 30
        assert setting.ladder.partition(" ")[0].partition("(")[0] in ("cosine", "vp", "karras")
        labels.add(run.sampler.label)
        ranges = samplers(SCOPE.budget)[run.sampler.label]
        assert all(low <= getattr(run.sampler, name) <= high for name, (low, high, _) in ranges.items())
    assert {"euler", "euler-split", "heun"} <= labels <= {"euler", "euler-split", "euler-churn", "heun"}


@optuna
def test_the_same_scores_give_the_same_proposals() -> None:
    good = [run_of("cosine, eta 1")]
    assert propose(4, SCOPE, TRIED, good, seed=1) == propose(4, SCOPE, TRIED, good, seed=1)
    assert propose(4, SCOPE, TRIED, good, seed=1) != propose(4, SCOPE, TRIED, good, seed=2)


@optuna
def test_scores_guide_the_proposals() -> None:
    """Where a low eta scores best, most proposals have a low one, and the other way round."""
    runs = [run_of(f"karras(rho={1.5 + step}) from 20 to 0.05, eta {step / 20:g}") for step in range(20)]

    def mean(sign: float) -> float:
        tried = {f"{number}": (run, sign * getattr(run.sampler, "eta")) for number, run in enumerate(runs)}  # noqa: B009
        found = [run_of(one.name).sampler for one in propose(40, SCOPE, tried, runs[:1], seed=0)]
        etas = [one.eta for one in found if isinstance(one, Euler)]
        assert len(etas) > 5
        return sum(etas) / len(etas)

    assert mean(1.0) < 0.35 < 0.6 < mean(-1.0)


def test_every_range_of_a_ladder_is_a_parameter_of_its_schedule() -> None:
    for name, space in LADDERS.items():
        for low_high in zip(*((low, high) for low, high, _ in space.values()), strict=True):
            Ladder(name, 4, options=tuple(zip(space, low_high, strict=True)))
