"""`--only` takes a part of a plan by the columns of its runs, and executes nothing that is typed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from diffusion_core.samplers import Euler
from experiments.beta import Beta
from experiments.run.machine import Machine
from experiments.run.plan import Run, planned
from experiments.run.selection import only

STUDY = replace(Beta(**Beta.presets["smoke"]), seeds=3, etas=(0.0, 1.0, 9.0))
PLANNED = planned(STUDY, STUDY.settings(), Machine(), Machine())
POSSIBLE = [run for run in PLANNED if not run.impossible]
Holds = Callable[[Run], bool]


def mode(run: Run) -> str:
    return run.setting.group


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ('mode == "same-ladder" and seed == 0', lambda r: mode(r) == "same-ladder" and r.network.seed == 0),
        ("mode==same-ladder and seed==0", lambda r: mode(r) == "same-ladder" and r.network.seed == 0),
        ("mode!=same-ladder", lambda r: mode(r) != "same-ladder"),
        ("mode in ['pareto', 'control']", lambda r: mode(r) in ("pareto", "control")),
        ("sampler==euler(eta=0)", lambda r: r.setting.sampler == Euler(0.0)),
        ("n_steps < 4 or final_denoise", lambda r: len(r.sigmas) <= 4 or r.setting.final_denoise),
        ("parameterisation == 'mixture-input'", lambda r: True),
        ("not (mode == 'pareto' or seed in (1, 2))", lambda r: mode(r) != "pareto" and r.network.seed == 0),
        ("0 <= seed < 2 and mode not in ['pareto']", lambda r: r.network.seed < 2 and mode(r) != "pareto"),
        ("seed > -1 and final_denoise == True", lambda r: r.setting.final_denoise),
        ("eta != 0", lambda r: r.row().get("eta") != 0),
    ],
)  # fmt: skip
def test_only_takes_the_runs_for_which_the_query_holds(query: str, holds: Holds) -> None:
    found = [run for run in only(PLANNED, query) if not run.impossible]
    assert found == [run for run in POSSIBLE if holds(run)] and found


def test_impossible_runs_are_chosen_like_others() -> None:
    assert any(run.impossible for run in only(PLANNED, "mode==same-ladder"))
    assert not any(run.impossible for run in only(PLANNED, "eta < 2"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("mode==same-lader", "same - lader is neither a column nor a value; it may have columns, numbers, texts"),
        ("moed == 'control'", "there is no column 'moed'; it may have"),
        ("mode ==", "invalid syntax; it may have"),
        ("", "invalid syntax; it may have"),
        ("seed == 99", "it holds for none of"),
        ("seed", "seed is no condition"),
        ("seed + 1", "seed + 1 is no condition"),
        ("True", "True is no condition"),
        ("eta == 9 and mode == 'same-ladder'", "it holds for none of"),  # such runs are impossible
        ("seed != '0'", "0 cannot be compared with '0'"),
        ("mode < 3", "'primary' cannot be compared with 3"),
        ("seed in 3", "a list stands after in or not in, and nowhere else"),
        ("mode in 'primary'", "a list stands after in or not in"),
        ("[1] == [1]", "a list stands after in or not in"),
        ("seed is 0", "two values are compared with"),
        ("@pd.io.common.os.system('touch hit') == 0", "invalid syntax"),
        ("__import__('os').system('touch hit') == 0", "is neither a column nor a value"),
        ("mode.str.len() == 7", "mode.str.len() is neither a column nor a value"),
        ("(lambda: 1)() == 1", "is neither a column nor a value"),
        ("[seed for seed in [1]] == 1", "is neither a column nor a value"),
        ("seed == 9 ** 9 ** 9", "9 ** 9 ** 9 is neither a column nor a value"),
        ("(" * 900 + "seed" + ")" * 900, "it may have columns"),
        ("not " * 450 + "seed", "it may have columns"),
        ("seed == 0 or " * 300 + "seed == 0", "it has over 2,000 characters"),
        ("f'{seed}' == '0'", "is neither a column nor a value"),
        ("(x := seed) == 0", "is neither a column nor a value"),
    ],
)  # fmt: skip
def test_a_query_that_does_not_do_says_what_would(query: str, message: str) -> None:
    with pytest.raises(ValueError, match="only=") as caught:
        only(PLANNED, query)
    assert message in str(caught.value) and "\n" not in str(caught.value) and not Path("hit").exists()
