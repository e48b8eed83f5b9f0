"""The answer of the report on `noise_levels` says what its contrasts say."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from reports.pages import noise_levels, noise_map
from reports.results import Run, read_run

HERE = Path(__file__).parents[1] / "run-noise_levels"


def run_with(folder: Path, verdict: str) -> Run:
    """The run in which "uniform" has this verdict and a second setting, "vp", is far lower but not detectably so."""
    directory = Path(shutil.copytree(HERE, folder / "run"))
    frame = pd.read_csv(directory / "contrasts.csv", dtype={"train_seed": str})
    frame.loc[frame["kind"] == "control", "clear"] = False
    here = (frame["kind"] == "setting") & frame["train_seed"].isna()
    frame.loc[here, ["difference", "low", "high", "verdict"]] = -0.01, -0.02, -0.005, verdict
    other = frame[here].assign(a="vp", difference=-1.0, low=-2.1, high=0.1, verdict="no clear difference")
    pd.concat([frame, other]).to_csv(directory / "contrasts.csv", index=False)
    return read_run(directory)


def test_a_setting_is_better_although_another_has_a_lower_mean(tmp_path: Path) -> None:
    first = noise_levels.answer(run_with(tmp_path, "better"))[0]
    assert first.lead == "Eta 0: uniform is better than log-normal."
    assert (
        "Better: “uniform” −10.0 (95 % interval −20.0 to −5.0). No detectable difference: “vp” −1,000 (−" in first.text
    )


def test_no_setting_is_better(tmp_path: Path) -> None:
    first = noise_levels.answer(run_with(tmp_path, "no clear difference"))[0]
    assert first.lead == "Eta 0: no setting is detectably better than log-normal."


@pytest.mark.parametrize(
    ("untrusted", "said"),
    [
        ("", "Change the default (log-normal): other settings are detectably better everywhere."),
        ("recall is 0", "No verdict: the samples of the default (log-normal) are not yet images."),
    ],
)
def test_a_map_calls_nothing_better_than_a_default_whose_samples_are_no_images(
    tmp_path: Path, untrusted: str, said: str
) -> None:
    directory = Path(shutil.copytree(HERE, tmp_path / "run"))
    sets = pd.read_csv(directory / "best_sets.csv")
    usual = sets["setting"] == "log-normal"
    sets["in_set"] = sets["best"] = sets["simplest"] = ~usual
    sets["untrusted"] = [untrusted if is_usual else "" for is_usual in usual]
    sets.to_csv(directory / "best_sets.csv", index=False)
    table = pd.read_csv(directory / "table.csv").assign(p_mean=0.1, p_std=1.2)
    table.to_csv(directory / "table.csv", index=False)
    assert noise_map.opening(read_run(directory)).verdict == said
