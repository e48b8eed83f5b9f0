"""Identity of a user's class: a hash of the source of its module and of the user modules that this module imports.

The class's name is not enough: a class of this package may have the same name, and the user's code may change. So the
identity of a config includes this hash.
"""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("diffusion_core", "experiments", "reports", "builtins")
OWN = "sigmabench_own_sweep"  # the name under which a user's sweep file is imported
SOURCE = "sigmabench_source"  # attribute of a user's class that holds the hash, also in other processes
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
HOW = "write it at the top of a module as `@dataclass(frozen=True) class NAME(Sampler): ...`, each parameter a field"


def import_own(path: Path) -> ModuleType:
    """Imports a user's sweep file, FILE.py, which may import modules next to it."""
    spec = importlib.util.spec_from_file_location(OWN, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[OWN] = importlib.util.module_from_spec(spec)
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    spec.loader.exec_module(module)
    return module


def is_ours(kind: type) -> bool:
    """Whether a class is part of this package, so that its name is enough for its identity."""
    return kind.__module__.partition(".")[0] in OURS


def source_of(kind: type) -> str:
    """The first 12 hex digits of a SHA-256 of the module that defines a class and of the user modules that it imports.

    User modules are imported directly or indirectly, and are neither installed nor part of this package. The defining
    module always counts, even if it is installed.

    Raises:
        ValueError: the module has no source file.
    """
    if SOURCE not in kind.__dict__:
        files = user_modules(module := kind.__module__)
        if module not in files:
            raise ValueError(f"{module}: its source file was not found, so classes in it have no identity; {HOW}")
        contents = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        digest = contents.pop(module)
        if contents:
            text = "\n".join([digest, *(f"{name} {other}" for name, other in sorted(contents.items()))])
            digest = hashlib.sha256(text.encode()).hexdigest()
        setattr(kind, SOURCE, digest[:12])
    source: str = kind.__dict__[SOURCE]
    return source


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
    try:
        hash(value)
    except TypeError as error:
        raise ValueError(f"{name}: {error}: its fields must not change, so use a tuple instead of a list") from None
    if extra := sorted(set(getattr(value, "__dict__", {})) - {field.name for field in fields(kind)}):
        raise ValueError(f"{name}: {', '.join(extra)}: set, but no field, so not part of its identity; {HOW}")


def user_modules(name: str) -> dict[str, Path]:
    """Module name -> file, for a module and the user modules that it imports directly or indirectly."""
    files: dict[str, Path] = {}
    todo = [name]
    while todo:
        name = todo.pop()
        path = _file(name)
        if name not in files and path is not None:
            files[name] = path
            todo += [used for used in _imports(name, path) if _is_users(used)]
    return files


def _is_users(name: str) -> bool:
    """Whether a module has a source file and is neither installed nor part of this package."""
    path = _file(name)
    if path is None or name.partition(".")[0] in OURS:
        return False
    return not any(path.is_relative_to(folder) for folder in INSTALLED)


def _imports(name: str, path: Path) -> Iterator[str]:
    """The names that a source file imports, at its top or inside functions. Not all of them are modules."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(filter(None, [*parents, base]))
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _file(name: str) -> Path | None:
    """The source file of a module, whether it is imported or not; None if there is none."""
    module: ModuleType | None = sys.modules.get(name)
    origin = getattr(module, "__file__", None)
    if module is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        origin = spec.origin if spec is not None else None
    path = Path(origin).resolve() if origin else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None
