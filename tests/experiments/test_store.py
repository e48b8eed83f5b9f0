"""The store: complete or absent, and nothing left behind."""

import os
from pathlib import Path

import pytest

from experiments.store import Store, read_json, write_json


def test_an_artifact_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing("models", "abc") as folder:
        (folder / "file").write_text("content")
        assert not store.has("models", "abc")
    assert store.has("models", "abc") and (store.path("models", "abc") / "file").read_text() == "content"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="broken"), store.writing("models", "abc"):
        raise RuntimeError("broken")
    assert not store.has("models", "abc") and list((tmp_path / "tmp").iterdir()) == []


def test_two_writers_of_one_artifact_both_succeed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing("models", "abc") as slow:
        (slow / "file").write_text("slow")
        with store.writing("models", "abc") as fast:
            (fast / "file").write_text("fast")
    assert (store.path("models", "abc") / "file").read_text() == "fast"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_sweeping_spares_the_living(tmp_path: Path) -> None:
    living, dead = (tmp_path / "tmp" / f"abc-{pid}-0" for pid in (os.getpid(), 2**22 + 1))
    for folder in (living, dead):
        folder.mkdir(parents=True)
    Store(tmp_path).sweep_temporaries()
    assert living.is_dir() and not dead.exists()


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1})
    write_json(path, {"b": [2.5, None]})
    assert read_json(path) == {"b": [2.5, None]} and list(tmp_path.iterdir()) == [path]
