"""The console of all programs here, and times and counts in words. It imports little: a command begins at once."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.text import Text

from experiments.entrypoint import discard_stdout

ProgressCallback = Callable[[float], object]  # called with how much is done: a share, or the number since the last call
QUIET = ("verdict", "warning", "failed")  # how the texts begin that --quiet prints
PERIOD = 4.0  # seconds between lines that say what is done, where it changes
ALIVE = 60.0  # and where it does not


class Terminal(Console):
    """A console that reads nothing into a text: no markup, no emoji in `python:m:x`, no colours or line breaks.

    What is drawn to the width of the terminal, such as a table, is printed with soft_wrap=False.

    Args:
        only: how a text begins that is printed; if there is none, all texts are.
    """

    def __init__(self, only: tuple[str, ...] = ()) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True)
        self.only = only

    def print(self, *texts: Any, **options: Any) -> None:
        if not self.only or " ".join(map(str, texts)).startswith(self.only):
            super().print(*texts, **options)

    def on_broken_pipe(self) -> None:
        """The reader, such as `| head`, has ended: what follows is not printed."""
        self.quiet = True
        discard_stdout()
        raise KeyboardInterrupt


def is_live(console: Console) -> bool:
    """Whether a line can be redrawn on it."""
    return console.is_terminal and not console.is_dumb_terminal


@contextmanager
def progress_bar(total: float) -> Iterator[Callable[[str], None]]:
    """Calls of what this yields begin the next of `total` steps, in a terminal or a notebook that has ipywidgets."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Terminal()
    share = TextColumn("{task.percentage:>3.0f} %")
    step = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), share, TimeRemainingColumn(), step)  # the text last: it may be long
    shown = is_live(console) or (console.is_jupyter and find_spec("ipywidgets") is not None)  # else rich only warns
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        line = progress.add_task("", total=total)
        begun = False

        def advance(what: str) -> None:
            nonlocal begun
            progress.update(line, description=what, advance=int(begun))
            begun = True

        yield advance


def silent(done: float) -> None:
    """Says nothing about how much is done."""


class _StatusLine:
    """A bar of what is done, if that is known, and a text, each time that they are drawn."""

    def __init__(self, text: Callable[[], str], share: Callable[[], float] | None) -> None:
        self.text = text
        self.share = share

    def __rich__(self) -> Columns:
        bar = [ProgressBar(1, min(self.share(), 1), width=20)] if self.share else []
        return Columns([*bar, Text(self.text())])


@contextmanager
def status_line(
    console: Terminal, text: Callable[[], str], state: Callable[[], object] | None = None,
    share: Callable[[], float] | None = None,
) -> Iterator[None]:  # fmt: skip
    """While the block runs, shows the text: live where that is possible, else as a line where `state` or it changed.

    `share`: what is done, from 0 to 1, for a bar.
    """
    if is_live(console) and not console.only:
        with console.status(_StatusLine(text, share)):
            yield
        return
    ended = threading.Event()
    state = state or text

    def print_changes() -> None:
        printed = None
        printed_at = 0.0
        while not ended.wait(PERIOD):
            if (now := state()) != printed or time.monotonic() - printed_at >= ALIVE:
                printed = now
                printed_at = time.monotonic()
                console.print(f"{time.strftime('%H:%M:%S')} {text()}", soft_wrap=True)

    printer = threading.Thread(target=print_changes, daemon=True)
    printer.start()
    try:
        yield
    finally:
        ended.set()
        printer.join()


def duration(seconds: float) -> str:
    """A time as text, for instance "45 s", "12 min" or "3.1 h"."""
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def plural(count: int, noun: str) -> str:
    """ "1 network", "2 networks"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
