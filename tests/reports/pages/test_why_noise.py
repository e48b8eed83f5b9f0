"""The verdicts on the explanations say what the numbers say, whichever they are."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports.pages.why_noise import attribution, mechanisms
from reports.pages.why_noise import page as why_noise
from reports.results import Run, read_run

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parents[1] / "run-why_noise", tmp_path / "run"))


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
        ((3.0, 1.2), (3.1, 0.1), "undecided: the error at the samples is not detectably above"),
        ((0.4, 0.02), (3.0, 0.1), "undecided: the error at the samples is not detectably above"),
        ((1.3, 0.05), (1.29, 0.3), "undecided: samples drift away"),
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
        ((0.5, 0.01), (0.2, 0.01), "supported: noise shrinks small white errors more, at every"),
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
    here = (split["part"] == "denoiser") & (split["mode"] == mode)
    split.loc[here, ["difference", "clear"]] = difference, clear
    split.to_csv(directory / "split.csv", index=False)
    return read_run(directory)


def test_steps_are_refuted_only_by_a_clear_difference_between_denoisers(directory: Path) -> None:
    run = rewrite(directory, "trained, 8 steps", -1.0, "better", clear=True)
    assert attribution.verdict_on_steps(run)[0].startswith("refuted as the cause for networks trained on 640 images")
    assert attribution.verdict_on_denoiser(run)[0].startswith("supported")
    run = rewrite(directory, "trained, 8 steps", -1.0, "better", clear=False)
    assert attribution.verdict_on_steps(run)[0].startswith("not supported")
    assert attribution.verdict_on_denoiser(run)[0].startswith("undecided")
    run = rewrite(directory, "exact, 8 steps", -1.0, "better", clear=False)
    assert attribution.verdict_on_steps(run)[0].startswith("supported")
    assert "helps on 8 steps. It hurts" not in attribution.verdict_on_steps(run)[1]
    assert "noise (eta 1) helps on 8 steps." in attribution.verdict_on_steps(run)[1]


def test_without_its_control_the_report_gives_no_verdict(directory: Path) -> None:
    contrasts = pd.read_csv(directory / "contrasts.csv")
    contrasts[contrasts["kind"] != "control"].to_csv(directory / "contrasts.csv", index=False)
    run = read_run(directory)
    assert why_noise.opening(run).lead == "No verdict." and why_noise.sections(run)[-1].title == "Tables"


def response(directory: Path, parts: dict[str, float], ratios: dict[str, float], se: float = 1e-4) -> tuple[str, str]:
    """The verdict if the denoiser's parts of the gap are these, clear unless 0, and the sums have these ratios."""
    split = pd.read_csv(directory / "split.csv")
    for denoiser, part in parts.items():
        mode = "trained, 8 steps" if denoiser == "trained" else denoiser
        here = (split["part"] == "denoiser") & (split["mode"] == mode)
        assert here.any()
        split.loc[here, ["difference", "clear"]] = part, part != 0
    split.to_csv(directory / "split.csv", index=False)
    frame = pd.read_csv(directory / "probes.csv")
    predicted = frame["probe"] == "predicted"
    frame.loc[predicted, ["value", "se"]] = 1.0, se
    for denoiser, ratio in ratios.items():
        frame.loc[predicted & (frame["eta"] == 1) & (frame["denoiser"] == denoiser), "value"] = ratio
    frame.to_csv(directory / "probes.csv", index=False)
    return mechanisms.verdict_on_response(read_run(directory))


THREE = ("trained on 64 images", "trained", "exact + error 0.1")


@pytest.mark.parametrize(
    ("parts", "ratios", "word"),
    [
        ((-1.0, 1.0, 1.0), (0.8, 1.2, 1.1), "supported: the predicted winner is right in 3 of 3"),
        ((-1.0, 1.0, 0.0), (0.8, 1.2, 0.9), "supported: the predicted winner is right in 2 of 2"),
        ((-1.0, 1.0, 1.0), (1.2, 0.8, 0.9), "refuted: the predicted winner is wrong in 3 of 3"),
        ((-1.0, 1.0, 1.0), (0.8, 0.8, 1.1), "refuted as a rule: the predicted winner is wrong in 1 of 3"),
        ((-1.0, 0.0, 0.0), (1.2, 0.8, 0.9), "undecided: prediction and result are both detectable in 1 of 3"),
        ((-1.0, 1.0, 1.0), (1.0, 1.0, 1.0), "undecided: prediction and result are both detectable in 0 of 3"),
    ],
)
def test_error_times_contraction_is_judged_where_both_sides_are_clear(
    directory: Path, parts: tuple[float, ...], ratios: tuple[float, ...], word: str
) -> None:
    verdict, _ = response(directory, dict(zip(THREE, parts, strict=True)), dict(zip(THREE, ratios, strict=True)))
    assert verdict.startswith(word)


def test_an_unsure_prediction_refutes_nothing(directory: Path) -> None:
    verdict, text = response(directory, dict.fromkeys(THREE, -1.0), dict.fromkeys(THREE, 1.05), se=0.1)
    assert verdict.startswith("undecided: prediction and result are both detectable in 0 of 3")
    assert "1.05 to 1.05 for trained networks" in text


@pytest.mark.parametrize(
    ("rival", "against_none", "word"),
    [
        ("worse", "better", "refuted: noise scores better"),
        ("no clear difference", "better", "supported"),
        ("better", "better", "supported"),
        ("no clear difference", "no clear difference", "undecided"),
        ("no clear difference", "baseline chosen", "undecided"),
        ("undecided: the metrics disagree", "better", "undecided"),
    ],
)
def test_the_verdict_on_corrections(directory: Path, rival: str, against_none: str, word: str) -> None:
    """What it says comes from the half of the images on which the correction was not chosen."""
    frame = pd.read_csv(directory / "contrasts.csv", dtype={"train_seed": str})
    whole = frame["train_seed"].isna()
    frame.loc[whole & (frame["kind"] == "rival"), "verdict"] = rival
    corrected = (frame["kind"] == "best") & frame["mode"].str.startswith("corrected")
    frame.loc[whole & corrected, "verdict"] = against_none
    frame.to_csv(directory / "contrasts.csv", index=False)
    verdict, text = mechanisms.verdict_on_corrections(read_run(directory))
    assert verdict.startswith(word) and "sigma × 1.1 below 1 was chosen on one half" in text


@pytest.mark.parametrize(
    ("verdict", "agree", "text"),
    [
        ("worse", True, "noise hurts with an added error of fixed size 0.1 (detectable in 1 of 2 random fields)"),
        ("no clear difference", False, ""),
    ],
    ids=["the fields agree", "the fields disagree"],
)
def test_an_added_error_hurts_only_where_the_fields_agree(
    directory: Path, verdict: str, agree: bool, text: str
) -> None:
    frame = pd.read_csv(directory / "contrasts.csv", dtype={"train_seed": str})
    here = (frame["kind"] == "noise") & (frame["mode"] == "exact + error 0.1") & (frame["a"] == "eta 1")
    frame.loc[here & frame["train_seed"].isna(), ["verdict", "networks_agree"]] = verdict, agree
    frame.to_csv(directory / "contrasts.csv", index=False)
    found, numbers = attribution.verdict_on_denoiser(read_run(directory))
    assert found.startswith("supported: networks trained on 64 images gain detectably more than the exact denoiser")
    assert text in found and ("noise hurts" in found) == agree
    assert ("hurts detectably in 1 of 2 fields and helps detectably in 0 of 2" in numbers) == (not agree)
