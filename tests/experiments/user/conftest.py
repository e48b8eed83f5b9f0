"""What tests of a user's code share: a folder from which it is imported."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from run_spine import user_files


@pytest.fixture
def own_modules(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder is empty; modules whose names end with _xyz are imported from it, always from their text."""
    with user_files(here, monkeypatch):
        yield
