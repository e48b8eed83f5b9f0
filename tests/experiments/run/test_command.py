"""The command as a whole: interrupts, kills, two commands on one store, a user's code in workers."""

import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import warm
from own_sweep import FILE, written
from smoke import Ended, known_images, typed

pytestmark = [pytest.mark.slow(6), pytest.mark.usefixtures("drawn")]
OF_A_RUN = ["seconds", "train_seconds", "shared_device", "finished_at"]  # differ if it is made again
FEW = "--recipe plain --train-images 128 --precision fp32 --threads 1".split()


def words(out: Path, store: Path, *more: str) -> list[str]:
    return ["beta", "--preset", "smoke", "--only-primary", *FEW, "--out", str(out), "--store", str(store), *more]


def start(out: Path, store: Path, *more: str) -> warm.Command:
    known_images(store)
    return warm.Command("-m", "experiments", *words(out, store, *more), drawn=True)


def table(folder: Path, name: str = "table") -> pd.DataFrame:
    frame = pd.read_csv(folder / f"{name}.csv", low_memory=False)
    return frame.drop(columns=[column for column in OF_A_RUN if column in frame])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    known_images(folder / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.figures.svg", lambda drawing: "<svg/>")
        assert typed(*words(folder / "out", folder / "store")).status == 0
    return folder


def goes_on(folder: Path, whole: Path):
    """The same command again ends in the table of an undisturbed run, and leaves nothing behind in the store."""
    assert typed(*words(folder / "out", folder / "store")).status == 0
    pd.testing.assert_frame_equal(table(folder / "out"), table(whole / "out"), check_exact=True)
    left = [path.name for path in (folder / "store").glob("[!.]*/*") if path.suffix != ".safetensors"]
    assert not left


@pytest.mark.parametrize(
    "number, workers", [(signal.SIGINT, 2), (signal.SIGTERM, 1)], ids=["ctrl-c, two workers", "sigterm"]
)
def test_an_interrupted_command_says_how_to_go_on(number: signal.Signals, workers: int, tmp_path: Path, whole: Path):
    shutil.copytree(whole / "out", tmp_path / "out")  # of an earlier run
    process = start(tmp_path / "out", tmp_path / "store", "--workers", str(workers))
    assert process.process.pid is not None
    children = list[psutil.Process]()
    while len(list((tmp_path / "store" / "scores").glob("*.safetensors"))) < 2:  # so the first is a row
        assert process.returncode is None, process.wait()
        time.sleep(0.02)
        children = psutil.Process(process.process.pid).children(recursive=True)
    process.send_signal(number)
    done = process.wait(timeout=60)
    unclosed = r"Exception ignored in: <(_io|posix\.Scandir).*?ResourceWarning: [^\n]*\n"  # tests make warnings errors
    assert done.returncode == 130 and "Traceback" not in re.sub(unclosed, "", done.stderr, flags=re.DOTALL)
    _, left_running = psutil.wait_procs(children, timeout=10)  # the tracker of resources ends after the command
    assert len(children) >= workers - 1 and not left_running
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["interrupted"] and said["report"] is None and 0 < said["rows"] < 4
    assert len(table(tmp_path / "out")) == said["rows"]
    left = f"interrupted, {4 - said['rows']} of 4 runs left"
    assert f"{left}. To go on: python -m experiments beta --preset" in done.stdout
    goes_on(tmp_path, whole)


KILLED = """
import importlib, os, signal, sys
name, number = sys.argv.pop(1), int(sys.argv.pop(1))
module, attribute = importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]
honest, calls = getattr(module, attribute), []
def dies(*arguments, **keywords):
    calls.append(1)
    if len(calls) == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(*arguments, **keywords)
setattr(module, attribute, dies)
from experiments.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "where, number",
    [("experiments.run.cache._write", 5), ("experiments.run.result_folder.write_report", 1)],
    ids=["while a file is made", "while results are written"],
)
def test_a_killed_command_goes_on_where_it_stopped(where: str, number: int, whole: Path, tmp_path: Path):
    """What a kill in each phase of the write of one file leaves: test_cache.py."""
    known_images(tmp_path / "store")
    arguments = words(tmp_path / "out", tmp_path / "store")
    assert warm.run("-c", KILLED, where, str(number), *arguments).returncode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*/*.safetensors")}
    assert len(kept) >= number
    goes_on(tmp_path, whole)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing was made again"


def test_two_commands_on_one_store_at_once(tmp_path: Path, whole: Path):
    both = [start(tmp_path / name, tmp_path / "store") for name in "ab"]
    ended = [process.wait() for process in both]
    assert [process.returncode for process in ended] == [0, 0], ended
    for name in "ab":
        pd.testing.assert_frame_equal(table(tmp_path / name), table(whole / "out"), check_exact=True)
        pd.testing.assert_frame_equal(table(tmp_path / name, "floors"), table(whole / "out", "floors"))


def test_a_ray_that_is_not_there_is_one_line_and_keeps_the_last_result(whole: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    before = {path: path.read_bytes() for path in (whole / "out").rglob("*.*") if path.is_file()}
    ended = typed(*words(whole / "out", whole / "store", "--ray-address", "127.0.0.1:9", "--n-samples", "140"))
    assert ended.refused("Ray is not installed; pip install -e '.[cluster]' brings it"), ended
    assert {path: path.read_bytes() for path in before} == before


# --- a user's code in workers ---


def swept(folder: Path, *more: str) -> Ended:
    known_images(folder / "store")
    places = ["--preset", "smoke", "--out", str(folder / "out"), "--store", str(folder / "store")]
    return typed("sweep", str(folder / "mine.py"), *FEW, *places, "--seeds", "1", "--n-samples", "40", *more)


@pytest.mark.usefixtures("forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12: there may be other threads
def test_workers_run_a_users_code_unless_it_was_edited_since(tmp_path: Path):
    """They would import another one, and store what that gives."""
    ran = "Path(__file__).with_name(f'{os.getpid()}').touch(); return Euler(0.0).run(*arguments)"
    text = "import os\nfrom pathlib import Path\n" + FILE.replace("return Euler(0.0).run(*arguments)", ran)
    written(tmp_path, text)
    assert swept(tmp_path, "--workers", "2").status == 0
    assert {path.name for path in tmp_path.glob("[0-9]*")} - {str(os.getpid())}  # which has checked it
    assert table(tmp_path / "out")["sampler"].tolist() == ["euler", "mine"]
    edit = "        Path(__file__).write_text(Path(__file__).read_text() + '#')\n"
    written(tmp_path, text.replace('        yield Setting("mine"', f'{edit}        yield Setting("mine"'))
    ended = swept(tmp_path, "--workers", "2", "--n-samples", "41")
    assert ended.status == 1 and ended.summary["failed"] == 1
    (error,) = table(tmp_path / "out").query("status == 'failed'")["error"]
    assert "its code was edited since this command began" in error
