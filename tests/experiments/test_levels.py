"""`levels` as a command: the answer, the exit status, the result folder, and errors in one line."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from diffusion_core.schedules import SCHEDULES
from experiments import levels
from experiments.names import parse_noise

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
HALVES = """
def sampler(denoiser, n_steps, noise):
    return [denoiser.eps(noise, s) for s in (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)][0]
"""
WRONG = """
def sampler(denoiser, n_steps, noise):
    return [denoiser.velocity(noise, t) for t in (1.0, 21 / 22, 0.9, 5 / 6, 0.77, 9 / 14, 0.5, 0.3)][0]
"""


FILES = {"own_levels.py": OWN, "own_churn.py": CHURN, "own_halves.py": HALVES, "own_wrong.py": WRONG}


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
        ("'karras(rho=7)' --steps 28", 0, "28 levels from 160 to 0.004: karras(rho=7). Nothing is wrong."),
        ("geometric --steps 8", 0, "verdict: 8 levels from 160 to 0.004: geometric. Nothing is wrong."),
        ("heun --steps 8", 0, "verdict: 8 levels from 160 to 0.004: karras(rho=7); 7 more evaluations"),
        ("own_levels:sampler --expect 'flow(shift=3)'", 0, "0.1111: flow(shift=3, end=1/n). Nothing is wrong."),
        ("own_levels:sampler --expect 'flow(shift=5)'", 1, "Something is wrong. With 28 steps: shift is 3, not 5."),
        ("own_wrong:sampler --steps 9", 1, "level 5 is sigma 3.348, where flow(shift=3, end=1/n) has 3."),
        ("own_halves:sampler --steps 8", 1, "Something is wrong. With 8 steps: one step too few."),
        ("own_halves:sampler --steps 7", 0, "the last step goes from sigma 0.25 to 0: the end may be cut"),
        ("own_churn:sampler --steps 3", 1, "no known schedule; nearest: "),
        ("'flow(shift=3)' own_levels:sampler", 0, "verdict: Yes. Both visit 28 levels from pure noise to 0.1111: "),
        (
            "'flow(shift=4)' own_levels:sampler",
            1,
            "verdict: No. With 4 steps they differ first at step 2: sigma 12 and 9.",
        ),
        ("euler heun", 1, "verdict: No. With 4 steps they differ first at step 3"),
    ],
)
def test_the_answer_and_the_exit_status(arguments: str, status: int, words: str, answer):
    got, lines = answer(arguments)
    assert words in "\n".join(lines)
    assert got == status


NAMES = (
    *SCHEDULES, *(f"{name}(end=0)" for name in SCHEDULES), "karras(20, 0.05, rho=5)",
    "polyexponential(rho=2)", "beta(a=0.4, b=0.8)",
    "vp(data_std=0.55)", "cosine(offset=0)", "flow(shift=3, end=0)", "flow(shift=3, end=1/1000)",
    "flow(shift=3, end=0.02)",
    "flow(shift=3, end=1/n), stretched to 0.1", "flow(shift=3, start=0.999, end=1/n)", "flow(data_std=0.55, shift=3)",
    "ddpm-trailing(betas=scaled_linear)", "ddpm-trailing(betas=linear, zero SNR)", "ddpm-linspace, between whole times",
    "karras(rho=7, betas=scaled_linear)", "karras(rho=5, sigma_max=20, sigma_min=0.05, end=0)",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_itself(name: str):
    """As it is typed, and as it is printed."""
    options = levels.LevelsOptions((name,), steps=(12,), expect=levels.spell(name))
    (typed,) = levels.run_schedule(name, options)
    assert typed.right, typed.sentence
    for printed in typed.names:
        (again,) = levels.run_schedule(printed, replace(options, expect=printed))
        assert again.right and not levels.find_gap([typed], [again]), printed


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
        ("absent", "sampler='absent': it must be one of"),
        ("own_levels:sampler --expect 'flow(shft=3)'", "no schedule of 4 levels is spelt so"),
        ("own_levels:sampler --expect karas", "did you mean karras"),
        ("own_levels:sampler --expect 'flow(shift=3'", "it must read like flow"),
        ("own_levels:absent", "absent"),
    ],
)
def test_an_error_is_one_line(arguments: str, words: str, answer):
    with pytest.raises(ValueError, match=words):
        answer(arguments)
