"""From a study to its result folder: tables, report, failures, what is made again, parts. On 120 digits."""

import json
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import run_spine
from PIL import Image
from run_acting import Acting
from torch import Tensor

from diffusion_core.samplers import Euler, Sampler
from experiments.run import result_folder, stages
from experiments.run.cache import Cache
from experiments.run.machine import code_version
from experiments.run.options import Options
from experiments.run.plan import check_folder
from experiments.run.result_folder import StudyResult
from experiments.run.study import Study
from experiments.settings import Schedule, Setting
from experiments.sweep import run_study
from experiments.user.json_io import read_json


@dataclass(frozen=True)
class Mine(Study):
    """Settings without networks of their own."""

    question: ClassVar[str] = "Does noise help?"
    etas: tuple[float, ...] = (0.0, 1.0)
    sigma_min: float = 0.03
    broken: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        return ("said beforehand",)

    def settings(self) -> Iterator[Setting]:
        for eta in self.etas:
            yield Setting(f"eta {eta:g}", Schedule(n_steps=3, sigma_min=self.sigma_min), Euler(eta))
        if self.broken:
            yield Setting("broken", Schedule(n_steps=3), Acting("fails", os.devnull))


@dataclass(frozen=True)
class Grouped(Mine):
    """The first setting is alone in its group; and what it does besides."""

    besides: str = ""

    def settings(self) -> Iterator[Setting]:
        yield Setting("alone", Schedule(n_steps=2), Euler(0.3), section="one")
        for eta in self.etas:
            yield Setting(f"eta {eta:g}", Schedule(n_steps=2), Euler(eta), section="two")
        for power in (1.0, 2.0) if self.besides == "blind" else ():
            yield Setting(f"blind {power:g}", Schedule(n_steps=2), Blind(power), section="two")

    def extra_tables(self, results: Any) -> Any:
        return {"table.csv": []} if self.besides == "a table" else {}


@dataclass(frozen=True)
class Blind(Sampler):
    """Does not look at its parameter."""

    power: float = 1.0

    def run(self, *arguments: Any) -> Iterator[Tensor]:
        return Euler(0.5).run(*arguments)


def asked(where: Path, study: Study | None = None, **how: Any) -> StudyResult:
    places = {"store": run_spine.store(), "out": where / "out", "preset": "smoke", "precision": "fp32", "threads": 1}
    return run_study(study or mine(), Options(**places | how))  # type: ignore[arg-type]


def mine(**options: Any) -> Mine:
    few: dict[str, Any] = {"data": run_spine.data(), "train_images": 64, "warmup_images": 32, "n_samples": 40}
    few["features"] = "digits"  # which are computed at once
    return Mine(**few | options)


def table(where: Path, name: str = "table") -> pd.DataFrame:
    return pd.read_csv(where / "out" / f"{name}.csv")


def tables_and_pictures(where: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in where.rglob("*") if path.suffix in (".csv", ".png")}


pytestmark = pytest.mark.usefixtures("drawn")
NAMES = ("table", "contrasts", "answers", "floors", "training")


def test_a_run_names_its_code_as_it_began_and_what_everything_cost(tmp_path: Path, monkeypatch: Any):
    """The code is asked about before anything is made, and once."""
    asked_at = []
    answers = {"rev-parse": "abc\n", "status": " M a.py\n"}

    def git(words: list[str], **_: Any) -> SimpleNamespace:
        if words[0] == "git":  # others ask the system
            asked_at.append(len([*tmp_path.glob("store/*/*.safetensors")]))
        return SimpleNamespace(stdout=answers.get(words[1], ""))

    monkeypatch.setattr("experiments.run.machine.subprocess.run", git)
    code_version.cache_clear()
    store = tmp_path / "store"
    assert asked(tmp_path, store=store).status == 0 and asked_at == [0, 0, 0]
    before = read_json(tmp_path / "out" / "run.json")
    assert (before["commit"], before["dirty"]) == ("abc", True)
    assert {*table(tmp_path)["trained_commit"]} == {"abc with changes"}
    stored = table(tmp_path).drop_duplicates("model_id")["train_seconds"].sum()
    time.sleep(1)  # files say when they were made in seconds
    asked(tmp_path, store=store)
    again = read_json(tmp_path / "out" / "run.json")
    assert before["total_seconds"] == before["wall_seconds"]
    assert again["total_seconds"] - again["wall_seconds"] >= stored - 0.11 > -0.1
    code_version.cache_clear()


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    where = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.figures.svg", lambda drawing: "<svg/>")
        result = asked(where)
    assert (result.status, len(result.rows), result.report) == (0, 4, where / "out" / "report.html")
    return where


