"""The values of a dataclass, checked against the types of its fields: one rule for all configs and parameters."""

import math
import types
from dataclasses import fields
from functools import cache
from numbers import Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

RULES = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def check_fields(value: Any) -> None:
    """Checks the fields of a frozen dataclass by their types, and stores equal numbers as the same: for __post_init__.

    20.0 in a field for int becomes 20, and 1 in one for float 1.0; -0.0 becomes 0.0, a list a tuple, and a number of
    numpy one of Python. So equal values have equal identities. Types that are no bool, int, float, str, Literal, None,
    or tuple or union of them are not checked.

    Raises:
        ValueError: a value of another type, such as True, 2.5 or "2" for an int, or NaN.
    """
    kinds = _kinds(type(value))
    for field in fields(value):
        given = getattr(value, field.name)
        try:
            checked = _checked(kinds.get(field.name, Any), given)
        except TypeError:
            raise ValueError(f"{field.name}={given!r}: it must be {_rule(kinds[field.name])}") from None
        if checked is not given:
            object.__setattr__(value, field.name, checked)


@cache
def _kinds(cls: type) -> dict[str, Any]:
    """Field name -> type. Empty if an annotation means nothing when the program runs."""
    try:
        return get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {}


def _checked(kind: Any, value: Any) -> Any:
    """`value` as a value of this type. Raises TypeError if it is none."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        for part in parts:
            try:
                return _checked(part, value)
            except TypeError:
                continue
    elif origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in parts):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            wanted = parts[:1] * len(value) if parts[1:] == (...,) else parts
            if len(wanted) == len(value):
                return tuple(_checked(part, item) for part, item in zip(wanted, value, strict=True))
    elif kind in (int, float):
        if isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value):
            if kind is float:
                return float(value) + 0.0
            if value % 1 == 0:  # infinity % 1 is nan
                return int(value)
    elif kind is types.NoneType or kind in (bool, str):
        if isinstance(value, kind):
            return value
    else:
        return value
    raise TypeError


def _rule(kind: Any) -> str:
    """What a value of this type is, in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_rule(part) for part in parts)
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple:
        if parts[1:] == (...,):
            return f"a tuple, each item {_rule(parts[0])}"
        return f"a tuple of {len(parts)}: {', '.join(map(_rule, parts))}"
    return RULES.get(kind, "None" if kind is types.NoneType else getattr(kind, "__name__", str(kind)))
