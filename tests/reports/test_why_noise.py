"""The verdicts on the explanations say what the numbers say, whichever they are."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports import explanations, mechanisms, why_noise
from reports.tables import Run, read_run

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parent / "run-why_noise", tmp_path / "run"))


def probes(directory: Path, name: str, values: dict[tuple[float, str], tuple[float, float]]) -> Run:
    """The run with this probe's values: (eta, network) -> (value, standard error)."""
    frame = pd.read_csv(directory / "probes.csv")
    for (eta, seed), (value, se) in values.items():
        here = (frame["probe"] == name) & (frame["eta"] == eta) & (frame["train_seed"].astype(str) == seed)
        frame.loc[here & (frame["denoiser"] == "trained"), ["value", "se"]] = value, se
    frame.to_csv(directory / "probes.csv", index=False)
    return read_run(directory)


@pytest.mark.parametrize(
    ("quiet", "noisy", "word"),
    [
        ((3.0, 0.1), (1.0, 0.01), "supported"),
        ((3.0, 0.1), (2.0, 0.1), "partly"),
        ((1.0, 0.01), (1.01, 0.01), "refuted"),
        ((3.0, 1.2), (3.1, 0.1), "undecided: the error where samples are is not clearly above"),
        ((0.4, 0.02), (3.0, 0.1), "undecided: the error where samples are is not clearly above"),
        ((1.3, 0.05), (1.29, 0.3), "undecided: samples leave"),
    ],
)
def test_the_verdict_on_inputs(
    directory: Path, quiet: tuple[float, float], noisy: tuple[float, float], word: str
) -> None:
    values = {(eta, seed): found for eta, found in ((0.0, quiet), (1.0, noisy)) for seed in "01"}
    verdict, text = mechanisms.verdict_on_inputs(probes(directory, "visited", values))
    assert verdict.startswith(word)
    assert f"{quiet[0]:.2f} ±" in text and f"{noisy[0]:.2f} ±" in text


@pytest.mark.parametrize(
    ("quiet", "noisy", "word"),
    [
        ((0.5, 0.01), (0.2, 0.01), "supported: noise shrinks earlier errors more, wherever"),
        ((0.2, 0.01), (0.5, 0.01), "refuted"),
        ((0.5, 0.4), (0.51, 0.4), "undecided"),
    ],
)
def test_the_verdict_on_contraction(
    directory: Path, quiet: tuple[float, float], noisy: tuple[float, float], word: str
) -> None:
    values = {(eta, seed): found for eta, found in ((0.0, quiet), (1.0, noisy)) for seed in "01"}
    assert mechanisms.verdict_on_contraction(probes(directory, "contraction", values))[0].startswith(word)


def rewrite(directory: Path, mode: str, difference: float, verdict: str, clear: bool) -> Run:
    """The run in which eta 1 changes KD by `difference` in this mode alone, with the denoiser's part to match."""
    contrasts = pd.read_csv(directory / "contrasts.csv", dtype={"train_seed": str})
    contrasts.loc[(contrasts["kind"] == "noise") & contrasts["train_seed"].isna(), "verdict"] = "no clear difference"
    here = (contrasts["kind"] == "noise") & (contrasts["mode"] == mode) & (contrasts["a"] == "eta 1")
    contrasts.loc[here & contrasts["train_seed"].isna(), "verdict"] = verdict
    contrasts.loc[here, ["difference", "low", "high"]] = difference, difference - 0.01, difference + 0.01
    contrasts.to_csv(directory / "contrasts.csv", index=False)
    split = pd.read_csv(directory / "split.csv")
    split.loc[split["part"] == f"denoiser, {mode}", ["difference", "clear"]] = difference, clear
    split.to_csv(directory / "split.csv", index=False)
    return read_run(directory)


