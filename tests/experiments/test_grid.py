"""`sweep --vary`: which settings a grid has, what it compares, and its planted effects."""

import io
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from smoke import Finished, smoke

from diffusion_core.noise.process_time import sd3
from experiments.cli import parse
from experiments.distances.distance import Distance, mean_of
from experiments.run import choice
from experiments.run.comparisons import Row, Side
from experiments.run.contrasts import Verdicts, effect_rows
from experiments.run.grid import find_effects
from experiments.run.setting import Setting
from experiments.sweep import Vary
from experiments.user.json_io import read_json
from reports.pages import factors as page_of_factors
from reports.render import read_page
from reports.results import read

Cell = tuple[str, ...]
FACTORS = {"a": "012", "b": "01", "c": "01"}


def planted(a: str, b: str, c: str) -> float:
    """A value with main effects of a (-2 and 3) and of c (5), and an interaction of a=2 and b=1 (7)."""
    return {"0": 0, "1": -2, "2": 3}[a] + 5 * (c == "1") + 7 * (a == "2" and b == "1")


OF_SAMPLES = {"features": "f", "n_samples": 60, "n_reference": 9}


def side(cell: Cell, networks: int = 5, **columns: object) -> Side:
    """The measured setting of a cell: its planted value and little noise, and these columns in its rows."""
    rows = {}
    distances = {}
    for seed, x in enumerate(0.01 * np.random.default_rng([*map(int, cell)]).standard_normal((networks, 60))):
        one = Distance(planted(*cell) + x.mean(), x - x.mean())
        distances[seed] = {"mmd": one, "kd": one, "fd": mean_of([one], 9)}
        rows[seed] = OF_SAMPLES | {"precision": 0.6, "recall": 0.6, "nfe": 8, "mmd": one.value} | columns
    return Side("=".join(cell), "explore", None, networks, rows, distances)


def effects(sides: Mapping[Cell, Side], floors: Sequence[Row] = (), metric: str = "mmd") -> dict[str, Row]:
    """The rows of effects.csv in one metric, by the names of their factors and levels."""
    found = [*find_effects(FACTORS, sides)]
    rows = [row for row in effect_rows(found, Verdicts.of(found, floors)) if row["metric"] == metric]
    names = ("factor_a", "level_a", "factor_b", "level_b")
    return {"".join(row[name] for name in names if row[name]): row for row in rows}


SIDES = {cell: side(cell) for cell in product(*FACTORS.values())}


def test_planted_effects_are_found_and_are_one_family():
    rows = effects(SIDES)
    assert effects(SIDES, metric="fd")["a1"]["difference"] == pytest.approx(9 * rows["a1"]["difference"])
    expected = {"a1": -2.0, "a2": 3 + 7 / 2, "b1": 7 / 3, "c1": 5.0, "a2b1": 7.0}
    for name, row in rows.items():
        assert row["difference"] == pytest.approx(expected.get(name, 0.0), abs=0.01), name
        assert (row["verdict"] in ("better", "worse")) == (name in expected), name
    assert len(rows) == 4 + (2 * 1 + 2 * 1 + 1) and {row["n_compared"] for row in rows.values()} == {len(rows)}
    assert rows["a1"]["n_cells"] == 4 and rows["a2b1"]["n_cells"] == 2


def test_an_effect_is_averaged_over_the_combinations_in_which_both_levels_ran():
    rows = effects({cell: of for cell, of in SIDES.items() if cell[:2] != ("2", "1")})  # as if it were impossible
    for name, difference, n_cells in (("a2", 3, 2), ("b1", 0, 4)):
        assert rows[name]["difference"] == pytest.approx(difference, abs=0.01) and rows[name]["n_cells"] == n_cells
    assert "a2b1" not in rows


FLOORS = [OF_SAMPLES | {"metric": metric, "mean": 0.9} for metric in ("precision", "recall")]


@pytest.mark.parametrize("sides, names", [
    ({cell: side(cell, 4, model_id=cell[0]) for cell in SIDES}, {"a1", "a2", "a1b1", "a1c1", "a2b1", "a2c1"}),
    ({cell: side(cell, 5, model_id=cell[0]) for cell in SIDES}, set()),
    (SIDES | {cell: side(cell, precision=0.0, recall=0.0) for cell in SIDES if cell[1:] == ("1", "1")}, {"a1", "a2"}),
], ids=["four networks", "five networks", "no images"])  # fmt: skip
def test_an_effect_needs_images_and_five_networks_if_those_of_its_levels_differ(
    sides: Mapping[Cell, Side], names: set[str]
):
    assert {name for name, row in effects(sides, FLOORS).items() if row["no_verdict"]} == names


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
    assert choice.settings_to_explore(study, [*study.explore()]) == [*study.explore()]


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
    grid = table.query("section == 'explore'")
    assert len(grid) == 8 and set(grid["train_seed"]) == {0} and set(grid["evaluations"]) == {2, 3}
    assert {"eta", "lr", "train_batch", "ema_decay"} <= {*table.columns} and set(grid["lr"]) == {0.001, 0.003}
    confirmed = table.query("section == 'confirm'")
    assert set(confirmed["train_seed"]) == {1} and confirmed["setting"].nunique() == 2
    effects = run.rows("effects").query("metric == 'mmd'")
    assert list(effects["kind"]) == 3 * ["main"] + 3 * ["interaction"]
    by_cell = grid.set_index("setting")["mmd"]
    of_eta = [by_cell.filter(like=f"eta={eta}").to_numpy() for eta in (0, 1)]
    assert effects["difference"].iloc[1] == pytest.approx((of_eta[1] - of_eta[0]).mean())
    info = read_json(run.out / "run.json")
    assert info["factors"][:2] == [["lr", ["1e-3", "3e-3"]], ["eta", ["0", "1"]]]
    assert [*info["cells"]] == [*grid["setting"]]
    first = "lr=1e-3, eta=0, evaluations=2"
    (figure,) = read_page(run.out).figures
    assert [line.label for line in figure.lines] == [
        *by_cell.sort_values().index.str.replace(first, f"{first} (baseline)")
    ]
    for line in figure.lines:  # the last factor of two levels
        assert line.bar.marks[0][0] == ("open" if "evaluations=2" in line.label else "grey")
    assert "Which factor matters" in run.report and "No verdict" in run.report
    rows = ("evaluations 3, not 2; costs 1.5 times as much |", "lr 3e-3 (not 1e-3) with eta 1 (not 0) |")
    assert all(row in run.report for row in rows)


