"""What is being done is said: where a terminal can redraw it as it changes, elsewhere in a line per change."""

import io
import time
from collections.abc import Callable

import pytest

from experiments import console as console_module
from experiments.console import Terminal, status_line


def until(known: Callable[[], bool]):
    start = time.monotonic()
    while not known():
        assert time.monotonic() - start < 20
        time.sleep(0.01)


def test_a_line_is_printed_only_where_something_changed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console_module, "PERIOD", 0.01)
    console, asked, done = Terminal(), [0], ["1 of 2"]
    console.file = io.StringIO()

    def text() -> str:
        return f"{done[0]}; {asked[0]} s to go"

    def state() -> str:
        asked[0] += 1
        return done[0]

    with status_line(console, text, state):
        until(lambda: asked[0] > 10)
        done[0] = "2 of 2"
        until(lambda: asked[0] > 20)
    lines = console.file.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1", "2"]
