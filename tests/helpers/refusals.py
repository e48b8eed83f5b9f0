"""Refusals: a ValueError whose message names the argument, its value and the rule: `p_std=nan: it must be ...`."""

import math
from contextlib import AbstractContextManager
from typing import Any

import pytest


def refused(message: str) -> AbstractContextManager[pytest.ExceptionInfo[ValueError]]:
    """Fails unless a ValueError with this message is raised (a pattern, which may match a part)."""
    return pytest.raises(ValueError, match=message)


def argument(message: str) -> dict[str, Any]:
    """What a message is about: {"p_std": nan} of "p_std=nan: it must be above 0". Empty where that is not a number."""
    name, _, value = message.partition(": ")[0].partition("=")
    try:
        return {name: eval(value, vars(math).copy())}
    except (NameError, SyntaxError):
        return {}
