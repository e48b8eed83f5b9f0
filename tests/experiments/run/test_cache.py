"""One file per artifact: whole or not at all, made once, and believed only if it answers the question asked."""

import errno
import fcntl
import json
import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from run_spine import warned

from diffusion_core.samplers import Euler, Heun
from experiments.run.artifact import Artifact, Busy, CacheError, locked
from experiments.run.cache import Cache, Differs
from experiments.run.identity import identity


@dataclass(frozen=True)
class Config:
    value: Any = 1


def made(value: float = 1.0, calls: list[float] | None = None) -> Callable[[], Any]:
    def make() -> Any:
        if calls is not None:
            calls.append(value)
        return {"x": torch.full((3,), value), "y": torch.arange(6).view(2, 3)}, {"value": value}

    return make


def put(cache: Cache, config: Any = 1, value: float = 1.0, **how: Any) -> Artifact:
    return cache.cached("things", Config(config), made(value), **how)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def again(cache: Cache) -> Cache:
    """The same files as a new process sees them."""
    return Cache(cache.root, notes=cache.notes)


# --- made once ---


def test_a_file_is_made_once_and_holds_all_of_it(cache: Cache) -> None:
    calls: list[float] = []
    first = cache.cached("things", Config(), made(2.0, calls))
    stored = again(cache).cached("things", Config(), made(3.0, calls))
    assert calls == [2.0] and stored.sum == first.sum and stored.facts["value"] == 2.0
    assert torch.equal(stored.tensors["x"], torch.full((3,), 2.0)) and stored.tensors["y"].shape == (2, 3)
    assert [path.name for path in (cache.root / "things").iterdir()] == [f"{identity(Config())}.safetensors"]


def test_a_cache_does_not_move_with_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Cache(Path("here")).root == tmp_path / "here"


def test_facts_do_not_change_the_checksum_of_the_tensors(cache: Cache) -> None:
    one = cache.cached("things", Config(1), lambda: ({"x": torch.ones(2)}, {"seconds": 1}))
    two = cache.cached("things", Config(2), lambda: ({"x": torch.ones(2)}, {"seconds": 2}))
    other = cache.cached("things", Config(3), lambda: ({"x": torch.ones(1, 2)}, {"seconds": 1}))
    assert one.sum == two.sum != other.sum


def test_facts_are_json(cache: Cache) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        cache.cached("things", Config(), lambda: ({}, {"loss": float("nan")}))
    assert not cache.path("things", Config()).exists()


def test_a_file_made_from_another_file_than_now_is_stale(cache: Cache) -> None:
    source = put(cache, "source")
    put(cache, sources=[source])
    put(replace_source(cache), value=2.0, sources=[put(cache, "source")])
    assert put(again(cache), value=3.0, sources=[put(cache, "source")]).facts["value"] == 2.0


def replace_source(cache: Cache) -> Cache:
    """Makes another file of the source, which a process that knows the earlier one notices."""
    cache.path("things", Config("source")).unlink()
    assert put(again(cache), "source", 5.0).facts["value"] == put(cache, "source").facts["value"] == 5.0
    return cache


def test_tensors_of_a_file_that_was_replaced_are_not_given(cache: Cache) -> None:
    known = put(cache)
    cache.path("things", Config()).unlink()
    put(again(cache), value=2.0)
    with pytest.raises(Busy):
        _ = known.tensors


def test_a_failure_is_tried_once_per_command(cache: Cache, tmp_path: Path) -> None:
    cache.notes, calls = tmp_path, []

    def fails() -> Any:
        calls.append(1)
        raise ValueError("no such thing")

    for where in (cache, cache, again(cache)):  # and another process
        with pytest.raises(ValueError, match="no such thing"):
            where.cached("things", Config(), fails)
    cache.notes = None
    cache.check_all()
    with pytest.raises(ValueError, match="no such thing"):
        cache.cached("things", Config(), fails)
    assert len(calls) == 1
    assert put(Cache(cache.root)).facts["value"] == 1.0  # another command


# --- whole or not at all ---

PHASES = ["made", "locked", "written", "renamed"]


def killed_in(phase: str, cache: Cache) -> None:
    """In a child: makes a file, and is killed with SIGKILL in this phase."""
    kill = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    if phase == "written":
        Path.replace = kill  # type: ignore[method-assign]
    if phase == "renamed":
        os.close = kill  # the lock is given back
    if phase == "locked":
        cache._noted = kill  # type: ignore[method-assign, assignment]
    cache.cached("things", Config(), kill if phase == "made" else made(2.0))