def test_steps_are_refuted_only_by_a_clear_difference_between_denoisers(directory: Path) -> None:
    run = rewrite(directory, "trained, 8 steps", -1.0, "better", clear=True)
    assert explanations.verdict_on_steps(run)[0].startswith("refuted as the reason")
    assert explanations.verdict_on_denoiser(run)[0].startswith("supported")
    run = rewrite(directory, "trained, 8 steps", -1.0, "better", clear=False)
    assert explanations.verdict_on_steps(run)[0].startswith("not supported")
    assert explanations.verdict_on_denoiser(run)[0].startswith("undecided")
    run = rewrite(directory, "exact, 8 steps", -1.0, "better", clear=False)
    assert explanations.verdict_on_steps(run)[0].startswith("supported")
    assert "helps on some ladders" in explanations.verdict_on_steps(run)[1]


def test_without_its_control_the_report_gives_no_verdict(directory: Path) -> None:
    contrasts = pd.read_csv(directory / "contrasts.csv")
    contrasts[contrasts["kind"] != "control"].to_csv(directory / "contrasts.csv", index=False)
    first, tables = why_noise.sections(read_run(directory))
    assert first.blocks[0].lead == "No verdict" and tables.title == "Tables"


@pytest.mark.parametrize(
    ("noisy", "word", "right"),
    [((1.3, 1.3), "as a rule", 1), ((1.3, 0.9), ": error times", 0), ((0.7, 0.7), ": error times", 0)],
)
def test_error_times_contraction_must_name_every_winner(
    directory: Path, noisy: tuple[float, float], word: str, right: int
) -> None:
    """In these rows noise hurts the trained denoiser, and the two others are named wrongly."""
    values = {(0.0, seed): (1.0, 1e-3) for seed in "01"}
    values |= {(1.0, seed): (ratio, 1e-3) for seed, ratio in zip("01", noisy, strict=True)}
    verdict, text = mechanisms.verdict_on_response(probes(directory, "predicted", values))
    assert verdict.startswith(f"refuted{' ' * word.startswith('as')}{word}") and f"in {right} of the 3 cases" in text


def test_error_times_contraction_is_supported_by_three_right_names(directory: Path) -> None:
    frame = pd.read_csv(directory / "probes.csv")
    predicted = frame["probe"] == "predicted"
    frame.loc[predicted, ["value", "se"]] = 1.0, 1e-4
    for denoiser, ratio in (("trained on 64 images", 0.8), ("trained", 1.2), ("exact + error 0.1", 1.1)):
        frame.loc[predicted & (frame["eta"] == 1) & (frame["denoiser"] == denoiser), "value"] = ratio
    frame.to_csv(directory / "probes.csv", index=False)
    verdict, text = mechanisms.verdict_on_response(read_run(directory))
    assert verdict.startswith("supported") and "3 of the 3 cases" in text and "0.80 and 0.80 (trained on 64" in text
    frame.loc[predicted & (frame["eta"] == 1) & (frame["train_seed"] == 0), "value"] = 1.0  # one network unsure
    frame.to_csv(directory / "probes.csv", index=False)
    found = mechanisms.responses(read_run(directory))
    assert [one.predicted for one in found] == ["undecided"] * 3
    assert mechanisms.verdict_on_response(read_run(directory))[0].startswith("refuted: error times contraction never")


@pytest.mark.parametrize(
    ("rival", "against_none", "word"),
    [
        ("worse", "better", "refuted: noise does better"),
        ("no clear difference", "better", "supported"),
        ("better", "better", "supported"),
        ("no clear difference", "no clear difference", "undecided"),
        ("undecided: the metrics disagree", "better", "undecided"),
    ],
)
def test_the_verdict_on_corrections(directory: Path, rival: str, against_none: str, word: str) -> None:
    frame = pd.read_csv(directory / "contrasts.csv", dtype={"train_seed": str})
    whole = frame["train_seed"].isna()
    frame.loc[whole & (frame["kind"] == "rival"), "verdict"] = rival
    frame.loc[whole & (frame["kind"] == "correction"), "verdict"] = against_none
    frame.to_csv(directory / "contrasts.csv", index=False)
    verdict, text = mechanisms.verdict_on_corrections(read_run(directory))
    assert verdict.startswith(word) and "sigma × 1.1 below 1, chosen on one half" in text
