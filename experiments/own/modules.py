"""A user's function at PACKAGE.MODULE:FUNCTION, found in the current folder or among installed packages.

`prefix` is what stands before it where it was typed, such as "python:"; messages repeat it.
"""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from experiments.own.source import import_text, text_hash
from experiments.own.user_code import of_user, told


def names(place: str, prefix: str = "") -> tuple[str, str]:
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
    module, attribute = names(place, prefix)
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
        raise ValueError(f"{prefix}{module}: importing its package failed: {told(error)}") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        where = f"in {here} or among installed packages"
        raise ValueError(f"{prefix}{module}: there is no module file of this name {where}")
    return Path(spec.origin)


def function(place: str, prefix: str = "", *, of: str = "") -> Any:
    """What the module defines under this name: a function, or an instance that can be called.

    Args:
        of: what it is, to begin the message with if importing the module fails.

    Raises:
        ValueError: as in `source_file`; importing it failed; it has no such attribute, or one that cannot be called.
    """
    module, attribute = names(place, prefix)
    file = source_file(place, prefix)
    with of_user(f"{of}{prefix}{place}: importing {module} failed", ValueError):
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


def content(place: str, prefix: str = "") -> str:
    """The first 12 hex digits of a SHA-256 of the function's name and of the text of its code. Errors as `function`."""
    function(place, prefix)  # it is imported before it is hashed: what runs is not newer than its hash
    module, attribute = names(place, prefix)
    return hashlib.sha256(f"{attribute} {text_hash(module)}".encode()).hexdigest()[:12]


def _meant(module: str, attribute: str, prefix: str) -> str:
    """A question whether a module was meant, if the path of a file was given."""
    if not module.endswith(".py"):
        return ""
    path = Path(module).with_suffix("")
    if path.is_absolute() or ".." in path.parts:
        return f"; did you mean {prefix}{path.name}:{attribute}, in the folder {path.parent}?"
    return f"; did you mean {prefix}{'.'.join(path.parts)}:{attribute}?"