def test_a_result_folder_has_tables_pictures_and_a_report(where: Path):
    rows = table(where)
    contrasts = table(where, "contrasts")
    assert list(rows["status"]) == ["ok"] * 4 and set(rows["train_seed"]) == {1, 2}
    assert set(contrasts["family"]) == {"exploration"}
    assert {path.name for path in (where / "out").glob("*.csv")} == {f"{name}.csv" for name in NAMES}
    pictures = {path.stem for path in (where / "out" / "images").iterdir()}
    assert pictures == {f"{name}{end}" for name in (*rows["samples_id"], "real") for end in ("", "-4")}
    info = read_json(where / "out" / "run.json")
    assert info["notes"][0] == "said beforehand" and "singular" in info["notes"][1]
    assert any(note.startswith("data=") and "only 120 different images" in note for note in info["notes"])
    assert info["statistics"] == {"level": 0.95, "power": 0.8, "enough_networks": 5, "visible_noise": 0.04}
    assert "Does noise help?" in (where / "out" / "report.html").read_text()
    floors = table(where, "floors")
    assert list(floors["metric"]) == ["mmd", "kd", "fd", "precision", "recall"] and set(floors["n_reference"]) == {80}
    assert (floors["low"] < floors["mean"]).all() and (floors["mean"] < floors["high"]).all()


def test_a_strip_is_the_first_four_samples_in_sixteen_shades(where: Path):
    for name in (table(where)["samples_id"][0], "real"):
        square, strip = (Image.open(where / "out" / "images" / f"{name}{end}.png") for end in ("", "-4"))
        assert (square.mode, square.size, strip.mode, strip.size) == ("L", (128, 128), "L", (128, 32))
        first = np.asarray(square)[:32].astype(int)
        pixels = np.asarray(strip).astype(int)
        assert set(np.unique(pixels)) <= {17 * shade for shade in range(16)} and np.abs(pixels - first).max() <= 8


def test_the_same_again_makes_nothing_and_gives_the_same_tables(where: Path, monkeypatch: pytest.MonkeyPatch):
    """Also from a store that cannot be written."""
    before = tables_and_pictures(where)
    monkeypatch.setattr(stages, "_sample", lambda *args: pytest.fail("it was made"))
    monkeypatch.setattr("experiments.run.cache._write", lambda *args: pytest.fail("it was written"))
    fresh = list[Cache]()
    monkeypatch.setattr(Cache, "start_fresh", lambda cache: fresh.append(cache))
    asked(where)
    assert not fresh
    asked(where, fresh=True)
    assert fresh and tables_and_pictures(where) == before


def test_a_report_is_written_again_only_if_its_tables_changed(where: Path, monkeypatch: pytest.MonkeyPatch):
    unchanged = {"commit": "abc", "dirty": False}
    monkeypatch.setattr(result_folder, "code_version", lambda: unchanged)
    first = asked(where).page
    report = where / "out" / "report.html"
    written = report.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(result_folder, "write_report", lambda folder: pytest.fail("it was written"))
        again = asked(where).page
    assert first and again and again.text == first.text and report.read_bytes() == written
    rows = table(where, "floors")
    rows.assign(mean=9.0).to_csv(where / "out" / "floors.csv", index=False)
    asked(where)
    pd.testing.assert_frame_equal(table(where, "floors"), rows)


def test_a_failed_run_is_a_row_with_its_log_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    result = asked(tmp_path, mine(seeds=1, broken=True))
    rows = table(tmp_path).set_index(["section", "setting"])
    failed = rows.loc[("all", "broken")]
    assert result.status == 1 and [*rows["status"].value_counts()[["ok", "failed"]]] == [2, 1]
    assert failed["error"].endswith(": KeyError: 'no such thing'") and pd.isna(failed["fd"])
    log = tmp_path / "out" / "logs" / f"{failed['run_id']}.log"
    assert "Traceback" in log.read_text()
    out = capsys.readouterr().out
    assert f"failed: all: broken: {failed['error']}; traceback: {log}\nto do: repair the cause, then give" in out
    assert json.loads(out.splitlines()[-1])["failed"] == 1


