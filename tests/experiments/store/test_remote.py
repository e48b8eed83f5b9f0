"""The store on s3://, against an S3-compatible server on loopback: what a folder promises, without a rename."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import TrainConfig
from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.metrics.features import features_id
from experiments.models.exact import mixture_data
from experiments.results.table import COLUMNS, NOT_VALUES
from experiments.stages import sample, score, train
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.store import remote
from experiments.store.checksums import MANIFEST, Name
from experiments.store.cli import Gc, Ls, Verify
from experiments.store.store import Store, StoreError, write_json

pytest.importorskip("s3fs", reason="the remote store needs pip install -e '.[remote]'")
moto = pytest.importorskip("moto.server", reason="an S3 server for tests needs pip install 'moto[server]'")
CONTENT = bytes(range(256)) * 16
FAULTS = {
    "truncated": "file truncated: 12 of 4096 bytes",
    "flipped": "file checksum differs",
    "too long": "file too long: 4097 bytes instead of 4096",
    "missing": "file missing",
    "truncated manifest": f"{MANIFEST} is not JSON (12 bytes)",
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that keeps its buckets in memory."""
    running = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "any")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "any")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def url(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new, empty bucket's folder; the cache is new too."""
    monkeypatch.setenv("SIGMABENCH_CACHE", str(tmp_path / "cache"))
    bucket = f"bucket-{uuid.uuid4().hex}"
    files(f"s3://{bucket}").mkdir(bucket)
    return f"s3://{bucket}/store"


def files(url: str) -> Any:
    """The bucket itself, past the store."""
    context = Store(url).backend
    assert isinstance(context, remote.Bucket)
    return context.files


def listed(url: str) -> dict[str, str]:
    """The files of a store: last part of the name -> whole name."""
    return {path.rsplit("/", 1)[1]: path for path in files(url).find(url)}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Store]:
    """A function that opens a store as another computer would: with a cache of its own."""

    def opened(url: str) -> Store:
        monkeypatch.setenv("SIGMABENCH_CACHE", str(tmp_path / f"cache-{time.monotonic_ns()}"))
        return Store(url)

    return opened


def put(store: Store, identity: str = "abc", kind: str = "models") -> Path:
    with store.writing(kind, identity) as folder:
        (folder / "file").write_bytes(CONTENT)
        write_json(folder / "meta.json", {"seconds": 1.5})
    return store.path(kind, identity)


def test_what_one_computer_writes_another_reads(url: str, elsewhere: Callable[[str], Store]) -> None:
    with Store(url).writing("models", "abc") as folder:
        (folder / "file").write_bytes(CONTENT)
        assert not Store(url).has("models", "abc") and listed(url) == {}
    there = elsewhere(url)
    assert there.has("models", "abc") and not there.has("models", "other")
    assert (there.path("models", "abc") / "file").read_bytes() == CONTENT
    (artifact,) = there.artifacts()
    assert artifact.name == Name("models", "abc") and artifact.size > 4096 and abs(artifact.used - time.time()) < 60
    assert list((there.root / "tmp").iterdir()) == []


