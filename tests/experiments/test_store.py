"""`store`: what it holds, and what no result uses."""

import io
import lzma
import sys
from pathlib import Path

import pytest
from smoke import typed


@pytest.fixture
def store(here: Path) -> Path:
    """A store with a network, its samples and their score that a result has, and others that no result has."""
    for name in ("networks/a", "samples/b", "scores/c", "networks/d", "samples/12e4", "references/e"):
        file = Path("runs/store", f"{name}.safetensors")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"0" * 1000)
    Path("runs/beta").mkdir()
    Path("runs/beta/table.csv").write_text("model_id,samples_id,run_id\na,b,\n")
    Path("runs/beta/part").mkdir()
    Path("runs/beta/part/table.csv.xz").write_bytes(lzma.compress(b"run_id\nc\n"))
    return Path("runs/store")


def names(store: Path) -> set[str]:
    return {path.stem for path in store.glob("*/*")}


def test_what_no_result_has_is_listed_with_its_size(store: Path):
    assert typed("store", "--unused").stdout.splitlines() == [
        "networks/d.safetensors  1.0 kB",
        "samples/12e4.safetensors  1.0 kB",
        "2 files of 5, 2.0 kB, used by no result below runs",
    ]
    assert typed("store", "--unused", "--out", "runs/store").refused("it has no result folders, so all would be unused")


def test_kinds_and_files_are_listed_with_their_sizes(store: Path):
    assert typed("store").stdout.splitlines() == [
        "networks  2.0 kB, 2 files", "references  1.0 kB", "samples  2.0 kB, 2 files", "scores  1.0 kB",
        "6 files in runs/store",
    ]  # fmt: skip
    assert typed("store", "--kind", "samples").stdout.splitlines() == [
        "12e4  1.0 kB", "b  1.0 kB", "2 files in runs/store"
    ]  # fmt: skip
    assert typed("store", "--kind", "curves").refused("there is none in runs/store; there are networks, references")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer, more, left", [
    ("y\n", [], "abce"), ("\n", [], "abcde"), (None, [], "abcde"), (None, ["--yes"], "abce")
])  # fmt: skip
def test_it_is_deleted_after_a_yes_only(
    answer: str | None, more: list[str], left: str, store: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdin", io.StringIO() if answer is None else Terminal(answer))
    ended = typed("store", "--unused", "--delete", *more)
    assert names(store) - {"12e4"} == {*left} and ("12e4" in names(store)) == ("d" in left)
    if answer is None and not more:
        assert ended.refused("nobody can answer here; add --yes")
    assert typed("store", "--delete").refused("it needs --unused")
