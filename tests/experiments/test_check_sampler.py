"""`check-sampler`: the verdict first, exit status, names of samplers, lists, errors in one line, the result folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import check_sampler, sampler_checks
from experiments.own.json_io import read_json
from experiments.own.sampler_specs import named

MINE = """
def right(denoiser, n_steps, noise, size=1.0):
    x, sigmas = noise * 160.0, [160.0 * (0.004 / 160) ** (i / (n_steps - 1)) for i in range(n_steps)] + [0.0]
    for sigma, after in zip(sigmas, sigmas[1:]):
        x = x + (after - sigma) * size * denoiser.eps(x, sigma)
    return x

def step(x, t, dt, v):
    return x + dt * v

def raises(denoiser, n_steps, noise):
    raise KeyError("sigma")

def interrupted(denoiser, n_steps, noise):
    raise KeyboardInterrupt

def pairs(denoiser, n_steps, noise):
    return right(denoiser, n_steps, noise - noise.mean(0))

number = 3
"""
FEW = ["--budgets", "50", "100", "200"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of samplers in it."""
    (tmp_path / "my_samplers.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return check_sampler.command([*arguments], "check-sampler")


def test_one_sampler_gets_a_verdict_a_table_and_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("flow-step:my_samplers:step", "--order", "1", *FEW) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("right: with more steps its law converges to the data's, with order 1.0 from 50 to 200 ")
    assert any(line.split("│")[1:2] == ["   100 "] for line in out), "a row per number of steps"
    assert json.loads(out[-1]) == {
        "check-sampler": {"flow-step:my_samplers:step": "right"},
        "out": "runs/check-sampler",
    }
    assert out[-2] == "report:  runs/check-sampler/report.html"
    made = folder / "runs/check-sampler"
    assert (made / "report.html").is_file()
    info = read_json(made / "run.json")
    assert (info["experiment"], info["preset"]) == ("check_sampler", "")
    assert info["question"] == "Is flow-step:my_samplers:step right?" and info["wall_seconds"] > 0
    assert {*info["versions"]} == {"python", "sigmabench", "torch", "numpy"}
    assert {path.name for path in made.glob("*.csv")} == {"verdicts.csv", "budgets.csv"} and info["finished_at"]
    rows = pd.read_csv(made / "budgets.csv")
    assert len(rows) == 15 and rows.loc[rows["data_std"] > 0.1, "ratio"].between(0.9, 1).all()
    assert (rows["ratio_se"] == 0).all()
    verdict = pd.read_csv(made / "verdicts.csv").iloc[0]
    assert (verdict["kind"], verdict["declared"]) == ("right", 1) and out[0] == verdict["sentence"]


def test_a_list_of_samplers_is_a_table_and_one_wrong_sampler_is_exit_status_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.toml").write_text(
        '[[sampler]]\nname = "my_samplers:right"\ngroup = "Mine"\nnote = "Euler"\n'
        '[[sampler]]\nname = "my_samplers:right(size=0.9)"\ngroup = "Mine"\nlink = "https://example.org"\n'
    )
    assert run("mine.toml", "--out", "many", *FEW) == 1
    out = capsys.readouterr().out
    assert out.startswith("1 of 2 samplers are right.\n") and "right(size=0.9): wrong limit: with more steps" in out
    assert read_json(folder / "many/run.json")["question"] == "Do these 2 samplers converge to the data?"
    table = pd.read_csv(folder / "many/verdicts.csv", keep_default_na=False)
    columns = ["sampler", "group", "kind", "note", "link"]
    assert table[columns].to_numpy().tolist() == [
        ["my_samplers:right", "Mine", "right", "Euler", ""],
        ["my_samplers:right(size=0.9)", "Mine", "wrong limit", "", "https://example.org"],
    ]
    assert (folder / "many/report.html").is_file()


