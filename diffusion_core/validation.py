"""The rules for values: a dataclass is checked by the types of its fields, a number by its range."""

import difflib
import math
import reprlib
import types
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from numbers import Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

RULES = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", types.NoneType: "None"}


class NotFiniteError(ValueError):
    """A loss, or the output of a model or a sampler, is NaN or infinity. Do not retry: it will be so again."""


def check_fields(config: Any) -> None:
    """Checks the fields of a frozen dataclass by their types, and stores equal numbers as the same. For __post_init__.

    20.0 in a field for int becomes 20, and 1 in one for float 1.0; -0.0 becomes 0.0, a list a tuple, and a number of
    numpy one of Python. So equal configs have equal identities. Checked are bool, int, float, str, None, Literal,
    tuples and unions of them, and the fields of dataclasses among the values.

    Raises:
        ValueError: a value of another type, such as True, 2.5 or "2" for an int, or NaN.
    """
    hints = _hints(config.__class__)
    for field in fields(config):
        hint = hints.get(field.name, Any)
        value = getattr(config, field.name)
        if value is None and field.default is None:  # whatever the annotation says
            continue
        object.__setattr__(config, field.name, as_type(field.name, hint, value))


def as_type(name: str, hint: Any, value: Any) -> Any:
    """The value as one of this type, as in `check_fields`; ValueError if it is none."""
    try:
        return _checked(hint, value)
    except (TypeError, OverflowError):
        shown = " ".join(reprlib.repr(value).split())
        raise ValueError(f"{name}={shown}: it must be {_rule(hint)}") from None


def check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Raises ValueError unless it is a number, least <= value <= most, and finite."""
    if not isinstance(value, Real):
        raise ValueError(f"{name}={value!r}: it must be a number")
    if not (least <= value <= most and math.isfinite(value)):
        rule = f"between {least:,} and {most:,}"
        if most == math.inf:
            rule = "finite" if math.inf in (-least, value) else f"at least {least:,}"
        raise ValueError(f"{name}={value}: it must be {rule}")


def check_share(name: str, value: float) -> None:
    """Raises ValueError unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value}: it must be at least 0 and below 1")


def check_positive(name: str, value: float) -> None:
    """Raises ValueError unless infinity > value > 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name}={value}: it must be above 0 and finite")


def one_of(name: str, value: str, allowed: Iterable[str]) -> str:
    """`value`. Raises ValueError unless it is in `allowed`; the message has `allowed` and the closest match."""
    if value not in allowed:
        close = difflib.get_close_matches(value, allowed, 1)
        suggestion = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{name}={value!r}: it must be one of {', '.join(allowed)}{suggestion}")
    return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    """Field name -> type. Empty if an annotation has no meaning when the program runs."""
    try:
        return get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {}


def _checked(hint: Any, value: Any) -> Any:  # noqa: C901, PLR0912  # one branch per form of hint
    """`value` as a value of this type. Raises TypeError if it is none."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin in (Union, types.UnionType):
        for option in arguments:
            try:
                return _checked(option, value)
            except TypeError:
                continue
    elif origin is Literal:
        if any(value == literal and type(value) is type(literal) for literal in arguments):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            wanted = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
            if len(wanted) == len(value):
                return tuple(_checked(item_hint, item) for item_hint, item in zip(wanted, value, strict=True))
    elif hint in (int, float):
        if isinstance(value, Real) and not isinstance(value, bool | Enum):
            if hint is int and value % 1 == 0:  # infinity % 1 is nan
                return math.floor(value)
            if hint is float and not math.isnan(value):
                return float(value) + 0.0
    elif hint in RULES:
        if isinstance(value, hint):
            return value
    else:
        if is_dataclass(value) and not isinstance(value, type):
            check_fields(value)
        return value
    raise TypeError


def _rule(hint: Any) -> str:
    """Says in words what a value of this type is. The type is one that `_checked` refuses values of."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_rule, arguments))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        items = f"each {_rule(arguments[0])}" if arguments[1:] == (...,) else ", ".join(map(_rule, arguments))
        return f"a tuple: {items}"
    return RULES.get(hint, str(hint))
