"""The identity of a config: where a thing is, and what it is."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import Field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.own.source import SOURCE, check_told_apart, is_ours

SCHEMA = 4  # raise it when the same config starts to give another result
LABEL = {"identity": False}  # metadata of a field that changes no result
LATER = {"unless": None}  # metadata of a field that came later: None is left out, so that identities stay as they were
TEXT = "sigmabench_text"  # attribute of a package, and of a user's class, that holds the hash of the package's text
RULE = "it must be exactly int, float, str, bool, None, a tuple or a dataclass of these, and no NaN"


def identity(config: Any) -> str:
    """The first 12 hex digits of the SHA-256 of SCHEMA and the config. Equal configs have equal results."""
    return of_plain(canonical(config))


def of_plain(config: Any) -> str:
    """The identity of a config that is plain JSON data, as in the header of a file."""
    return hashlib.sha256(plain_json({"schema": SCHEMA, "config": config}).encode()).hexdigest()[:12]


def canonical(config: Any, name: str = "config") -> Any:
    """`config` as plain JSON data: a dataclass becomes its class and its fields, without those marked LABEL.

    A class of a user's is named by its module and a hash of its package's text, and so is what a user has put into a
    table under a name (`registered`).

    Raises:
        ValueError: a value of another type, named by its field; a user's class that could be taken for another one.
    """
    kind = type(config)
    if config is None or kind in (bool, int, str) or (kind is float and config == config):
        return config
    if kind is tuple:
        return [canonical(item, f"{name}[{number}]") for number, item in enumerate(config)]
    if not is_dataclass(kind) or {base.__module__ for base in kind.__mro__[:-1]} & {"builtins"}:
        shown = " ".join(f"{config!r:.80}".split())
        raise ValueError(f"{name}={shown}: its type is {kind.__name__}; {RULE}")
    out = {}
    for part in counted(config):
        value = getattr(config, part.name)
        out[part.name] = canonical(value, part.name if name == "config" else f"{name}.{part.name}")
        if (entry := _entry(part, value)) is not None:
            out[f"{part.name} is"] = place(entry)
    check_told_apart(config)
    return {"class": place(kind)} | out


def counted(config: Any) -> list[Field[Any]]:
    """The fields of a dataclass that are part of its identity."""
    parts = [part for part in fields(config) if part.metadata.get("identity", True)]
    return [part for part in parts if "unless" not in part.metadata or getattr(config, part.name) is not None]


def registered(table: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a field that holds a name in `table`, to which users can add or in which they can replace."""
    return {"table": table, "shipped": dict(table)}


def _entry(part: Field[Any], name: Any) -> Any:
    """What stands under this name in the table of a field, if it is not what we ship."""
    entry = part.metadata.get("table", {}).get(name)
    return None if entry is part.metadata.get("shipped", {}).get(name) else entry


def place(thing: Any) -> Any:
    """Where a class or function is, and what: its name, for a user's with module and hash of its package's text.

    ValueError if this name leads to another class, or if there is no text.
    """
    if isinstance(thing, partial):
        return [place(thing.func), canonical((thing.args, tuple(sorted(thing.keywords.items()))), "partial")]
    if not hasattr(thing, "__qualname__"):  # an instance that can be called
        return canonical(thing, "registered")
    if getattr(thing, "__closure__", None):
        raise ValueError(f"{thing.__qualname__}: what it takes from around it is not in its identity; use a partial")
    if not is_ours(thing):
        return f"{thing.__module__}:{thing.__qualname__}@{_text(thing)}"
    found: Any = sys.modules.get(thing.__module__)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    if isinstance(thing, type) and found is not thing:
        raise ValueError(f"{thing.__module__}.{thing.__qualname__}: this name leads to another class")
    line = f":{thing.__code__.co_firstlineno}" if "<lambda>" in thing.__qualname__ else ""
    return thing.__qualname__ + line


def _text(thing: Any) -> str:
    """Hash of the text of the package that defines a class or function: all its .py files, or its one file.

    It is taken once per process. A class that came without its module, as on Ray, carries it.
    """
    root, module = (sys.modules.get(name) for name in (thing.__module__.partition(".")[0], thing.__module__))
    known = (
        getattr(thing, "__dict__", {}).get(TEXT) or vars(root or object).get(TEXT) or vars(module or object).get(SOURCE)
    )
    if known is None:
        folders = [Path(folder) for folder in getattr(root, "__path__", ())]
        files = [(path, str(path.relative_to(top))) for top in folders for path in sorted(top.rglob("*.py"))]
        if not folders and (file := getattr(module, "__file__", None)) and Path(file).suffix == ".py":
            files = [(Path(file), Path(file).name)]
        if not files:
            raise ValueError(f"{thing.__module__}.{thing.__qualname__}: its text was not found, so it has no identity")
        hashed = [(name, hashlib.sha256(path.read_bytes()).hexdigest()) for path, name in files]
        known = hashlib.sha256(plain_json(hashed).encode()).hexdigest()[:12]
        setattr(root, TEXT, known)
    with suppress(AttributeError, TypeError):  # a function written in C
        setattr(thing, TEXT, known)
    return str(known)


def has_own_code(config: Any) -> bool:
    """Whether a config needs code that is not ours: a class, an entry of a table, or what calls itself `foreign`."""
    if is_dataclass(config) and not isinstance(config, type):
        values = [(part, getattr(config, part.name)) for part in counted(config)]
        own = not is_ours(type(config)) or getattr(config, "foreign", False)
        return own or any(_entry(part, value) is not None or has_own_code(value) for part, value in values)
    return isinstance(config, tuple) and any(map(has_own_code, config))


def check_distinct(configs: Iterable[Any]) -> None:
    """Raises ValueError if two configs that differ share an identity. For every plan."""
    known: dict[str, Any] = {}
    for config in configs:
        first = known.setdefault(identity(config), config)
        if first is not config and not _equal(first, config):
            raise ValueError(
                f"{first} and {config}: they differ, but have the same identity; rename one of the classes"
            )


def _equal(a: Any, b: Any) -> bool:
    """a == b, where fields marked LABEL do not count, and classes do."""
    if type(a) is not type(b):
        return False
    if is_dataclass(a):
        return all(_equal(getattr(a, part.name), getattr(b, part.name)) for part in counted(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def holds(config: Any, maker: Mapping[str, Any]) -> bool:
    """Whether a canonical config has a part with all items of `maker`."""
    if isinstance(config, dict):
        here = all(name in config and config[name] == value for name, value in maker.items())
        return here or any(holds(value, maker) for value in config.values())
    return isinstance(config, list) and any(holds(item, maker) for item in config)


def plain_json(data: Any) -> str:
    """JSON of which there is one for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