def child(work: Callable[[], None]) -> int:
    """Forks a child that works. Returns its process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: other threads of this process
        pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_leaves_a_whole_file_or_none(cache: Cache, phase: str) -> None:
    pid = child(lambda: killed_in(phase, cache))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    left = [path.suffix for path in (cache.root / "things").iterdir()]
    assert ".lock" in left or phase == "renamed"
    assert (".part" in left) == (phase == "written") and (".safetensors" in left) == (phase == "renamed")
    assert put(again(cache), value=3.0).facts["value"] == (2.0 if phase == "renamed" else 3.0)
    assert [path.suffix for path in (cache.root / "things").iterdir()] == [".safetensors"]


def test_of_two_processes_one_makes_the_file(cache: Cache) -> None:
    def slow() -> Any:
        (cache.root / "begun").touch()
        until = time.monotonic() + 10  # also if the test has failed
        while not (cache.root / "go").exists() and time.monotonic() < until:
            time.sleep(0.001)
        return made(2.0)()

    pid = child(lambda: cache.cached("things", Config(), slow) and None)
    while not (cache.root / "begun").exists():
        time.sleep(0.001)
    cache.waits = False
    with pytest.raises(Busy):
        put(cache)
    (cache.root / "go").touch()
    cache.waits = True  # as for floors and timings, beside which there is no other work
    assert put(cache).facts["value"] == 2.0
    os.waitpid(pid, 0)


def test_the_lock_of_a_killed_process_is_free(cache: Cache) -> None:
    pid = child(lambda: cache.cached("things", Config(), lambda: time.sleep(60)))  # type: ignore[arg-type, return-value]
    while not cache.path("things", Config()).with_suffix(".lock").exists():
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert put(cache, value=3.0).facts["value"] == 3.0


def test_a_place_without_locks_is_enough(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(cache.path("things", Config())) as one, locked(cache.path("things", Config())) as two:
        assert one == two and str(os.getpid()) in one.name
    assert put(cache).facts["value"] == 1.0


# --- believed or not ---


def edited(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the header of a file."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "facts": lambda header: header["__metadata__"].update(facts='{"value": 7}'),
    "sources": lambda header: header["__metadata__"].update(sources='["a"]'),
    "shape": lambda header: header["y"].update(shape=[3, 2]),
    "type": lambda header: header["x"].update(dtype="I32"),
    "names": lambda header: header.update(z=header.pop("x")),
    "no seal": lambda header: header["__metadata__"].pop("seal"),
    "no metadata": lambda header: header.pop("__metadata__"),
}


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda whole: whole[:12],
    "halved": lambda whole: whole[: len(whole) // 2],
    "flipped": lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
    "too long": lambda whole: whole + b"x",
    "replaced": lambda whole: b'{"file": 3}',
}


@pytest.mark.parametrize("fault", [*SPOILT, *EDITS])
def test_a_damaged_file_is_made_again_with_one_warning(
    cache: Cache, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(cache).path
    edited(path, EDITS[fault]) if fault in EDITS else path.write_bytes(SPOILT[fault](path.read_bytes()))
    assert put(again(cache), value=2.0).facts["value"] == 2.0
    (warning,) = warned(caplog)
    assert str(path) in warning and "it is made again" in warning
    assert put(again(cache), value=3.0).facts["value"] == 2.0 and not warned(caplog)


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 8, b"x" * 100, b"\x02\0\0\0\0\0\0\0[]"])
def test_a_foreign_file_is_made_again(cache: Cache, content: bytes) -> None:
    put(cache).path.write_bytes(content)
    assert put(again(cache), value=2.0).facts["value"] == 2.0


def test_two_swapped_files_are_refused_and_made_again(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Their checksums are right, but each answers the other's question."""
    paths = [put(cache, number, number).path for number in (1, 2)]
    paths[0].rename(cache.root / "aside")
    paths[1].rename(paths[0])
    (cache.root / "aside").rename(paths[1])
    assert [put(again(cache), number, number).facts["value"] for number in (1, 2)] == [1, 2]
    assert [("answers another config" in text) for text in warned(caplog)] == [True, True]


def test_a_file_of_another_kind_is_no_answer(cache: Cache) -> None:
    target = cache.root / "others" / put(cache).path.name
    target.parent.mkdir()
    put(cache).path.rename(target)
    assert again(cache).cached("others", Config(), made(2.0)).facts["value"] == 2.0


