"""Tests from tables of rows and cells."""

from typing import Any

import pytest


def cells(table: dict[str, dict[str, Any]]) -> pytest.MarkDecorator:
    """A test for each `table[row][cell]`."""
    return pytest.mark.parametrize("row, cell", [(row, cell) for row in table for cell in table[row]])
