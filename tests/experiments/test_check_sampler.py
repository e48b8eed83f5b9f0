"""`check-sampler`: verdict, exit status, names, lists, errors in one line, the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import check_sampler
from experiments.conformance_report import read_list
from experiments.user.json_io import read_json
from reports.formats import capital

MINE = """
from dataclasses import dataclass
import torch
from experiments import Sampler

def right(denoiser, n_steps, noise, size=1.0):
    x, sigmas = noise * 160.0, [160.0 * (0.004 / 160) ** (i / (n_steps - 1)) for i in range(n_steps)] + [0.0]
    for sigma, after in zip(sigmas, sigmas[1:]):
        x = x + (after - sigma) * size * denoiser.eps(x, sigma)
    return x

@dataclass(frozen=True)
class Mine(Sampler):
    size: float = 1.0

    def run(self, eps, x, sigmas, noise):
        for sigma, after in zip(sigmas, sigmas[1:]):
            x = x + (after - sigma) * self.size * eps(x, sigma)
            yield x

@dataclass(frozen=True)
class Second(Mine):
    order = 2

@dataclass(frozen=True)
class NotCalled(Mine):
    def run(self, eps, x, sigmas, noise):
        yield x + noise

def called(denoiser, n_steps, noise):
    return noise()

def flow(x, t, dt, v):
    return x + dt * v

def empty(denoiser, n_steps, noise):
    return noise * float("nan")

def raises(denoiser, n_steps, noise, *_):
    raise KeyError("sigma")

def interrupted(denoiser, n_steps, noise):
    raise KeyboardInterrupt

def pairs(denoiser, n_steps, noise):
    return right(denoiser, n_steps, noise - noise.mean(0))