@pytest.mark.parametrize("there", ["folder", "pipe", "folder for the lock", "folder for the part"])
def test_something_else_in_its_place_is_an_error_that_names_it(cache: Cache, there: str) -> None:
    path = cache.path("things", Config())
    path.parent.mkdir(parents=True)
    if there == "pipe":
        os.mkfifo(path)
    else:
        path.with_suffix({"lock": ".lock", "part": ".part"}.get(there.split()[-1], path.suffix)).mkdir()
    with pytest.raises(CacheError, match=f"{path.stem}.*remove it, or choose another"):
        put(cache)


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied"),
     (errno.EDQUOT, "quota"), (errno.EPERM, "change the permissions"), (errno.EFBIG, "raise the limit")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["mkdir", "replace"])
def test_a_disk_that_cannot_be_written_says_what_to_do(
    cache: Cache, number: int, says: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **how: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, where, fails)
        with pytest.raises(CacheError, match=says):
            put(cache)
    assert not list(cache.root.glob("*/*"))  # what was written gives its room back
    assert put(cache).facts["value"] == 1.0  # a full disk is no property of a config
    assert [path.suffix for path in (cache.root / "things").iterdir()] == [".safetensors"]


def test_a_file_that_may_not_be_read_is_not_made_again(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache)

    def fails(*arguments: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(CacheError, match="permission denied"):
        put(again(cache))


def test_a_cache_in_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="no folder"):
        put(Cache(tmp_path / "file"))


# --- a difference condemns the code ---


def differs(*makers: Any) -> Callable[[Artifact], None]:
    def check(stored: Artifact) -> None:
        raise Differs("it differs", {str(maker): maker for maker in makers})

    return check


def test_a_difference_discards_what_the_same_code_has_made(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    for sampler in (Euler(0.0), Euler(1.0), Heun()):
        for value in (1, 2):
            put(cache, (sampler, value), 1.0)
    new = again(cache)
    put(new, (Euler(0.5), 1), 2.0)  # made in this command, so it stays
    assert put(new, (Euler(0.0), 2)).facts["value"] == 1.0  # read here before, so it is forgotten
    assert put(new, (Euler(0.0), 1), 2.0, check=differs({"class": "Euler"})).facts["value"] == 2.0
    (warning,) = warned(caplog)
    assert "it differs" in warning and "4 things" in warning
    values = [put(new, (Euler(eta), value), 3.0).facts["value"] for eta in (0.0, 1.0) for value in (1, 2)]
    assert values == [2.0, 3.0, 3.0, 3.0] and put(new, (Euler(0.5), 1), 3.0).facts["value"] == 2.0
    assert [put(new, (Heun(), value), 3.0).facts["value"] for value in (1, 2)] == [1.0, 1.0]


def test_what_differs_again_is_a_failure(cache: Cache) -> None:
    for value in (1, 2):
        put(cache, (Euler(0.0), value))
    new, check = again(cache), differs({"class": "Euler"})
    put(new, (Euler(0.0), 1), check=check)
    put(again(cache), (Euler(0.0), 2))  # another command
    with pytest.raises(ValueError, match="though it was made again"):
        put(new, (Euler(0.0), 2), check=check)


def test_what_another_process_of_the_command_has_made_or_checked_is_believed(cache: Cache, tmp_path: Path) -> None:
    for value in (1, 2):
        put(cache, (Euler(0.0), value))
    cache.notes, passed = tmp_path, list[Artifact]()
    cache = again(cache)
    put(cache, (Euler(0.0), 1), check=passed.append)
    put(cache, (Euler(0.0), 3))
    other = again(cache)
    put(other, (Euler(0.0), 3), check=differs({"class": "Euler"}))
    put(other, (Euler(0.0), 1), check=differs({"class": "Euler"}))
    assert len(passed) == 1 and not other.condemned
    put(other, (Euler(0.0), 2), 2.0, check=differs({"class": "Euler"}))
    assert [put(other, (Euler(0.0), value), 2.0).facts["value"] for value in (1, 2, 3)] == [2.0, 2.0, 1.0]


def test_a_check_is_made_once(cache: Cache) -> None:
    put(cache)
    new, passed = again(cache), list[Artifact]()
    for _ in range(2):
        put(new, check=passed.append)
    new.check_all()
    put(new, check=passed.append)
    assert len(passed) == 1
