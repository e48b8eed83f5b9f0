"""A user's code: the import of PACKAGE.MODULE:FUNCTION and of a sweep file, its errors, and the hash of its text.

`prefix` is what stands before a place where it was typed, such as "python:".
"""

import ast
import difflib
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

BUILD = "build:"  # before module:function, which makes an architecture to be trained here
SPELLINGS = ("python:package.module:function", "diffusers:PATH", "checkpoint:PATH")  # of a network that people bring
OURS = ("diffusion_core", "experiments", "reports")
OWN = "sigmabench_own_sweep"  # the name under which a user's sweep file is imported
REMEDY = "write it at the top of a module as `@dataclass(frozen=True) class NAME(BASE): ...`, each parameter a field"
MISSING = object()
TEXTS: dict[str, str] = {}  # package or module of a user's -> hash


def is_pretrained(network: str) -> bool:
    """Whether --network names a network that was trained elsewhere, by one of `SPELLINGS`."""
    return ":" in network and not network.startswith(BUILD)


def split_name(spec: str, prefix: str = "") -> tuple[str, str]:
    """The module and the function that `spec` names. ValueError if it is spelt otherwise."""
    module, _, attribute = spec.partition(":")
    names = (attribute, *module.split("."))
    if not all(map(str.isidentifier, names)) or module.endswith(".py"):
        raise ValueError(f"{prefix}{spec}: it must be spelt {prefix}package.module:function, without .py")
    return module, attribute


def load_object(spec: str, prefix: str = "", *, of: str = "", may_be_class: bool = False) -> Any:
    """Imports a module, and returns what it defines under this name: a function, or an instance that can be called.

    `of`: what it is, to begin the message with if importing the module fails. ValueError if it cannot be had.
    """
    module, attribute = split_name(spec, prefix)
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:  # `python -m` adds it, an installed command does not
        sys.path.append(here)
    importlib.invalidate_caches()
    with user_code_errors(f"{of}{prefix}{spec}: importing {module} failed", ValueError):
        if module not in sys.modules:
            module_spec = importlib.util.find_spec(module)
            import_text(module, Path((module_spec and module_spec.origin) or ""))
        value = getattr(sys.modules[module], attribute, MISSING)
    if value is MISSING:
        names = [name for name, made in vars(sys.modules[module]).items() if callable(made) and name[0] != "_"]
        close = difflib.get_close_matches(attribute, names, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{of}{prefix}{spec}: {module} defines no {attribute!r}{hint}")
    is_scheduler = hasattr(value, "set_timesteps")  # of diffusers
    if not (callable(value) or is_scheduler) or (isinstance(value, type) and not may_be_class):
        must = "it must be a function or an instance that can be called"
        raise ValueError(f"{prefix}{spec}: {attribute} is a {type(value).__name__}, but {must}")
    return value


def code_hash(spec: str, prefix: str = "") -> str:
    """The first 12 hex digits of a SHA-256 of the name and the text of the code. Errors as in `load_object`."""
    load_object(spec, prefix)  # it is imported before it is hashed: what runs is not newer than its hash
    module, attribute = split_name(spec, prefix)
    return hashlib.sha256(f"{attribute} {text_hash(module)}".encode()).hexdigest()[:12]


def format_error(error: BaseException) -> str:
    """An error in one line: its notes, type and message, or its file and line if it has no message."""
    name = type(error).__name__
    if message := " ".join(str(error).split()):
        name = f"{name}: {message}"
    elif frames := traceback.extract_tb(error.__traceback__):
        name = f"{name} in {Path(frames[-1].filename).name}, line {frames[-1].lineno}"
    return ": ".join([*dict.fromkeys(getattr(error, "__notes__", ())), name])


@contextmanager
def user_code_errors(what: str, *also: type[Exception], file: Path | None = None) -> Iterator[None]:
    """Turns what a user's code raises into a ValueError that names `what`. A ValueError passes, unless it is `also`.

    It is an error, too, to change torch's default dtype or device, which is taken back in any case. `file`: of the
    code, so that the message has the line in it, if that is known.
    """
    import torch  # here, so that --help appears at once

    def read_defaults() -> tuple[torch.dtype, torch.device]:
        return torch.get_default_dtype(), torch.empty(0).device  # torch 2.7's get_default_device fails after a reset

    before = read_defaults()
    try:
        yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | ValueError) and not isinstance(error, also):
            raise
        line = f"line {line_number}: " if file and (line_number := _line(error, file)) else ""
        raise ValueError(f"{what}: {line}{format_error(error)}") from error
    finally:
        after = read_defaults()
        if after != before:
            torch.set_default_dtype(before[0])
            torch.set_default_device(None)
    if after != before:
        raise ValueError(f"{what}: it changes torch's default dtype or device, on which all results here depend")


def errors_in(user_class: type, what: str) -> AbstractContextManager[None]:
    """As `user_code_errors`, with the line in the file of a user's class."""
    file = getattr(sys.modules.get(user_class.__module__), "__file__", None)
    return user_code_errors(what, file=file and Path(file))


def _line(error: BaseException, file: Path) -> int | None:
    """The line of a file in which an error was raised, None if that was elsewhere."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
    lines = [line for name, line in frames if Path(name).resolve() == file.resolve()]
    return lines[-1] if lines else None


def import_own(path: Path) -> ModuleType:
    """Imports a user's sweep file, FILE.py, which may import modules next to it."""
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    module = import_text(OWN, path)
    TEXTS.pop(OWN, None)
    text_hash(OWN)  # now: later it may have been edited
    return module


def import_text(name: str, path: Path) -> ModuleType:
    """Imports the text of a file, since Python may take older bytecode for that of a file of the same size and second.

    What is no .py file is imported by its name.
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
    package = module.partition(".")[0]
    files = set[Path]()
    if taken := TEXTS.get(package) or TEXTS.get(module):
        return taken
    folders = getattr(sys.modules.get(package), "__path__", ())
    for folder in folders:
        files |= {*Path(folder).rglob("*.py")}
    if not files and module in sys.modules and (file := _file(sys.modules[module])):
        _add_imports(file, files)
    if not files:
        raise ValueError(f"{module}: its source file was not found, so what it defines has no identity; {REMEDY}")
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
    folder_prefix = f"{folder}{os.sep}"
    installed = f"{os.sep}site-packages{os.sep}"
    if installed in folder_prefix:
        return []
    files = [(module, str(_file(module))) for module in [*sys.modules.values()]]
    inside = [module for module, file in files if file.startswith(folder_prefix) and installed not in file]
    return [module for module in inside if not is_ours(module)]


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or not Path(file).is_absolute():  # that of torch.ops is "_ops.py"
        return None
    return Path(os.path.realpath(file))
