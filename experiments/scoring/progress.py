"""A line that shows how much is done, in a terminal or a notebook that has ipywidgets; elsewhere nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.terminal import Terminal, is_live

Step = Callable[[str], None]


@contextmanager
def steps(total: float) -> Iterator[Step]:
    """Calls of what this yields begin the next of `total` steps, and say which it is."""
    console = Terminal()
    share, what_is_done = TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), share, TimeRemainingColumn(), what_is_done)  # the text last: it may be long
    shown = is_live(console) or (console.is_jupyter and find_spec("ipywidgets") is not None)  # else rich only warns
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        line = progress.add_task("", total=total)
        begun = False

        def step(what: str) -> None:
            nonlocal begun
            progress.update(line, description=what, advance=int(begun))
            begun = True

        yield step