def test_what_is_impossible_is_a_row_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    asked(tmp_path, mine(seeds=1, etas=(0.0, 1.0, 9.0)))
    row = table(tmp_path).set_index("setting").loc["eta 9"]
    assert row["status"] == "infeasible" and isinstance(row["error"], str)
    assert f"note: 1 setting is not run: 'eta 9' of 'all' ({row['error']})" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"'eta 9' is the first setting of 'all'.*it cannot be run: eta=9.0"):
        asked(tmp_path, mine(etas=(9.0, 0.0)))
    with pytest.raises(ValueError, match=r"eta=9\.0"):
        asked(tmp_path, mine(etas=(9.0,), seeds=1))


def grouped(besides: str = "") -> Grouped:
    return Grouped(data=run_spine.data(), features="digits", network="exact", n_samples=40, besides=besides)


def test_what_a_study_adds_must_be_new(tmp_path: Path):
    with pytest.raises(TypeError, match="multiple values for keyword argument"):
        asked(tmp_path, grouped("a table"))


def test_settings_that_gave_the_same_images_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As those of a sampler that does not look at its parameter."""
    asked(tmp_path, grouped("blind"))
    said = "'blind 1' and 'blind 2' of 'two' produced identical images; is the changed parameter used?"
    assert f"warning: {said}" in capsys.readouterr().out
    assert any(note.startswith(said) for note in read_json(tmp_path / "out" / "run.json")["notes"])


def test_the_folder_of_the_images_takes_no_result(tmp_path: Path):
    with pytest.raises(ValueError, match="it lies in the folder of the images; choose another"):
        asked(tmp_path, mine(data=f"folder:{tmp_path}"))


def test_the_usual_folder_keeps_the_result_of_another_network(tmp_path: Path):
    (out := tmp_path / "runs" / "sweep-smoke").mkdir(parents=True)
    (out / "run.json").write_text('{"options": {"network": "exact", "data": "mnist"}}')
    with pytest.raises(ValueError, match="it holds a result of exact on mnist; give --out another folder, or remove"):
        asked(tmp_path, out=None, home=tmp_path)
    check_folder(mine(network="exact", data="mnist"), out, typed=False)


def test_files_of_others_are_left_alone_and_what_an_earlier_run_left_goes(tmp_path: Path):
    out = tmp_path / "out"
    of_others = out / "images" / "cat.png"
    names = ("images/0123456789ab.png", "images/real-4.png", "curves.csv")
    of_runs = {out / name for name in names}
    for path in (of_others, *of_runs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    with pytest.raises(ValueError, match=r"it contains curves\.csv, which Sigmabench did not write; choose another"):
        asked(tmp_path)
    assert {path for path in out.rglob("*") if path.is_file()} == {of_others, *of_runs}
    (out / result_folder.MARK).touch()  # a run made the folder
    assert {*result_folder.existing_results(out)} == of_runs
    assert result_folder.existing_results(tmp_path / "no such folder") == []
    asked(tmp_path, mine(seeds=1, etas=(0.0,)))
    left = [path for path in of_runs if path.exists()]
    assert left == [out / "images" / "real-4.png"] and left[0].read_bytes() != b"mine", "the run writes it anew"
    assert of_others.read_text() == "mine" and len(table(tmp_path)) == 1


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path):
    with (
        result_folder.lock_folder(tmp_path / "out"),
        pytest.raises(ValueError, match="another command is writing there; wait"),
    ):
        asked(tmp_path)


def test_a_part_keeps_the_family_of_the_study(tmp_path: Path):
    asked(tmp_path, replace(grouped(), etas=(0.0, 1.0, 0.5, 0.7)), only=("setting=eta 0,eta 1", "section=two"))
    rows = table(tmp_path, "contrasts").query("metric == 'mmd'")
    assert list(rows["a"]) == ["eta 1"] and rows["compared"].item() == 3


def test_a_part_has_a_report_that_says_so_and_a_doubt_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    query = ("setting=eta 1", "seed=1")
    result = asked(tmp_path, mine(sigma_min=1.0), only=query, quiet=True)
    doubt = "a schedule ends at sigma 1, so this much noise stays in its samples"
    assert [row["setting"] for row in result.rows] == ["eta 1"] and f"warning: {doubt}" in capsys.readouterr().out
    report = (tmp_path / "out" / "report.md").read_text().replace("\\", "")
    assert f"a part of the experiment was run, 1 of 4 runs: --only {shlex.join(query)}" in report
    assert any(note.startswith(doubt) for note in read_json(tmp_path / "out" / "run.json")["notes"])
