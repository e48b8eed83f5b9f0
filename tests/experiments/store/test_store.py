"""What a store promises: complete or absent, verified on reading, one copy of each artifact, no leftovers."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_artifact import CONTENT, process, put

from experiments.store.checksums import MANIFEST, Name, find_faults, read_sums
from experiments.store.store import Store, StoreError, read_json, write_json

FAULTS = {
    "truncated": "file truncated: 12 bytes instead of 4096",
    "flipped": "file checksum differs",
    "too long": "file too long: 4097 bytes instead of 4096",
    "missing": "file missing",
    "truncated manifest": f"{MANIFEST} is not JSON (12 bytes)",
    "replaced manifest": f"{MANIFEST} does not hold checksums",
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty store."""
    return str(tmp_path / "store")


def places(store: Store) -> dict[str, Path]:
    """The files that a store holds: name -> place."""
    return {path.name: path for path in store.root.glob("[!t]*/**/*") if path.is_file()}


def temporaries(store: Store) -> list[Path]:
    return list((store.root / "tmp").glob("*"))


@pytest.mark.slow
def test_an_artifact_appears_only_when_it_is_complete(url: str) -> None:
    store = Store(url)
    with store.writing("models", "abc") as folder:
        (folder / "file").write_bytes(CONTENT)
        assert not Store(url).has("models", "abc") and places(store) == {}
    other = Store(url)
    assert other.has("models", "abc") and not other.has("models", "other")
    assert (other.path("models", "abc") / "file").read_bytes() == CONTENT
    (artifact,) = other.artifacts()
    assert artifact.name == Name("models", "abc") and artifact.size > 4096 and abs(artifact.used - time.time()) < 60
    assert temporaries(store) == []


def test_a_failure_leaves_nothing(url: str) -> None:
    store = Store(url)
    with pytest.raises(RuntimeError, match="broken"), store.writing("models", "abc"):
        raise RuntimeError("broken")
    assert not store.has("models", "abc") and temporaries(store) == [] and places(store) == {}


