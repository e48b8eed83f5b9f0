"""`robustness`: the right word for planted results, and none for results that differ in nothing."""

import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from smoke import typed

from experiments import robustness
from experiments.distances.intervals import estimate_mean
from experiments.robustness import Answer, tabulate
from experiments.user.json_io import read_json
from reports.index import write_index
from reports.schema import DEPENDS, HOLDS, PRIMARY, TURNS, UNDECIDED

PUBLISHED = Path(__file__).parents[2] / "reports" / "published"
FIXED = dict(zip(robustness.FACTORS, ("d", "f", "small", "fast", "9", "0.03", "the list"), strict=True))


def answer(name: str, effects: Any, first_seed: int = 1, before: Any = 20.0, **fixed: str) -> Answer:
    """A result in which a - b is `effects`, one per network."""
    d = np.asarray(effects, float)
    scores = {str(first_seed + at): (before + x, before) for at, x in enumerate(d)}
    row = {"kind": PRIMARY, "budget": math.nan, "a": "a", "b": "b", "n_networks": len(d), "verdict": ""}
    return Answer(name, "q", FIXED | fixed, pd.Series(row | vars(estimate_mean(d, ""))), scores)


def words(*answers: Answer) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Factor, word and size of each line, and the notes."""
    notes = list[str]()
    rows = tabulate(answers, notes)
    return [*dict.fromkeys((row["choice"], row["effect"], row.get("size", "")) for row in rows)], notes


NOISE = np.array([-0.6, 0.3, -0.1, 0.5, -0.1])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("first_seed", [1, 101], ids=["same networks", "others"])
@pytest.mark.parametrize("mean, noise, factor, word, size", [
    (8, NOISE, "data", TURNS, DEPENDS), (-30, NOISE, "last level", HOLDS, DEPENDS),
    (-8, NOISE[::-1] / 2, "features", HOLDS, ""), (0, np.array([9, -16, 2, -18, 8]), "recipe", UNDECIDED, ""),
])  # fmt: skip
def test_planted_results_get_the_right_word(
    seed: int, first_seed: int, mean: float, noise: Any, factor: str, word: str, size: str
):
    """Of a result of -8 and another, whose networks are the same or others."""
    rng = np.random.default_rng(seed)
    usual, other = (each * rng.uniform(0.8, 1.2) for each in (rng.permutation(NOISE), noise))
    results = [answer("x", usual - 8), answer("y", mean + other, first_seed, **{factor: "another"})]
    assert words(*results)[0] == [(factor, word, size)]


def test_two_choices_at_once_have_no_line_and_results_of_one_cluster_are_named():
    lines, notes = words(answer("x", -8 + NOISE), answer("y", 8 + NOISE, data="e", features="g"))
    assert lines == [] and "different from all others in two choices or more: x, y" in notes
    assert "networks from seed 1 on are shared by 2 results, one cluster: x, y" in notes
    several = [answer(str(n), -8 + NOISE, **{"training images": n}) for n in ("400,000", "25,000", "100,000")]
    again = answer("again", -8 + NOISE, 11, **{"training images": "25,000"})
    assert [row["at"] for row in tabulate([*several, again], [])] == [
        "25,000 (25,000)", "25,000 (again)", "100,000", "400,000"
    ]  # fmt: skip


def test_the_settings_that_competed_are_a_fixed_choice():
    assert robustness.describe_list({"etas": [0.0, 0.5, 1.0, 2.0], "last_levels": None}) == "the list"
    assert robustness.describe_list({"schedules": ["karras"]}) == 'schedules ["karras"]'


def test_a_distance_at_the_score_of_real_images_has_no_ratio():
    (first, *_), _ = words(answer("x", -8 + NOISE), answer("y", -8 + NOISE, before=7.9, features="g"))
    assert first == ("features", HOLDS, ""), "no change is tested"


def test_without_a_change_hardly_any_table_has_one():
    """Twelve results at three levels of two factors; 5 % of tables may have a wrong word."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        made = [
            answer(f"{d}{last}", rng.normal(-1, 1.5, 5), 1 + 10 * int(rng.integers(2)), data=d, **{"last level": last})
            for d in "xyz" for last in ("0.1", "0.2", "0.3")
        ]  # fmt: skip
        wrong += any(word == TURNS or size == DEPENDS for _, word, size in words(*made)[0])
    assert wrong <= 0.05 * 200 + 2 * 3  # and two standard errors


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_published_pages_give_the_numbers_of_their_own_tables(tmp_path: Path):
    names = ("beta-mnist-digits", "beta-mnist-natural", "beta-laptop", "noise_levels-laptop", "schedules-digits")
    done = typed("robustness", *(str(PUBLISHED / name) for name in names), "--out", str(tmp_path / "out"))
    assert done.status == 0 and done.summary["lines"] == 4, done.stderr
    rows = pd.read_csv(tmp_path / "out" / "holds.csv")
    for _, row in rows.iterrows():
        contrasts = pd.read_csv(next((PUBLISHED / row["result"]).glob("contrasts.csv*")))
        asked = "kind == 'primary'"
        if "best" in row["question"]:
            asked = f"kind == 'confirm' and budget == {row['question'].split('within ')[-1].split()[0]}"
        of_kind = contrasts.query(f"metric == 'mmd' and {asked}")
        (pooled,) = of_kind.query("train_seed.isna()")["difference"]
        single = of_kind.query("train_seed.notna()")
        assert row["difference"] == pooled and row["n_lower"] == (single["value_a"] < single["value_b"]).sum()
    notes = read_json(tmp_path / "out" / "run.json")["notes"]
    assert "without an answer to one of the questions: noise_levels-laptop" in notes
    assert "different from all others in two choices or more: beta-laptop, schedules-digits" in notes
    report = (tmp_path / "out" / "report.md").read_text()
    assert "Not varied by any of these: network and recipe." in report and "one cluster" in report
    for name in names:
        shutil.copytree(PUBLISHED / name, tmp_path / name)
    assert "beta-laptop. Type <code>" not in write_index(tmp_path).read_text()
    table = tmp_path / "beta-laptop" / "table.csv"
    table.write_text(re.sub(r"20\d\d-\d\d-\d\dT", "2999-01-01T", table.read_text()))
    assert "holds. How large" in (html := write_index(tmp_path).read_text()) and "Newer: beta-laptop. Type" in html
    shutil.rmtree(tmp_path / "out")
    assert "robustness</code> and the folders" in write_index(tmp_path).read_text()


def test_one_result_is_refused(tmp_path: Path):
    done = typed("robustness", str(PUBLISHED / "beta-laptop"), "--out", str(tmp_path / "out"))
    assert done.refused("results: 1 of them; two or more are compared")
    assert typed("robustness", str(PUBLISHED), str(tmp_path)).refused("no such file; a result folder has one")
