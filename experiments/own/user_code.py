"""What code of a user's raises, as a ValueError of one line; what it must not change."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def told(error: BaseException) -> str:
    """An error in one line: its notes, type and message, or its file and line if it has no message."""
    name, message = type(error).__name__, " ".join(str(error).split())
    if message:
        name = f"{name}: {message}"
    elif frames := traceback.extract_tb(error.__traceback__):
        name = f"{name} in {Path(frames[-1].filename).name}, line {frames[-1].lineno}"
    return ": ".join([*dict.fromkeys(getattr(error, "__notes__", ())), name])


@contextmanager
def of_user(what: str, *also: type[Exception], file: Path | None = None) -> Iterator[None]:
    """Turns what a user's code raises into a ValueError that names `what`. A ValueError passes, unless it is `also`.

    `file`: of the code, so that the message has the line in it, if that is known.
    """
    with defaults_kept(what):
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, ValueError) and not isinstance(error, also):
                raise
            line = f"line {number}: " if file and (number := _line(error, file)) else ""
            raise ValueError(f"{what}: {line}{told(error)}") from error


def _line(error: BaseException, file: Path) -> int | None:
    """The line of a file in which an error was raised, None if that was elsewhere."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    return lines[-1] if lines else None


@contextmanager
def defaults_kept(what: str) -> Iterator[None]:
    """Raises ValueError if the block changes torch's default dtype or device, and takes that back in any case."""
    import torch  # here, so that --help appears at once

    before = torch.get_default_dtype(), torch.get_default_device()
    try:
        yield
    finally:
        after = torch.get_default_dtype(), torch.get_default_device()
        if after != before:
            torch.set_default_dtype(before[0])
            torch.set_default_device(None)
    if after != before:
        raise ValueError(f"{what}: it changes torch's default dtype or device, on which all results here depend")
