"""What is being done is said: where a terminal can redraw it as it changes, elsewhere in a line per change."""

import io
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from experiments import console as console_module
from experiments.console import Terminal, status_line


def until(known: Callable[[], bool]) -> None:
    start = time.monotonic()
    while not known():
        assert time.monotonic() - start < 20
        time.sleep(0.01)


def test_a_line_is_printed_only_where_something_changed(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_live_line_is_drawn_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, done = Terminal(), ["1 of 2"]
    console.file, console._force_terminal, console.is_interactive = io.StringIO(), True, True
    with status_line(console, lambda: done[0]):
        until(lambda: "1 of 2" in console.file.getvalue())
        done[0] = "2 of 2"
        until(lambda: "2 of 2" in console.file.getvalue())


@pytest.mark.parametrize("live", [True, False])
def test_steps_say_what_is_done_and_how_much(live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=live, width=60)
    monkeypatch.setattr(console_module, "Terminal", lambda: console)
    monkeypatch.setattr(console_module, "is_live", lambda _: live)
    with console_module.progress_bar(4) as step:
        for what in ("[bold]reading a", "MMD of a", "a third"):
            step(what)
    assert ("50 %" in shown.getvalue() and "a third" in shown.getvalue()) == live
    assert "reading a" not in shown.getvalue() or "[bold]" in shown.getvalue()  # names are no markup
