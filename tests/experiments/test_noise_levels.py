"""The experiment on training noise: one change at a time, its contrasts, its curves, its command line."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from smoke import smoke
from studies import confirmed, sides

from diffusion_core.exact import GaussianDenoiser
from experiments.noise_levels import NoiseLevels
from experiments.run import networks, stages
from experiments.run.cache import Cache
from experiments.run.networks import Trained, data_of
from experiments.run.stages import error_rows


def preset(name: str, **options: Any) -> NoiseLevels:
    return NoiseLevels(**{**NoiseLevels.presets[name], **options})


def test_one_thing_is_changed_at_a_time():
    varied = {"weightings": ("karras", "x0"), "parameterisations": ("preconditioned", "eps")}
    study = preset("smoke", train_noise=("log-normal", "vp"), **varied)
    trainings = {label: values for label, (_, values) in study.trainings().items()}
    assert list(trainings) == ["log-normal", "log-normal, eps", "log-normal, x0", "vp"]
    assert trainings["log-normal, x0"] == trainings["log-normal"] | {"weighting": "x0"}
    assert trainings["log-normal, eps"] == trainings["log-normal"] | {"parameterisation": "eps"}
    assert [axis for axis, _ in study.trainings().values()] == ["", "parameterisation", "weighting", "train_noise"]
    crossed = replace(study, cross=True).trainings()
    assert len(crossed) == 8 and {axis for axis, _ in crossed.values()} == {"combination"}


def test_run_json_gets_the_formula_of_each_training():
    train_noise = ("edm", "log-normal", "log-normal(0, 1)", "vp")
    study = preset("smoke", train_noise=train_noise, parameterisations=("mixture-input",))
    formulas = study.provenance["formulas"]
    assert {*formulas} == {"edm", "log-normal", "vp", *study.weightings, "mixture-input"}
    assert formulas["log-normal"] == "ln sigma is normal with mean `p_mean` and standard deviation `p_std`."
    assert formulas["edm"] == "EDM's distribution: log-normal(-0.507, 1.2)."
    assert "mixture of Gaussians" in formulas["mixture-input"]


def test_settings_share_everything_else():
    study = preset("laptop")
    compared, runs = confirmed(study)
    assert [(pair.question, pair.sides[0][0][2]) for pair in compared] == [
        (f"{axis} in training, sampled with eta {eta}", f"{label}, eta {eta}")
        for axis, label in (("Other weights", "edm, min-snr-1.25"), ("Other noise levels", study.train_noise[1]))
        for eta in (0, 1)
    ]
    for pair in compared:
        assert len(sides(pair, runs)) == 5
        for a, b in sides(pair, runs):
            assert (a.setting.schedule, a.setting.sampler) == (b.setting.schedule, b.setting.sampler)
            assert (a.seed, b.seed) == (a.network.seed, b.network.seed)
            may_differ = {name: getattr(b.network, name) for name in ("noise", "weighting")}
            assert replace(a.network, **may_differ) == b.network  # type: ignore[type-var]


def test_the_curve_of_a_gaussian_denoiser_on_images_is_about_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The unit of the curve: the best denoiser that knows only the variance of the data, on data of variance 1."""
    monkeypatch.setattr(Trained, "load", lambda *_: GaussianDenoiser())
    few: dict[str, Any] = {"images_seen": 64, "warmup_images": 0}
    monkeypatch.setattr(stages, "LEVELS", (30.0, 1.0, 0.1))
    curve = Trained(held_out=400, **few), Cache(tmp_path)
    points = error_rows(*curve)
    assert [point["sigma"] for point in points] == [30.0, 1.0, 0.1] and points[0]["n_images"] == 400
    for point in points:
        assert point["relative_error"] == pytest.approx(1, abs=0.05)
        assert 0 < point["se"] < 0.05
    monkeypatch.setattr(stages, "_errors", None)  # computed again, it would fail
    assert error_rows(*curve) == points
    monkeypatch.undo()
    with pytest.raises(ValueError, match="held_out=0: an error curve needs images that training did not see"):
        error_rows(Trained(**few), Cache(tmp_path))


def test_held_out_images_are_not_trained_on(monkeypatch: pytest.MonkeyPatch):
    seen: list[torch.Tensor] = []
    step = SimpleNamespace(images_seen=64, loss=torch.tensor(1.0))
    monkeypatch.setattr(networks, "train", lambda model, x0, *rest, **more: [seen.append(x0) or step])
    Trained(held_out=4000)._train(lambda evaluations: None)
    torch.testing.assert_close(seen[0], data_of("mnist5k").standardised()[:1000])


@pytest.mark.slow(10)
def test_smoke_ends_in_a_report(tmp_path: Path):
    done = smoke(tmp_path, "noise_levels")
    table, report = done.rows(), done.report
    assert (table["status"] == "ok").all() and table["model_id"].nunique() == 4
    assert set(table["train_noise"]) == {"log-normal(-0.507, 1.2)", "uniform(0.03, 100)"}
    lines = done.rows("curves")
    assert lines.groupby("model_id").size().tolist() == [25] * 4 and (lines["n_images"] == 64).all()
    assert "figures/errors.svg" in report and done.summary["verdict"].startswith("No verdict. ")
