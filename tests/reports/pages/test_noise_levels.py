"""The answer of the report on `noise_levels` says what its contrasts say."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from reports.best_sets import BestSet
from reports.pages import noise_levels
from reports.results import Run, read_run
from reports.sentences import pairs

HERE = Path(__file__).parents[1] / "run-noise_levels"


def run_with(folder: Path, verdict: str, control: bool = False) -> Run:
    """The run in which "uniform" has this verdict and a second setting, "vp", is far lower but not detectably so.

    `control`: whether the A/A control shows a difference.
    """
    directory = Path(shutil.copytree(HERE, folder / "run"))
    frame = pd.read_csv(directory / "contrasts.csv", dtype={"train_seed": str})
    frame.loc[frame["kind"] == "control", "clear"] = control
    here = (frame["kind"] == "setting") & frame["train_seed"].isna()
    frame.loc[here, ["difference", "low", "high", "verdict"]] = -0.01, -0.02, -0.005, verdict
    other = frame[here].assign(a="vp", value_a=0.0, difference=-1.0, low=-2.1, high=0.1, verdict="not detectable")
    pd.concat([frame, other]).to_csv(directory / "contrasts.csv", index=False)
    return read_run(directory)


@pytest.mark.parametrize(
    ("verdict", "lead", "text"),
    [
        ("better", "“uniform”.", "It is better than log-normal."),  # although "vp" has a lower mean
        ("not detectable", "Keep log-normal.", "No other setting is detectably better."),
    ],
)
def test_the_answer_is_that_of_the_contrasts(tmp_path: Path, verdict: str, lead: str, text: str) -> None:
    run = run_with(tmp_path, verdict)
    opening = noise_levels.opening(run)
    assert (opening.lead, opening.verdict) == (lead, text)
    assert ("uniform" if verdict == "better" else "vp") in opening.numbers[1].word


def test_an_answer_that_the_control_puts_in_doubt_is_still_a_sentence(tmp_path: Path) -> None:
    opening = noise_levels.opening(run_with(tmp_path, "better", control=True))
    assert opening.lead == "Not established. Measured:"
    assert opening.verdict == "“uniform”. It is better than log-normal."


def test_a_sampler_without_images_gets_no_answer_from_another(tmp_path: Path) -> None:
    run = run_with(tmp_path, "better")
    rows = run.of_kind("setting")
    unclear = rows.assign(mode="blurred", verdict="no verdict", no_verdict="the samples are no images")
    lead, text = noise_levels.verdict_in_short(pairs(pd.concat([rows, unclear])), "log-normal")
    assert lead == "No verdict with blurred."
    assert text == "The samples are no images. With eta 0 and eta 1: “uniform”. It is better than log-normal."


def test_a_setting_without_images_leaves_the_answer_on_the_others(tmp_path: Path) -> None:
    rows = run_with(tmp_path, "better").of_kind("setting")
    unclear = rows["a"].eq("vp") & rows["train_seed"].eq("")
    rows = rows.assign(verdict=rows["verdict"].mask(unclear, "no verdict"), no_verdict="the samples are no images")
    assert noise_levels.verdict_in_short(pairs(rows), "x") == ("“uniform”.", "It is better than x.")


@pytest.mark.parametrize(("usual", "says"), [(0.0, " But the samples of “uniform” are grainy."), (0.05, "")])
def test_a_better_setting_that_adds_grain_is_said(tmp_path: Path, usual: float, says: str) -> None:
    run = run_with(tmp_path, "better")
    run.rows["grain"] = (run.rows["setting"] == "uniform").map({True: 0.1, False: usual})
    assert noise_levels.opening(run).verdict == f"It is better than log-normal.{says}"


def test_settings_beyond_the_third_are_counted(tmp_path: Path) -> None:
    better = pairs(run_with(tmp_path, "better").of_kind("setting"))[0]
    found = [
        {metric: row.replace(row["a"], name) for metric, row in better.items()} for name in ("a", "b, c", "d", "e")
    ]
    assert noise_levels.verdict_in_short(found[:3], "x") == ("“a”, “b, c” and “d”.", "They are better than x.")
    assert noise_levels.verdict_in_short(found, "x")[0] == "“a”, “b, c” and 2 more."


@pytest.mark.parametrize(
    ("kd", "tied"),
    [([1.0, 1.1, 1.2, 9.0], ["a", "b"]), ([1.0, 1.1, 8.0, 9.0], ["a", "b"]), ([1.0, 1.1, 8.0, 2.0], ["a", "b", "d"])],
    ids=["beyond what is worse", "beyond it, far away", "better than all that is worse"],
)
def test_a_member_of_the_set_that_scores_worse_than_others_is_undecided(kd: list[float], tied: list[str]) -> None:
    settings = pd.DataFrame({"setting": list("abcd"), "kd": kd, "in_set": [True, True, False, True], "no_verdict": ""})
    assert list(BestSet("eta 1", float("nan"), settings, "a", "a", "", "kd").tied["setting"]) == tied
