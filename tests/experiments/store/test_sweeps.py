"""Sweeps on a store that was damaged, evicted, made read-only or killed give the rows of one that was not."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import short_sweep
from short_sweep import REFERENCE, TRAIN, TRIALS, known_images, values
from small_artifact import full

from experiments.config import trained
from experiments.config.comparison import Contrast
from experiments.config.identity import identity
from experiments.config.trial import Row
from experiments.results.contrasts import contrast_rows
from experiments.results.floors import floor_rows
from experiments.results.images import write_evidence
from experiments.stages import sample
from experiments.stages.error_curve import CurveConfig
from experiments.stages.probe import probe_stage
from experiments.stages.train import train_stage
from experiments.store.checksums import MANIFEST, checksums, read_json, write_json
from experiments.store.store import Store

pytestmark = pytest.mark.slow

TWO = TRIALS[:2]
IDENTITIES = {
    "models": identity(TRAIN),
    "samples": identity(TWO[0].samples),
    "scores": identity(TWO[0].score),
    "references": identity(REFERENCE),
}


def run(store: Store) -> list[Row]:
    return short_sweep.run(TWO, store)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A finished sweep: its store and its rows."""
    root = known_images(tmp_path_factory.mktemp("store")).root
    rows = run(Store(root))
    assert [row["status"] for row in rows] == ["ok", "ok"]
    return root, rows


@pytest.fixture
def copy(finished: tuple[Path, list[Row]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "store"))


@pytest.mark.parametrize(
    ("kind", "file", "fault", "message"),
    [
        ("models", "model.safetensors", "truncated", "model.safetensors truncated: 12 bytes instead of "),
        ("scores", "features.safetensors", "flipped", "features.safetensors checksum differs"),
        ("scores", "meta.json", "halved", "meta.json truncated: "),
        ("samples", "samples.safetensors", "flipped", "samples.safetensors checksum differs"),
        ("references", "features.safetensors", "truncated", "features.safetensors truncated: 12 bytes instead of "),
    ],
)
def test_a_damaged_artifact_is_computed_again_and_no_score_is_computed_from_it(
    kind: str,
    file: str,
    fault: str,
    message: str,
    spoil: Callable[..., None],
    finished: tuple[Path, list[Row]],
    copy: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(Store(copy).path(kind, IDENTITIES[kind]) / file, fault)
    if kind in ("samples", "references"):
        shutil.rmtree(copy / "scores")
    assert values(run(Store(copy))) == values(finished[1])
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == [
        "experiments.store.store"
    ]
    assert f"{kind}/{IDENTITIES[kind]} is damaged: {message}" in caplog.text
    caplog.clear()
    assert run(Store(copy)) == run(Store(copy))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_artifact_without_a_value_is_removed_and_computed_again(
    finished: tuple[Path, list[Row]], copy: Path
) -> None:
    """Its checksums agree, as if a program that did not know this value had written it."""
    folder = Store(copy).path("scores", IDENTITIES["scores"])
    meta = read_json(folder / "meta.json")
    del meta["fd"]
    write_json(folder / "meta.json", meta)
    (folder.parent / MANIFEST).write_bytes(checksums(folder, folder.name))
    first, second = run(Store(copy))
    assert first["status"] == "failed"
    assert "is damaged: its meta.json has no 'fd'; it was removed, so run the same command again" in first["error"]
    assert second["status"] == "ok"
    assert values(run(Store(copy))) == values(finished[1])


def test_rows_contrasts_and_pictures_survive_the_deletion_of_samples(
    finished: tuple[Path, list[Row]], copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evidence(root: Path, folder: Path) -> dict[str, object]:
        store = Store(root)
        folder.mkdir()
        rows = run(store)
        contrast = Contrast("explored", "any", "eta 0.9", "eta 0", ((TWO[1], TWO[0]),))
        write_evidence(folder, TWO, store, None)
        files = {path.name: path.read_bytes() for path in folder.rglob("*.*")}
        return {"rows": rows, "contrasts": contrast_rows([contrast], rows, store)} | files

    before = evidence(copy, tmp_path / "before")
    shutil.rmtree(copy / "samples")

    monkeypatch.setattr(sample, "sample_stage", None)  # sampled again, it would fail
    after = evidence(copy, tmp_path / "after")
    assert after == before and after["rows"] == finished[1]
    assert {f"{identity(trial.samples)}{end}.png" for trial in TWO for end in ("", "-film")} < set(after)


def test_a_read_only_store_serves_a_finished_sweep(
    finished: tuple[Path, list[Row]], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "check_writable", lambda self: pytest.fail("nothing has to be written"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_size for path in copy.rglob("*")}
    rows = run(Store(copy))
    assert rows == finished[1] and len(floor_rows(TWO, rows, Store(copy))) == 5
    assert {path: path.stat().st_size for path in copy.rglob("*")} == before
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)


def test_a_store_that_cannot_be_written_fails_before_the_work(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(copy / "models")
    monkeypatch.setattr(Path, "mkdir", full)
    monkeypatch.setattr(trained, "train", None)  # trained in vain, it would fail otherwise
    rows = run(Store(copy))
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert all("no space left on device: free some space or choose another place" in row["error"] for row in rows)


def test_a_curve_is_verified_too(copy: Path, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    curve = CurveConfig(replace(TWO[0].model, held_out=4))
    train_stage(curve.model, Store(copy), None, lambda n: None)
    rows = probe_stage(curve, Store(copy), None)
    spoil(Store(copy).path("probes", identity(curve)) / "rows.json", "halved")
    assert probe_stage(curve, Store(copy), None) == rows
    assert f"probes/{identity(curve)} is damaged" in caplog.text
