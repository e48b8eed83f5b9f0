"""`check-sampler --policy`: as an author of a trainer types it; lists, refusals, the result folder and its page."""

import json
from pathlib import Path

import pandas as pd
import pytest

from experiments import check_sampler, policy_checks, sampler_checks
from experiments.own.json_io import read_json
from reports.render import read_page

MINE = """
import torch

def step(x, t, t_next, velocity, generator=None, x_next=None, noise_level=0.3, forgotten=1.0):
    dt = t - t_next
    mean = x - dt * (velocity + noise_level**2 / (2 * t) * (x + (1 - t) * velocity))
    std = noise_level * dt.sqrt()
    if x_next is None:
        x_next = mean + std * torch.randn(x.shape, generator=generator)
    log_prob = -((x_next - mean) ** 2) / (2 * (std / forgotten) ** 2) - (std / forgotten).log() - 0.9189385
    return x_next, log_prob.sum(dim=(1, 2, 3)), mean, std

def no_root(x, t, t_next, velocity, **options):
    return step(x, t, t_next, velocity, forgotten=(t - t_next).sqrt(), **options)

def levels(n):
    return torch.linspace(1, 0, n + 1)

def ode(x, t, t_next, velocity):
    return x + (t_next - t) * velocity, None

def raises(x, t, t_next, velocity):
    raise KeyError("sigma")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_rl.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return check_sampler.command([*arguments], "check-sampler")


def test_one_step_gets_a_verdict_its_checks_and_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--policy", "my_rl:step(forgotten=0.5)", "--noise", "noise_level", "--levels", "my_rl:levels") == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "log_prob: wrong std: its std is 2 times that of the noise drawn."
    assert any("│ log_prob" in line and "wrong" in line for line in out)
    assert json.loads(out[-1])["check-sampler"] == {"my_rl:step(forgotten=0.5), levels": "log_prob: wrong std"}
    made = folder / "runs/check-sampler"
    assert {path.name for path in made.glob("*.csv")} == {"policies.csv", "policy_steps.csv", "policy_checks.csv"}
    checks = pd.read_csv(made / "policy_checks.csv", index_col="check")
    assert checks.loc["log_prob", "verdict"] == "wrong" and checks.loc["ODE", "verdict"] == "right"
    page = read_page(made)
    assert page.answer == "No. log_prob: wrong std: its std is 2 times that of the noise drawn."
    assert page.slots[0].value == "1" and "0.0" in page.slots[1].notes[0]


@pytest.mark.slow
def test_a_list_of_steps_is_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text(
        '[[policy]]\nname = "my_rl:step"\nnoise = "noise_level"\n[[policy]]\nname = "my_rl:no_root"\n'
    )
    assert run("--policy", "mine.toml", "--out", "many") == 1
    out = capsys.readouterr().out
    assert out.startswith("1 of 2 steps are right.\nmy_rl:step: right: ") and "It lacks sqrt(t - t_next)." in out
    page = read_page(folder / "many")
    assert page.lead == "1 of 2 are." and "1 fails a check." in page.verdict
    assert [row.name for row in page.tables[1].rows] == [line.label for line in page.figures[0].lines]


@pytest.mark.slow
def test_a_step_may_be_listed_again_with_another_replay(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text(
        '[[policy]]\nname = "my_rl:step"\n[[policy]]\nname = "my_rl:step"\nreplay = "my_rl:step(forgotten=0.5)"\n'
    )
    assert run("--policy", "mine.toml", "--out", "many") == 1
    assert "my_rl:step, step(forgotten=0.5): replay: " in capsys.readouterr().out
    assert len(read_page(folder / "many").tables[1].rows) == 2


def test_without_noise_the_page_says_that_log_prob_was_not_checked(folder: Path) -> None:
    assert run("--policy", "my_rl:ode") == 0
    page = read_page(folder / "runs/check-sampler")
    assert page.answer == "Yes. Nothing is wrong in what was checked, but log_prob was not."


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("policy = []", "it lists no"),
        ("[[policy]]\nname = 7", "name must be a text, and it is 7"),
        ('[[policy]]\nname = "my_rl:step"\nreplay = 5', "replay must be a text, and it is 5"),
        ('[[policy]]\nname = "my_rl:step"\naccept = "mean"', "accept must be a list of words, and it is 'mean'"),
        ('[[policy]]\nname = "my_rl:step"\n' * 2, "my_rl:step is listed twice"),
    ],
)
def test_a_list_with_a_wrong_field_is_refused_before_the_work(written: str, message: str, folder: Path) -> None:
    (folder / "mine.toml").write_text(written)
    with pytest.raises(ValueError, match=f"mine.toml: .*{message}"):
        run("--policy", "mine.toml")


def test_a_list_that_fails_keeps_what_is_finished(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text('[[policy]]\nname = "my_rl:no_root"\n[[policy]]\nname = "my_rl:raises"\n')
    with pytest.raises(ValueError, match="my_rl:raises: KeyError: 'sigma'"):
        run("--policy", "mine.toml", "--out", "part")
    assert "only the first 1 of 2 steps" in capsys.readouterr().err
    assert list(pd.read_csv(folder / "part/policies.csv")["sampler"]) == ["my_rl:no_root"]
    assert read_json(folder / "part/run.json")["question"] == "Are the first 1 of 2 steps right as policies?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policy", "my_rl:absent"), "module my_rl has no attribute 'absent'"),
        (("--policy", "my_rl:raises"), "my_rl:raises: KeyError: 'sigma'"),
        (("--policy", "my_rl:step", "--levels", "my_rl:raises"), "my_rl:step, raises: TypeError"),
        (("euler", "--policy", "my_rl:step"), "samplers: it cannot be combined with --policy"),
        (("--policy", "my_rl:step", "--order", "2"), "order: it cannot be combined with --policy"),
        (("euler", "--noise", "noise_level"), "noise: it needs --policy"),
        (("--policy", "absent.toml"), "absent.toml: no list of "),
    ],
)
def test_what_cannot_be_checked_is_one_line(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_the_published_table_is_of_the_published_list(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    entries = sampler_checks.listed(root / "bench/published_policies.toml", "policy", policy_checks.Policy)
    for entry in entries:
        entry.checked()
    (published,) = (root / "reports/published/policies").glob("policies.csv*")
    assert list(pd.read_csv(published)["sampler"]) == [entry.title for entry in entries]
