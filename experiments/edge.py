"""The edge of every program here: whatever fails ends with one line and an exit status, not with a traceback.

This module imports almost nothing, so that an interrupt is handled almost from the start.
"""

import codecs
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

INTERRUPTED = "interrupted: the same command goes on from what is stored, if anything is"
PLAIN = str.maketrans("−–×·…“”’", '--x|~""\'')  # what an ASCII terminal shows in place of these
Handler = Callable[[int, FrameType | None], None]
# Set at an interrupt: a library's C++ code, or a destructor, may turn its KeyboardInterrupt into another error or none.
INTERRUPT = threading.Event()


def no_empty_words(arguments: Sequence[str]) -> Sequence[str]:
    """The words of a command line. ValueError if one is empty: a path would be the working folder, and unintended."""
    for place, word in enumerate(arguments):
        if not word or (word.startswith("--") and word.endswith("=")):
            what = word[:-1] if word else next((name for name in arguments[:place][-1:] if name.startswith("-")), "")
            cause = "perhaps a variable of the shell has no value"
            raise ValueError(f"{what + ': its value' if what else 'an argument'} is empty; {cause}")
    return arguments


def guarded(run: Callable[[], int]) -> int:
    """The exit status of a program. Prints any error as one line.

    Exit status: that of `run`; 2 for a ValueError, 130 after an interrupt, 1 for all else.
    """
    codecs.register_error("plain", _in_plain)
    os.environ["MPLBACKEND"] = "agg"  # figures are only saved; matplotlib would not start with an unknown backend
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()  # None if they were closed
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # it is no stream of bytes, or closed
            stream.reconfigure(errors="plain")  # type: ignore[union-attr]
    try:
        INTERRUPT.clear()
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in a job in the background of a shell
        with handled(_interrupt, signal.SIGTERM, *([] if ignored else [signal.SIGINT])):
            status = _ended(run)
        sys.stdout.flush()
        return status
    except ValueError as error:
        return _said(f"error: {error}", 2)
    except KeyboardInterrupt:
        return _said(INTERRUPTED, 130)
    except BrokenPipeError:  # the reader of stdout, such as `| head`, has ended
        drop_output()
        return 1
    except OSError as error:  # a full disk, or a folder that may not be written
        drop_output()
        place = f"{error.filename}: " if error.filename else ""
        return _said(f"error: {place}{error.strerror or error}", 1)
    except BaseException as error:
        if os.environ.get("SIGMABENCH_TRACEBACK"):
            raise
        return _said(f"error: {type(error).__name__}: {error}; the traceback is in {_log()}", 1)
    finally:
        INTERRUPT.clear()


def _ended(run: Callable[[], int]) -> int:
    try:
        return run()
    except SystemExit as error:  # of the parser of the command line, after --help or a wrong argument
        return error.code if isinstance(error.code, int) else 1


def _said(line: str, status: int) -> int:
    with suppress(OSError):  # stderr is full, or has no reader
        print(" ".join(part.strip() for part in line.splitlines()), file=sys.stderr)
    return status


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    """What a stream prints for characters that its encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end].translate(PLAIN)
    return lacking.encode("ascii", "replace").decode(), error.end


def program() -> str:
    """What was typed to start this program, for advice and examples to copy."""
    return "sigmabench" if sys.argv[0].rpartition(os.sep)[2].startswith("sigmabench") else "python -m experiments"


def drop_output() -> None:
    """Discards what cannot be printed: Python would try it again when it ends, and fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log() -> str:
    """The path of a new file with the traceback of the current error: a bug here, or in code of the user's."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="sigmabench-", suffix=".log", delete=False) as log:
        traceback.print_exc(file=log)
    return log.name


@contextmanager
def importing() -> Iterator[None]:
    """Inside this block an interrupt ends the process at once: an exception would abort inside a library's C++ code."""
    with handled(_end, signal.SIGINT, signal.SIGTERM):
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends a run at SIGTERM, which schedulers send before they kill a job, as Ctrl-C does."""
    INTERRUPT.set()
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    print(INTERRUPTED, file=sys.stderr, flush=True)
    os._exit(130)


@contextmanager
def handled(handler: Handler, *signals: int) -> Iterator[None]:
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
