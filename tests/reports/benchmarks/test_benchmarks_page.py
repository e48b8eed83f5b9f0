"""The report on speed: what it says of fixed numbers, of two commits, and of files that are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_spine import forget
from scipy.stats import t as student

from bench.command import command
from reports import benchmarks
from reports.formats import percent
from reports.page import Page

FILE = Path(__file__).parent / "bench.json"
Change = Callable[[dict[str, Any]], object]
Read = Callable[[Change], Page]
OURS = (
    "No difference detected. Sampling, fp32, no fresh noise: a step takes 16 ms with ours, eta 0, 16.3 with diffusers"
)
TRAINING = "Faster. Training, fp32: a step takes 20 ms with ours, 26 with plain loop"
NOTHING = "There is nothing to compare: no group has loops of two projects."


@pytest.fixture
def changed(tmp_path: Path) -> Read:
    """The page on the committed file with one change."""

    def read(change: Change) -> Page:
        content = json.loads(FILE.read_text())
        change(content)
        (tmp_path / "changed.json").write_text(json.dumps(content))
        return benchmarks.bench_page(*benchmarks.read_benchmarks(tmp_path / "changed.json"))

    return read


def only(**wanted: Any) -> Change:
    """Keeps the benchmarks whose extra_info has these values."""
    fits = lambda one: wanted.items() <= one["extra_info"].items()  # noqa: E731
    return lambda content: content.update(benchmarks=[*filter(fits, content["benchmarks"])])


def yours(content: dict[str, Any], fault: str = "", at: int = 7):
    """A loop, that of diffusers, is the user's."""
    content["benchmarks"][at]["extra_info"].update(package="yours", who="Mine", fault=fault)
    content["benchmarks"][at]["fullname"] = "Mine"


@pytest.mark.parametrize("change, answer", [
    (lambda content: None, OURS),  # not ours in bf16
    (only(suite="training"), TRAINING),
    (only(suite="loop"), "Faster. Loop, no fresh noise: a step takes 0.02 ms with ours, eta 0, 0.25 with diffusers"),
    (yours, "No difference detected. Sampling, fp32, no fresh noise: a step takes 16.3 ms with Mine, 16 with ours"),
    (lambda content: yours(content, "wrong."), "Mine: wrong. So its speed is not compared."),
    (only(mode="bf16"), NOTHING), (only(package="sigmabench"), NOTHING),
], ids=["all", "training", "loop", "the user's", "a wrong one", "bf16", "ours alone"])  # fmt: skip
def test_loops_of_equal_work_in_equal_precision_are_compared(changed: Read, change: Change, answer: str):
    page = changed(change)
    assert page.headline.startswith(answer)
    if "wrong" in answer:
        assert not any(row.cells[3] for row in page.tables[0].rows if row.cells[0] == "sampling")


def test_one_table_says_what_may_be_divided(changed: Read):
    made = changed(lambda content: None)
    (table,) = made.tables
    assert [(row.name, *row.cells[:2], *row.cells[3:]) for row in table.rows if row.cells[0] == "sampling"] == [
        ("ours, eta 0", "sampling", "fp32, no fresh noise", "1.02 (0.94 to 1.10)", "667"),
        ("diffusers Euler", "sampling", "fp32, no fresh noise", "0.98 (0.91 to 1.06)", "654"),
        ("ours, eta 1", "sampling", "fp32, fresh noise", "", "650"),
        ("ours, eta 1, noise drawn once", "sampling", "fp32, noise drawn once", "", "658"),
        ("ours, eta 0", "sampling", "bf16, no fresh noise", "", "1,778"),
    ]
    assert [row.cells[-1] for row in table.rows if row.cells[0] == "loop"] == [""] * 4
    suites = [row.cells[0] for row in table.rows]
    assert suites == sorted(suites, key=benchmarks.SUITES.index)
    busy = changed(lambda content: content["benchmarks"][0]["extra_info"].update(busy=1.5))
    assert "other programs" not in made.caveats[-1] and "other programs kept 1.5 cores busy" in busy.caveats[-1]
    assert (
        "loop, 66 evaluations in batches of 128; sampling with the network small, 12 evaluations in batches of 128; "
        "training with the network small in batches of 64. "
    ) in made.caveats[-1]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """A folder of runs in which loops alone of ours, or the first so many loops, took so many times the time."""

    def write(name: str, *times: float, first: int = 2) -> Path:
        (tmp_path / name).mkdir()
        for process, factor in enumerate(times, 1):
            content = json.loads(FILE.read_text())
            yours(content, at=0)
            for one in content["benchmarks"][:first]:
                one["stats"]["data"] = [factor * value for value in one["stats"]["data"]]
            (tmp_path / name / f"{process}.json").write_text(json.dumps(content))
        return tmp_path / name

    return write


def compare(folder: Path, *words: str) -> int:
    """The exit status of a comparison of what is saved as a and b."""
    return command(["--runs", "0", "--save", "a", "--against", "b", "--out", str(folder), *words], "bench")


