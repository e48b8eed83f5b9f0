"""A user's function at PACKAGE.MODULE:FUNCTION, in the current folder or an installed package; and errors of its code.

`prefix` is what stands before it where it was typed, such as "python:"; messages repeat it.
"""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.user.source import import_text, text_hash


def split_name(place: str, prefix: str = "") -> tuple[str, str]:
    """The module and the function that `place` names. ValueError if it is spelt otherwise."""
    module, _, attribute = place.partition(":")
    if not (attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        meant = _meant(module, attribute or "FUNCTION", prefix)
        raise ValueError(f"{prefix}{place}: it must be spelt {prefix}package.module:function{meant}")
    return module, attribute


def source_file(place: str, prefix: str = "") -> Path:
    """The source file of the module. The module itself is not run, but its parent packages are.

    Raises:
        ValueError: there is no such file, or importing a package above it failed.
    """
    module, attribute = split_name(place, prefix)
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:  # `python -m` adds it, an installed command does not
        sys.path.append(here)
    importlib.invalidate_caches()
    meant = _meant(module, attribute, prefix)
    if module.endswith(".py") and Path(module).is_file():  # else the file would be run as if it were a package
        raise ValueError(f"{prefix}{module}: this is a file, not a module{meant}")
    try:
        spec = importlib.util.find_spec(module)
    except ImportError as error:
        raise ValueError(f"{prefix}{module}: there is no such module: {error}{meant}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the packages above it are run, and may raise anything
        raise ValueError(f"{prefix}{module}: importing its package failed: {format_error(error)}") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        where = f"in {here} or among installed packages"
        raise ValueError(f"{prefix}{module}: there is no module file of this name {where}")
    return Path(spec.origin)


def load_object(place: str, prefix: str = "", *, of: str = "") -> Any:
    """What the module defines under this name: a function, or an instance that can be called.

    Args:
        of: what it is, to begin the message with if importing the module fails.

    Raises:
        ValueError: as in `source_file`; importing it failed; it has no such attribute, or one that cannot be called.
    """
    module, attribute = split_name(place, prefix)
    file = source_file(place, prefix)
    with user_code_errors(f"{of}{prefix}{place}: importing {module} failed", ValueError):
        imported = sys.modules.get(module) or import_text(module, file)
        exists = hasattr(imported, attribute)
    if not exists:
        raise ValueError(f"{prefix}{place}: module {module} has no attribute {attribute!r}")
    value = getattr(imported, attribute)
    if not callable(value) or isinstance(value, type):
        raise ValueError(
            f"{prefix}{place}: {attribute} is a {type(value).__name__}, but it must be a function or an instance that "
            "can be called"
        )
    return value


def code_hash(place: str, prefix: str = "") -> str:
    """The first 12 hex digits of a SHA-256 of the name and the text of the code. Errors as in `load_object`."""
    load_object(place, prefix)  # it is imported before it is hashed: what runs is not newer than its hash
    module, attribute = split_name(place, prefix)
    return hashlib.sha256(f"{attribute} {text_hash(module)}".encode()).hexdigest()[:12]


def _meant(module: str, attribute: str, prefix: str) -> str:
    """A question whether a module was meant, if the path of a file was given."""
    if not module.endswith(".py"):
        return ""
    path = Path(module).with_suffix("")
    if path.is_absolute() or ".." in path.parts:
        return f"; did you mean {prefix}{path.name}:{attribute}, in the folder {path.parent}?"
    return f"; did you mean {prefix}{'.'.join(path.parts)}:{attribute}?"


def format_error(error: BaseException) -> str:
    """An error in one line: its notes, type and message, or its file and line if it has no message."""
    name, message = type(error).__name__, " ".join(str(error).split())
    if message:
        name = f"{name}: {message}"
    elif frames := traceback.extract_tb(error.__traceback__):
        name = f"{name} in {Path(frames[-1].filename).name}, line {frames[-1].lineno}"
    return ": ".join([*dict.fromkeys(getattr(error, "__notes__", ())), name])


@contextmanager
def user_code_errors(what: str, *also: type[Exception], file: Path | None = None) -> Iterator[None]:
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
            raise ValueError(f"{what}: {line}{format_error(error)}") from error


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
