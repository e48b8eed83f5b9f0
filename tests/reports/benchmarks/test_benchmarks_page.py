"""The report on speed: what it says of fixed numbers, and what it does with files that are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports import benchmarks
from reports.page import Page

FILE = Path(__file__).parent / "bench.json"
Change = Callable[[dict[str, Any]], object]
Read = Callable[[Change], Page]
OURS = "1 times as fast. In fp32, sampling makes 213 images per second, diffusers Euler 205."
PAIR = ('fp32", "compiled": false', 'bf16", "compiled": true')
NOTHING = "Sampling and training were not measured."


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


@pytest.mark.parametrize(("change", "answer"), [
    (lambda content: None, OURS),  # not ours in bf16, compiled, with 853
    (only(precision="fp32"), OURS), (only(ours=True), NOTHING), (only(suite="loop"), NOTHING),
    (only(suite="training"), NOTHING),  # bf16 against fp32
    (lambda all: all["benchmarks"].append(json.loads(json.dumps(all["benchmarks"][6]).replace(*PAIR))), OURS),
], ids=["all", "fp32", "ours alone", "loop", "training", "two pairs"])  # fmt: skip
def test_loops_of_equal_precision_are_compared(changed: Read, change: Change, answer: str) -> None:
    made = changed(change)
    assert made.headline == answer and len(answer.split()) <= 25
    slots = {figure.label: (figure.value, *figure.notes) for figure in made.key_figures}
    assert ("Ours, fp32" in slots) == (answer == OURS) == bool(made.caveats)
    assert answer == NOTHING or slots["Ours, fp32"] == ("213", "images per second", "203 to 222 (3 rounds)")


def test_figure_and_tables_put_fp32_first_and_leave_empty_what_was_not_measured(changed: Any, tmp_path: Path) -> None:
    made = changed(lambda content: content["benchmarks"][4]["extra_info"].update(default=True))
    [figure], (sampling, training) = made.figures, made.tables
    assert [section.title for section in figure.sections] == ["fp32", "bf16, compiled"]
    lines = [(line.label, line.value, line.word, line.bar.look) for line in figure.sections[0].lines]
    assert lines == [("ours, eta 0", "213", "ours", "better"), ("diffusers Euler", "205", "", "not")]
    names = ["ours, eta 1, bf16, compiled", "ours, eta 0, fp32", "diffusers Euler, fp32"]
    assert [(row.name, row.best) for row in sampling.rows] == list(zip(names, [False, True, False], strict=True))
    assert sampling.rows[1].cells == ["213", "203 to 222 (3 rounds)", "100", "0.2 %", "65 %"]
    assert training.rows[0].cells[3:] == ["", ""] and sampling.title == "Sampling, batches of 256"
    single = changed(lambda content: [one["stats"].update(rounds=1) for one in content["benchmarks"]])
    assert {row.cells[1] for table in single.tables for row in table.rows} == {"1 round, no spread"}


def test_a_file_of_other_benchmarks_is_an_error(changed: Read) -> None:
    with pytest.raises(ValueError, match="no benchmark in it has `suite`"):
        changed(lambda content: content.update(benchmarks=[]))
