"""The store: complete or absent, verified on reading, one copy of each artifact, and nothing left behind."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import warm
from small_artifact import CONTENT, put

from experiments.store.checksums import MANIFEST, CheckResult, inspect
from experiments.store.local import LocalFolder
from experiments.store.store import Store, read_json, write_json

ROOT = Path(__file__).parents[3]


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


def test_a_writer_who_looked_too_early_leaves_the_first_copy_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw nothing, another run published, its own rename fails: the copy must not vanish even for a moment."""
    first = put(Store(tmp_path))
    looks = iter([None])
    see = LocalFolder.manifest
    monkeypatch.setattr(LocalFolder, "manifest", lambda folder, name: next(looks, see(folder, name)))
    monkeypatch.setattr(LocalFolder, "remove", lambda *_: pytest.fail("it was moved away"))
    with Store(tmp_path).writing("models", "abc") as folder:
        (folder / "file").write_text("late")
    assert (first / "file").read_bytes() == CONTENT


@pytest.mark.slow
def test_racing_processes_agree_on_one_copy(tmp_path: Path, race: Callable[..., list[str]]) -> None:
    first, second = race(tmp_path / "store")
    assert first == second and len(first) == 20
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert len(Store(tmp_path / "store").artifacts()) == 20


@pytest.mark.slow
def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from experiments.store import Store\n"
        "with Store(sys.argv[1]).writing('models', 'abc') as folder:\n"
        "    (folder / 'file').write_text('half'); Path(sys.argv[1], 'ready').touch(); time.sleep(60)"
    )
    process = warm.Command("-c", code, str(tmp_path))
    while not (tmp_path / "ready").exists():
        assert process.returncode is None
        time.sleep(0.01)
    Store(tmp_path).sweep_temporaries()
    assert len(list((tmp_path / "tmp").iterdir())) == 1  # its writer is alive
    process.kill()
    store = Store(tmp_path)
    assert not store.has("models", "abc") and store.artifacts() == []
    assert [stale.size for stale in store.stale_temps()] == [4]
    store.sweep_temporaries()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_another_computers_work_is_left_alone_for_a_day(tmp_path: Path) -> None:
    fresh, old = (tmp_path / "tmp" / f"abc-{2**22 + 1}-{name}-elsewhere-1" for name in ("0", "1"))
    for folder in (fresh, old):
        folder.mkdir(parents=True)
    os.utime(old, (0, time.time() - 25 * 3600))
    Store(tmp_path).sweep_temporaries()
    assert fresh.is_dir() and not old.exists()


def test_files_without_checksums_are_no_artifact_and_make_way(tmp_path: Path) -> None:
    """As in a store of an older version."""
    (tmp_path / "models" / "abc").mkdir(parents=True)
    (tmp_path / "models" / "abc" / "file").write_text("old")
    store = Store(tmp_path)
    assert not store.has("models", "abc")
    assert (put(store) / "file").read_bytes() == CONTENT and store.has("models", "abc")


def test_what_is_removed_while_it_is_read_is_absent_and_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(Store(tmp_path))

    def slow(*arguments: Any) -> CheckResult:
        for artifact in Store(tmp_path).artifacts():
            Store(tmp_path).remove(artifact)
        return inspect(*arguments)

    monkeypatch.setattr("experiments.store.local.inspect", slow)
    assert not Store(tmp_path).has("models", "abc") and caplog.records == []


def test_files_are_read_again_only_if_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    folder = put(store)
    reads = []
    honest = LocalFolder.inspect
    monkeypatch.setattr(LocalFolder, "inspect", lambda self, name: reads.append(name) or honest(self, name))
    assert store.has("models", "abc") and not reads  # this process wrote it
    fresh = Store(tmp_path)
    assert fresh.has("models", "abc") and fresh.has("models", "abc") and len(reads) == 1
    (folder / "file").touch()
    assert fresh.has("models", "abc") and len(reads) == 2


def test_reading_counts_as_use(tmp_path: Path) -> None:
    manifest = put(Store(tmp_path)) / MANIFEST
    os.utime(manifest, (0, 0))
    Store(tmp_path).path("models", "abc")
    assert time.time() - manifest.stat().st_mtime < 60


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1})
    write_json(path, {"b": [2.5, None]})
    assert read_json(path) == {"b": [2.5, None]} and list(tmp_path.iterdir()) == [path]


def test_folders_in_tmp_that_no_store_made_stay(tmp_path: Path) -> None:
    for name in ("a-b-c-d", f"x-{'9' * 20}-y-z"):
        (tmp_path / "tmp" / name).mkdir(parents=True)
    Store(tmp_path).sweep_temporaries()
    assert len(list((tmp_path / "tmp").iterdir())) == 2
