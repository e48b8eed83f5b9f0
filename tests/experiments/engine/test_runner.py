"""The command as a whole: interrupts, parts, and two sweeps on one store at a time."""

import json
import re
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import warm
from short_sweep import VALUES, known_images
from smoke import typed

from diffusion_core import Euler
from diffusion_core.data import Images
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine import runner
from experiments.engine.result_folder import MARK, earlier_results, held
from experiments.store.store import Store

pytestmark = [pytest.mark.slow(6), pytest.mark.usefixtures("drawn")]


def words(out: Path, store: Path, *more: str) -> list[str]:
    few = ["--recipe", "plain", "--train-images", "128", "--out", str(out), "--store", str(store), "--threads", "1"]
    return ["beta", "--preset", "smoke", "--only-primary", *few, *more]


def start(out: Path, store: Path, *more: str) -> warm.Command:
    known_images(store)
    return warm.Command("-m", "experiments", *words(out, store, *more), drawn=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    known_images(folder / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.render.svg", lambda drawing: "<svg/>")
        assert typed(*words(folder / "out", folder / "store")).status == 0
    return folder


@pytest.fixture
def tables_only(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process write their tables and no report."""
    monkeypatch.setattr(runner, "write_report", lambda folder: whole / "out" / "report.html")


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "table.csv")[VALUES]


@pytest.mark.usefixtures("tables_only")
def test_two_commands_never_write_one_result_folder(tmp_path: Path, whole: Path) -> None:
    out, again, features = tmp_path / "out", words(tmp_path / "out", whole / "store"), tmp_path / "features.npy"
    np.save(features, np.random.default_rng(0).normal(size=(50, 2)))
    with held(out):
        for asked in (again, ["score", *[str(features)] * 2, "--store", str(whole / "store"), "--out", str(out)]):
            ended = typed(*asked)
            assert ended.status == 2 and not (out / "table.csv").exists()
            assert f"error: out='{out}': another command is writing there; wait for it, or" in ended.stderr
    assert typed(*again).status == 0


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")], ids=["ctrl-c, two workers", "sigterm"]
)
def test_an_interrupted_command_says_how_to_go_on(
    number: signal.Signals, workers: str, tmp_path: Path, whole: Path
) -> None:
    shutil.copytree(whole / "out", tmp_path / "out")  # of an earlier run: `reports DIR` must not mix the two
    process = start(tmp_path / "out", tmp_path / "store", "--workers", workers)
    assert process.process.pid is not None
    children = list[psutil.Process]()
    while len(list((tmp_path / "store" / "scores").glob("*/checksums.json"))) < 2:  # so the first is a row
        assert process.returncode is None
        time.sleep(0.02)
        children = psutil.Process(process.process.pid).children(recursive=True)
    process.send_signal(number)
    done = process.wait(timeout=60)
    unclosed = r"Exception ignored in: <(_io|posix\.Scandir).*?ResourceWarning: [^\n]*\n"  # tests make warnings errors
    assert done.returncode == 130 and "Traceback" not in re.sub(unclosed, "", done.stderr, flags=re.DOTALL)
    assert len(children) >= int(workers) - 1 and not any(child.is_running() for child in children)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["interrupted"] and said["report"] is None and 0 < said["rows"] < 10
    assert len(table(tmp_path / "out")) == said["rows"]
    assert workers == "1" or pd.read_csv(tmp_path / "out" / "table.csv")["shared_device"].all()
    left = f"interrupted, {6 - said['rows']} of 6 trials left"
    assert f"{left}. To go on: python -m experiments beta --preset" in done.stdout
    assert list((tmp_path / "store" / "tmp").iterdir()) == [] and not list((tmp_path / "out" / "images").iterdir())
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files <= {".sigmabench", "table.csv", "logs", "images", "figures"}
    assert typed(*words(tmp_path / "out", tmp_path / "store")).status == 0
    pd.testing.assert_frame_equal(table(tmp_path / "out"), table(whole / "out"), check_exact=True)


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


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("experiments.store.store.checksums", 5),
        ("experiments.engine.spot_checks.believe", 4),
        ("experiments.engine.runner.write_report", 1),
    ],
    ids=["while an artifact is half-written", "between two artifacts", "while results are written"],
)
def test_a_killed_command_goes_on_where_it_stopped(where: str, number: int, whole: Path, tmp_path: Path) -> None:
    """What a kill in each phase of the write of one artifact leaves is tested with the store."""
    arguments = words(tmp_path / "out", tmp_path / "store")
    known_images(tmp_path / "store")
    assert warm.run("-c", KILLED, where, str(number), *arguments).returncode == -signal.SIGKILL
    temporary = tmp_path / "store" / "tmp"
    assert bool(list(temporary.iterdir())) == where.endswith("checksums")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("[ms]*/*/*/*")}
    assert kept
    assert typed(*arguments).status == 0
    pd.testing.assert_frame_equal(table(tmp_path / "out"), table(whole / "out"), check_exact=True)
    assert not list(temporary.iterdir())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing was computed again"


def test_two_sweeps_on_one_store_at_once(tmp_path: Path, whole: Path) -> None:
    both = [start(tmp_path / name, tmp_path / "store") for name in "ab"]
    assert [process.wait().returncode for process in both] == [0, 0]
    for name in "ab":
        pd.testing.assert_frame_equal(table(tmp_path / name), table(whole / "out"), check_exact=True)
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("installed", "message"),
    [(True, "ray_address='127.0.0.1:9': "), (False, "Ray is not installed; pip install -e '.[cluster]' brings it")],
    ids=["does not answer", "is not installed"],
)
def test_a_ray_that_is_not_there_is_one_line_and_status_2(
    installed: bool, message: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if installed:
        pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")
    else:
        monkeypatch.setitem(sys.modules, "ray", None)
    for path in filter(Path.is_file, (whole / "out").iterdir()):
        shutil.copy(path, tmp_path)
    ended = typed(*words(tmp_path, whole / "store", "--ray-address", "127.0.0.1:9"))
    assert ended.refused(message), ended
    assert (tmp_path / "table.csv").is_file() and (tmp_path / "run.json").is_file()


def test_files_of_others_are_not_taken_for_results(tmp_path: Path) -> None:
    picture, code = tmp_path / "images" / "cat.png", tmp_path / "export" / "8-evaluations-torch.py"
    for path in (picture, code):
        path.parent.mkdir()
        path.write_text("mine")
    with pytest.raises(ValueError, match=r"it holds images/cat.png, which no run wrote; choose another folder"):
        earlier_results(tmp_path, "beta")
    assert earlier_results(tmp_path / "no such folder", "beta") == []
    (tmp_path / MARK).touch()  # a run made the folder
    assert earlier_results(tmp_path, "beta") == [picture, code]


def test_a_run_into_a_folder_of_others_changes_nothing_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "images" / "cat.png").write_text("mine")
    ended = typed(*words(out, tmp_path / "store"))
    assert ended.status == 2 and "which no run wrote; choose another folder" in ended.stderr
    assert [path.name for path in out.rglob("*")] == ["images", "cat.png"]


def test_samples_are_at_most_a_third_of_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks may be trained on more images than samples are compared with."""

    def images_of(data: str, data_root: Path | None) -> Images:
        n = 300 if data == "mnist5k" else 150
        return Images(data, torch.zeros(n, 1, 32, 32, dtype=torch.uint8), torch.zeros(n, dtype=torch.long), 0.0, 1.0)

    def trial(n: int) -> Trial:
        samples = SampleConfig(TrainConfig(), Ladder(n_steps=4), Euler(), n)
        return Trial("test", "any", ScoreConfig(samples, ReferenceConfig("mnist", "digits", "")))

    monkeypatch.setattr(runner, "images_of", images_of)
    runner._check([trial(50)], Store(tmp_path), None)
    with pytest.raises(ValueError, match="n_samples=51: data='mnist' allows at most 50, a third of its images"):
        runner._check([trial(51)], Store(tmp_path), None)


def test_a_part_has_a_report_that_says_so_and_a_doubt_is_a_warning(tmp_path: Path, whole: Path) -> None:
    query = "mode==control and seed==0"
    ended = typed(*words(tmp_path / "out", whole / "store", "--sigma-min", "1", "--only", query))
    assert ended.status == 0 and 0 < len(table(tmp_path / "out")) < 10
    report = (tmp_path / "out" / "report.md").read_text().replace("\\", "")
    assert f"of 6 trials: --only {shlex.quote(query)}" in report
    doubt = "a ladder ends at sigma 1, so this much noise stays in its samples"
    assert f"warning: {doubt}" in ended.stdout
    assert any(note.startswith(doubt) for note in json.loads((tmp_path / "out" / "run.json").read_text())["notes"])
