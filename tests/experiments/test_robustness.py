"""`robustness`: the right word for planted results, and none for results that differ in nothing."""

import json
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
from reports.index import write_index
from reports.schema import CONFIRM, DEPENDS, HOLDS, PRIMARY, TURNS, UNDECIDED

PUBLISHED = Path(__file__).parents[2] / "reports" / "published"
FIXED = dict(zip(robustness.FACTORS, ("d", "f", "small", "fast", "9", "0.03", "the list"), strict=True))


def answer(
    name: str, effects: Any, first_seed: int = 1, kind: str = PRIMARY, before: Any = 20.0, **fixed: str
) -> Answer:
    """A result in which a - b is `effects`, one per network."""
    d = np.asarray(effects, float)
    scores = {str(first_seed + at): (before + x, before) for at, x in enumerate(d)}
    row = {"kind": PRIMARY, "budget": math.nan, "a": "a", "b": "b", "n_networks": len(d), "verdict": ""} | vars(
        estimate_mean(d, "")
    )
    return Answer(name, "q", FIXED | fixed, pd.Series(row), scores)


def words(*answers: Answer) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Factor, word and size of each line, and the notes."""
    notes = list[str]()
    rows = tabulate(answers, notes)
    return [*dict.fromkeys((row["choice"], row["effect"], row.get("size", "")) for row in rows)], notes


NOISE = np.array([-0.6, 0.3, -0.1, 0.5, -0.1])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shared", [True, False])
def test_planted_results_get_the_right_word(seed: int, shared: bool):
    rng = np.random.default_rng(seed)
    other = 1 if shared else 101

    def drawn(mean: float) -> Any:
        return mean + rng.permutation(NOISE) * rng.uniform(0.8, 1.2)

    turns = [answer("x", drawn(-8)), answer("y", drawn(8), other, data="e")]
    sized = [answer("x", drawn(-8)), answer("y", drawn(-30), other, **{"last level": "1"})]
    holds = [answer("x", drawn(-8)), answer("y", -8 + NOISE[::-1] / 2, other, features="g")]
    neither = [answer("x", drawn(-8)), answer("y", [9, -16, 2, -18, 8], other, recipe="plain")]
    assert words(*turns)[0] == [("data", TURNS, DEPENDS)]
    assert words(*sized)[0] == [("last level", HOLDS, DEPENDS)]
    assert words(*holds)[0] == [("features", HOLDS, "")]
    assert words(*neither)[0] == [("recipe", UNDECIDED, "")]


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
        budget = row["question"].split("within ")[-1].split()[0]
        of_kind = contrasts[contrasts["kind"].eq(CONFIRM if "best" in row["question"] else PRIMARY)]
        if "best" in row["question"]:
            of_kind = of_kind[of_kind["budget"] == float(budget)]
        of_kind = of_kind[of_kind["metric"] == "mmd"]
        (pooled,) = of_kind.loc[of_kind["train_seed"].isna(), "difference"]
        single = of_kind[of_kind["train_seed"].notna()]
        assert row["difference"] == pooled and row["n_lower"] == (single["value_a"] < single["value_b"]).sum()
    notes = json.loads((tmp_path / "out" / "run.json").read_text())["notes"]
    assert "without an answer to one of the questions: noise_levels-laptop" in notes
    assert "different from all others in two choices or more: beta-laptop, schedules-digits" in notes
    report = (tmp_path / "out" / "report.md").read_text()
    assert "Not varied by any of these: network and recipe." in report and "one cluster" in report
    for name in names:
        shutil.copytree(PUBLISHED / name, tmp_path / name)
    assert "beta-laptop. Type <code>" not in write_index(tmp_path).read_text()
    table = (tmp_path / "beta-laptop" / "table.csv").read_text()
    (tmp_path / "beta-laptop" / "table.csv").write_text(re.sub(r"20\d\d-\d\d-\d\dT", "2999-01-01T", table))
    assert "holds. How large" in (html := write_index(tmp_path).read_text()) and "Newer: beta-laptop. Type" in html
    shutil.rmtree(tmp_path / "out")
    assert "robustness</code> and the folders" in write_index(tmp_path).read_text()


def test_one_result_is_refused(tmp_path: Path):
    done = typed("robustness", str(PUBLISHED / "beta-laptop"), "--out", str(tmp_path / "out"))
    assert done.refused("results: 1 of them; two or more are compared")
    assert typed("robustness", str(PUBLISHED), str(tmp_path)).refused("no such file; a result folder has one")
