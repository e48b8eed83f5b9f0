"""`sweep --vary`: which settings a grid has, what it compares, and its planted effects."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from smoke import Finished, smoke

from diffusion_core.noise.process_time import sd3
from experiments.choose import settings_to_explore
from experiments.cli import parse
from experiments.judge import judge
from experiments.questions import Vary
from experiments.run.grid import effect_pairs
from experiments.settings import Setting
from experiments.user.json_io import read_json
from reports.render import read_page

Cell = tuple[str, ...]
FACTORS = {"a": "012", "b": "01", "c": "01"}
CELLS = [*product(*FACTORS.values())]


def planted(a: str, b: str, c: str) -> float:
    """A value with main effects of a (-2 and 3) and of c (5), and an interaction of a=2 and b=1 (7)."""
    return {"0": 0, "1": -2, "2": 3}[a] + 5 * (c == "1") + 7 * (a == "2" and b == "1")


OF_SAMPLES = {"features": "f", "n_samples": 60, "n_reference": 9}


def rows_of(cell: Cell, networks: int = 5, **columns: object) -> pd.DataFrame:
    """The runs of a cell: its planted value and little noise, and these columns."""
    mmd = planted(*cell) + 0.001 * np.random.default_rng([*map(int, cell)]).standard_normal(networks)
    label = "=".join(cell)
    named = {"section": "combinations", "budget": None, "setting": label, "status": "ok", "nfe": 8}
    rows = pd.DataFrame({"mmd": mmd, "kd": mmd, "fd": 9 * mmd, "train_seed": range(networks)})
    return rows.assign(**{**named, "precision": 0.6, "recall": 0.6, "samples_id": label} | OF_SAMPLES | columns)


def effects(
    table: Iterable[pd.DataFrame], cells: Sequence[Cell] = CELLS, floors: object = (), metric: str = "mmd"
) -> pd.DataFrame:
    """The effects in one metric, by what they add: "a 1", or "a 2 with b 1"."""
    pairs = [*effect_pairs(FACTORS, {cell: "=".join(cell) for cell in cells})]
    judged = judge(pd.concat([*table]), pairs, pd.DataFrame(floors))
    return judged[judged["metric"] == metric].set_index("a")


ROWS = [rows_of(cell) for cell in CELLS]


def test_planted_effects_are_found_and_are_one_family():
    rows = effects(ROWS)
    assert effects(ROWS, metric="fd").loc["a 1", "difference"] == pytest.approx(9 * rows.loc["a 1", "difference"])
    expected = {"a 1": -2.0, "a 2": 3 + 7 / 2, "b 1": 7 / 3, "c 1": 5.0, "a 2 with b 1": 7.0}
    for name, row in rows.iterrows():
        assert row["difference"] == pytest.approx(expected.get(str(name), 0.0), abs=0.01), name
        assert (row["verdict"] in ("better", "worse")) == (name in expected), name
    assert len(rows) == 4 + (2 * 1 + 2 * 1 + 1) and {*rows["compared"]} == {len(rows)}


def test_an_effect_is_averaged_over_the_combinations_in_which_both_levels_ran():
    rows = effects(ROWS, [cell for cell in CELLS if cell[:2] != ("2", "1")])  # as if it were impossible
    for name, difference in (("a 2", 3), ("b 1", 0)):
        assert rows.loc[name, "difference"] == pytest.approx(difference, abs=0.01)
    assert "a 2 with b 1" not in rows.index


FLOORS = [OF_SAMPLES | {"metric": metric, "mean": 0.9} for metric in ("precision", "recall")]


def test_an_effect_needs_images():
    bad = [rows_of(cell, precision=0.0, recall=0.0) for cell in CELLS if cell[1:] == ("1", "1")]
    good = [rows for cell, rows in zip(CELLS, ROWS, strict=True) if cell[1:] != ("1", "1")]
    rows = effects([*good, *bad], floors=FLOORS)
    assert {*rows.index[rows["verdict"] == "no verdict"]} == {"a 1", "a 2"}


def settings(*vary: str, **options: object) -> dict[str, Setting]:
    study = Vary(vary=vary, **options)  # type: ignore[arg-type]
    study.check()
    return {setting.label: setting for setting in study.explore()}


def test_levels_reach_the_setting_and_what_is_not_varied_is_as_in_run():
    cells = settings("eta=0,1", "schedule=karras(rho=5, sigma_max=20),vp", "train-shift=1,3")
    assert len(cells) == 8
    cell = cells["eta=1, schedule=karras(rho=5, sigma_max=20), train-shift=3"]
    assert (cell.sampler.name, cell.schedule.name) == ("euler(eta=1)", "karras(rho=5)")
    assert len(cell.schedule.sigmas()) == 33 and cell.schedule.sigmas()[0] == pytest.approx(20)
    assert cell.training == {"noise": sd3(3, data_std=Vary().data_std)}
    assert cell.values == {"eta": "1", "schedule": "karras(rho=5, sigma_max=20)", "train_shift": "3"}


def test_two_combinations_are_explored_too_since_their_effect_is_measured_there():
    study = Vary(vary=("eta=0,1",))
    assert settings_to_explore(study, [*study.explore()]) == [*study.explore()]


def test_samplers_are_compared_at_equal_cost():
    cells = settings("sampler=euler,heun", "evaluations=16,33", "final-denoise=false,true")
    for label, cell in cells.items():
        nfe = cell.sampler.planned_nfe(cell.schedule.sigmas()) + cell.final_denoise
        assert nfe in ((15, 16) if "evaluations=16" in label else (32, 33)), label


def test_training_factors_reach_the_network():
    cells = settings("recipe=plain,fast", "lr=1e-3,3e-3", "batch=64,128", "network=small,paper")
    plain, fast = (cells[f"recipe={name}, lr=3e-3, batch=128, network=paper"].training for name in ("plain", "fast"))
    assert (plain["lr"], plain["batch_size"], plain["network"]) == (0.003, 128, "paper")
    assert (plain["parameterisation"], plain["stratified"]) == ("preconditioned", False)
    assert (fast["parameterisation"], fast["stratified"]) == ("mixture-input", True)


@pytest.mark.parametrize("vary, label, reason", [
    (("eta=0,1", "sampler=euler,heun"), "eta=1, sampler=heun", "heun has no eta"),
    (("shift=1,3", "schedule=flow,karras"), "shift=1, schedule=karras", "karras has no shift"),
    (("sigma-min=0.01,0.03", "schedule=karras,flow"), "sigma-min=0.01, schedule=flow", "flow sets its own ends"),
])  # fmt: skip
def test_an_impossible_combination_says_why(vary: Sequence[str], label: str, reason: str):
    assert settings(*vary)[label].impossible == reason


@pytest.mark.parametrize("vary, message", [
    (("lr2=1,2",), r"vary: factor='lr2': .* did you mean lr"),
    (("eta=0,x",), "eta='x': it must be a number"),
    (("batch=64,6.5",), "batch='6.5': it must be a whole number"),
    (("eta=1", "sigma-min=0.003"), "vary: it must have one factor or more with two values or more"),
    (("eta=0,1", "eta=0,2"), "vary='eta=0,2': .* named once"),
    (("eta=0,0.0",), "eta=0 and eta=0.0 are the same setting"),
    (("schedule=karas,vp",), "schedule='karas': .* did you mean karras"),
    (("final-denoise=yes,no",), "final_denoise='yes': it must be one of true, false"),
])  # fmt: skip
def test_a_wrong_factor_or_value_is_refused(vary: Sequence[str], message: str):
    with pytest.raises(ValueError, match=message):
        settings(*vary)


GRID = """
from dataclasses import dataclass
from experiments import Euler, Grid, Schedule, Setting

