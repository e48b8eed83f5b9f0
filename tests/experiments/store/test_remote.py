"""A store behind a URL: the cache that it is read through, its connection, and what only a server can decide."""

from collections.abc import Callable
from pathlib import Path

import pytest
from short_sweep import REFERENCE, TRAIN, known_images, run, trial, values
from small_artifact import CONTENT, put

from experiments.config.identity import identity
from experiments.engine import tasks
from experiments.models.exact import mixture_data
from experiments.stages import calibration, sample
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.store import store as module
from experiments.store.cache import cache_folder, cache_root
from experiments.store.store import Store, StoreError


@pytest.mark.parametrize(
    ("own", "general", "expected"),
    [
        ("/own", "/general", "/own"),
        ("/own", None, "/own"),
        (None, "/general", "/general/sigmabench"),
        ("", "", "/home/me/.cache/sigmabench"),
        (None, None, "/home/me/.cache/sigmabench"),
    ],
)
def test_timings_and_remote_stores_share_the_cache_folder(
    own: str | None, general: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name, value in (("SIGMABENCH_CACHE", own), ("XDG_CACHE_HOME", general)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert cache_root() == calibration.folder().parent == cache_folder("s3://bucket/store").parent == Path(expected)


def test_a_file_is_fetched_once(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Store(memory))
    store = Store(memory)
    monkeypatch.setattr(store.files, "get_file", lambda *_: pytest.fail("fetched again"))
    assert (store.path("models", "abc") / "file").read_bytes() == CONTENT


def test_a_fault_of_the_line_costs_nothing(
    memory: str, elsewhere: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(Store(memory))
    store, fetched = elsewhere(memory), []
    honest = store.files.get_file

    def breaks_once(remote: str, local: str) -> None:
        honest(remote, local)
        fetched.append(remote)
        if len(fetched) == 1:
            Path(local).write_bytes(Path(local).read_bytes()[:12])

    monkeypatch.setattr(store.files, "get_file", breaks_once)
    assert store.has("models", "abc") and len(fetched) == 4 and caplog.records == []
    assert (store.path("models", "abc") / "file").read_bytes() == CONTENT


def test_a_damaged_cache_is_filled_anew(
    memory: str, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(put(Store(memory)) / "file", "flipped")
    assert (Store(memory).path("models", "abc") / "file").read_bytes() == CONTENT
    assert "models/abc is damaged: file checksum differs; it is fetched again" in caplog.text
    assert len(Store(memory).artifacts()) == 1


def test_two_processes_may_fetch_one_artifact_into_one_cache(memory: str, elsewhere: Callable[[str], Store]) -> None:
    put(Store(memory))
    store = elsewhere(memory)
    honest = store.files.get_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            store.files, "get_file", lambda *names: (patch.undo(), Store(memory).path("models", "abc"), honest(*names))
        )
        assert store.has("models", "abc")
    assert (store.path("models", "abc") / "file").read_bytes() == CONTENT and list((store.root / "tmp").iterdir()) == []


def test_a_cached_copy_of_another_run_is_replaced(
    memory: str, elsewhere: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evicted and computed again, an artifact differs in its timings at least."""
    first = Store(memory)
    put(first)
    other = elsewhere(memory)
    other.discard("models", "abc")
    with other.writing("models", "abc") as folder:
        (folder / "file").write_text("computed again")
    monkeypatch.setenv("SIGMABENCH_CACHE", str(first.root.parent))
    assert (Store(memory).path("models", "abc") / "file").read_text() == "computed again"


@pytest.mark.slow
def test_racing_computers_agree_on_one_copy(bucket: str, race: Callable[..., list[str]]) -> None:
    first, second = race(bucket, 4)
    assert first == second and len(first) == 4
    assert len(Store(bucket).files.find(bucket)) == 4 * 4  # the other copies are gone


@pytest.mark.slow
def test_a_sweep_gives_the_rows_of_a_local_store(
    memory: str, tmp_path: Path, elsewhere: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = trial(2, 0.5)
    (local,) = run([planned], known_images(tmp_path / "store"))
    assert local["status"] == "ok" and values(run([planned], Store(memory))) == values([local])
    store = elsewhere(memory)
    for stages, stage in ((tasks, "train_stage"), (sample, "sample_stage"), (tasks, "score_stage")):
        monkeypatch.setattr(stages, stage, None)  # what is there is checked, and not made again
    assert values(run([planned], store)) == values([local]) and not (store.root / "samples").exists()
    assert {str(artifact.name) for artifact in store.artifacts()} == {
        f"models/{identity(TRAIN)}",
        f"samples/{identity(planned.samples)}",
        f"scores/{identity(planned.score)}",
        f"references/{identity(REFERENCE)}",
    }


@pytest.mark.slow
def test_a_mixture_is_read_from_the_cache(memory: str, elsewhere: Callable[[str], Store]) -> None:
    config = MixtureConfig(n_components=2, rank=2, em_steps=0)
    stores = Store(memory), elsewhere(memory)
    folders = [store.root / "mixtures" / mixture_stage(config, store) for store in stores]
    first, second = (mixture_data(f"mixture:{folder}#reference=100", None) for folder in folders)
    assert folders[0] != folders[1] and (first.pixels == second.pixels).all()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://no-such-bucket", "store s3://no-such-bucket: FileNotFoundError: The specified bucket does not exist: "),
        ("foo://bucket/x", "store foo://bucket/x: Protocol not known: foo; s3:// needs pip install -e '.[remote]'"),
        ("foo://me:secret@host/x", "store foo://host/x: Protocol not known"),
        ("", "store='': it must be a folder or a URL"),
    ],
)
def test_a_place_that_cannot_be_used_is_said(url: str, message: str, server: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(url).check_writable()
    assert message in str(caught.value) and "secret" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: object, **keywords: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(module, "url_to_fs", absent)
    with pytest.raises(StoreError, match=r"Install s3fs to access S3; s3:// needs pip install -e '\.\[remote\]'"):
        Store("s3://bucket/x")
