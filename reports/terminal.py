"""What all programs here print on: texts appear as they are, and a reader who leaves ends a run as Ctrl-C does."""

from rich.console import Console

from reports.edge import drop_output


class Terminal(Console):
    """A console that reads nothing into a text: no markup, no emoji in `python:m:x`, no colours of its own."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """The reader, such as `| head`, has ended: what follows is not printed."""
        self.quiet = True
        drop_output()
        raise KeyboardInterrupt
