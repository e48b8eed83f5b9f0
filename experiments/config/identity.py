"""The identity of a config: the first 12 hex digits of the SHA-256 of its canonical JSON.

The same identity means the same question, so nothing is computed twice; what is stored is believed after a spot check.
Every field that changes a result is part of the identity. Fields marked `metadata=NOT_IN_IDENTITY` change none.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.own.source import check_told_apart, is_ours, source_of

SCHEMA = 3  # raise it when the same config starts to give another result
NOT_IN_IDENTITY = {"identity": False}
UNLESS_DEFAULT = {"identity": "unless default"}  # of a field that came later: its default changes no identity


def canonical(value: Any) -> Any:
    """`value` as plain JSON data: a dataclass becomes its class name and all fields not marked NOT_IN_IDENTITY.

    For a class from outside this package the hash of its source code is included (see source.py), and so for what is
    registered under the name in a field marked `registered`, if it is not ours.

    Raises:
        ValueError: a user's class that cannot be distinguished from another class.
    """
    if dataclasses.is_dataclass(value):
        fields = [f for f in dataclasses.fields(value) if _counts(f, value)]
        kind = {"class": type(value).__name__}
        if not is_ours(type(value)):
            kind["class"] = type(value).__qualname__
            check_told_apart(value)
            kind["source"] = source_of(type(value))
        for name, entry in _own_entries(value):
            kind[f"{name} source"] = source_of(entry)
        return kind | {f.name: canonical(getattr(value, f.name)) for f in fields}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def registered(registry: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a field that holds a name in `registry`, to which users can add or in which they can replace."""
    return {"registry": registry, "shipped": dict(registry)}


def has_own_code(value: Any) -> bool:
    """Whether a config needs code that is not ours: a user's class, a registered function, a network from elsewhere."""
    if dataclasses.is_dataclass(value):
        own = not is_ours(type(value)) or getattr(value, "trained_by", None) == "others" or any(_own_entries(value))
        return own or any(has_own_code(getattr(value, f.name)) for f in dataclasses.fields(value))
    return isinstance(value, list | tuple) and any(map(has_own_code, value))


def _own_entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Each field with the name of something registered that is not ours under this name, and that thing."""
    for f in dataclasses.fields(value):
        name = getattr(value, f.name)
        entry = f.metadata.get("registry", {}).get(name)
        if entry is not None and not (is_ours(entry) and entry is f.metadata["shipped"].get(name)):
            yield f.name, entry


def _counts(field: dataclasses.Field[Any], value: Any) -> bool:
    kind = field.metadata.get("identity", True)
    return getattr(value, field.name) != field.default if kind == UNLESS_DEFAULT["identity"] else bool(kind)


def identity(config: Any) -> str:
    """The identity of a config: 12 hex digits of a hash of SCHEMA and the config."""
    text = json.dumps({"schema": SCHEMA, "config": canonical(config)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
