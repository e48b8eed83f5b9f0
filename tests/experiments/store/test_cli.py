"""`python -m experiments store`: shows and makes room; never removes what a row needs."""

import os
import re
import socket
import time
from pathlib import Path

import pytest
from smoke import typed

from experiments.store.checksums import MANIFEST, Name
from experiments.store.cli import read_age, read_size, to_evict
from experiments.store.listing import Artifact
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


def test_gc_removes_samples_by_age(root: Path) -> None:
    assert "would remove samples/s40, 4.1 kB" in store(root, "gc", "--older-than", "30d", "--dry-run")
    assert len(names(root)) == 5
    assert "removed samples/s40" in store(root, "gc", "--older-than", "30d")
    assert names(root) == {"m0", "m1", "s20", "s0"}


def test_gc_removes_the_least_recently_used_until_the_store_is_small_enough(root: Path) -> None:
    store(root, "gc", "--max-bytes", "17kB")
    assert names(root) == {"m0", "m1", "s20", "s0"}
    Store(root).path("samples", "s20")  # used: but s0 was used within ten minutes anyway
    said = store(root, "gc", "--max-bytes", "0")
    assert "that is more than 0 bytes: what is left are samples used in the last ten minutes" in said
    assert names(root) == {"m0", "m1", "s20", "s0"}


def test_gc_clears_up_after_killed_runs(root: Path) -> None:
    left = root / "tmp" / f"abc-{2**22 + 1}-0-{socket.gethostname()}"
    left.mkdir()
    (left / "half").write_bytes(bytes(1000))
    assert "1 leftovers" in store(root, "ls")
    store(root, "gc", "--dry-run")
    assert left.exists()
    assert "say --max-bytes 2GB or --older-than 30d" in store(root, "gc")
    assert not left.exists() and len(names(root)) == 5


def test_samples_are_evicted_in_order_of_use_and_nothing_else_is() -> None:
    ages = {"samples/a": 5, "models/b": 9, "samples/c": 7, "scores/d": 8, "samples/e": 0.001}
    artifacts = [Artifact(Name(*name.split("/")), 10, 100 * DAY - age * DAY) for name, age in ages.items()]

    def evicted(most: int | None = None, oldest: float | None = None) -> list[str]:
        return [artifact.name.identity for artifact in to_evict(artifacts, most, oldest, 100 * DAY)]

    assert evicted() == [] and evicted(most=50) == []
    assert evicted(most=49) == ["c"] and evicted(most=0) == ["c", "a"]
    assert evicted(oldest=6 * DAY) == ["c"] and evicted(most=35, oldest=6 * DAY) == ["c", "a"]


def test_sizes_and_ages_are_read() -> None:
    assert [read_size("x", text) for text in ("12", "500MB", "1.5 GiB", "2tb", "3kB")] == [
        12, 500_000_000, 1_610_612_736, 2_000_000_000_000, 3000,
    ]  # fmt: skip
    assert [read_age("x", text) for text in ("90m", "12h", "30d", "2w")] == [5400, 43_200, 30 * DAY, 14 * DAY]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gc", "--max-bytes", "2 apples"], "error: max_bytes='2 apples': it must be a size such as 500MB"),
        (["gc", "--older-than", "30"], "error: older_than='30': it must be an age such as 30d"),
        (["ls", "--kind", "sample"], "error: kind='sample': there is none in "),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(arguments: list[str], message: str, root: Path) -> None:
    ended = typed("store", *arguments, "--store", str(root))
    assert ended.refused(message), ended
