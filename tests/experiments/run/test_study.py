"""From settings to a result folder: tables, report, failures, what is made again. On 120 digits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import run_spine
from torch import Tensor

from diffusion_core.samplers import Euler, Sampler
from experiments.run import folder, steps
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.setting import Ladder, Setting
from experiments.run.study import Answer, Study, answer
from reports.terminal import Terminal


@dataclass(frozen=True)
class Mine(Study):
    """Three settings and a control."""

    question: ClassVar[str] = "Does noise help?"
    etas: tuple[float, ...] = (0.0, 1.0)

    def settings(self) -> Iterator[Setting]:
        for eta in self.etas:
            yield Setting(f"eta {eta:g}", Ladder(n_steps=3), Euler(eta))
        yield Setting("eta 0", Ladder(n_steps=3), Euler(0.0), "control", control=True)


def asked(tmp_path: Path, study: Study | None = None, **how: Any) -> Answer:
    study = study or mine()
    return answer(study, Machine(), Cache(tmp_path / "cache"), tmp_path / "out", Terminal(), preset="smoke", **how)


def mine(**options: Any) -> Mine:
    return Mine(**{"data": run_spine.data(), "train_images": 64, "warmup_images": 32, "n_samples": 40} | options)


def table(tmp_path: Path, name: str = "table") -> pd.DataFrame:
    return pd.read_csv(tmp_path / "out" / f"{name}.csv")


def test_a_result_folder_has_tables_pictures_and_a_report(tmp_path: Path) -> None:
    found = asked(tmp_path, notes=("said beforehand",))
    assert found.report and found.report.is_file() and not found.failed and len(found.rows) == 6
    rows, contrasts = table(tmp_path), table(tmp_path, "contrasts")
    assert list(rows["status"]) == ["ok"] * 6 and set(rows["train_seed"]) == {1, 2}
    assert list(dict.fromkeys(contrasts["kind"])) == ["setting", "control"]
    assert set(table(tmp_path, "best_sets")["setting"]) == {"eta 0", "eta 1"}
    pictures = {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert {"real.png", *(f"{name}.png" for name in rows["samples_id"])} <= pictures
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    assert info["notes"][0] == "said beforehand" and "singular" in info["notes"][1]
    assert "Does noise help?" in found.report.read_text()


def test_the_same_again_makes_nothing_and_gives_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(tmp_path)
    names = ("table", "contrasts", "best_sets", "floors", "losses")
    before = {name: (tmp_path / "out" / f"{name}.csv").read_bytes() for name in names}
    monkeypatch.setattr(steps, "_sampled", lambda *args: pytest.fail("it was made"))
    asked(tmp_path)
    assert {name: (tmp_path / "out" / f"{name}.csv").read_bytes() for name in names} == before


@dataclass(frozen=True)
class Broken(Sampler):
    """Fails."""

    name: ClassVar[str] = "broken"

    def run(self, eps: Any, x: Tensor, sigmas: Any, noise: Any) -> Iterator[Tensor]:
        raise RuntimeError("broken by its author")
        yield x


def test_a_failed_run_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Half(Mine):
        def settings(self) -> Iterator[Setting]:
            yield from Mine.settings(self)
            yield Setting("broken", Ladder(n_steps=3), Broken())

    found = asked(tmp_path, Half(**vars(mine(seeds=1))))
    rows = table(tmp_path).set_index(["mode", "setting"])
    assert "broken by its author" in next(iter(found.failed.values()))
    assert rows.loc[("all", "broken"), "status"] == "failed" and (rows["status"] == "ok").sum() == 3
    assert set(table(tmp_path, "best_sets")["setting"]) == {"eta 0", "eta 1"}


def test_what_is_impossible_is_a_row_and_not_run(tmp_path: Path) -> None:
    asked(tmp_path, mine(seeds=1, etas=(0.0, 1.0, 9.0)))
    row = table(tmp_path).set_index("setting").loc["eta 9"]
    assert row["status"] == "infeasible" and isinstance(row["error"], str)

    @dataclass(frozen=True)
    class Impossible(Mine):
        def settings(self) -> Iterator[Setting]:
            yield Setting("eta 9", Ladder(n_steps=3), Euler(9.0))

    with pytest.raises(ValueError, match="eta"):
        Impossible(**vars(mine())).runs(Machine())


def test_an_interrupted_run_leaves_the_rows_that_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, count = steps._sampled, [0]

    def sampled(*args: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(steps, "_sampled", sampled)
    found = asked(tmp_path)
    assert found.interrupted and found.report is None and len(table(tmp_path)) == 2
    monkeypatch.setattr(steps, "_sampled", original)
    assert len(asked(tmp_path).rows) == 6


def test_unfit_studies_are_refused_before_any_work(tmp_path: Path) -> None:
    for options, what in (
        ({"n_samples": 41}, "n_samples=41"),
        ({"n_samples": 39}, "n_samples=39"),
        ({"seeds": 0}, "seeds=0"),
        ({"etas": (0.0, 0.0)}, "more than once"),
    ):
        with pytest.raises(ValueError, match=what):
            mine(**options).runs(Machine())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_no_run_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"table\.csv, which no run wrote"):
        asked(tmp_path)
    assert (tmp_path / "out" / "table.csv").read_text() == "mine"


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with folder.held(tmp_path / "out"), pytest.raises(ValueError, match="another command is writing there"):
        asked(tmp_path)


def test_what_an_earlier_run_left_goes(tmp_path: Path) -> None:
    asked(tmp_path, mine(seeds=1))
    (tmp_path / "out" / "images" / "old.png").write_bytes(b"")
    asked(tmp_path, mine(seeds=1, etas=(0.0,)))
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert "old.png" not in names and "best_sets.csv" not in names and len(table(tmp_path)) == 2
