"""`python -m experiments NAME ...` and `sigmabench NAME ...`: run an experiment, manage the store, write a report.

Exit status: 0 if every run succeeded, 1 if one failed, 2 for invalid arguments, 130 after an interrupt. Modules are
imported only when the command needs them, so that --help appears at once.
"""

import difflib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from experiments.command_line import COMMANDS, SYMBOLS, parse

OTHERS = {
    "machine": "how fast this machine is, and which precision runs choose here",
    "store": "what the store of networks, samples and scores holds, and making room in it",
    "report": "writes the report of a finished run again: report DIR",
}
PROG = "python -m experiments"
INTERRUPTED = "interrupted: what is finished is kept, and the same command goes on from there"


def main() -> int:
    """Parses the arguments and runs the command. Prints any error as one line. Returns the exit status."""
    try:
        with _handled(_interrupt, signal.SIGTERM):
            status = _run(sys.argv[1:])
        if sys.stdout is not None:  # None if it was closed
            sys.stdout.flush()
        return status
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of stdout, such as `| head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # a bug here: one line for the user, a traceback for the bug report
        if os.environ.get("SIGMABENCH_TRACEBACK"):
            raise
        with tempfile.NamedTemporaryFile("w", prefix="sigmabench-", suffix=".log", delete=False) as log:
            traceback.print_exc(file=log)
        said = " ".join(str(error).split())
        print(f"error: {type(error).__name__}: {said}; the traceback is in {log.name}", file=sys.stderr)
        return 1


def sigmabench() -> int:
    """The console command `sigmabench`."""
    global PROG
    PROG = "sigmabench"
    return main()


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0 if arguments else 2
    name, *rest = arguments
    if name == "store":
        return import_module("experiments.store.cli").command(rest, f"{PROG} store")
    if name == "machine":
        return import_module("experiments.machine").command(rest, f"{PROG} machine")
    if name == "report":
        return import_module("reports.__main__").command(rest, f"{PROG} report")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, [*COMMANDS, *OTHERS], 1)
        hint = f"did you mean {close[0]}?" if close else f"the names are {', '.join([*COMMANDS, *OTHERS])}"
        raise ValueError(f"{name}: there is no such experiment; {hint}")
    question, options = parse(name, rest, PROG)
    with _handled(_end, signal.SIGINT, signal.SIGTERM):
        experiment = import_module(COMMANDS[name].module)
    table = experiment.main(question, options)
    return int((table["status"] == "failed").any() or table.attrs.get("failed_probes", 0) > 0)


def overview() -> str:
    """The text of `--help`."""
    titles = {name: command.title for name, command in COMMANDS.items()}
    lines = "\n".join(f"  {name:13} {title}" for name, title in (titles | OTHERS).items())
    return f"""usage: {PROG} NAME [options]

Each experiment answers one question about the noise of a diffusion model with a report.

{lines}

{SYMBOLS}

Start with:
  {PROG} beta --preset smoke     under 20 seconds: does everything work here?
  {PROG} beta --help             all options, with examples"""


Handler = Callable[[int, FrameType | None], None]


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends a run at SIGTERM, which schedulers send before they kill a job, as Ctrl-C does."""
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    """Ends the process at once. While libraries are imported, an exception would abort inside their C++ code."""
    print(INTERRUPTED, file=sys.stderr, flush=True)
    os._exit(130)


@contextmanager
def _handled(handler: Handler, *signals: int) -> Iterator[None]:
    """Inside this block `handler` handles these signals, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


if __name__ == "__main__":
    sys.exit(main())
