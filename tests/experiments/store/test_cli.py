"""`python -m experiments store`: what there is, and when it was last used."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from smoke import typed

from experiments.store.checksums import MANIFEST
from experiments.store.store import Store

DAY = 24 * 3600


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two networks and three samples of 4 kB, last used 40, 20 and 0 days ago."""
    store = Store(tmp_path / "store")
    for kind, name, days in (
        ("models", "m0", 90), ("models", "m1", 0), ("samples", "s40", 40), ("samples", "s20", 20), ("samples", "s0", 0),
    ):  # fmt: skip
        with store.writing(kind, name) as folder:
            (folder / "file").write_bytes(bytes(4000))
        os.utime(tmp_path / "store" / kind / name / MANIFEST, (0, time.time() - days * DAY))
    return tmp_path / "store"


def store(root: Path, *arguments: str) -> str:
    """What a store command prints."""
    ended = typed("store", *arguments, "--store", str(root))
    assert ended.status == 0, ended.stderr
    return ended.stdout


def names(root: Path) -> set[str]:
    return {artifact.name.identity for artifact in Store(root).artifacts()}


def test_ls_shows_each_kind(root: Path) -> None:
    out = store(root, "ls")
    assert re.search(r"models\s*│\s*2 │\s*8\.\d kB │ (\S+ \S+) │ (?!\1)", out)
    assert re.search(r"samples\s*│\s*3 │ 12\.\d kB", out) and re.search(r"all\s*│\s*5 │ 20\.\d kB", out)
    listed = re.findall(r"samples/s\d+", store(root, "ls", "--kind", "samples"))
    assert listed == ["samples/s40", "samples/s20", "samples/s0"]


def test_an_empty_store_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path}/nowhere holds no artifact\n" in store(Path("nowhere"), "ls")
    assert list(tmp_path.iterdir()) == []


def test_what_is_deleted_by_hand_is_gone(root: Path) -> None:
    shutil.rmtree(root / "samples")
    assert "samples" not in store(root, "ls") and names(root) == {"m0", "m1"}


def test_a_folder_that_is_bad_is_one_line_and_status_2(root: Path) -> None:
    ended = typed("store", "ls", "--kind", "sample", "--store", str(root))
    assert ended.refused("error: kind='sample': there is none in "), ended
    assert typed("store", "--store", "s3://a/b").refused("error: store='s3://a/b': it must be a folder")
