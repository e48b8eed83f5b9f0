"""The experiment on why noise helps: its arms, the gains and claims, its run and report."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from smoke import smoke

from experiments.config.comparison import Contrast
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.metrics.distances import jackknife_se
from experiments.models.exact import N_DRAWS
from experiments.why_noise.arms import FULL, NONE, arms, bands
from experiments.why_noise.blend import BlendConfig
from experiments.why_noise.copies import shares
from experiments.why_noise.experiment import contrasts, trials
from experiments.why_noise.gains import Gains, claim_rows, claims, gain_rows
from experiments.why_noise.measurements import probes, ratio_rows
from experiments.why_noise.settings import PRESETS, WhyStudy
from experiments.why_noise.wrong import WrongConfig
from reports.schema import METRICS

STUDY = replace(PRESETS["laptop"], data="mixture:somewhere")
REAL = replace(STUDY, real=True, data="mnist5k", held_out=500, lengths=(36_000,))


@cache
def planned() -> list[Trial]:
    """All trials of the study; planning them takes a second."""
    found = list(trials(STUDY))
    assert all(isinstance(trial, Trial) for trial in found)
    return found  # type: ignore[return-value]  # as it says


def at(model: object, sigma: float) -> object:
    """The denoiser that a blend consults at a level."""
    while isinstance(model, BlendConfig):
        model = model.inside if model.low <= sigma < model.high else model.outside
    return model


def blends(model: object) -> list[BlendConfig]:
    """The blends that a denoiser is made of."""
    return [model, *blends(model.inside), *blends(model.outside)] if isinstance(model, BlendConfig) else []


def test_noise_is_all_that_differs_within_a_pair() -> None:
    found = list(contrasts(planned()))
    assert {c.kind for c in found} == {"noise", "control"}
    for contrast in found:
        assert isinstance(contrast, Contrast) and len(contrast.pairs) == 5
        for a, b in contrast.pairs:
            assert a.model == b.model and a.samples.ladder == b.samples.ladder
            assert a.samples.fresh_start == b.samples.fresh_start
            assert (a.samples.seed == b.samples.seed) == (contrast.kind != "control")
            assert a.samples.planned_nfe == b.samples.planned_nfe
            assert a.samples.n_samples == b.samples.n_samples


def test_gains_that_a_claim_adds_up_have_as_many_images_as_each_other() -> None:
    n = {arm.name: STUDY.of(arm.main).n_samples for arm in reversed(list(arms(STUDY, 0)))}  # the first of a name counts
    used = [{n[arm] for _, arm, _ in claim.terms} for claim in claims(STUDY, list(arms(STUDY, 0)))]
    assert all(len(sizes) == 1 for sizes in used) and set.union(*used) == {512, 2048}
    assert {trial.mode: trial.samples.n_samples for trial in planned()} == n | {"control": 2048}
    runs = [(trial.mode, trial.setting, trial.model.seed) for trial in planned()]
    assert len(runs) == len(set(runs)), "none is planned twice"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_take_at_most_a_third_of_the_draws(name: str) -> None:
    drawn = int(PRESETS[name].reference_draws.partition("=")[2] or N_DRAWS)
    assert max(PRESETS[name].n_samples, PRESETS[name].n_others) <= N_DRAWS // 3
    assert PRESETS[name].of(main=True).n_samples <= drawn // 3


def test_bands_cover_all_levels_once_and_transplants_are_the_network_where_they_say() -> None:
    found = [arm for arm in arms(STUDY, 0) if arm.part in ("band", "dose")]  # each twice: for two lengths of training
    assert len(found) == 2 * 3 * len(bands(STUDY)) == 36
    for arm in found:
        assert {one.dose for one in blends(arm.model)} == {0.5 if arm.part == "dose" else 1.0}
        for sigma in STUDY.ladder().sigmas():
            inside = arm.band[0] <= sigma < arm.band[1]
            assert isinstance(at(arm.model, sigma), TrainConfig) == (inside == (arm.kind == "network"))
    for sigma in STUDY.ladder().sigmas():
        assert sum(low <= sigma < high for low, high in bands(STUDY)) == 1


def test_another_change_in_each_band() -> None:
    [arm] = [arm for arm in arms(STUDY, 0) if arm.kind == "weights, varied"]
    found = [at(arm.model, sigma) for sigma in STUDY.ladder().sigmas()]
    assert all(isinstance(one, WrongConfig) for one in found)
    assert {one.change for one in found if isinstance(one, WrongConfig)} == set(range(6))


def test_fresh_starts_end_on_the_same_levels() -> None:
    whole = STUDY.ladder().sigmas()
    found = [arm for arm in arms(STUDY, 0) if arm.part == "start"]
    assert len(found) == 2 * len(STUDY.bands) and all(arm.fresh_start for arm in found)
    for arm in found:
        sigmas = arm.ladder.sigmas()
        assert sigmas == pytest.approx(whole[-len(sigmas) :])


def test_exact_denoisers_are_never_rounded() -> None:
    study = replace(STUDY, sampling=replace(STUDY.train.machine, precision="bf16", compiled=True))
    for trial in trials(study):
        assert isinstance(trial, Trial)
        if not trial.model.networks:
            assert trial.samples.machine.precision == "fp32" and not trial.samples.machine.compiled


def made_up(study: WhyStudy) -> Gains:
    """Values drawn at random, which differ between networks by more than images explain; 20 replicates each."""
    generator = np.random.default_rng(0)
    values = {
        (arm.name, setting, seed): {"fd": np.append(generator.normal(), generator.normal(size=20) / 40)}
        for seed in study.seeds
        for arm in arms(study, seed)
        for setting in arm.settings
    }
    return Gains(values, list(arms(study, 0)))


def test_a_gain_is_paired_by_seed_and_leaves_the_same_images_out() -> None:
    found = made_up(STUDY)
    rows = pd.DataFrame(gain_rows(STUDY, found))
    assert set(rows["part"]) == {"whole", "steps", "consistent", "inconsistent", "split", "above", "band", "dose",
                                 "where", "start", "further"}  # fmt: skip
    one = rows[(rows["arm"] == "exact") & (rows["setting"] == FULL) & (rows["train_seed"] == 3)].iloc[0]
    (value, *replicates), (value_0, *replicates_0) = (found.values["exact", s, 3]["fd"] for s in (FULL, NONE))
    assert one["difference"] == pytest.approx(value - value_0)
    assert one["se"] == pytest.approx(jackknife_se(np.subtract(replicates, replicates_0)))
    whole = rows[(rows["arm"] == "exact") & (rows["setting"] == FULL) & rows["train_seed"].isna()].iloc[0]
    assert whole["interval"] == "t over 5 networks" and whole["n_networks"] == 5


@pytest.mark.parametrize("study", [STUDY, REAL], ids=["mixture", "real"])
def test_each_claim_is_the_sum_that_it_names(study: WhyStudy) -> None:
    found = made_up(study)
    keys = ("claim", "images_seen", "band_low", "arm", "kind")
    rows = {tuple(row[key] for key in keys): row for row in claim_rows(study, found)}
    assert len(rows) == len(list(claims(study, found.arms)))

    def mean(arm: str, setting: str = FULL) -> float:
        return float(np.mean([gain[0] for gain in found.gain(arm, "fd", setting).values()]))

    seen = study.lengths[-1]
    network = f"network, {seen:,} images"
    exact_above = f"{network}, but exact above sigma 2.85" if study.real else f"{network}, below sigma 2.85 only"
    expected = mean(exact_above) - 0.5 * mean(network)
    assert rows["exact above − 0.5 everywhere", seen, 2.85, "", ""]["difference"] == pytest.approx(expected)
    if not study.real:
        parts = [arm.name for arm in found.arms if arm.part == "band" and arm.kind == "network"
                 and arm.images_seen == seen]  # fmt: skip
        beyond = sum(mean(part) - mean("exact") for part in parts) - (mean(network) - mean("exact"))
        assert rows["sum of the bands − network", seen, None, "", ""]["difference"] == pytest.approx(beyond)


def test_ratios_are_geometric_means_with_limits_for_all_at_once() -> None:
    rows = [
        {"probe": "visited", "images_seen": 9, "train_seed": seed, "sigma": sigma, "eta": eta, "value": value}
        for seed, factor in enumerate((0.5, 0.5, 0.8))
        for sigma in (0.1, 1.0)
        for eta, value in ((-1.0, 7.0), (0.0, 2.0), (1.0, 2.0 * factor))
    ]
    found = list(ratio_rows(rows))
    assert [(row["eta"], row["sigma"]) for row in found] == [(1.0, 0.1), (1.0, 1.0)]
    for row in found:
        assert row["value"] == pytest.approx((0.5 * 0.5 * 0.8) ** (1 / 3))
        half = 6.205 * np.std(np.log([0.5, 0.5, 0.8]), ddof=1) / 3**0.5  # t(1 - 0.05 / 4, 2)
        assert math.log(row["high"] / row["value"]) == pytest.approx(half, rel=1e-3)


@pytest.mark.slow
def test_limits_of_ratios_hold_for_all_of_them_together() -> None:
    """36 ratios that are alike between levels, and three that differ, over five networks: 250 simulated runs."""
    generator, held = np.random.default_rng(1), 0
    levels, etas = np.geomspace(0.05, 20, 12), (0.5, 1.0, 1.4)
    for _ in range(250):
        rows = []
        for seed in range(5):
            shared = generator.normal(size=len(etas))
            for sigma in levels:
                rows.append({"probe": "visited", "images_seen": 9, "train_seed": seed, "sigma": sigma, "eta": 0.0,
                             "value": 2.0})  # fmt: skip
                logs = 0.2 * shared + 0.1 * generator.normal(size=len(etas))
                rows += [
                    rows[-1] | {"eta": eta, "value": 2 * math.exp(log)} for eta, log in zip(etas, logs, strict=True)
                ]
        found = list(ratio_rows(rows))
        held += all(row["low"] <= 1 <= row["high"] for row in found)
    assert len(found) == 36 and held >= 0.92 * 250  # 95 % expected at least; two standard errors below that are allowed


def test_probes_measure_residuals_of_known_errors_only() -> None:
    found = [(arm, config) for arm, config in probes(STUDY) if config.name == "residual"]
    assert found and all(not arm.model.networks and config.seed == 0 for arm, config in found)
    assert "exact" in {arm.name for arm, _ in found} and "field" not in {arm.kind for arm, _ in found}


def test_copies_are_found() -> None:
    import torch

    training = torch.randint(0, 256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    other = torch.randint(0, 256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert shares(training[:10] // 2 * 2, training)["copies"] == 1 and shares(other, training)["copies"] == 0
    assert shares(torch.cat([training[:25], other[:25]]), training)["copies"] == 0.5
    faded = (0.55 * training[:25].float() + 0.45 * other[:25].float()).to(torch.uint8)  # a residue hides the copies
    found = shares(faded, training)
    assert found["copies"] == 0 and found["near_copies"] > 0.9 and shares(other, training)["near_copies"] < 0.1


@pytest.mark.slow(20)
@pytest.mark.parametrize("real", [False, True], ids=["mixture", "real"])
def test_smoke_ends_in_a_report(tmp_path: Path, real: bool) -> None:
    done = smoke(tmp_path, "why_noise", "--n-samples", "40", *(["--real"] if real else []))
    table, gains, report = done.rows(), done.rows("gains"), done.report
    assert (table["status"] == "ok").all() and gains["difference"].notna().all()
    if real:
        assert (table["data"] == "mnist5k").all() and (done.out / "copies.csv").is_file()
        assert set(gains["metric"]) == {*METRICS, "root", "whitened"}
        sections = ("## Predictions", "## Where the errors are made", "## Where must noise be put back?")
    else:
        assert table["data"].str.fullmatch("mixture:[0-9a-f]{12}").all()
        probed = done.rows("probes")
        assert set(probed["probe"]) == {"visited", "norm", "size", "residual"}
        control = probed[(probed["probe"] == "visited") & (probed["eta"] == -1)]
        assert (control["value"] - 1).abs().max() < 0.5
        assert set(gains["metric"]) == {*METRICS, "root", "whitened", "class_chi2", "log_density"}
        sections = ("## Predictions", "## Where the errors are made", "## Consistent and inconsistent errors",
                    "## Inputs like training data?", "## Where must noise be put back?")  # fmt: skip
    places = [report.index(text) for text in sections]
    assert places == sorted(places) and "not tested" in report
