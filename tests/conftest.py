"""What all tests share: a cache folder of their own, an empty folder, and figures that cost little."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the user's cache nor another test process's is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGMABENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch):
    """The figures of reports are drawn but not laid out, which takes most of the time."""
    monkeypatch.setattr("reports.figures.svg", lambda drawing: "<svg/>")
