"""One file per config: whole or not at all, made once, and made again if it cannot be read."""

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

from experiments.run.cache import Cache, CacheError, LockedError
from experiments.run.identity import identity


@dataclass(frozen=True)
class Config:
    value: Any = 1


def made(value: float) -> Any:
    return {"x": torch.full((3,), value), "y": torch.arange(6).view(2, 3)}, {"value": value}


def put(cache: Cache, value: float = 1.0) -> float:
    """The value in the file: this one, or what was there before."""
    return cache.load_or_make("things", Config(), lambda: made(value)).facts["value"]


def left(cache: Cache) -> list[str]:
    return [path.suffix for path in (cache.root / "things").iterdir()]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def again(cache: Cache) -> Cache:
    """The same files as a new process sees them."""
    return Cache(*cache.shared)


def test_a_file_is_made_once_and_holds_all_of_it(cache: Cache):
    first = cache.load_or_make("things", Config(), lambda: made(2.0))
    stored = again(cache).load_or_make("things", Config(), lambda: pytest.fail("it was made again"))
    assert stored == first and stored.facts["value"] == 2.0
    assert torch.equal(stored.tensors["x"], torch.full((3,), 2.0)) and stored.tensors["y"].shape == (2, 3)
    assert [path.name for path in (cache.root / "things").iterdir()] == [f"{identity(Config())}.safetensors"]


def test_fresh_makes_again_what_is_there_and_keeps_what_is_made_since(cache: Cache):
    put(cache)
    os.utime(cache.path("things", Config()), (time.time() - 9, time.time() - 9))
    cache.start_fresh()
    assert not again(cache).contains("things", Config()) and put(cache, 2.0) == 2.0
    assert put(again(cache), 3.0) == 2.0, "workers share the moment"


# --- whole or not at all ---


def killed_in(phase: str, cache: Cache):
    """In a child: makes a file, and is killed with SIGKILL in this phase."""
    kill = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    if phase == "written":
        Path.replace = kill  # type: ignore[method-assign]
    if phase == "renamed":
        os.close = kill  # the lock is given back
    cache.load_or_make("things", Config(), kill if phase == "made" else lambda: made(2.0))


def child(work: Callable[[], object]) -> int:
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


@pytest.mark.parametrize("phase", ["made", "written", "renamed"])
def test_a_kill_leaves_a_whole_file_or_none(cache: Cache, phase: str):
    pid = child(lambda: killed_in(phase, cache))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert (".part" in left(cache)) == (phase == "written") and (".safetensors" in left(cache)) == (phase == "renamed")
    assert put(again(cache), 3.0) == (2.0 if phase == "renamed" else 3.0)
    assert left(cache) == [".safetensors"]


def test_what_another_process_makes_is_asked_for_again(cache: Cache):
    def make() -> Any:
        raise LockedError("another makes it")

    with pytest.raises(LockedError):
        cache.load_or_make("things", Config(), make)
    assert put(cache) == 1


def test_of_two_processes_one_makes_the_file(cache: Cache):
    def slow() -> Any:
        (cache.root / "begun").touch()
        until = time.monotonic() + 10  # also if the test has failed
        while not (cache.root / "go").exists() and time.monotonic() < until:
            time.sleep(0.001)
        return made(2.0)

    pid = child(lambda: cache.load_or_make("things", Config(), slow))
    while not (cache.root / "begun").exists():
        time.sleep(0.001)
    cache.waits = False
    with pytest.raises(LockedError):
        put(cache)
    (cache.root / "go").touch()
    cache.waits = True  # as for floors and timings, beside which there is no other work
    assert put(cache) == 2.0
    os.waitpid(pid, 0)


def test_a_place_without_locks_is_enough(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    def flock(*arguments: Any):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert put(cache) == 1.0 and left(cache) == [".safetensors"]


# --- damaged files and full disks ---


def of_another_config(whole: bytes) -> bytes:
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"]["config"] = '{"class":"Other"}'
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "truncated": lambda whole: whole[:12],
    "halved": lambda whole: whole[: len(whole) // 2],
    "too long": lambda whole: whole + b"x",
    "replaced": lambda whole: b'{"file": 3}',
    "of another config": of_another_config,
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_damaged_file_is_made_again_with_one_warning(cache: Cache, fault: str, caplog: pytest.LogCaptureFixture):
    put(cache)
    path = cache.path("things", Config())
    path.write_bytes(SPOILT[fault](path.read_bytes()))
    assert put(again(cache), 2.0) == 2.0
    (warning,) = warned(caplog)
    assert str(path) in warning and "it is made again" in warning
    assert put(again(cache), 3.0) == 2.0 and not warned(caplog)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("where", ["mkdir", "replace"])
def test_a_disk_that_cannot_be_written_says_what_to_do(
    cache: Cache, number: int, where: str, monkeypatch: pytest.MonkeyPatch
):
    def fails(*arguments: Any, **how: Any):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, where, fails)
        with pytest.raises(CacheError, match=f"{os.strerror(number)}; free some space, change the permissions, or"):
            put(cache)
    assert not list(cache.root.glob("*/*"))  # what was written gives its room back
    assert put(cache) == 1.0  # a full disk is no property of a config
    assert left(cache) == [".safetensors"]
