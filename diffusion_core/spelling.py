"""How a value with a name is spelt, as users type it and tables print it: `heun(s_churn=10)`, `my_file:Mine(2)`."""

from collections.abc import Mapping
from dataclasses import astuple, fields, is_dataclass
from typing import Any

SWEEP_FILES = ("__main__", "sigmabench_own_sweep")  # names of modules that are not imported by their name


def spell(name: str, values: Mapping[str, Any]) -> str:
    """A name with parameters, as it is typed and printed: "heun(s_churn=10)". All digits of a number are kept."""
    inside = ", ".join(f"{key}={spell_value(value)}" for key, value in values.items())
    return f"{name}({inside})" if inside else name


def spell_value(value: Any) -> str:
    """A number, or a tuple of what is spelt, such as "(0.12, 0.6, 3, 2)" of a dataclass."""
    if is_dataclass(value) and not isinstance(value, type):
        value = astuple(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(spell_value, value))}{',' * (len(value) == 1)})"
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def changed_parameters(config: Any, skip: int = 0) -> dict[str, Any]:
    """The fields of a dataclass, after its first `skip`, that differ from their defaults."""
    values = {field.name: (getattr(config, field.name), field.default) for field in fields(config)[skip:]}
    return {name: value for name, (value, default) in values.items() if value != default}


def spell_class(user_class: type) -> str:
    """The name of a class that is not ours, as it is typed: my_file:Mine; Mine in the user's sweep file."""
    module = user_class.__module__
    return user_class.__qualname__ if module in SWEEP_FILES else f"{module}:{user_class.__qualname__}"
