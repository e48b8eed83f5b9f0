"""The loop: a failure is a row and is tried once; workers give what one process gives; nothing finished is lost."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from run_acting import FORK, QUIET, Acting, command
from run_spine import data, exact, files, run, score, silent, trained, warned

from diffusion_core.samplers import Euler, Heun
from experiments.own import features
from experiments.run import execute, work
from experiments.run.artifact import CacheError, locked
from experiments.run.cache import Cache
from experiments.run.runs import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12: there may be other threads


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked instead of spawned, which spares them seconds of imports."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: FORK)


def executed(runs: list[Run], cache: Cache, **how: Any) -> execute.Worked:
    return execute.execute(runs, cache, QUIET, **how)


def test_a_failure_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    tries = str(tmp_path / "tries")
    bad = [run(Acting("fails", tries)), run(Acting("fails", tries), label="twice"), run(Acting("exits"))]
    good, impossible = [run(), run(Heun())], run(Euler(9.0))
    cache = Cache(tmp_path / "cache")
    ended = executed([*bad, impossible, *good], cache)
    assert not ended.interrupted and ended.failed == {
        bad[0].score_id: f"sampler {bad[0].setting.sampler.name}: KeyError: 'no such thing'",
        bad[2].score_id: f"sampler {bad[2].setting.sampler.name}: SystemExit: 3",
    }
    assert Path(tries).read_text() == "x" and files(cache)["scores"] == 2
    assert executed(bad[:1], Cache(cache.root)).failed and Path(tries).read_text() == "xx"  # another command
    assert not list(cache.root.glob(".notes-*"))


def test_a_network_that_fails_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = list[int]()

    def fails(*arguments: Any) -> None:
        tries.append(1)
        raise MemoryError("too large")

    network = trained()
    monkeypatch.setattr(type(network), "_train", fails)
    runs = [run(Euler(eta), network) for eta in (0.0, 0.5, 1.0)] + [run()]
    ended = executed(runs, Cache(tmp_path))
    assert set(ended.failed) == {one.score_id for one in runs[:3]} and len(tries) == 1
    assert set(ended.failed.values()) == {"MemoryError: too large; memory ran out: take a smaller --batch-size"}


def test_an_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    ended = executed([run(), run(Acting("interrupts")), run(Heun())], Cache(tmp_path))
    assert ended.interrupted and files(Cache(tmp_path))["scores"] == 1
    assert not executed([run(), run(Heun())], Cache(tmp_path)).interrupted


def test_an_interrupt_that_a_library_swallowed_ends_it_too(tmp_path: Path) -> None:
    work.INTERRUPT.set()
    try:
        assert executed([run(), run(Heun())], Cache(tmp_path)).interrupted
    finally:
        work.INTERRUPT.clear()
    assert files(Cache(tmp_path)) == {"references": 1}


def test_a_full_disk_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CacheError, match="no space left"):
        executed([run()], Cache(tmp_path))
    with pytest.raises(CacheError, match="no folder"):
        (tmp_path / "file").touch()
        executed([run()], Cache(tmp_path / "file"))


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    runs = [run(Euler(eta), trained()) for eta in (0.0, 1.0)] + [run(Euler(9.0))]
    left = execute.missing(runs, Cache(tmp_path))
    assert {kind: len(paths) for kind, paths in left.items()} == {
        "networks": 1, "references": 1, "samples": 2, "scores": 2,
    }  # fmt: skip
    assert sum(left["networks"].values()) == trained().cost and sum(left["samples"].values()) == 2 * 2 * 40
    executed([run()], Cache(tmp_path))
    assert not any(execute.missing([run()], Cache(tmp_path)).values())


def test_a_plan_without_identity_is_refused_before_any_work(tmp_path: Path) -> None:
    bad = run(Euler(0.0))
    object.__setattr__(bad.setting.sampler, "eta", [0.0])
    with pytest.raises(ValueError, match=r"eta=\[0.0\]: its type is list"):
        executed([run(), bad], Cache(tmp_path))
    assert not files(Cache(tmp_path))


def plan() -> list[Run]:
    return [run(Euler(eta), network) for network in (trained(), exact()) for eta in (0.0, 0.5, 1.0)]


@pytest.mark.slow(12)
def test_two_processes_give_what_one_gives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spawned, as by the command, and with the classes of a user."""
    tries = str(tmp_path / "tries")
    bad = run(Acting("fails", tries))
    runs = [bad, *plan(), run(Acting("fails", tries), label="again")]
    one, two = Cache(tmp_path / "one"), Cache(tmp_path / "two")
    assert executed(plan(), one) == execute.Worked({}, evaluations=trained().cost + 6 * 2 * 40)
    ended = executed(runs, two, workers=2)
    assert list(ended.failed) == [bad.score_id] and "KeyError" in ended.failed[bad.score_id]
    assert Path(tries).read_text() == "x" and not warned(caplog)
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: FORK)
    two.path("samples", plan()[0]).write_bytes(b"damaged")
    assert not executed(plan(), Cache(two.root), workers=2).failed
    assert ["it is damaged" in text for text in warned(caplog)] == [True]  # a warning of a worker
    assert [score(each, two) for each in plan()] == [score(each, one) for each in plan()]
    assert files(two) == files(one)
    assert not list(two.root.glob("*/*.lock")) and not list(two.root.glob(".notes-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_the_others_do_the_work_of_a_killed_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = [run(Acting("dies once", str(tmp_path / "died"))), *(run(Euler(eta)) for eta in (0.0, 0.5))]
    cache = Cache(tmp_path / "cache")
    assert executed(runs, cache, workers=2) == execute.Worked({}, evaluations=3 * 2 * 40)
    assert warned(caplog) == ["a worker ended with status -9"] and (tmp_path / "died").exists()
    assert files(cache)["scores"] == 3


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_a_run_that_kills_all_workers_is_a_row(tmp_path: Path) -> None:
    runs = [run(), run(Acting("dies"))]
    ended = executed(runs, Cache(tmp_path), workers=2)
    assert ended.failed[runs[1].score_id].startswith("a worker ended with status -9; perhaps memory")
    assert set(ended.failed) <= {one.score_id for one in runs}


def pids(where: Path, n: int) -> list[psutil.Process]:
    """The processes that have left their number there, once there are n."""
    until = time.monotonic() + 60
    while len(list(where.iterdir())) < n and time.monotonic() < until:
        time.sleep(0.02)
    return [psutil.Process(int(path.name)) for path in where.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_command(tmp_path: Path, how: signal.Signals) -> None:
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


def test_locks_of_killed_processes_go_and_held_ones_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    free, held = (tmp_path / "scores" / f"{name}.lock" for name in ("free", "held"))
    with locked(held.with_suffix(".safetensors")):
        free.touch()
        assert not execute.execute([run()], cache, QUIET).failed
        assert held.exists() and not free.exists()


def test_a_warning_of_two_workers_is_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    said = set[str]()
    assert work.noted(({"a": "b"}, ["x", "y"]), said) == {"a": "b"} and work.noted(({}, ["y", "z"]), said) == {}
    assert warned(caplog) == ["x", "y", "z"]


def test_the_features_of_real_images_are_counted_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So their time does not spoil the pace of what follows."""
    order, told, honest, opened = list[str](), list[Any](), execute.shown, features.opened

    def said(console: Any, text: Any, state: Any) -> Any:
        told.append(text)
        return QUIET.status("")

    def counting(*given: Any) -> Any:
        layers = opened(*given)

        def layers_of(batch: Any) -> Any:
            order.append(told[-1]())
            return layers(batch)

        return layers_of

    def shown(*given: Any) -> Any:
        order.append("the rest")
        return honest(*given)

    monkeypatch.setattr(features, "usual_batch", lambda name: 30)
    monkeypatch.setattr(features, "opened", counting)
    monkeypatch.setattr(execute, "said", said)
    monkeypatch.setattr(execute, "shown", shown)
    assert not execute.execute([run()], Cache(tmp_path), QUIET).failed
    counted = [f"features of real images: {n} of 120" for n in (0, 30, 60, 90)]
    assert order[:5] == [*counted, "the rest"]


def test_progress_says_how_far_it_is(tmp_path: Path) -> None:
    cache, texts = Cache(tmp_path), list[str]()
    left = execute.missing([run()], cache)

    def said(console: Any, text: Any, state: Any) -> Any:
        texts.append(text)
        return QUIET.status("")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "said", said)
        with execute.shown(left, QUIET, lambda: 0.0) as begin:
            begin(run(label="any"))
            (text,) = texts
            assert text() == "0 of 3 files made; seed 0, all: any"  # type: ignore[operator]
            work.work([run()], cache, silent)
            assert text().startswith("3 of 3 files made")  # type: ignore[operator]
