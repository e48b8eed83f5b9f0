"""The report on `why_noise` says what its gains say, whichever they are."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments.why_noise.page import drawings, evidence, first_screen
from experiments.why_noise.page.predictions import outcomes
from reports.results import Run, read_run

ABOVE, EXACT = "network above − 0.5 everywhere", "exact above − 0.5 everywhere"
CONFIRMS = {  # claim (of weights) -> its interval, as the hypothesis has it
    ABOVE: (-2.0, -0.5),
    EXACT: (0.5, 2.0),
    "half of the error above": (-2.0, -0.5),
    "half − all of the error above": (0.5, 2.0),
    "wrong above − exact": (-2.0, -0.5),
    "wrong below − exact": (-0.5, 0.5),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parents[2] / "reports" / "run-why_noise", tmp_path / "run"))


GAIN, NO_GAIN = (-2.0, -3.0, -1.0), (-0.5, -1.5, 0.5)  # of the network, with limits


def run_with(
    directory: Path,
    changes: dict[str, tuple[float, float]],
    holds_for: float | None = None,
    gain: tuple[float, float, float] = GAIN,
) -> Run:
    """The run with these intervals of claims in FD, and with gains of consistent errors that vanish."""
    frame = pd.read_csv(directory / "claims.csv")
    for name, (low, high) in changes.items():
        here = (frame["claim"] == name) & (frame["metric"] == "fd")
        assert here.any()
        frame.loc[here, ["difference", "low", "high", "clear"]] = (low + high) / 2, low, high, low > 0 or high < 0
    frame["holds_for"] = holds_for
    frame.to_csv(directory / "claims.csv", index=False)
    frame = pd.read_csv(directory / "gains.csv")
    frame["holds_for"] = holds_for
    network = (frame["part"] == "whole") & (frame["kind"] == "network") & frame["train_seed"].isna()
    frame.loc[network & (frame["metric"] == "fd"), ["difference", "low", "high"]] = gain
    here = (frame["part"] == "consistent") & (frame["metric"] == "fd")
    frame.loc[here, ["difference", "low", "high", "clear"]] = 0.1, -1.0, 1.2, False
    frame.loc[here & (frame["n_steps"] == frame.loc[here, "n_steps"].min()), ["difference", "clear"]] = 3.0, True
    frame.loc[here & (frame["difference"] == 3.0), ["low", "high"]] = 2.0, 4.0
    frame.to_csv(directory / "gains.csv", index=False)
    return read_run(directory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "holds_for", "gain", "tested", "said"),
    [
        ({}, None, GAIN, ["held"] * 5, "Without its errors at high noise levels (sigma above 2.85) the network gains "
         "nothing detectable from noise."),
        ({}, 2.0, GAIN, ["not tested"] * 3, "No verdict: too few networks for an interval over networks."),
        ({}, None, NO_GAIN, ["held"], "No verdict: this run shows no gain from noise with the network."),
        ({EXACT: (-2.0, -0.5)}, None, GAIN, ["held", "failed"], "Most of the gain from noise remains without errors at "
         "high noise levels (sigma above 2.85)."),
    ],
    ids=["all hold", "few networks test nothing", "no gain, nothing to explain", "a gain is left"],
)  # fmt: skip
def test_the_answer_follows_the_predictions(
    directory: Path,
    changes: dict[str, tuple[float, float]],
    holds_for: float | None,
    gain: tuple[float, float, float],
    tested: list[str],
    said: str,
) -> None:
    run = run_with(directory, CONFIRMS | changes, holds_for, gain)
    assert [one.outcome for one in outcomes(run)][: len(tested)] == tested and len(outcomes(run)) == 5
    assert first_screen.sentence(run) == said


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIRMS)
def test_one_that_fails_says_so(directory: Path, name: str) -> None:
    low, high = CONFIRMS[name]
    other = (-2.0, -0.5) if name == "wrong below − exact" else (low - 3, high + 3)
    run = run_with(directory, CONFIRMS | {name: other})
    assert sum(one.outcome == "failed" for one in outcomes(run)) == 1
    assert first_screen.sentence(run).startswith("No verdict") == (name == EXACT)
    assert first_screen.sentence(run).endswith("These errors alone are not shown to give half of its gain.") == (
        name == ABOVE
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("copies", "said"),
    [(0.0, "remains without errors above sigma 0.9, but more"), (0.5, "Most of the gain from noise remains without")],
)
def test_a_lower_level_that_explains_the_gain_is_said_unless_samples_are_copies(
    directory: Path, copies: float, said: str
) -> None:
    run_with(directory, CONFIRMS | {EXACT: (-2.0, -0.5)})
    gains, claims = pd.read_csv(directory / "gains.csv"), pd.read_csv(directory / "claims.csv")
    network = gains[(gains["part"] == "whole") & (gains["kind"] == "network") & (gains["metric"] == "fd")]
    added = network.assign(part="above", kind="exact", arm="exact above", band_low=0.9)
    pd.concat([gains, added]).to_csv(directory / "gains.csv", index=False)
    claim = claims[claims["claim"] == EXACT].assign(band_low=0.9, low=0.5, high=2.0)
    pd.concat([claims, claim]).to_csv(directory / "claims.csv", index=False)
    rows = [("exact above", "eta 0", 0, 0.0, 0.2 + copies), ("held-out images", "real", None, 0.0, 0.2)]
    table = pd.DataFrame(rows, columns=["arm", "setting", "train_seed", "copies", "near_copies"])
    table.assign(n_samples=132).to_csv(directory / "copies.csv", index=False)
    assert said in first_screen.sentence(read_run(directory))


@pytest.mark.slow
def test_near_copies_leave_the_question_open(directory: Path) -> None:
    run_with(directory, CONFIRMS)
    arm = first_screen.low_errors(read_run(directory))["arm"].iloc[0]
    table = pd.DataFrame([{"arm": arm, "setting": "eta 0", "train_seed": 0, "copies": 0.0, "near_copies": 0.7}])
    table.assign(n_samples=132).to_csv(directory / "copies.csv", index=False)
    assert first_screen.sentence(read_run(directory)).endswith("many samples are near copies of training images.")


def test_a_missing_claim_is_not_tested(directory: Path) -> None:
    run_with(directory, CONFIRMS)
    frame = pd.read_csv(directory / "claims.csv")
    longest = frame["images_seen"].max()
    frame[(frame["claim"] != ABOVE) | (frame["images_seen"] != longest)].to_csv(directory / "claims.csv", index=False)
    assert [one.outcome for one in outcomes(read_run(directory))] == ["not tested", *["held"] * 4]


def test_a_band_that_is_missing_moves_no_other(directory: Path) -> None:
    frame = pd.read_csv(directory / "gains.csv")
    lows = sorted(frame.loc[frame["part"] == "band", "band_low"].unique(), reverse=True)
    gone = (frame["part"] == "band") & (frame["kind"] == "network") & (frame["band_low"] == lows[0])
    frame[~gone].to_csv(directory / "gains.csv", index=False)
    figure = drawings.bands(read_run(directory))
    assert figure is not None
    marks = [line for line in figure.drawing.axes[0].lines if (line.get_gid() or "").startswith("tip:")]
    assert {round(float(next(iter(mark.get_xdata())))) for mark in marks} == set(range(1, len(lows)))


def test_the_figure_has_every_band_for_every_length(directory: Path) -> None:
    run = read_run(directory)
    figure = drawings.bands(run)
    assert figure is not None
    bands = run.gains[(run.gains["part"] == "band") & (run.gains["metric"] == "fd")]
    for ax, kind in zip(figure.drawing.axes, ("network", "exact"), strict=True):
        assert len(ax.get_xticks()) == bands["band_low"].nunique()
        marked = [text for text in (line.get_gid() or "" for line in ax.lines) if text.startswith("tip:")]
        assert len(marked) == (bands["kind"] == kind).sum()


def test_additivity_is_said_either_way(directory: Path) -> None:
    for interval, words in (((-1.0, 1.0), "Additivity"), ((1.0, 3.0), "Not additive")):
        run = run_with(directory, {"sum of the bands − network": interval})
        section = evidence.exchanges(run)
        assert section is not None and any(words in getattr(block, "lead", "") for block in section.blocks)


@pytest.mark.parametrize(("high", "word"), [(0.9, "supported"), (1.1, "not detectably")])
def test_the_line_on_inputs_counts_detectable_levels(directory: Path, high: float, word: str) -> None:
    frame = pd.read_csv(directory / "ratios.csv")
    frame[["value", "low", "high"]] = [high - 0.1, high - 0.2, high]
    frame.to_csv(directory / "ratios.csv", index=False)
    found = dict(first_screen.lines(read_run(directory)))
    assert found["Noise keeps inputs as in training"].startswith(word)