def test_a_file_is_fetched_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Store(url))

    def forbidden(*arguments: object) -> None:
        raise AssertionError("fetched again")

    monkeypatch.setattr(remote.Bucket, "_download", forbidden)
    assert (Store(url).path("models", "abc") / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", FAULTS)
def test_damage_in_the_bucket_is_reported_and_removed(
    fault: str,
    url: str,
    tmp_path: Path,
    spoil: Callable[..., None],
    elsewhere: Callable[[str], Store],
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(Store(url))
    whole = listed(url)[MANIFEST if "manifest" in fault else "file"]
    copy = tmp_path / "copy"
    copy.write_bytes(files(url).cat_file(whole))
    spoil(copy, fault.removesuffix(" manifest"))
    if fault == "missing":
        files(url).rm_file(whole)
    else:
        files(url).pipe_file(whole, copy.read_bytes())

    assert Verify(url).run(Console(quiet=True)) == 1  # though the cache is sound
    there = elsewhere(url)
    assert not there.has("models", "abc")
    report = f"store {url}: models/abc is damaged: {FAULTS[fault]}; it was removed and will be computed again"
    assert [record.message for record in caplog.records if record.name.startswith("experiments")] == [report]
    assert not there.path("models", "abc").exists() and there.artifacts() == []
    assert (put(there) / "file").read_bytes() == CONTENT
    assert elsewhere(url).has("models", "abc") and Verify(url).run(Console(quiet=True)) == 0


def test_a_fault_of_the_line_costs_nothing(
    url: str, elsewhere: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(Store(url))
    store = elsewhere(url)
    context, fetched = store.backend.files, []
    honest = context.get_file

    def breaks_once(remote: str, local: str) -> None:
        honest(remote, local)
        fetched.append(remote)
        if len(fetched) == 1:
            Path(local).write_bytes(Path(local).read_bytes()[:12])

    monkeypatch.setattr(context, "get_file", breaks_once)
    assert store.has("models", "abc") and len(fetched) == 4
    assert [record for record in caplog.records if record.name.startswith("experiments")] == []
    assert (store.path("models", "abc") / "file").read_bytes() == CONTENT


def test_a_damaged_cache_is_filled_anew(url: str, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    spoil(put(Store(url)) / "file", "flipped")
    assert (Store(url).path("models", "abc") / "file").read_bytes() == CONTENT
    assert "models/abc is damaged: file checksum differs; it is fetched again" in caplog.text
    assert len(Store(url).artifacts()) == 1


def test_a_cached_copy_of_another_run_is_replaced(
    url: str, elsewhere: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evicted and computed again, an artifact differs in its timings at least."""
    here = Store(url)
    put(here)
    there = elsewhere(url)
    there.remove(there.artifacts()[0])
    with there.writing("models", "abc") as folder:
        (folder / "file").write_text("computed again")
    monkeypatch.setenv("SIGMABENCH_CACHE", str(here.root.parent))
    assert (Store(url).path("models", "abc") / "file").read_text() == "computed again"


def test_half_an_upload_is_absent_and_collected_after_a_day(
    url: str, elsewhere: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(Store(url))
    files(url).rm_file(listed(url)[MANIFEST])
    store = elsewhere(url)
    assert not store.has("models", "abc") and store.artifacts() == [] and store.stale_temps() == []
    put(store)
    honest = time.time
    monkeypatch.setattr("time.time", lambda: honest() + 25 * 3600)
    assert [stale.size for stale in store.stale_temps()] == [4096, 20]
    assert Gc(url).run(Console()) == 0 and capsys.readouterr().out.count("left by a killed run") == 2
    assert store.stale_temps() == [] and Verify(url).run(Console(quiet=True)) == 0 and len(listed(url)) == 3


@pytest.mark.slow
def test_racing_computers_agree_on_one_copy(url: str, race: Callable[..., list[str]]) -> None:
    first, second = race(url)
    assert first == second and len(first) == 20
    assert len(files(url).find(url)) == 20 * 4  # the other copies are gone
    assert Verify(url).run(Console(quiet=True)) == 0


def test_the_second_of_two_writers_uses_the_first_copy(url: str, elsewhere: Callable[[str], Store]) -> None:
    store = Store(url)
    with store.writing("models", "abc") as slow:
        (slow / "file").write_text("slow")
        with elsewhere(url).writing("models", "abc") as fast:
            (fast / "file").write_text("fast")
    assert (store.path("models", "abc") / "file").read_text() == "fast"


def test_a_marker_is_never_overwritten(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both saw no manifest, both uploaded; the server decides."""
    put(Store(url))
    manifest = listed(url)[MANIFEST]
    before = files(url).cat_file(manifest)
    honest, asked = remote.Bucket.manifest, []

    def nothing_yet(self: remote.Bucket, name: Name) -> bytes | None:
        asked.append(name)
        return None if len(asked) == 1 else honest(self, name)

    monkeypatch.setattr(remote.Bucket, "manifest", nothing_yet)
    with Store(url).writing("models", "abc") as folder:
        (folder / "file").write_text("late")
    assert files(url).cat_file(manifest) == before and len(files(url).find(url)) == 3


def test_samples_are_evicted_and_shown(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, name in (("samples", "first"), ("models", "abc"), ("samples", "second")):
        put(Store(url), name, kind)
    assert Ls(url).run(Console()) == 0
    assert re.search(r"samples\s*│\s*2 │ 8\.\d+ kB │", capsys.readouterr().out)
    monkeypatch.setattr("experiments.store.cli.IN_USE", -1)
    assert Gc(url, max_bytes="0", dry_run=True).run(Console()) == 0 and len(Store(url).artifacts()) == 3
    assert Gc(url, max_bytes="0").run(Console()) == 0
    assert [str(artifact.name) for artifact in Store(url).artifacts()] == ["models/abc"]
    assert not Store(url).has("samples", "first")


@pytest.mark.slow
def test_a_sweep_gives_the_rows_of_a_local_store(
    url: str, tmp_path: Path, elsewhere: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = TrainConfig(images_seen=192, batch_size=64, warmup_images=64)
    reference = ReferenceConfig("mnist5k", "digits", features_id("digits"))
    trial = Trial("test", "any", ScoreConfig(SampleConfig(network, Ladder(n_steps=2), Euler(0.5), 40), reference))
    same = [name for name in COLUMNS if name not in NOT_VALUES]

    def rows(store: Store) -> list[object]:
        (row,) = execute(Plan.of([trial]), RunContext(store), Console(quiet=True)).rows
        return [row[name] for name in same]

    local = rows(Store(tmp_path / "store"))
    assert local[same.index("status")] == "ok" and rows(Store(url)) == local
    store = elsewhere(url)
    for module, stage in ((train, "train"), (sample, "sample"), (score, "extract")):
        monkeypatch.setattr(module, stage, None)  # nothing is computed there
    assert rows(store) == local and not (store.root / "samples").exists()
    assert {str(artifact.name) for artifact in store.artifacts()} == {
        f"models/{identity(network)}",
        f"samples/{identity(trial.samples)}",
        f"scores/{identity(trial.score)}",
        f"references/{identity(reference)}",
    }


@pytest.mark.slow
def test_a_mixture_is_read_from_the_cache(url: str, elsewhere: Callable[[str], Store]) -> None:
    config = MixtureConfig(n_components=2, rank=2, em_steps=0)
    name = mixture_stage(config, Store(url))
    folders = [store.path("mixtures", name) for store in (Store(url), elsewhere(url))]
    first, second = (mixture_data(f"mixture:{folder}", None) for folder in folders)
    assert folders[0] != folders[1] and (first.pixels == second.pixels).all()


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (
            "s3://no-such-bucket",
            "store s3://no-such-bucket: FileNotFoundError: The specified bucket does not exist: check that",
        ),
        ("foo://bucket/x", "store foo://bucket/x: Protocol not known: foo; s3:// needs pip install -e '.[remote]'"),
    ],
)
def test_a_place_that_cannot_be_used_is_said(context: str, message: str, url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(context).check_writable()
    assert message in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: object, **keywords: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(remote, "url_to_fs", absent)
    with pytest.raises(StoreError, match=r"Install s3fs to access S3; s3:// needs pip install -e '\.\[remote\]'"):
        Store("s3://bucket/x")