@pytest.mark.parametrize("late", [False, True], ids=["one looks in time", "both look too early"])
def test_the_first_of_two_writers_counts_and_the_second_succeeds_too(
    late: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If both saw no manifest and both have moved their files there, creating the manifest decides."""
    store = Store(url)
    with store.writing("models", "abc") as slow:
        (slow / "file").write_text("slow")
        with Store(url).writing("models", "abc") as fast:
            (fast / "file").write_text("fast")
        if late:
            answers, honest = iter([None]), Store._manifest
            monkeypatch.setattr(Store, "_manifest", lambda store, name: next(answers, honest(store, name)))
    assert (store.path("models", "abc") / "file").read_text() == "fast"
    assert set(places(store)) == {"file", MANIFEST} and temporaries(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_damage_is_reported_and_removed_and_computed_again(
    fault: str,
    url: str,
    tmp_path: Path,
    spoil: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = Store(url)
    put(first)
    place = places(first)[MANIFEST if "manifest" in fault else "file"]
    copy = tmp_path / "copy"
    copy.write_bytes(place.read_bytes())
    spoil(copy, fault.removesuffix(" manifest"))
    place.unlink()
    if copy.exists():
        place.write_bytes(copy.read_bytes())

    store = Store(url)
    assert not store.has("models", "abc")
    report = f"store {url}: models/abc is damaged: {FAULTS[fault]}; it was removed and will be computed again"
    records = [record for record in caplog.records if record.name.startswith("experiments")]
    assert [(record.levelno, record.message) for record in records] == [(logging.WARNING, report)]
    assert store.artifacts() == [] and temporaries(store) == []
    assert (put(store) / "file").read_bytes() == CONTENT and Store(url).has("models", "abc")


@pytest.mark.parametrize("fault", FAULTS)
def test_damage_is_noticed_by_a_process_that_has_seen_it_sound(
    fault: str, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    store = Store(tmp_path)
    put(store)
    spoil(places(store)[MANIFEST if "manifest" in fault else "file"], fault.removesuffix(" manifest"))
    assert not store.has("models", "abc") and store.artifacts() == []


def test_a_path_to_damaged_files_is_not_handed_out(url: str) -> None:
    put(Store(url))
    places(Store(url))["file"].write_bytes(b"x")
    with pytest.raises(StoreError, match=r"file truncated: 1 bytes instead of 4096; .* run the same command again"):
        Store(url).path("models", "abc")


def test_only_the_copy_that_was_damaged_is_removed(url: str) -> None:
    """Between the finding and the removal another run may have removed and computed it already."""
    store, name = Store(url), Name("models", "abc")
    put(store)
    store._remove(name, b"the manifest of the copy before")
    assert Store(url).has(*name)
    store._remove(name, store._manifest(name))
    assert not Store(url).has(*name) and places(store) == {}


def test_what_is_removed_while_it_is_read_is_absent_and_not_damaged(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(Store(url))
    store = Store(url)
    honest = read_sums

    def slow(manifest: bytes) -> Any:
        monkeypatch.undo()
        Store(url).discard("models", "abc")
        return honest(manifest)

    monkeypatch.setattr("experiments.store.store.read_sums", slow)
    assert not store.has("models", "abc")
    assert [record for record in caplog.records if record.name.startswith("experiments")] == []


def test_half_an_artifact_is_absent_and_made_again(url: str) -> None:
    put(store := Store(url))
    places(store)[MANIFEST].unlink()
    assert not store.has("models", "abc") and store.artifacts() == []
    assert (put(store) / "file").read_bytes() == CONTENT and Store(url).has("models", "abc")


@pytest.mark.parametrize("text", ["s3://bucket/store", "gs://b"])
def test_a_url_is_refused_also_after_path_has_shortened_it(text: str) -> None:
    for root in (text, Path(text), Path("/home") / text):
        with pytest.raises(StoreError, match=r"it must be a folder; copy one that lies elsewhere .* `aws s3 sync`"):
            Store(root)
    with pytest.raises(StoreError, match=r"store='': it must be a folder$"):
        Store("")


# ------------------------------------------------------------------------------------------------------ in a folder

KILLED = """
import os, signal, sys
from experiments.store import Store
from small_artifact import put
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
store, phase = Store(sys.argv[1]), sys.argv[2]
if phase == "fill":
    with store.writing("models", "abc") as folder:
        (folder / "file").write_text("half")
        die()
put(store) if phase == "_remove_files" else None
setattr(Store, phase, die)
store.discard("models", "abc") if phase == "_remove_files" else put(store)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "complete"), [("fill", False), ("_create_manifest", False), ("_use", True), ("_remove_files", False)]
)
def test_a_kill_in_any_phase_of_a_write_loses_nothing_finished(phase: str, complete: bool, tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = put(store, "finished")
    killed = process(KILLED, str(tmp_path), phase)
    said = killed.communicate()
    assert killed.returncode == -9, said
    assert store.has("models", "finished") and (first / "file").read_bytes() == CONTENT
    assert Store(tmp_path).has("models", "abc") == complete
    store.sweep_temporaries()
    assert temporaries(store) == []
    assert (put(store) / "file").read_bytes() == CONTENT


def test_an_interrupt_while_the_folder_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process lives on, as a worker of Ray does, nothing would sweep it."""
    store, honest = Store(tmp_path), Path.mkdir

    def interrupted(path: Path, *args: Any, **more: Any) -> None:
        honest(path, *args, **more)
        if path.name.startswith("abc-"):
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), store.writing("models", "abc"):
        pass
    assert (tmp_path / "tmp").is_dir() and temporaries(store) == []


@pytest.mark.slow
def test_racing_processes_agree_on_one_copy(tmp_path: Path, race: Callable[..., list[str]]) -> None:
    first, second = race(tmp_path / "store", 20)
    store = Store(tmp_path / "store")
    assert first == second and len(first) == 20
    assert temporaries(store) == [] and len(store.artifacts()) == 20
    assert len(list((tmp_path / "store" / "models").glob("*/*/"))) == 20  # the files of the other attempts are gone


def test_temporaries_of_living_and_of_other_computers_processes_stay(tmp_path: Path) -> None:
    """The latter for a day; what no store made stays for ever."""
    other = [tmp_path / "tmp" / f"abc-{2**22 + 1}-{name}-elsewhere-1" for name in ("0", "1")]
    strange = [tmp_path / "tmp" / name for name in ("a-b-c-d", f"x-{'9' * 20}-y-z")]
    for folder in (*other, *strange):
        folder.mkdir(parents=True)
    os.utime(other[1], (0, time.time() - 25 * 3600))
    with Store(tmp_path).writing("models", "abc") as folder:
        Store(tmp_path).sweep_temporaries()
        assert folder.is_dir() and [path.exists() for path in (*other, *strange)] == [True, False, True, True]


def test_a_place_without_hard_links_keeps_one_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", forbidden)
    assert (put(Store(tmp_path)) / "file").read_bytes() == CONTENT
    test_the_first_of_two_writers_counts_and_the_second_succeeds_too(False, str(tmp_path / "2"), monkeypatch)


def test_files_are_read_again_only_if_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    folder = put(store)
    reads, honest = [], find_faults
    monkeypatch.setattr("experiments.store.store.find_faults", lambda *arguments: reads.append(1) or honest(*arguments))
    assert store.has("models", "abc") and not reads  # this process wrote it
    fresh = Store(tmp_path)
    assert fresh.has("models", "abc") and fresh.has("models", "abc") and len(reads) == 1
    (folder / "file").touch()
    assert fresh.has("models", "abc") and len(reads) == 2


def test_reading_counts_as_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store)
    os.utime(places(store)[MANIFEST], (0, 0))
    assert store.artifacts()[0].used == 0
    Store(tmp_path).path("models", "abc")
    assert time.time() - store.artifacts()[0].used < 60


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1})
    write_json(path, {"b": [2.5, None]})
    assert read_json(path) == {"b": [2.5, None]} and list(tmp_path.iterdir()) == [path]