@pytest.mark.parametrize(("last", "error"), [("interrupted", SystemExit), ("raises", ValueError)])
def test_a_list_that_ends_early_keeps_what_is_finished(
    last: str, error: type[BaseException], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("pairs", "right", last, "right(size=0.9)")
    (folder / "mine.toml").write_text("".join(f'[[sampler]]\nname = "my_samplers:{name}"\n' for name in names))
    with pytest.raises(error) as raised:
        run("mine.toml", *FEW)
    assert last != "interrupted" or raised.value.args == (130,)
    captured = capsys.readouterr()
    assert "1 of 2 samplers are right." in captured.out and "only the first 2 of 4 samplers" in captured.err
    kinds = pd.read_csv(folder / "runs/check-sampler/verdicts.csv")["kind"]
    assert [*kinds] == ["depends on its batch", "right"]
    assert "first 2 of 4" in (folder / "runs/check-sampler/report.md").read_text()
    with pytest.raises((KeyboardInterrupt, ValueError)):
        run(f"my_samplers:{last}", *FEW, "--out", "none")
    assert not (folder / "none").exists()
    assert run("my_samplers:pairs", "--out", "one") == 1 and "0.1" not in capsys.readouterr().out, "it has no table"
    assert "**Depends on its batch.**" in (folder / "one/report.md").read_text()


def test_a_folder_of_others_is_left_alone_and_an_earlier_result_is_replaced(folder: Path) -> None:
    (folder / "theirs").mkdir()
    (folder / "theirs/verdicts.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"it contains verdicts\.csv, which Sigmabench did not write; choose another"):
        run("my_samplers:raises", *FEW, "--out", "theirs")  # before any work
    assert (folder / "theirs/verdicts.csv").read_text() == "mine"
    run("my_samplers:right", *FEW, "--out", "mine")
    (folder / "mine/best_sets.csv").write_text("left over")
    run("flow-step:my_samplers:step", *FEW, "--out", "mine")
    assert list(pd.read_csv(folder / "mine/verdicts.csv")["sampler"]) == ["flow-step:my_samplers:step"]
    assert not (folder / "mine/best_sets.csv").exists()


def test_a_reference_finds_what_vanishes_with_more_steps(folder: Path) -> None:
    assert run("flow-step:my_samplers:step", "--reference", "my_samplers:right", *FEW) == 1
    assert run("my_samplers:right", "--reference", "my_samplers:right(size=1.0)", *FEW) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "samplers: none is given"),
        (("hoin",), r"sampler='hoin': it must be one of .*module:function"),
        (("my_samplers.py:right",), "my_samplers.py: this is a file, not a module; did you mean my_samplers:right"),
        (("my_samplers:absent",), "my_samplers:absent: module my_samplers has no attribute 'absent'"),
        (("my_samplers:number",), "my_samplers:number: number is a int, but it must be a function"),
        (("no_such_module:f",), "no_such_module: there is no module file of this name"),
        (("my_samplers:right(1)",), r"my_samplers:right\(1\): its options must read like my_samplers:right\(option"),
        (("my_samplers:raises", *FEW), "my_samplers:raises: it raised KeyError: 'sigma'"),
        (("my_samplers:right", "--budgets", "3", "4"), r"my_samplers:right: budgets=\[3, 4\]: they need N, 2N and 4N"),
        (("my_samplers:right", "--order", "0"), "order=0: it must be at least 1"),
        (("my_samplers:right", "--budgets", "50", "-1"), "budgets=-1: it must be at least 1"),
        (("absent.toml",), "absent.toml: no list of "),
        (("kadkhodaie-simoncelli",), "it follows no ladder, so it has no number of steps to vary"),
        (("smalldiffusion:Absent",), "smalldiffusion has no schedule Absent"),
    ],
)
def test_what_cannot_be_checked_is_one_line(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    if "smalldiffusion" in str(arguments):
        pytest.importorskip("smalldiffusion", reason="smalldiffusion is not installed (extra `peers`)")
    with pytest.raises(ValueError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_names_carry_options_and_the_order_that_is_declared() -> None:
    assert named("heun(s_churn=10)")[1] == 2 and named("ddpm")[1] == 1


def test_every_entry_of_the_published_list_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("diffusers", "smalldiffusion"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra `peers`)")
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    entries = sampler_checks.listed(root / "bench" / "published_samplers.toml", "sampler", sampler_checks.Entry)
    samplers: list[Callable[..., Any]] = [named(entry.sampler)[0] for entry in entries]
    assert len(samplers) >= 60 and len({entry.sampler for entry in entries}) == len(entries)
    (published,) = (root / "reports" / "published" / "samplers").glob("verdicts.csv*")  # it may be compressed
    table = pd.read_csv(published)
    assert list(table["sampler"]) == [entry.sampler for entry in entries], "the published table is of this list"


def test_samples_that_are_not_finite_get_a_verdict_and_a_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.py").write_text("def sampler(denoiser, n_steps, noise):\n    return noise * float('nan')\n")
    assert run("empty:sampler", *FEW) == 1
    out = capsys.readouterr().out
    assert out.startswith("wrong limit: with 50 steps its samples are not finite.") and "report: " in out
    rows = (folder / "runs/check-sampler/budgets.csv").read_text().splitlines()
    assert rows[1:] and all(",,," in row and "nan" not in row for row in rows[1:])
