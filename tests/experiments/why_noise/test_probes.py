"""Probes where the answer is known: the exact denoiser, an error of constant size, one Gaussian in closed form."""

from typing import Any

import pytest
import torch

from experiments.config.config import Ladder
from experiments.config.denoisers import Machine
from experiments.models.exact import ExactConfig, WithError, mixture_data, mixture_of
from experiments.stages.common import _load_model
from experiments.stages.probe import probe_stage
from experiments.store.store import Store
from experiments.why_noise.probes import MixtureProbe, Norm, ProbeSetup, Size, Visited

pytestmark = pytest.mark.slow

FP32 = Machine(threads=1)


def measured(
    store: Store, kind: type[MixtureProbe], model: ExactConfig, etas: tuple[float, ...] = (0.0, 1.0)
) -> list[dict[str, Any]]:
    return probe_stage(kind(model, Ladder(n_steps=12), 80, etas, machine=FP32), store, None)


def test_an_error_of_constant_size_has_ratio_one_wherever_samples_are(store: Store, data: str) -> None:
    """The control that DESIGN asks for: size depends on sigma alone, so no eta can change it."""
    for row in measured(store, Visited, ExactConfig(data, error=0.3)):
        assert row["value"] == pytest.approx(1, abs=1e-3) and row["se"] < 1e-3


def test_an_error_that_grows_off_the_data_has_a_ratio_above_one(
    store: Store, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of a sampler that is itself wrong lie where its error is larger; fresh inputs do not."""

    class Growing(WithError):
        def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return 1.3 * self.exact(x, sigma)  # its own trajectories overshoot

    honest = ExactConfig.load
    monkeypatch.setattr(ExactConfig, "load", lambda config, loader: Growing(honest(config, loader), 1.0))
    _load_model.cache_clear()
    rows = measured(store, Visited, ExactConfig(data, seed=5))
    _load_model.cache_clear()
    control = [row for row in rows if row["eta"] == -1]
    assert all(abs(row["value"] - 1) < 4 * row["se"] + 0.02 for row in control)
    assert any(abs(row["value"] - 1) > 6 * row["se"] for row in rows if row["eta"] == 0)


def test_the_added_error_has_the_size_it_says(data: str) -> None:
    exact = mixture_of(data).float()
    wrong = WithError(exact, 0.2)
    x, sigma = torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.5, 1, 3, 30])
    difference = (wrong(x, sigma) - exact(x, sigma)).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(difference * (1 + sigma.square()).sqrt(), torch.full((5,), 0.2), rtol=1e-3, atol=0)


def test_the_size_of_a_known_error_is_measured(store: Store, data: str) -> None:
    rows = measured(store, Size, ExactConfig(data, error=0.3), etas=())
    assert len(rows) == 12
    for row in rows:
        assert row["value"] == pytest.approx(0.3, rel=1e-2)


def test_the_norm_of_eps_on_samples_of_the_truth_is_as_on_fresh_inputs(
    store: Store, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples replaced by x0 + sigma n of other draws: no drift. Samples twice as far out: a norm above 1."""

    def fresh(factor: float) -> Any:
        def trajectory(setup: Any, eta: float, x: torch.Tensor, noise: Any) -> Any:
            for step, sigma in enumerate(setup.sigmas):
                yield step, setup.clean[len(x) :] + factor * sigma * noise()

        return trajectory

    for factor, seed in ((1.0, 7), (2.0, 8)):
        monkeypatch.setattr(ProbeSetup, "trajectory", fresh(factor))
        for row in measured(store, Norm, ExactConfig(data, seed=seed), etas=(0.0,)):
            if factor == 1:
                assert row["value"] == pytest.approx(1, abs=0.02 + 4 * row["se"])
            elif row["sigma"] > 1:  # below, the components' own width hides the noise
                assert row["value"] > 1.2


def test_probes_are_computed_once_and_named(store: Store, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(store, Visited, ExactConfig(data, error=0.3))
    monkeypatch.setattr(Visited, "measured", None)  # computed again, it would fail
    assert measured(store, Visited, ExactConfig(data, error=0.3)) == first
    assert {row["probe"] for row in first} == {"visited"}


def test_a_mixture_is_a_data_set_whose_draws_are_not_clipped(data: str) -> None:
    images = mixture_data(data, None)
    x0 = images.standardised()
    assert x0.shape == (20_000, 1, 32, 32) and images.name == data
    assert (x0 < (0 - images.mean) / images.std).float().mean() > 0.1  # blacker than black
    torch.testing.assert_close(images.to_pixels(x0), images.pixels)
    others = mixture_data(f"{data}#reference", None).standardised()
    assert others.shape == x0.shape and not torch.equal(others[0], x0[0])
