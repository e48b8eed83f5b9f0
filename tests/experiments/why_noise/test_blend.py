"""A blend of two denoisers: each counts in its band, and is not asked elsewhere; its networks are trained first."""

from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.identity import identity
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial, described
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.metrics.features import features_id
from experiments.models.exact import ExactConfig
from experiments.stages.common import load_model
from experiments.store.store import Store
from experiments.why_noise.blend import Blend, BlendConfig

SIGMA = torch.tensor([0.1, 1.0, 3.0, 10.0])
X = torch.zeros(4, 1, 2, 2)


def constant(value: float, asked: list[float]) -> torch.nn.Module:
    class Constant(torch.nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            asked.extend(sigma.tolist())
            return torch.full_like(x, value)

    return Constant()


@pytest.mark.parametrize(("dose", "inside"), [(1.0, 3.0), (0.5, 2.0)])
def test_each_denoiser_counts_in_its_band(dose: float, inside: float) -> None:
    model = Blend(constant(3.0, []), constant(1.0, []), 1.0, 3.0, dose)
    assert model(X, SIGMA)[:, 0, 0, 0].tolist() == [1.0, inside, 1.0, 1.0]
    for sigma, expected in zip(SIGMA, (1.0, inside, 1.0, 1.0), strict=True):
        assert model(X, sigma.expand(4)).unique().tolist() == [expected]


def test_a_denoiser_is_not_asked_where_it_does_not_count() -> None:
    inner, outer = list[float](), list[float]()
    model = Blend(constant(3.0, inner), constant(1.0, outer), 1.0, 3.0)
    for sigma in SIGMA:
        model(X, sigma.expand(4))
    assert set(inner) == {1.0} and set(outer) == {sigma for sigma in SIGMA.tolist() if sigma != 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 2.0, "high": 1.0}, "a band needs"),
        ({"dose": 0.0}, "dose=0.0"),
        ({"outside": TrainConfig(seed=1)}, "same data"),
    ],
)
def test_what_makes_no_blend_is_said(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(BlendConfig(TrainConfig(), TrainConfig(images_seen=1)), **changes)


@pytest.mark.slow
def test_a_network_in_a_band_of_the_exact_denoiser_is_trained_sampled_and_named(store: Store, data: str) -> None:
    network, exact = TrainConfig(data=data, images_seen=128, warmup_images=64), ExactConfig(data)
    blend = BlendConfig(network, exact, 2.85)
    assert BlendConfig(exact, blend).networks == (network,)
    reference = ReferenceConfig(f"{data}#reference=200", "digits", features_id("digits"))
    trials = [
        Trial("why_noise", "band", ScoreConfig(SampleConfig(model, Ladder(n_steps=6), Euler(0.0), 40), reference), name)
        for model, name in ((blend, "blend"), (exact, "exact"), (replace(blend, low=100.0), "outside the ladder"))
    ]
    assert {task.kind for task in Plan.of(trials[:1]).tasks} == {"references", "models", "samples", "scores"}
    result = execute(Plan.of(trials), RunContext(store), Console(quiet=True))
    assert [row["status"] for row in result.rows] == ["ok"] * 3
    pixels = [
        load_file(store.path("samples", identity(trial.samples)) / "samples.safetensors")["pixels"] for trial in trials
    ]
    assert torch.equal(pixels[1], pixels[2]) and not torch.equal(pixels[0], pixels[1])
    row = described(trials[0])
    assert row["network"] == "small at sigma 2.85 and above, else exact" and row["images_seen"] == 128

    x, sigma = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.full((4,), 5.0)
    loaded, alone = (load_model(config, store, None, "cpu") for config in (blend, network))
    with torch.no_grad():
        assert torch.equal(loaded(x, sigma), alone(x, sigma))
