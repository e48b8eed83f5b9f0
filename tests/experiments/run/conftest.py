"""A folder of a user's files, from which they are imported."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from run_spine import user_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with user_files(tmp_path, monkeypatch) as folder:
        yield folder