@pytest.mark.slow(3)
def test_without_a_confirmation_the_page_names_the_lowest(run: Finished):
    again = smoke(run.out.parent, *SWEPT, "--no-confirm", out="alone")
    table = again.rows()
    assert set(table["section"]) == {"explore"}
    lowest = table.sort_values("mmd").iloc[0]
    page = read_page(again.out)
    assert page.advice.startswith(f"Confirm {lowest['setting']} before you use it: ")
    assert page.pictures[-1].name == lowest["samples_id"] and "images seen in training" in dict(page.facts)["Networks"]


# --- the page ---


EFFECTS = """
name,  factor_a, level_a, against_a, factor_b, level_b, against_b, difference, low,     high,    cost, verdict
eta,   eta,      1,       0,         ,         ,        ,          -0.0061,    -0.0078, -0.0044, 8.25, better
eta 2, eta,      2,       0,         ,         ,        ,          -0.001,     -0.0078, -0.0044, ,     better
eta 3, eta,      3,       0,         ,         ,        ,          -0.004,     -0.0078, -0.0044, ,     better
half,  eta,      0.5,     0,         ,         ,        ,          0.002,      0.001,   0.003,   ,     worse
lr,    lr,       1,       0,         ,         ,        ,          0.001,      -0.001,  0.003,   ,     no difference detected
shift, shift,    3,       1,         ,         ,        ,          -0.002,     -0.0036, -0.0004, ,     better
both,  shift,    3,       1,         lr,       2,       1,         -0.002,     -0.0036, -0.0004, ,     better
"""  # noqa: E501


def some(*names: str) -> pd.DataFrame:
    """These rows of a made-up effects.csv."""
    how = {"dtype": {"level_a": str}, "keep_default_na": False, "na_values": {"cost": [""]}}
    rows = pd.read_csv(io.StringIO(EFFECTS), skipinitialspace=True, index_col="name", **how)
    return rows.assign(metric="mmd", detectable=0.003, n_compared=5, no_verdict="").loc[[*names]]


ETA = "eta 1 instead of 0 lowers MMD ×1000 by 6.1 (4.4 to 7.8), and costs 8.25 times as much"


@pytest.mark.parametrize("names, text", [
    (("eta", "lr", "eta 2", "eta 3"), f"{ETA}."),
    (("shift", "eta", "lr", "eta 2", "eta 3"), f"{ETA} and shift 3 instead of 1 by 2.0 (0.4 to 3.6)."),
    (("half", "lr"), "No value is better than the first of its factor."),
    (("lr",), "No effect of lr on MMD ×1000 is detected; 3.0 would have been."),
])  # fmt: skip
def test_each_clause_of_the_headline_is_the_verdict_of_a_row(names: Sequence[str], text: str, run: Finished):
    assert page_of_factors.phrase_effects(read(run.out), some(*names)) == text


def test_what_is_no_headline_is_a_line(run: Finished):
    assert list(page_of_factors.describe_others(read(run.out), some("half", "lr"), some("both")))[:3] == [
        "Worse: eta 0.5, not 0, by 2.0 (1.0 to 3.0).",
        "Depends on another factor: shift 3 (not 1) with lr 2 (not 1), by −2.0 (−3.6 to −0.4).",
        "Not detected: lr 1 (1.0; −1.0 to 3.0; 3.0 would be).",
    ]


def test_what_has_no_verdict_is_listed_with_its_reason(run: Finished):
    rows = some("eta", "lr").assign(verdict=["no verdict", "better"], no_verdict=["five networks are needed", ""])
    (line,) = (text for text in page_of_factors.describe_others(read(run.out), rows, some()) if "No verdict" in text)
    assert line == "No verdict on eta 1 (−6.1; −7.8 to −4.4): five networks are needed."


def test_only_a_confirmation_says_use():
    best = pd.Series({"a": "x", "b": "base", "verdict": "better", "recommended": True})
    why = " This one comparison on other networks can detect what no factor shows alone."
    assert [page_of_factors.advise(best, clear) for clear in (True, False)] == ["Use x.", f"Use x.{why}"]
    best["recommended"] = False
    assert page_of_factors.advise(best, True) == "Keep base: nothing better is confirmed."
