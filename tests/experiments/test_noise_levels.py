"""The experiment on training noise: one change at a time, its contrasts, its curves, its command line."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from smoke import smoke

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.noise import LogNormal
from experiments import noise_levels
from experiments.config import trained
from experiments.config.comparison import BestSet, Contrast
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine.options import Options
from experiments.noise_levels import contrasts, settings, trials
from experiments.stages.common import images_of
from experiments.stages.error_curve import CurveConfig, density
from experiments.stages.probe import probe_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store
from experiments.studies.noise_levels import PRESETS


def test_one_thing_is_changed_at_a_time() -> None:
    study = replace(
        PRESETS["smoke"],
        laws=("log-normal", "vp"),
        weightings=("karras", "x0"),
        parameterisations=("preconditioned", "eps"),
    )
    found = settings(study, 0.55)
    assert list(found) == ["log-normal", "log-normal, eps", "log-normal, x0", "vp"]
    assert found["log-normal, x0"] == replace(found["log-normal"], weighting="x0")
    assert found["log-normal, eps"] == replace(found["log-normal"], parameterisation="eps")
    assert len(settings(replace(study, cross=True), 0.55)) == 8


def test_settings_share_everything_else() -> None:
    planned = list(trials(PRESETS["laptop"], 0.55))
    found = list(contrasts(planned))
    for contrast in found:
        if isinstance(contrast, Contrast):
            for a, b in contrast.pairs:
                assert (a.samples.ladder, a.samples.sampler) == (b.samples.ladder, b.samples.sampler)
                assert (a.samples.seed, b.samples.seed) == (a.model.seed, b.model.seed)
                if contrast.kind == "control":
                    assert a.model == replace(b.model, seed=b.model.seed + 10_000)  # retrained
                else:
                    assert replace(a.model, noise=b.model.noise, weighting=b.model.weighting) == b.model
    assert sum(isinstance(c, BestSet) for c in found) == 2
    assert sum(isinstance(c, Contrast) and c.kind == "setting" for c in found) == 2 * 4
    budgets = {trial.model.images_seen for trial in planned if isinstance(trial, Trial)}
    assert len(budgets) == 1


def test_the_curve_of_a_gaussian_denoiser_on_images_is_about_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit of the curve: the best denoiser that knows only the variance of the data, on data of variance 1."""
    monkeypatch.setattr("experiments.stages.common.load_model", lambda *_: GaussianDenoiser())
    config = CurveConfig(TrainConfig(held_out=400), sigmas=(30.0, 1.0, 0.1))
    points = probe_stage(config, Store(tmp_path), None)
    assert [point["sigma"] for point in points] == [30.0, 1.0, 0.1] and points[0]["n_images"] == 400
    for point in points:
        assert point["relative_error"] == pytest.approx(1, abs=0.05)
        assert 0 < point["se"] < 0.05
    monkeypatch.setattr(CurveConfig, "rows", None)  # computed again, it would fail
    assert probe_stage(config, Store(tmp_path), None) == points
    monkeypatch.undo()
    with pytest.raises(ValueError, match="held_out=0: an error curve needs images that training did not see"):
        probe_stage(CurveConfig(TrainConfig()), Store(tmp_path), None)


def test_held_out_images_are_not_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    honest = trained.train

    def watch(model: torch.nn.Module, x0: torch.Tensor, *rest: object, **more: object) -> object:
        seen.append(x0)
        return honest(model, x0, *rest, **more)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(trained, "train", watch)
    train_stage(TrainConfig(images_seen=64, held_out=4000), Store(tmp_path), None, lambda n: None)
    images = images_of("mnist5k", None).standardised()
    torch.testing.assert_close(seen[0], images[:1000])


def test_of_few_images_a_tenth_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", images=pixels, labels=np.arange(300) % 2)
    found: list[Trial] = []
    monkeypatch.setattr(noise_levels, "run_experiment", lambda experiment, options: found.extend(experiment.trials))
    options = Options(preset="smoke", features="digits", precision="fp32", given=frozenset({"data", "n_samples"}))
    noise_levels.main(replace(PRESETS["smoke"], data=f"npz:{tmp_path / 'few.npz'}", n_samples=100), options)
    assert {trial.model.held_out for trial in found} == {30}


def test_density_is_that_of_log_sigma() -> None:
    sigmas = tuple(math.exp(x / 100) for x in range(-800, 600))
    assert sum(density(LogNormal(), sigmas)) / 100 == pytest.approx(1, abs=1e-4)


@pytest.mark.slow(10)
def test_smoke_ends_in_a_report(tmp_path: Path) -> None:
    done = smoke(tmp_path, "noise_levels")
    table, report = done.rows(), done.report
    assert (table["status"] == "ok").all() and table["model_id"].nunique() == 6
    assert set(table["train_noise"]) == {"log-normal(-0.507, 1.2)", "uniform(0.03, 100)"}
    lines = done.rows("curves")
    assert lines.groupby("model_id").size().tolist() == [25] * 4 and (lines["n_images"] == 64).all()
    assert "figures/errors.svg" in report and "**Caution:** each setting has its own networks" in report
