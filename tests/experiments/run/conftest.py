"""A folder of a user's files, from which they are imported; workers that are forked."""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_acting import FORK
from run_spine import user_files

from experiments.user.imports import OWN


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with user_files(tmp_path, monkeypatch) as folder:
        yield folder


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers are forked instead of spawned, which spares them seconds of imports; they import a user's file anew."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: FORK)
    yield
    sys.modules.pop(OWN, None)
