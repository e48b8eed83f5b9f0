"""A user's code: whose it is, the hash of its text, and the import of a sweep file."""

import ast
import hashlib
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("diffusion_core", "experiments", "reports")
OWN = "sigmabench_own_sweep"  # the name under which a user's sweep file is imported
HOW = "write it at the top of a module as `@dataclass(frozen=True) class NAME(Sampler): ...`, each parameter a field"
TEXTS: dict[str, str] = {}  # package or module of a user's -> hash


def import_own(path: Path) -> ModuleType:
    """Imports a user's sweep file, FILE.py, which may import modules next to it."""
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    module = import_text(OWN, path)
    TEXTS.pop(OWN, None)
    text_hash(OWN)  # now: later it may have been edited
    return module


def import_text(name: str, path: Path) -> ModuleType:
    """Imports the text of a file under this name, not bytecode of it.

    No bytecode is written: Python takes that of an earlier version for that of a file of the same size and second.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    if path.suffix != ".py" or spec is None:
        return importlib.import_module(name)
    sys.dont_write_bytecode = True
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    if (parent := sys.modules.get(name.rpartition(".")[0])) is not None:
        setattr(parent, name.rpartition(".")[2], module)
    return sys.modules.get(name, module)


def is_ours(thing: Any) -> bool:
    """Whether a class, function or module is part of this package, so that its name is enough for its identity."""
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", "") or ""
    root = name.partition(".")[0]
    return root in OURS or (root == "builtins" and isinstance(thing, type))


def text_hash(module: str) -> str:
    """Hash of a user's code: the .py files of its package, or its file and what that imports from its folder.

    It is taken once per process. ValueError if there is no file.
    """
    package, files = module.partition(".")[0], set[Path]()
    if known := TEXTS.get(package) or TEXTS.get(module):
        return known
    folders = getattr(sys.modules.get(package), "__path__", ())
    for folder in folders:
        files |= {*Path(folder).rglob("*.py")}
    if not files and module in sys.modules and (file := _file(sys.modules[module])):
        _add_imports(file, files)
    if not files:
        raise ValueError(f"{module}: its source file was not found, so what it defines has no identity; {HOW}")
    top = min(files, key=lambda path: len(path.parts)).parent
    hashes = {str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    name = package if folders else module
    TEXTS[name] = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:12]
    return TEXTS[name]


def _add_imports(file: Path, files: set[Path]) -> None:
    """Adds a file, and all that it imports from its folder, also inside functions, and all that these import."""
    files.add(file)
    for node in ast.walk(ast.parse(file.read_bytes())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in {name.partition(".")[0] for name in names} - {*OURS}:
            if (beside := file.parent / f"{name}.py").is_file() and beside not in files:
                _add_imports(beside, files)
            files |= {*(file.parent / name).rglob("*.py")}


def modules_below(folder: Path) -> list[ModuleType]:
    """The imported modules whose files lie in a folder or below; not ours, and no installed packages."""
    place, installed = f"{folder}{os.sep}", f"{os.sep}site-packages{os.sep}"
    if installed in place:
        return []
    inside = [
        module for module in list(sys.modules.values()) if (file := _file(module)) and str(file).startswith(place)
    ]
    return [module for module in inside if installed not in str(_file(module)) and not is_ours(module)]


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or not Path(file).is_absolute():  # that of torch.ops is "_ops.py"
        return None
    return Path(os.path.realpath(file))
