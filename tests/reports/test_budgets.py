"""Larger budgets against the recommended setting of a smaller one."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reports import best_sets, budgets
from reports.results import Run, read_run

HERE = Path(__file__).parent


def two_budgets(directory: Path, factor: float, no_verdict: str = "") -> Run:
    """A copy of the committed run at 4 evaluations, and the same settings at 8 with KD times `factor`."""
    shutil.copytree(HERE / "run-ladders", directory)
    for name, column in (("table.csv", "kd"), ("best_sets.csv", "value")):
        frame = pd.read_csv(directory / name, dtype=str, keep_default_na=False)
        more = frame[frame["mode"] == "4 evaluations"].assign(mode="8 evaluations", budget="8")
        more[column] = (pd.to_numeric(more[column]) * factor).astype(str)
        if "run_id" in more:
            more["run_id"] += "x"
        if "no_verdict" in more and no_verdict:
            more.loc[more["setting"] == no_verdict, "no_verdict"] = "no images"
        pd.concat([frame, more]).to_csv(directory / name, index=False)
    return read_run(directory)


@pytest.mark.parametrize(
    ("factor", "says", "verdict"),
    [
        (0.5, "", ""),
        (1.0, "With 8 evaluations no setting is", "no setting with 8 is detectably better."),
        (2.0, "With 8 evaluations every setting scores worse", "every setting with 8 is worse."),
    ],
    ids=["a gain", "a tie", "a loss"],
)
def test_a_budget_without_a_gain_is_said(tmp_path: Path, factor: float, says: str, verdict: str) -> None:
    run = two_budgets(tmp_path / "run", factor)
    section, opening = budgets.section(run), budgets.opening(run)
    assert (section is None) == (not says)
    if section:
        text = " ".join(block.text for block in section.blocks)  # type: ignore[union-attr]
        assert says in text and "corrected for 6 settings" in text and "95 % interval" in text
        assert f"Use “geometric, heun” with 4 evaluations: {verdict}" == opening.verdict
    else:
        assert opening == best_sets.opening(run)
    assert len(f"{opening.lead} {opening.verdict}".split()) <= 25


def test_a_setting_without_images_is_no_rival(tmp_path: Path) -> None:
    run = two_budgets(tmp_path / "run", 1.0, no_verdict="geometric, heun")
    small, large = best_sets.read(run)
    found = budgets.against(run, small, large)
    assert (found.rival, found.n) == ("karras, heun", 5)


def test_one_budget_has_nothing_to_compare(tmp_path: Path) -> None:
    assert budgets.section(read_run(HERE / "run-ladders")) is None


def test_an_unpaired_difference_by_hand() -> None:
    """The 97.5 % quantile of Student's t with 38 degrees of freedom is 2.024; corrected for five, 99.5 %: 2.712."""
    a, b = pd.DataFrame({"kd": [5.0], "kd_se": [0.3]}), pd.DataFrame({"kd": [2.0], "kd_se": [0.4]})
    assert budgets.unpaired(a, b, "kd") == pytest.approx((3.0, 3 - 2.024 * 0.5, 3 + 2.024 * 0.5), abs=1e-3)
    assert budgets.unpaired(a, b, "kd", 5) == pytest.approx((3.0, 3 - 2.712 * 0.5, 3 + 2.712 * 0.5), abs=1e-3)


def test_the_standard_error_of_a_mean_over_networks_by_hand() -> None:
    """hypot(0.3, 0.4) / 2 = 0.25 and 0; the 97.5 % quantile of Student's t with 57 degrees of freedom is 2.0025."""
    both, one = pd.DataFrame({"kd": [1.0, 3.0], "kd_se": [0.3, 0.4]}), pd.DataFrame({"kd": [0.0], "kd_se": [0.0]})
    assert budgets.unpaired(both, one, "kd") == pytest.approx((2.0, 2 - 2.0025 * 0.25, 2 + 2.0025 * 0.25), abs=1e-4)


@pytest.mark.parametrize(("grain", "says"), [(0.002, []), (0.05, ["like sigma 0.08 instead of 0.03"])])
def test_grain_that_the_features_do_not_see_is_said(tmp_path: Path, grain: float, says: list[str]) -> None:
    run = two_budgets(tmp_path / "run", 1.0)
    name = best_sets.read(run)[0].simplest
    run.rows["grain"] = (run.rows["setting"] == name) * grain
    texts = [text for text in best_sets.opening(run).warnings if "Grain" in text]
    assert len(texts) == len(says) and all(f"“{name}” ({says[0]})" in text for text in texts)


def test_each_budget_has_its_own_winner() -> None:
    def won_by(winner: str, budget: int) -> best_sets.BestSet:
        settings = pd.DataFrame({"setting": list("ABC"), "mmd": [0.1, 0.2, 0.3], "no_verdict": None, "holds_for": None})
        settings["in_set"] = settings["setting"] == winner
        return best_sets.BestSet("", budget, settings, winner, "A", "", "mmd")

    text = best_sets.verdict([won_by("A", 8), won_by("B", 16), won_by("A", 32), won_by("C", 64)])
    assert text == "“A” is best at 8 and 32 evaluations, “B” at 16 evaluations and “C” at 64 evaluations."
    two = replace(won_by("A", 8), settings=won_by("A", 8).settings.head(2))
    assert best_sets.verdict([two]) == "“A” is better than the other."
