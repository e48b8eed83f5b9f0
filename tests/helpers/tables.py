"""Tests from tables of two levels."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def cells(table: Mapping[Any, Iterable[Any]]) -> pytest.MarkDecorator:
    """A test for each `table[row][cell]`, or for each cell in the list `table[row]`."""
    return pytest.mark.parametrize("row, cell", [(row, cell) for row in table for cell in table[row]])


def argument(message: str) -> dict[str, Any]:
    """What an error is about: {"p_std": nan} of "p_std=nan: it must be above 0". Empty where that is not a number."""
    name, _, value = message.partition(": ")[0].partition("=")
    try:
        return {name: eval(value, vars(math).copy())}
    except (NameError, SyntaxError):
        return {}
