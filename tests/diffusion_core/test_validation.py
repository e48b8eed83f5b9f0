"""The check of a dataclass's fields by their types: what becomes equal, and what is refused."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import pytest
from refusals import argument, refused

from diffusion_core.validation import check_fields, check_range


class Many(IntEnum):
    TWO = 2


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0


@dataclass(frozen=True)
class Config:
    count: int = 1
    size: float = 1.0
    flag: bool = False
    text: str = "a"
    label: int | Literal["all"] | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    options: tuple[tuple[str, float], ...] = ()
    inner: Inner = Inner()
    loose: float = None  # type: ignore[assignment]  # as users write it

    def __post_init__(self):
        check_fields(self)


@pytest.mark.parametrize(
    "name, value, stored",
    [
        ("count", 20.0, 20),
        ("count", np.int64(20), 20),
        ("size", 1, 1.0),
        ("size", np.float32(0.5), 0.5),
        ("size", -0.0, 0.0),
        ("label", 3.0, 3),
        ("pair", [0, 1], (0.0, 1.0)),
        ("options", [["rho", 5]], (("rho", 5.0),)),
        ("inner", Inner(2), Inner(2.0)),
        ("loose", None, None),
    ],
)
def test_equal_values_are_stored_as_the_same(name: str, value: Any, stored: Any):
    """Python's repr tells 1 from 1.0 and 0.0 from -0.0, as the identity of a config does."""
    assert repr(getattr(Config(**{name: value}), name)) == repr(stored)


REFUSED: dict[str, dict[str, Any]] = {  # what the error says -> the value, if it cannot be read there
    "count=2.5: it must be a whole number": {},
    "count=True: it must be a whole number": {},
    "count=<Many.TWO: 2>: it must be a whole number": {"count": Many.TWO},  # else a test with `is` would fail
    "count='2': it must be a whole number": {},
    "size=nan: it must be a number": {},
    "size=None: it must be a number": {},
    "flag=1: it must be True or False": {},
    "text=1: it must be a text": {},
    "label='some': it must be a whole number or 'all' or None": {},
    "label=np.str_('all'): it must be a whole number or 'all'": {"label": np.str_("all")},
    "pair=(0.0,): it must be a tuple: a number, a number": {},
    "options={'rho': 5}: it must be a tuple: each a tuple: a text, a number": {"options": {"rho": 5}},
    "size=1000": {"size": 10**400},
    "rate=nan: it must be a number": {"inner": Inner(math.nan)},
}


@pytest.mark.parametrize("message", REFUSED)
def test_values_of_another_type_are_refused(message: str):
    with pytest.raises(ValueError) as caught:
        Config(**REFUSED[message] or argument(message))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "value, limits, message",
    [
        (0, (1,), "n=0: it must be at least 1"),
        (0, (1, 1_000), "n=0: it must be between 1 and 1,000"),
        *((value, (-math.inf,), f"n={value}: it must be finite") for value in (math.inf, -math.inf, math.nan)),
    ],
)
def test_a_value_out_of_range_is_refused(value: float, limits: tuple[float, ...], message: str):
    with refused(message):
        check_range("n", value, *limits)