@pytest.mark.parametrize("new, limit, status", [
    ((1.3, 1.32, 1.28), "10%", 1), ((1.3, 1.32, 1.28), "30%", 0),
    ((1.5, 0.9, 1.6), "10%", 0), ((0.8, 0.8, 0.81), "0", 0),
])  # fmt: skip
def test_saved_runs_are_compared_process_by_process(
    saved: Callable[..., Path], new: tuple[float, ...], limit: str, status: int, capsys: pytest.CaptureFixture[str]
):
    saved("b", 1.0, 1.0, 1.0)
    assert compare(saved("a", *new).parent, "--fail-if-slower", limit) == status
    out = capsys.readouterr().out
    slower, faster = 2 * (min(new) > 1), 2 * (max(new) < 1)
    assert f"Of 8 rows of ours and yours {slower} are slower and {faster} faster" in out
    assert ("verdict: Slower than b: Mine and ours, eta 1." in out) == bool(slower)
    logs = np.log(new)
    reach = (student.ppf(0.975, 2) + student.ppf(0.8, 2)) * logs.std(ddof=1) / 3**0.5
    assert f"A change of {percent(np.exp(reach) - 1)} could be detected; 10 % would take " in out


def test_a_busy_machine_is_no_slower_commit(saved: Callable[..., Path]):
    """Loops of others were as much slower: ratios on one machine count beside theirs, on two they do not."""
    old = saved("b", 1.0, 1.0, 1.0)
    folder = saved("a", 1.5, 1.6, 1.7, first=12).parent
    assert compare(folder, "--fail-if-slower", "10%") == 0
    other = old / "1.json"
    other.write_text(other.read_text().replace("Some Processor", "Another"))
    assert compare(folder, "--fail-if-slower", "10%") == 1


def test_the_interval_is_students_over_processes(saved: Callable[..., Path]):
    files = [sorted(saved(name, *times).iterdir()) for name, times in (("a", (1, 2, 4)), ("b", (1, 1, 1)))]
    row = benchmarks.compare_page(*files, None, "b")[0].tables[0].rows[0]
    reach = 2 ** (student.ppf(0.975, 2) / 3**0.5)  # the logs to base 2 are 0, 1 and 2
    assert row.cells == ["loop", "no fresh noise", "2.00", f"{2 / reach:.2f} to {2 * reach:.2f}"]


@pytest.mark.parametrize("words, message", [
    (["--against", "b"], "against=b: it has 1 run, not 2; --runs adds some"), (["--against", "c"], ""), ([], ""),
    (["--fail-if-slower", "5%"], "fail_if_slower: it needs --against NAME"),
    (["--against", "c", "--fail-if-slower", "5%"], "so --runs 3 on each side"),
    (["--against", "c", "--fail-if-slower", "little"], "a number of per cent"),
    (["--against", "none"], "against=none: nothing is saved there; `bench --save none` does"),
    (["--sampler", "heum"], "did you mean heun"), (["loop", "lop", "--runs", "1"], "it must be one of loop, sampling"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    saved: Callable[..., Path], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    folder = saved("a", 1, 1).parent
    saved("b", 1), saved("c", 1, 1)
    words = ["--runs", "0", "--save", "a", "--out", str(folder), *words]
    if message:
        with pytest.raises(ValueError, match=message):
            command(words, "bench")
        return
    assert command(words, "bench") == 0
    assert ("No intervals: they need 3 runs" in capsys.readouterr().out) == ("--against" in words)


def test_a_file_of_other_benchmarks_is_an_error(changed: Read):
    with pytest.raises(ValueError, match="no benchmark of this version with its rounds"):
        changed(lambda content: content.update(benchmarks=[]))


def test_runs_of_an_edited_sampler_are_not_added_and_a_gate_without_an_interval_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.command.time_once", lambda options, file: file.write_text(FILE.read_text()) and 0)
    text = "from dataclasses import dataclass\nfrom experiments import Sampler\n\n@dataclass(frozen=True)\n"
    text += "class Mine(Sampler):\n    def run(self, eps, x, sigmas, noise):\n        yield x\n"
    Path("mine_xyz.py").write_text(text)
    words = "loop --sampler mine_xyz:Mine --runs 1 --out out --save before".split()
    assert command(words, "bench") == command(words, "bench") == 0
    Path("mine_xyz.py").write_text(f"{text}# edited\n")
    forget()
    with pytest.raises(ValueError, match="save=before: it holds runs of another sampler, or of another text of it"):
        command(words, "bench")
    gate = "loop --runs 1 --out out --against before --fail-if-slower 10%".split()
    monkeypatch.setattr("bench.command.time_once", lambda *_: pytest.fail("nothing should be timed"))
    with pytest.raises(ValueError, match="it needs an interval, so --runs 3 on each side"):
        command(gate, "bench")
