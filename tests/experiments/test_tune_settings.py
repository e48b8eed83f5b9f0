"""Settings as text."""

import re

import pytest

from diffusion_core.samplers import Euler, EulerSplit, Heun, Sampler
from experiments.config.config import Ladder
from experiments.tune.settings import SamplerSetting, exactly

STD = 0.55
ENDS = (30.0, 0.03)


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
