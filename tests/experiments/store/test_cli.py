"""`python -m experiments store`: shows and makes room; never removes what a row needs."""

import os
import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import __main__ as command
from experiments.store.checksums import MANIFEST, Artifact, Name
from experiments.store.cli import read_age, read_size, size_text, to_evict
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


@pytest.fixture
def call(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A function that runs a store command and returns its exit status."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["experiments", "store", *arguments, "--store", str(root)])
        return command.main()

    return run


def names(root: Path) -> set[str]:
    return {artifact.name.identity for artifact in Store(root).artifacts()}


def test_ls_shows_each_kind(call: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("ls") == 0
    out = capsys.readouterr().out
    assert re.search(r"models\s*│\s*2 │ 8\.\d+ kB │ (\S+ \S+) │ (?!\1)", out)
    assert re.search(r"samples\s*│\s*3 │ 12\.\d kB", out) and re.search(r"all\s*│\s*5 │ 20\.\d kB", out)
    assert call("ls", "--kind", "samples") == 0
    listed = re.findall(r"samples/s\d+", capsys.readouterr().out)
    assert listed == ["samples/s40", "samples/s20", "samples/s0"]


def test_an_empty_store_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["experiments", "store", "ls", "--store", "nowhere"])
    assert command.main() == 0 and f"{tmp_path}/nowhere holds no artifact\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_gc_removes_samples_by_age(root: Path, call: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("gc", "--older-than", "30d", "--dry-run") == 0 and len(names(root)) == 5
    assert "would remove samples/s40, 4.12 kB" in capsys.readouterr().out
    assert call("gc", "--older-than", "30d") == 0 and names(root) == {"m0", "m1", "s20", "s0"}
    assert "removed samples/s40" in capsys.readouterr().out


def test_gc_removes_the_least_recently_used_until_the_store_is_small_enough(
    root: Path, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("gc", "--max-bytes", "17kB") == 0 and names(root) == {"m0", "m1", "s20", "s0"}
    Store(root).path("samples", "s20")  # used: but s0 was used within ten minutes anyway
    assert call("gc", "--max-bytes", "0") == 0 and names(root) == {"m0", "m1", "s20", "s0"}
    assert "that is more than 0 B: what is left are samples used in the last ten minutes" in capsys.readouterr().out


def test_gc_clears_up_after_killed_runs(
    root: Path, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    left = root / "tmp" / f"abc-{2**22 + 1}-0-{socket.gethostname()}"
    left.mkdir()
    (left / "half").write_bytes(bytes(1000))
    assert call("ls") == 0 and "1 leftovers" in capsys.readouterr().out
    assert call("gc", "--dry-run") == 0 and left.exists()
    assert call("gc") == 0 and not left.exists() and len(names(root)) == 5
    assert "say --max-bytes 2GB or --older-than 30d" in capsys.readouterr().out


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
    assert [size_text(size) for size in (0, 999, 1000, 123_456, 2.5e9, 4.2e15)] == [
        "0 B", "999 B", "1 kB", "123 kB", "2.5 GB", "4,200 TB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gc", "--max-bytes", "2 apples"], "error: max_bytes='2 apples': it must be a size such as 500MB"),
        (["gc", "--older-than", "30"], "error: older_than='30': it must be an age such as 30d"),
        (["ls", "--kind", "sample"], "error: kind='sample': there is none in "),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(
    arguments: list[str], message: str, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
