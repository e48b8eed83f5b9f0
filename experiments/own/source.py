"""Identity of a user's class or function: a hash of the source of its module.

Its name is not enough: a class of this package may have the same name, and the user's code may change. So the identity
of a config includes this hash. What the module imports, reads or replaces is not in it: a change of that is met by the
spot check of what is stored (run/believe.py).
"""

import hashlib
import importlib.util
import sys
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.own.user_code import told

OURS = ("diffusion_core", "experiments", "reports")
OWN = "sigmabench_own_sweep"  # the name under which a user's sweep file is imported
SOURCE = "sigmabench_source"  # attribute of a user's class that holds the hash, also in other processes
HOW = "write it at the top of a module as `@dataclass(frozen=True) class NAME(Sampler): ...`, each parameter a field"


def import_own(path: Path) -> ModuleType:
    """Imports a user's sweep file, FILE.py, which may import modules next to it.

    What is run is what is hashed. Python's own import takes bytecode of an earlier version for that of a file of the
    same size and second.
    """
    spec = importlib.util.spec_from_file_location(OWN, path)
    assert spec is not None
    module = sys.modules[OWN] = importlib.util.module_from_spec(spec)
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    text = path.read_bytes()
    vars(module)[SOURCE] = _hash(text)
    exec(compile(text, str(path), "exec"), vars(module))
    return module


def is_ours(kind: Any) -> bool:
    """Whether a class or function is part of this package, so that its name is enough for its identity."""
    root = _module(kind).partition(".")[0]
    return root in OURS or (root == "builtins" and isinstance(kind, type))


def source_of(kind: Any) -> str:
    """The first 12 hex digits of a SHA-256 of the file of the module that defines a class or function.

    Of what is ours under another name it is where that is defined; of a `partial`, its function and arguments.

    Raises:
        ValueError: a class's module has no source file; an argument of a `partial` is no number and no text.
    """
    if isinstance(kind, partial):
        plain = all(isinstance(value, int | float | str | None) for value in (*kind.args, *kind.keywords.values()))
        if not plain:
            raise ValueError(f"{kind}: an argument is no number and no text, so it has no identity; write a function")
        return f"{source_of(kind.func)} {kind.args} {sorted(kind.keywords.items())}"
    module = _module(kind)
    if is_ours(kind):
        return f"{module}.{kind.__qualname__}"
    known = vars(kind).get(SOURCE) if isinstance(kind, type) else None
    known = known or vars(sys.modules.get(module, object)).get(SOURCE)
    if known is None:
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is None or not Path(file).is_file():
            if not isinstance(kind, type):  # written in C, such as torch.sqrt
                return f"{module}.{getattr(kind, '__qualname__', kind)}"
            raise ValueError(f"{module}: its source file was not found, so classes in it have no identity; {HOW}")
        known = _hash(Path(file).read_bytes())
    if isinstance(kind, type):
        setattr(kind, SOURCE, known)
    return str(known)


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]


def _module(kind: Any) -> str:
    return getattr(kind, "__module__", None) or type(kind).__module__


def check_told_apart(value: Any) -> None:
    """Raises ValueError if `value`, of a user's class, could have the identity of a value with other results."""
    kind = type(value)
    if is_ours(kind):
        return
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix(f"{OWN}.")
    if "<locals>" in kind.__qualname__:
        raise ValueError(f"{name}: a class that is made in a function has no identity; {HOW}")
    if not is_dataclass(kind) or "__dataclass_params__" not in kind.__dict__:
        raise ValueError(f"{name}: it is no dataclass itself, so its parameters are not part of its identity; {HOW}")
    if not kind.__dict__["__dataclass_params__"].frozen:
        raise ValueError(f"{name}: it is not frozen, so it may change after it was planned; {HOW}")
    if not _compared_by_fields(kind):
        raise ValueError(f"{name}: it compares its values in its own way, so two could be taken for one; {HOW}")
    try:
        hash(value)
    except Exception as error:
        raise ValueError(
            f"{name}: {told(error)}: its fields must not change, so use a tuple instead of a list"
        ) from None
    if extra := sorted(set(getattr(value, "__dict__", {})) - {field.name for field in fields(kind)}):
        raise ValueError(f"{name}: {', '.join(extra)}: set, but no field, so not part of its identity; {HOW}")
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not kind and kind.__module__ in sys.modules:  # on a cluster a class comes without its module
        raise ValueError(f"{name}: this name leads to another class, so the two could be taken for one; {HOW}")


def _compared_by_fields(kind: type) -> bool:
    """Whether a dataclass has the __eq__ that dataclass writes, and it looks at all fields."""
    code = getattr(kind.__dict__.get("__eq__"), "__code__", None)
    return getattr(code, "co_filename", "") == "<string>" and all(field.compare for field in fields(kind))


def user_modules() -> list[ModuleType]:
    """The imported modules of a user's sweep file: the file itself, and modules in its folder and below."""
    own = getattr(sys.modules.get(OWN), "__file__", None)
    if own is None:
        return []
    folder, loaded = Path(own).resolve().parent, list(sys.modules.values())
    files = [(module, getattr(module, "__file__", None)) for module in loaded]
    return [module for module, file in files if file and Path(file).resolve().is_relative_to(folder)]