number = 3
"""
FEW = " --budgets 50 100 200"
ROOT = Path(__file__).parents[2]


OUT = Path("runs/check-sampler")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The current folder, with a file of samplers in it."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def run(arguments: str) -> int:
    return check_sampler.command(arguments.split(), "check-sampler")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capsys.readouterr().out.splitlines()


def write_list(*tables: dict[str, Any]):
    parts = [("[[sampler]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())) for table in tables]
    Path("list.toml").write_text("\n".join(line for part in parts for line in part))


def test_one_sampler_gets_a_verdict_a_table_and_a_report(printed):
    assert run("flow-step:mine:flow --order 1" + FEW) == 0
    out = printed()
    assert "verdict: Right: it converges with order 1.0; with 50 steps it is still 5 % too narrow." in out
    assert "  Evaluations with 28 steps: 28 (flow(shift=1, end=1/n))" in out
    assert out[:2] == [
        "Standard deviation of the samples ÷ that of the data, by direction",
        "       std 2  std 1  std 0.5  std 0.2  std 0.01",
    ]
    assert any(line.startswith("  100  ") for line in out), "a row per number of steps"
    assert json.loads(out[-1]) == {"check-sampler": {"flow-step:mine:flow": "right"}, "out": "runs/check-sampler"}
    assert out[-2] == "report: runs/check-sampler/report.html"
    assert (OUT / "report.html").is_file()
    info = read_json(OUT / "run.json")
    assert (info["experiment"], info["preset"]) == ("check_sampler", "")
    assert info["question"] == "Is flow-step:mine:flow right?" and info["wall_seconds"] > 0 and info["finished_at"]
    assert {*info["versions"]} == {"python", "sigmabench", "torch", "numpy"}
    assert {path.name for path in OUT.glob("*.csv")} == {"verdicts.csv", "budgets.csv"}
    rows = pd.read_csv(OUT / "budgets.csv")
    assert len(rows) == 15 and rows.loc[rows["data_std"] > 0.1, "ratio"].between(0.9, 1).all()
    assert (rows["ratio_se"] == 0).all()
    verdict = pd.read_csv(OUT / "verdicts.csv").iloc[0]
    assert (verdict["kind"], verdict["declared"]) == ("right", 1)
    first, _, more = verdict["sentence"].partition(". ")
    assert f"verdict: {capital(first)}." in out and f"also: {more}" in out


@pytest.mark.slow
def test_a_class_declares_its_order(printed):
    assert run("mine:Mine" + FEW) == 0 and run("mine:Second" + FEW) == 1
    out = [line for line in printed() if line.startswith("verdict: ")]
    assert "it converges with order 1.0; with 50 steps" in out[0]
    assert out[1] == "verdict: Order lost: its limit is right, but its order is 1.0 instead of 2."
    assert pd.read_csv(OUT / "verdicts.csv")["declared"].item() == 2


@pytest.mark.parametrize("name", ["called", "NotCalled"])
def test_noise_that_is_taken_for_the_other_one_is_explained(name: str):
    with pytest.raises(ValueError, match=r"TypeError: .*; in a function noise is a tensor, in a class it is called"):
        run(f"mine:{name}" + FEW)


@pytest.mark.slow
def test_a_list_of_right_samplers_has_none_that_is_wrong(printed):
    assert run("euler mine:right mine:Mine(size=1)" + FEW) == 0
    assert "verdict: None of 3 samplers has a fault." in printed()


def test_a_fault_of_the_levels_is_said_where_the_limit_is_right():
    pytest.importorskip("diffusers")
    assert run("diffusers:FlowMatchEulerDiscreteScheduler(shift=3) euler" + FEW) == 0
    page = (OUT / "report.md").read_text()
    assert "Right in the limit, with a fault in the noise levels (1): With few steps" in page
    assert "shift 3 is applied twice" in page


def test_a_list_of_samplers_is_a_table_and_one_wrong_sampler_is_exit_status_1(printed):
    mine = {"name": "mine:right", "group": "Mine", "note": "Euler"}
    small = {"name": "mine:right(size=0.9)", "group": "Mine", "link": "https://example.org"}
    write_list(mine, small)
    assert run("list.toml --out many" + FEW) == 1
    out = printed()
    assert "verdict: 1 of 2 samplers has a fault." in out
    assert any("right(size=0.9): wrong limit: with more steps" in line for line in out)
    assert read_json(Path("many/run.json"))["question"] == "Do these 2 samplers converge to the data?"
    table = pd.read_csv("many/verdicts.csv", keep_default_na=False)
    assert table[["sampler", "group", "kind", "note", "link"]].to_numpy().tolist() == [
        ["mine:right", "Mine", "right", "Euler", ""],
        ["mine:right(size=0.9)", "Mine", "wrong limit", "", "https://example.org"],
    ]
    assert Path("many/report.html").is_file()


@pytest.mark.parametrize(
    "names, error, message",
    [
        ("pairs right interrupted flow", SystemExit, "130"),
        ("absent pairs raises right", ValueError, "'absent'; mine:raises: KeyError: 'sigma'"),
    ],
)
def test_a_list_keeps_what_can_be_run_and_ends_at_an_interrupt(names: str, error: Any, message: str, capsys):
    write_list(*({"name": f"mine:{name}"} for name in names.split()))
    with pytest.raises(error, match=message):
        run("list.toml" + FEW)
    captured = capsys.readouterr()
    assert "1 of 2 samplers has" in captured.out and "has only 2 of these 4 samplers" in captured.err
    info = read_json(OUT / "run.json")
    assert "2 of these 4" in info["question"]
    assert [note.partition(": mine:raises")[0] for note in info["notes"]][-1:] == ["not run"] * (error is ValueError)
    assert [*pd.read_csv(OUT / "verdicts.csv")["sampler"]] == ["mine:pairs", "mine:right"]


@pytest.mark.parametrize("name", ["interrupted", "raises"])
def test_without_a_verdict_nothing_is_written(name: str):
    with pytest.raises((KeyboardInterrupt, ValueError)):
        run(f"mine:{name}" + FEW)
    assert not OUT.exists()


@pytest.mark.slow
def test_what_is_not_measured_gets_a_verdict_and_a_page_without_a_table(printed):
    assert run("mine:pairs") == 1 and "0.1" not in "\n".join(printed())
    assert "Depends on its batch: " in (OUT / "report.md").read_text()
    assert run("mine:empty" + FEW) == 1
    assert "verdict: Wrong limit: with 50 steps its samples are not finite." in printed()
    rows = (OUT / "budgets.csv").read_text().splitlines()
    assert rows[1:] and all(",,," in row and "nan" not in row for row in rows[1:])


def test_a_folder_of_others_is_left_alone_and_an_earlier_result_is_replaced():
    theirs = Path("theirs/verdicts.csv")
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(ValueError, match=r"it contains verdicts\.csv, which Sigmabench did not write; choose another"):
        run("mine:raises --out theirs" + FEW)  # before any work
    assert theirs.read_text() == "mine"
    run("mine:right" + FEW)
    left_over = OUT / "best_sets.csv"
    left_over.touch()
    run("flow-step:mine:flow" + FEW)
    assert list(pd.read_csv(OUT / "verdicts.csv")["sampler"]) == ["flow-step:mine:flow"]
    assert not left_over.exists()


@pytest.mark.slow
def test_a_reference_finds_what_vanishes_with_more_steps():
    assert run("flow-step:mine:flow --reference mine:right" + FEW) == 1
    assert run("mine:right --reference mine:right(size=1.0)" + FEW) == 0


@pytest.mark.parametrize(
    "tables, message",
    [
        ([{"name": "mine:right"}] * 2, "mine:right is listed twice"),
        ([{"name": "mine:right", "noise": "x"}], "unexpected keyword argument 'noise'"),
    ],
)
def test_a_list_with_a_wrong_field_is_refused_before_the_work(tables: Any, message: str):
    write_list(*tables)
    with pytest.raises(ValueError, match=f"list.toml: .*{message}"):
        run("list.toml")


REFUSED = {  # arguments, and what the error says
    "": "samplers: none is given",
    "hoin": r"sampler='hoin': it must be one of .*module:function",
    "mine:absent": "mine:absent: mine defines no 'absent'",
    "mine:number": "mine:number: number is a int, but it must be a function",
    "mine:right(1)": r"mine:right\(1\): its options must read like mine:right\(option",
    "mine:raises --budgets 50 100 200": "mine:raises: KeyError: 'sigma'",
    "absent.toml": "absent.toml: no list of ",
    "smalldiffusion:Absent": "smalldiffusion has no schedule Absent",
    "mine:right --order 0": "mine:right: order=0: it must be at least 1",
    "mine:right --budgets 50 -1": "mine:right: budgets=-1: it must be at least 1",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_checked_is_one_line(arguments: str):
    if "smalldiffusion" in arguments:
        pytest.importorskip("smalldiffusion", reason="smalldiffusion is not installed (extra `peers`)")
    with pytest.raises(ValueError, match=REFUSED[arguments]) as error:
        run(arguments)
    assert "\n" not in str(error.value)


def test_every_entry_of_the_published_list_can_be_named_and_is_in_its_table(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("diffusers", "0.42", reason="the list names schedulers of diffusers 0.42 (extra `peers`)")
    pytest.importorskip("smalldiffusion", reason="smalldiffusion is not installed (extra `peers`)")
    monkeypatch.chdir(ROOT)
    entries = read_list(Path("bench/published_samplers.toml"))
    for entry in entries:
        entry.prepare()
    rows = pd.read_csv("reports/published/samplers/verdicts.csv.xz")
    assert list(rows["sampler"]) == [entry.name for entry in entries]
    assert len(entries) >= 60
