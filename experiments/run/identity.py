"""The identity of a config: a hash of SCHEMA, of its fields, and of the text of the user's code.

A user's class is named with a hash of the file that defines it and of all that it imports from its folder. The spot
check (spot_check.py) finds what else changes a result, such as a table that is read, or a library.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any

from experiments.user.imports import OWN, REMEDY, is_ours, text_hash

SCHEMA = 6  # raise it when the same config starts to give another result
NOT_IDENTITY = {"identity": False}  # metadata of a field that changes no result
OMIT_IF_NONE = {"omit_if_none": True}  # of a field that came later: identities stay as they were
RULE = "it must be exactly int, float, str, bool, None, a tuple or a dataclass of these, and no NaN"


def identity(config: Any) -> str:
    """The first 12 hex digits of the SHA-256 of a config. Equal configs have equal results."""
    return identity_of_json(canonical(config))


def identity_of_json(config: Any) -> str:
    """The identity of a canonical config, as in the header of a file."""
    return hashlib.sha256(plain_json({"schema": SCHEMA, "config": config}).encode()).hexdigest()[:12]


def canonical(config: Any, name: str = "config") -> Any:
    """`config` as plain JSON data: a dataclass becomes its class and its fields.

    ValueError for a value of another type, named by its field, and for a user's class that has no identity.
    """
    config_class = type(config)
    if config is None or config_class in (bool, int, str) or (config_class is float and config == config):
        return config
    if config_class is tuple:
        return [canonical(item, f"{name}[{index}]") for index, item in enumerate(config)]
    if not is_dataclass(config_class):
        shown = " ".join(f"{config!r:.80}".split())
        raise ValueError(f"{name}={shown}: its type is {config_class.__name__}; {RULE}")
    name_of_class = config_class.__qualname__
    if not is_ours(config_class):
        name_of_class = f"{config_class.__module__}:{name_of_class}@{text_hash(config_class.__module__)}"
    out = {"class": name_of_class}
    for field in identity_fields(config):
        value = getattr(config, field.name)
        out[field.name] = canonical(value, field.name if name == "config" else f"{name}.{field.name}")
        if (entry := _replaced(field, value)) is not None:
            out[f"{field.name} is"] = text_hash(OWN if OWN in sys.modules else _module(entry))
    if not is_ours(config_class):
        _check_user_class(config_class)
    return out


def identity_fields(config: Any) -> list[Field[Any]]:
    """The fields of a dataclass that are part of its identity."""
    return [
        field
        for field in fields(config)
        if field.metadata.get("identity", True)
        and ("omit_if_none" not in field.metadata or getattr(config, field.name) is not None)
    ]


def registered(table: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a field that holds a name in `table`, whose entries users can add or replace."""
    return {"table": table, "shipped": dict(table)}


def _replaced(field: Field[Any], name: Any) -> Any:
    """The entry that a user put under this name into the table of a field; None if it holds what we ship."""
    entry = field.metadata.get("table", {}).get(name)
    return None if entry is field.metadata.get("shipped", {}).get(name) else entry


def uses_user_code(config: Any) -> bool:
    """Whether a config needs code that is not ours: a class, an entry of a table, or `is_pretrained`."""
    if isinstance(config, tuple):
        return any(map(uses_user_code, config))
    if not is_dataclass(config) or isinstance(config, type):
        return False
    if not is_ours(type(config)) or getattr(config, "is_pretrained", False):
        return True
    values = [(field, getattr(config, field.name)) for field in identity_fields(config)]
    return any(_replaced(field, value) is not None or uses_user_code(value) for field, value in values)


def _module(entry: Any) -> str:
    entry = getattr(entry, "func", entry)  # of a partial
    return str(getattr(entry, "__module__", None) or type(entry).__module__)


def _check_user_class(config_class: type) -> None:
    """Raises ValueError for a class whose values may change, or cannot be told apart by their fields."""
    name = f"{config_class.__module__}.{config_class.__qualname__}".removeprefix(f"{OWN}.")
    if "<locals>" in config_class.__qualname__:
        raise ValueError(f"{name}: a class that is made in a function has no identity; {REMEDY}")
    if "__dataclass_params__" not in config_class.__dict__:
        raise ValueError(f"{name}: it is no dataclass itself, so its parameters are not part of its identity; {REMEDY}")
    if not config_class.__dict__["__dataclass_params__"].frozen:
        raise ValueError(f"{name}: it is not frozen, so it may change after it was planned; {REMEDY}")


def plain_json(data: Any) -> str:
    """Data as JSON: the same text for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
