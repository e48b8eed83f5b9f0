"""Tests from tables of rows and cells."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def cells(table: Mapping[Any, Iterable[Any]]) -> pytest.MarkDecorator:
    """A test for each `table[row][cell]`, or for each cell in the list `table[row]`."""
    return pytest.mark.parametrize("row, cell", [(row, cell) for row in table for cell in table[row]])
