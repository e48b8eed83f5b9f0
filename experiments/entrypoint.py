"""How every program here begins and ends: whatever fails is one line and an exit status, not a traceback.

It imports almost nothing, so that an interrupt is handled almost from the start.
"""

import codecs
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = "interrupted: the same command goes on from what is stored, if anything is"
PLAIN = str.maketrans("−–×·…“”’", '--x|~""\'')  # what an ASCII terminal shows in place of these
Handler = Callable[[int, FrameType | None], None]
# Set at an interrupt: a library's C++ code, or a destructor, may turn its KeyboardInterrupt into another error or none.
INTERRUPT = threading.Event()


def reject_empty_arguments(arguments: Sequence[str]) -> Sequence[str]:
    """The words of a command line. ValueError if one is empty: a path would be the working folder, and unintended."""
    for word, before in zip(arguments, ["", *arguments], strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            option = word[:-1] or (before if before.startswith("-") else "")
            subject = f"{option}: its value" if option else "an argument"
            raise ValueError(f"{subject} is empty; is a shell variable unset?")
    return arguments


def run_main(run: Callable[[], int]) -> int:
    """The exit status of a program. Prints any error as one line.

    Exit status: that of `run`; 2 for a ValueError, 130 after an interrupt, 1 for all else.
    """
    codecs.register_error("plain", _to_plain)
    limit_spinning()
    os.environ["MPLBACKEND"] = "agg"  # figures are only saved; matplotlib would not start with an unknown backend
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # it is no stream of bytes, or closed
            stream.reconfigure(errors="plain")  # type: ignore[union-attr]
    try:
        INTERRUPT.clear()
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in a job in the background of a shell
        with signal_handler(_interrupt, signal.SIGTERM, *([] if ignored else [signal.SIGINT])):
            try:
                status = run()
            except SystemExit as error:  # of the parser of the command line, after --help or a wrong argument
                status = error.code if isinstance(error.code, int) else 1
        sys.stdout.flush()
        return status
    except ValueError as error:
        return _print_error(f"error: {error}", 2)
    except KeyboardInterrupt:
        return _print_error(INTERRUPTED, 130)
    except BrokenPipeError:  # the reader of stdout, such as `| head`, has ended
        discard_stdout()
        return 1
    except OSError as error:  # a full disk, or a folder that may not be written
        discard_stdout()
        prefix = f"{error.filename}: " if error.filename else ""
        return _print_error(f"error: {prefix}{error.strerror or error}", 1)
    except BaseException as error:
        if os.environ.get("SIGMABENCH_TRACEBACK"):
            raise
        return _print_error(f"error: {type(error).__name__}: {error}; the traceback is in {_write_traceback()}", 1)
    finally:
        INTERRUPT.clear()


def limit_spinning() -> None:
    """Lets threads that wait for each other spin for half a millisecond instead of ten. Call it before torch's import.

    If other programs run, a thread that spins takes the core that the others wait for. This concerns GNU's OpenMP,
    which PyTorch for Linux contains. Child processes inherit it; the environment's own setting wins (bench/LOG.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _print_error(line: str, status: int) -> int:
    with suppress(OSError):  # stderr is full, or has no reader
        print(" ".join(part.strip() for part in line.splitlines()), file=sys.stderr)
    return status


def _to_plain(error: UnicodeError) -> tuple[str, int]:
    """Returns what a stream prints for characters that its encoding lacks, and where it continues."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end].translate(PLAIN)
    return lacking.encode("ascii", "replace").decode(), error.end


def program_name() -> str:
    """The command that was typed to start this program, for advice and examples to copy."""
    return "sigmabench" if sys.argv[0].rpartition(os.sep)[2].startswith("sigmabench") else "python -m experiments"


def discard_stdout() -> None:
    """Discards what cannot be printed: Python would try it again when it ends, and fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_traceback() -> str:
    """The path of a new file with the traceback of the current error: a bug here, or in code of the user's."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="sigmabench-", suffix=".log", delete=False) as log:
        traceback.print_exc(file=log)
    return log.name


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Inside this block an interrupt ends the process at once: an exception would abort inside a library's C++ code."""
    with signal_handler(_exit, signal.SIGINT, signal.SIGTERM):
        yield


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ends a run at SIGTERM, which schedulers send before they kill a job, as Ctrl-C does."""
    INTERRUPT.set()
    raise KeyboardInterrupt


def _exit(signum: int, frame: FrameType | None) -> None:
    print(INTERRUPTED, file=sys.stderr, flush=True)
    os._exit(130)


@contextmanager
def signal_handler(handler: Handler, *signals: int) -> Iterator[None]:
    """Inside this block `handler` handles these signals, if this is the main thread."""
    here = threading.current_thread() is threading.main_thread()
    before = {signum: signal.signal(signum, handler) for signum in signals} if here else {}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)
