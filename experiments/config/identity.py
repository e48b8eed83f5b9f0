"""The identity of a config: the first 12 hex digits of the SHA-256 of its canonical JSON.

The same identity means the same result, so nothing is computed twice. Every field that changes a result is part of the
identity. Fields marked `metadata=NOT_IN_IDENTITY` change none.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from experiments.config.source import check_told_apart, is_ours, source_of

SCHEMA = 3  # raise it when the same config starts to give another result
NOT_IN_IDENTITY = {"identity": False}
UNLESS_DEFAULT = {"identity": "unless default"}  # of a field that came later: its default changes no identity
MIXTURE = "mixture:"  # prefix of a data name; the folder of a stored mixture follows


def canonical(value: Any) -> Any:
    """`value` as plain JSON data: a dataclass becomes its class name and all fields not marked NOT_IN_IDENTITY.

    For a class from outside this package the hash of its source code is included (see source.py).

    Raises:
        ValueError: a user's class that cannot be distinguished from another class.
    """
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value) if _counts(f, value)]
        kind = {"class": type(value).__name__}
        if not is_ours(type(value)):
            check_told_apart(value)
            kind["source"] = source_of(type(value))
        return kind | {name: canonical(getattr(value, name)) for name in fields}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, str) and value.startswith(MIXTURE):
        return MIXTURE + Path(value).name  # independent of where the store is
    return value


def _counts(field: dataclasses.Field[Any], value: Any) -> bool:
    kind = field.metadata.get("identity", True)
    return getattr(value, field.name) != field.default if kind == UNLESS_DEFAULT["identity"] else bool(kind)


def identity(config: Any) -> str:
    """The identity of a config: 12 hex digits of a hash of SCHEMA and the config."""
    text = json.dumps({"schema": SCHEMA, "config": canonical(config)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
