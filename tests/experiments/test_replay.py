"""Published contrasts, effects and advice follow from the published table.csv, by today's judge and answer."""

import json
from pathlib import Path

import pandas as pd
import pytest

from diffusion_core.schedules import SCHEDULES
from experiments.distances.intervals import ENOUGH_NETWORKS
from experiments.judge import answer, judge
from experiments.run.grid import effect_pairs
from experiments.run.pairs import Pair
from experiments.settings import Setting, read_schedule
from reports.schema import COMBINATIONS, EFFECTS, METRICS

PUBLISHED = Path(__file__).parents[2] / "reports" / "published"
FOLDERS = sorted(path.parent for path in PUBLISHED.glob("*/answers.csv*"))


def read(folder: Path, name: str) -> pd.DataFrame:
    (path,) = folder.glob(f"{name}.csv*")  # it may be compressed
    frame = pd.read_csv(path, low_memory=False)
    texts = frame.columns.intersection(["b_is", "reason", "use"])
    return frame.assign(**{name: frame[name].astype(object).where(frame[name].notna(), "") for name in texts})


def rebuild_pairs(contrasts: pd.DataFrame, table: pd.DataFrame, folder: Path) -> list[Pair]:
    """The pairs of the rows in MMD, and the effects of a grid from the values of its factors."""
    budgets = table.fillna({"budget": 0}).groupby(["section", "setting", "nfe"])["budget"].first().astype(int)
    pairs = list[Pair]()
    for row in contrasts[contrasts["metric"].eq("mmd") & contrasts["family"].ne(EFFECTS)].itertuples():
        a, b = (
            [(row.section, budgets[row.section, name, nfe], name)]
            for name, nfe in ((row.a, row.nfe_a), (row.b, row.nfe_b))
        )
        within = None if pd.isna(row.within) else int(row.within)
        pairs.append(Pair(row.question, a, b, row.family, row.b_is, within))
    info = json.loads((folder / "run.json").read_text())
    if "cells" in info:
        ran = {*table.loc[table["section"].eq(COMBINATIONS) & table["status"].eq("ok"), "setting"]}
        cells = {tuple(cell): label for label, cell in info["cells"].items() if label in ran}
        pairs += effect_pairs(dict(info["factors"]), cells)
    return pairs


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_published_contrasts_and_advice_follow_from_the_runs(folder: Path):
    table, contrasts, answers, floors = (read(folder, name) for name in ("table", "contrasts", "answers", "floors"))
    judged = contrasts
    if contrasts["n"].min() >= ENOUGH_NETWORKS:  # otherwise samples are needed, which are not published
        judged = judge(table, rebuild_pairs(contrasts, table, folder), floors)
        names = ["difference", "low", "high"]
        width = (contrasts["high"] - contrasts["low"]).fillna(0)
        assert len(judged) == len(contrasts)
        for name in names:
            assert ((judged[name] - contrasts[name]).abs() <= 1e-6 * width + 1e-12).all(), name
        left = [frame.drop(columns=[*names, "each"]) for frame in (judged, contrasts)]
        pd.testing.assert_frame_equal(*left, check_dtype=False, rtol=1e-9)
    assert set(METRICS) <= {*judged["metric"]}
    again = answer(judged, table)
    same = ["question", "within", "use", "nfe", "advised", "reason", "verdict"]
    pd.testing.assert_frame_equal(again[same], answers[same], check_dtype=False)


def test_all_results_that_compare_are_here():
    assert len(FOLDERS) == 19
    rows = [read(folder, "contrasts").query("metric == 'mmd'") for folder in FOLDERS]
    assert sum(map(len, rows)) == 340 + 14


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_published_settings_are_their_texts(folder: Path):
    """The setting that the columns of a row spell has the levels and evaluations of that row, and prints itself."""
    table = read(folder, "table")
    rows = table[table["status"].eq("ok") & table["schedule"].map(lambda name: name.partition("(")[0] in SCHEDULES)]
    columns = ["setting", "budget", "schedule", "sampler", "sigma_max", "sigma_min", "n_steps", "nfe", "final_denoise"]
    for row in rows[columns].drop_duplicates().itertuples():
        schedule, _ = read_schedule(row.schedule, int(row.n_steps), ends=(row.sigma_max, row.sigma_min))
        text = (
            f"{schedule.spell_with(**{'end': 0} if row.final_denoise else {})}, {row.sampler}, {row.n_steps:.0f} steps"
        )
        setting = Setting.parse(text)
        assert str(setting) == text
        assert (setting.schedule.sigma_max, setting.schedule.sigma_min) == pytest.approx((row.sigma_max, row.sigma_min))
        assert setting.sampler.planned_nfe(setting.schedule.sigmas()) + setting.final_denoise == row.nfe
        if row.budget > 0:  # without one, sections fix the number of steps
            assert setting.at(int(row.budget)).schedule.n_steps == row.n_steps
        if row.setting.partition("(")[0] in SCHEDULES:
            named = Setting.parse(row.setting if row.setting[-1].isdecimal() else f"{row.setting}, {row.nfe:.0f}")
            assert (named.label, named.schedule.n_steps) == (row.setting.partition(f", {row.nfe:.0f}")[0], row.n_steps)
