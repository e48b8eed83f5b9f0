"""The loop: a failure is a row and is tried once; workers give what one process gives; nothing finished is lost."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from run_acting import FORK, QUIET, Acting, command
from run_spine import data, exact, files, run, score, trained, warned

from diffusion_core.samplers import Euler, Heun
from experiments.run import runner
from experiments.run.cache import Cache, CacheError
from experiments.run.runner import ExecutionResult, Runner
from experiments.run.runs import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12: there may be other threads


def executed(runs: list[Run], cache: Cache, workers: int = 1) -> ExecutionResult:
    return Runner(cache, QUIET, workers).run(runs)


def test_a_failure_is_a_row_and_the_others_go_on(tmp_path: Path):
    tries = str(tmp_path / "tries")
    bad = [run(Acting("fails", tries)), run(Acting("fails", tries), label="twice"), run(Acting("exits"))]
    good = [run(), run(Heun())]
    impossible = run(Euler(9.0))
    cache = Cache(tmp_path / "cache")
    ended = executed([*bad, impossible, *good], cache)
    assert not ended.interrupted and ended.failed == {
        bad[0].score_id: f"sampler {bad[0].setting.sampler.name}: KeyError: 'no such thing'",
        bad[2].score_id: f"sampler {bad[2].setting.sampler.name}: SystemExit: 3",
    }
    assert Path(tries).read_text() == "x" and files(cache)["scores"] == 2
    assert executed(bad[:1], Cache(cache.root)).failed and Path(tries).read_text() == "xx"  # another command


def test_a_network_that_does_not_fit_into_memory_is_tried_once_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tries = list[int]()

    def fails(*arguments: Any):
        tries.append(1)
        raise MemoryError("too large")

    network = trained()
    monkeypatch.setattr(type(network), "_train", fails)
    runs = [run(Euler(eta), network) for eta in (0.0, 0.5, 1.0)] + [run()]
    ended = executed(runs, Cache(tmp_path))
    assert set(ended.failed) == {run.score_id for run in runs[:3]} and len(tries) == 1
    assert set(ended.failed.values()) == {"MemoryError: too large; out of memory, reduce --batch-size"}


def test_an_interrupt_keeps_what_is_finished(tmp_path: Path):
    """Also one that a library has swallowed."""
    ended = executed([run(), run(Acting("interrupts")), run(Heun())], Cache(tmp_path))
    assert ended.interrupted and files(Cache(tmp_path))["scores"] == 1
    runner.INTERRUPT.set()
    try:
        assert executed([run(), run(Heun())], Cache(tmp_path / "other")).interrupted
    finally:
        runner.INTERRUPT.clear()


def test_a_full_disk_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*arguments: Any):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CacheError, match="No space left"):
        executed([run()], Cache(tmp_path))


def plan() -> list[Run]:
    return [run(Euler(eta), network) for network in (trained(), exact()) for eta in (0.0, 0.5, 1.0)]


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_a_failure_and_a_damaged_file_change_nothing_for_two_workers(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """That spawned workers give the values of one process: test_readme.py."""
    bad = run(Acting("fails", str(tmp_path / "tries")))
    one = Cache(tmp_path / "one")
    two = Cache(tmp_path / "two")
    assert executed(plan(), one) == ExecutionResult({}, evaluations=trained().cost + 6 * 2 * 40)
    ended = executed([bad, *plan()], two, workers=2)
    assert list(ended.failed) == [bad.score_id] and "KeyError" in ended.failed[bad.score_id]
    assert not warned(caplog)
    two.path("samples", plan()[0]).write_bytes(b"damaged")
    two.path("scores", plan()[0].scored).unlink()
    assert not executed(plan(), Cache(two.root), workers=2).failed
    assert ["it is made again" in text for text in warned(caplog)] == [True]  # a warning of two workers, shown once
    assert [score(run, two) for run in plan()] == [score(run, one) for run in plan()]
    assert files(two) == files(one) and not list(two.root.glob("*/*.lock"))


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_the_others_do_the_work_of_a_killed_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A run that kills all of them is a row."""
    runs = [run(Acting("dies once", str(tmp_path / "died"))), *(run(Euler(eta)) for eta in (0.0, 0.5))]
    cache = Cache(tmp_path / "cache")
    assert executed(runs, cache, workers=2) == ExecutionResult({}, evaluations=3 * 2 * 40)
    assert warned(caplog) == ["a worker ended with status -9 (out of memory? reduce --workers)"]
    assert (tmp_path / "died").exists() and files(cache)["scores"] == 3
    bad = run(Acting("dies"))
    ended = executed([*runs, bad], cache, workers=2)
    assert ended.failed == {bad.score_id: "no worker has made it: they were killed, or its code was edited since this "
                                          "command began"}  # fmt: skip


def pids(where: Path, n: int) -> list[psutil.Process]:
    """The processes that have left their number there, once there are n."""
    until = time.monotonic() + 60
    while len(list(where.iterdir())) < n and time.monotonic() < until:
        time.sleep(0.02)
    return [psutil.Process(int(path.name)) for path in where.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_command(tmp_path: Path, how: signal.Signals):
    where = tmp_path / "pids"
    where.mkdir()
    process = FORK.Process(target=command, args=(str(tmp_path / "cache"), str(where), data()))
    process.start()
    assert process.pid is not None
    workers = pids(where, 2)
    os.kill(process.pid, how)
    process.join(10)
    gone, alive = psutil.wait_procs(workers, 10)
    assert len(gone) == 2 and not alive and process.exitcode == (-signal.SIGKILL if how == signal.SIGKILL else 0)
