"""Whatever fails is one line and an exit status, and nothing is printed after it."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fresh import python
from smoke import typed

from experiments.console import Terminal
from experiments.entrypoint import INTERRUPTED, reject_empty_arguments, run_main
from experiments.run.result_folder import StudyResult

ROOT = Path(__file__).parents[2]


def test_a_run_that_failed_is_status_1(monkeypatch: pytest.MonkeyPatch):
    done = StudyResult(ROOT, failed={"a run": "why"})
    monkeypatch.setattr("experiments.sweep.run_study", lambda *_: done)
    assert typed("beta").status == 1


def failing(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


def printing(text: str) -> Callable[[], int]:
    def run() -> int:
        Terminal().print(text)
        return 0

    return run


@pytest.mark.parametrize(
    "run, status, line",
    [
        (lambda: 1, 1, ""),
        (failing(ValueError("a: b")), 2, "error: a: b\n"),
        (failing(ValueError("a:\n\tb  c")), 2, "error: a: b  c\n"),
        (failing(GeneratorExit("a")), 1, "error: GeneratorExit: a; the traceback is in "),
        (failing(KeyboardInterrupt()), 130, INTERRUPTED + "\n"),
        (failing(BrokenPipeError()), 1, ""),
        (failing(OSError(28, "No space", "x")), 1, "error: x: No space\n"),
        (failing(SystemExit(2)), 2, ""),
        (failing(SystemExit("because")), 1, ""),
    ],
)
def test_an_error_is_a_line_and_a_status(
    run: Callable[[], int], status: int, line: str, capsys: pytest.CaptureFixture[str]
):
    assert run_main(run) == status
    said = capsys.readouterr().err
    assert said == line or (line.endswith(" in ") and said.startswith(line))


@pytest.mark.parametrize(
    "encoding, text, shown",
    [
        ("utf-8", "−2,240 · “5 × a”", "−2,240 · “5 × a”"),
        ("ascii", "−2,240 · 5–6 × “a’b”…", '-2,240 | 5-6 x "a\'b"~'),
        ("latin-1", "−2 × 3", "-2 × 3"),
        ("ascii", "é😀", "??"),
        ("utf-8", "broken\udcff", "broken?"),  # a file name that is no text
    ],
)
def test_a_stream_of_any_encoding_shows_any_text(encoding: str, text: str, shown: str, monkeypatch: pytest.MonkeyPatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert run_main(printing(text)) == 0
    stream.seek(0)
    assert stream.read() == f"{shown}\n"


@pytest.mark.parametrize("name", ["python:m:x", ":dog:", "[bold]a[/bold]", "a:+1:b"])
def test_a_text_is_printed_as_it_is(name: str, capsys: pytest.CaptureFixture[str]):
    printing(name)()
    assert capsys.readouterr().out == f"{name}\n"


def test_a_reader_who_leaves_ends_a_run_as_ctrl_c_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, "stdout", os.fdopen(write, "w"))
    assert run_main(printing("a line")) == 130
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"
    sys.stdout.close()


def test_an_unexpected_error_has_its_traceback_in_a_file(capsys: pytest.CaptureFixture[str]):
    assert run_main(failing(KeyError("x\ny"))) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: KeyError: 'x\\ny'; the traceback is in ") and said.count("\n") == 1
    log = Path(said.split()[-1])
    assert "Traceback" in log.read_text()
    log.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    "program, where, message",
    [
        ("reports", "> /dev/full", "error: No space left on device\n"),
        ("experiments", "> /dev/full", "error: No space left on device\n"),
        ("experiments", "| true", ""),
    ],
)
def test_output_that_cannot_be_written(program: str, where: str, message: str):
    line = f"sleep 0.1 | {sys.executable} -m {program} --help {where}"
    assert subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True).stderr == message


def test_an_unknown_backend_of_matplotlib_does_not_matter():
    code = "from experiments.entrypoint import run_main; print(run_main(lambda: __import__('matplotlib.style') and 0))"
    done = python(code, env={"MPLBACKEND": "x"})
    assert done.stdout == "0\n" and done.stderr == ""


@pytest.mark.parametrize(
    "words, says",
    [(["beta", "--out", ""], "--out: its value is empty"), (["beta", "--only="], "--only: its value is empty"),
     (["score", "", "a"], "an argument is empty")],
)  # fmt: skip
def test_an_empty_word_is_refused(words: list[str], says: str):
    assert reject_empty_arguments(["beta", "--out", ".", "--only", "eta == ''"])
    with pytest.raises(ValueError, match=says):
        reject_empty_arguments(words)


@pytest.mark.slow(5)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another OpenMP")
@pytest.mark.parametrize(
    "given, spins", [({}, 10_000), ({"GOMP_SPINCOUNT": "7"}, 7), ({"OMP_WAIT_POLICY": "passive"}, 0)]
)
def test_threads_wait_asleep_soon_unless_the_user_says_how(given: dict[str, str], spins: int):
    code = "from experiments.entrypoint import run_main; run_main(lambda: bool(__import__('torch')))"
    unset = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = unset | given | {"OMP_DISPLAY_ENV": "verbose"}  # libgomp prints what it read
    assert f"GOMP_SPINCOUNT = '{spins}'" in python(code, env=environment).stderr
