"""`levels` as a command: the answer, the exit status, the result folder, and errors in one line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from diffusion_core.schedules import SCHEDULES
from experiments import levels
from experiments.user.parsing import parse_noise

OWN = """
def sampler(denoiser, n_steps, noise):
    for step in range(n_steps):
        t = 3 * (1 - step / n_steps) / (1 + 2 * (1 - step / n_steps))
        denoiser.velocity(noise, t)
    return noise
"""
CHURN = """
def sampler(denoiser, n_steps, noise):
    return [denoiser.eps(noise, s) for s in (8.0, 0.5, 2.0)][0]
"""
LOG = "8 levels from pure noise to 0.4286: flow(shift=3, end=1/n)"  # of log.txt


FILES = {
    "own_levels.py": OWN,
    "log.txt": "[1.0000, 0.9545, 0.9000, 0.8333,\n 0.7500 0.6429 0.5 0.3, 0.]\n",
    "wrong.txt": "1 0.9545 0.9 0.8333 0.77 0.6429 0.5 0.3 0",
    "swapped.txt": "1 0.9545 0.9 0.8333 0.6429 0.75 0.5 0.3 0",
    "rising.txt": "0\n0.3\n0.5\n0.6429\n0.75\n0.8333\n0.9\n0.9545\n1",
    "coarse.txt": "1.00, 0.95, 0.90, 0.83, 0.75, 0.64, 0.50, 0.30, 0.00",
    "cut.txt": "16 8 4 2 1 0.5 0.25 0",
    "tenths.txt": "16 8 4 2 1 0.5 0",
    "printed.txt": "step 0 sigma 1.0\nstep 1 sigma 0.95",
    "empty.txt": "",
    "own_text.py": "x = 'no list'",
    "own_churn.py": CHURN,
}


@pytest.fixture(autouse=True)
def folder(here: Path, drawn: None):
    for name, text in FILES.items():
        Path(name).write_text(text)


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, list[str]]]:
    """The exit status, and the lines that are printed."""
    return lambda arguments: (levels.command(shlex.split(arguments), "levels"), capsys.readouterr().out.splitlines())


def test_a_function_is_named_at_each_number_of_steps(answer):
    status, lines = answer("own_levels:sampler --steps 8 28 --out out")
    assert status == 0
    assert lines[0] == "verdict: 28 levels from pure noise to 0.1111: flow(shift=3, end=1/n). Nothing is wrong."
    by_steps = dict.fromkeys(("8", "28"), "flow(shift=3, end=1/n)")
    assert json.loads(lines[-1]) == {"levels": {"own_levels:sampler": by_steps}, "right": True, "out": "out"}
    rows = pd.read_csv("out/schedules.csv")
    visited = pd.read_csv("out/levels.csv")
    assert rows[["n_steps", "evaluations"]].values.tolist() == [[8, 8], [28, 28]]
    assert_allclose(visited[visited["n_steps"] == 8]["t"], [3 * t / (1 + 2 * t) for t in np.arange(8, 0, -1) / 8])
    assert "The levels with 28 steps" in Path("out/report.html").read_text()


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        ("log.txt --expect 'flow(shift=3, end=1/n)'", 0, f"verdict: {LOG}. Nothing is wrong."),
        ("'karras(rho=7)' --steps 28", 0, "28 levels from 160 to 0.004: karras(rho=7). Nothing is wrong."),
        ("geometric --steps 8", 0, "verdict: 8 levels from 160 to 0.004: geometric. Nothing is wrong."),
        ("heun --steps 8", 0, "verdict: 8 levels from 160 to 0.004: karras(rho=7); 7 more evaluations"),
        ("log.txt --expect 'flow(shift=5)'", 1, "Something is wrong. With 8 steps: shift is 3, not 5."),
        ("log.txt --steps 9", 1, "Something is wrong. With 9 steps: one step too few."),
        ("log.txt --reading sigma", 1, "no known schedule; nearest: "),
        ("'flow(shift=3)' own_levels:sampler", 0, "verdict: Yes. Both visit 28 levels from pure noise to 0.1111: "),
        (
            "'flow(shift=4)' own_levels:sampler",
            1,
            "verdict: No. With 4 steps they differ first at step 2: sigma 12 and 9.",
        ),
        ("log.txt 'flow(shift=3, end=0)'", 0, f"verdict: Yes. Both visit {LOG}."),
        ("log.txt coarse.txt", 0, f"verdict: Yes. Both visit {LOG}"),
        ("wrong.txt", 1, "level 5 is 0.77, where flow(shift=3, end=1/n) has 0.75."),
        ("swapped.txt", 1, "level 6 rises: 0.75 after 0.6429."),
        ("rising.txt", 1, "the levels rise: it runs backwards, or is it 1 - t? Then say --reading 1-t."),
        ("rising.txt --reading 1-t", 0, "to 0.04767: flow(shift=0.3333, end=1/n). Nothing is wrong."),
        ("cut.txt", 0, "the last step goes from sigma 0.25 to 0: the end may be cut"),
        ("tenths.txt", 1, "too few digits to be sure: print two decimals or more"),
        ("euler heun", 1, "verdict: No. With 4 steps they differ first at step 3"),
    ],
)
def test_the_answer_and_the_exit_status(arguments: str, status: int, words: str, answer):
    got, lines = answer(arguments)
    assert words in "\n".join(lines)
    assert got == status


NAMES = (
    *SCHEDULES, *(f"{name}(end=0)" for name in SCHEDULES), "karras(5)", "polyexponential(rho=2)", "beta(a=0.4, b=0.8)",
    "vp(data_std=0.55)", "cosine(offset=0)", "flow(shift=3, end=0)", "flow(shift=3, end=1/1000)",
    "flow(shift=3, end=0.02)",
    "flow(shift=3, end=1/n), stretched to 0.1", "flow(shift=3, start=0.999, end=1/n)", "flow(data_std=0.55, shift=3)",
    "ddpm-trailing(betas=scaled_linear)", "ddpm-trailing(betas=linear, zero SNR)", "ddpm-linspace, between whole times",
    "karras(rho=7, betas=scaled_linear)", "karras(rho=5, sigma_max=20, sigma_min=0.05, end=0)",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_itself(name: str):
    """As it is typed, and as it is printed: of a schedule, and of a list of its levels."""
    options = levels.LevelsOptions((name,), expect=levels.spell(name))
    (typed,) = levels.run_schedule(name, options, [12])
    assert typed.right, typed.sentence
    for printed in typed.names:
        (again,) = levels.run_schedule(printed, levels.LevelsOptions((), expect=printed), [12])
        assert again.right and not levels.find_gap([typed], [again]), printed
    zero = [0.0] if "end" in name else []
    Path("list.txt").write_text(str([*typed.sigmas, *zero]))
    listed = levels.read_list(Path("list.txt"), options)
    assert listed.right, listed.sentence


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_a_scheduler_config_is_read_as_that_scheduler(answer):
    pytest.importorskip("diffusers")
    config = {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085,
              "beta_end": 0.012, "use_karras_sigmas": True, "clip_sample": False, "trained_betas": None}  # fmt: skip
    Path("scheduler_config.json").write_text(json.dumps(config))
    status, lines = answer("scheduler_config.json --steps 20")
    assert status == 0
    assert lines[0].startswith("verdict: 20 levels from 14.61 to 0.02917: karras(rho=7, betas=scaled_linear)")


def test_the_share_of_training_noise_between_levels(answer):
    law = "log-normal(-0.507, 1.2)"
    shares = levels.measure_shares(law, [80, 2, 0.5, 0.02])
    assert sum(shares) == pytest.approx(1)
    drawn = parse_noise(law, 1.0).sample(400_000, torch.Generator().manual_seed(0))
    assert shares[2] == pytest.approx(((drawn < 2) & (drawn > 0.5)).double().mean().item(), abs=0.003)
    _, lines = answer(f"'karras(rho=7)' --train-noise '{law}' --steps 8 --out out")
    assert any(
        "0.0015 % below the last one; between neighbours, in per cent: 0.0035, 0.07, 1.1, " in line for line in lines
    )
    assert pd.read_csv("out/levels.csv")["share"].sum() == pytest.approx(1, abs=0.001)


def test_levels_that_rise_in_between_have_their_own_share(answer):
    answer("own_churn:sampler --train-noise 'log-normal(-0.507, 1.2)' --steps 3 --out out")
    expected = levels.measure_shares("log-normal(-0.507, 1.2)", [8, 2, 0.5])[1:]
    assert_allclose(pd.read_csv("out/levels.csv")["share"], [expected[0], expected[2], expected[1]])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("a b c", "schedules: name one, or two to compare"),
        ("absent.txt", "absent.txt: it cannot be read"),
        ("own_text.py", "own_text.py: 'x' is not a number: give the numbers alone"),
        ("empty.txt", "empty.txt: '': two numbers or more are needed: give"),
        ("printed.txt", "printed.txt: 'step' is not a number: give the numbers alone, separated by spaces"),
        ("log.txt --expect 'flow(shft=3)'", "no schedule of 8 levels is spelt so"),
        ("log.txt --expect karas", "did you mean karras"),
        ("log.txt --reading log-sigma --expect 'flow(shift=3'", "it must read like flow"),
        ("log.txt --steps 4 8", "a list has one number of steps"),
        ("own_levels:absent", "absent"),
    ],
)
def test_an_error_is_one_line(arguments: str, words: str, answer):
    with pytest.raises(ValueError, match=words):
        answer(arguments)