@dataclass(frozen=True)
class Mine(Grid):
    question = "Does rho matter more than eta?"
    factors = {"eta": (0.0, 1.0), "rho": (3.0, 7.0)}

    def setting(self, eta, rho):
        return Setting("", Schedule("karras", 8, options=(("rho", rho),)), Euler(eta))
"""


def test_a_file_has_factors_of_its_own_and_vary_changes_their_levels(tmp_path: Path):
    (tmp_path / "my_grid.py").write_text(GRID)
    for vary, says in (("rho=1,2,5", "6 combinations of eta, rho,"), ("rho=5", "2 combinations of eta, rho=5 (fixed)")):
        study, _, name = parse("sweep", [str(tmp_path / "my_grid.py"), "--vary", vary, "--preset", "smoke"], "p")
        assert name == "my_grid" and study.notes[0].startswith(says)
    with pytest.raises(ValueError, match=r"factor='rhoo': .* did you mean rho"):
        parse("sweep", [str(tmp_path / "my_grid.py"), "--vary", "rhoo=1,2"], "p")


SWEPT = "sweep --vary lr=1e-3,3e-3 eta=0,1 evaluations=2,3 --seeds 1 --train-images 64".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("grid")
    return smoke(folder, *SWEPT)


@pytest.mark.slow(12)
def test_a_grid_runs_all_combinations_and_confirms_the_best_on_other_networks(run: Finished):
    table = run.rows()
    grid = table.query("section == 'combinations'")
    assert len(grid) == 8 and set(grid["train_seed"]) == {0} and set(grid["evaluations"]) == {2, 3}
    assert {"eta", "lr", "train_batch", "ema_decay"} <= {*table.columns} and set(grid["lr"]) == {0.001, 0.003}
    confirmed = table.query("section == 'confirm'")
    assert set(confirmed["train_seed"]) == {1} and confirmed["setting"].nunique() == 2
    effects = run.rows("contrasts").query("metric == 'mmd' and family == 'effects'")
    assert list(effects["question"]) == [
        "lr",
        "eta",
        "evaluations",
        "lr × eta",
        "lr × evaluations",
        "eta × evaluations",
    ]
    by_cell = grid.set_index("setting")["mmd"]
    of_eta = [by_cell.filter(like=f"eta={eta}").to_numpy() for eta in (0, 1)]
    assert effects["difference"].iloc[1] == pytest.approx((of_eta[1] - of_eta[0]).mean())
    info = read_json(run.out / "run.json")
    assert info["factors"][:2] == [["lr", ["1e-3", "3e-3"]], ["eta", ["0", "1"]]]
    assert [*info["cells"]] == [*grid["setting"]]
    assert "Which factor matters" in run.report and "No verdict" in run.report


@pytest.mark.slow(3)
def test_without_a_confirmation_the_page_names_the_lowest(run: Finished):
    again = smoke(run.out.parent, *SWEPT, "--no-confirm", out="alone")
    table = again.rows()
    assert set(table["section"]) == {"combinations"}
    lowest = table.sort_values("mmd").iloc[0]
    page = read_page(again.out)
    assert page.advice.startswith(f"Confirm {lowest['setting']} before you use it: ")
    assert page.pictures[-1].name == lowest["samples_id"] and "images seen in training" in dict(page.facts)["Networks"]
