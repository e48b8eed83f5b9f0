"""Probes where the answer is known: the exact denoiser, an error of constant size, one Gaussian in closed form."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from dialect_steps import eta_steps

from diffusion_core.exact import Mixture, gaussian_moments
from experiments.config.config import Ladder
from experiments.config.denoisers import ExactConfig, Machine
from experiments.config.identity import MIXTURE
from experiments.models.exact import WithError, exact_model, mixture_data
from experiments.stages import common, probe_setup, probes
from experiments.stages.common import load_model
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.stages.probes import ProbeConfig, probe_stage
from experiments.store.store import Store

pytestmark = pytest.mark.slow

SMALL = MixtureConfig(n_components=2, rank=3, em_steps=1)
FP32 = Machine(threads=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    mixture_stage(SMALL, store)
    return store


@pytest.fixture(scope="module")
def data(store: Store) -> str:
    return f"{MIXTURE}{next(iter((store.root / 'mixtures').iterdir()))}"


def probe(store: Store, name: str, model: ExactConfig, **more: Any) -> list[dict[str, Any]]:
    usual = {"etas": (0.0, 1.0), "ladder": Ladder(n_steps=12), "n_samples": 80, "machine": FP32}
    return probe_stage(ProbeConfig(name, model, **(usual | more)), store, None)


def test_an_error_of_constant_size_has_ratio_one_wherever_samples_are(store: Store, data: str) -> None:
    """The control that DESIGN asks for: size depends on sigma alone, so no eta can change it."""
    for row in probe(store, "visited", ExactConfig(data, error=0.3)):
        assert row["value"] == pytest.approx(1, abs=1e-3) and row["se"] < 1e-3


def test_an_error_that_grows_off_the_data_has_a_ratio_above_one(
    store: Store, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of a sampler that is itself wrong lie where its error is larger; fresh inputs do not."""

    class Growing(WithError):
        def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return 1.3 * self.exact(x, sigma)  # its own trajectories overshoot

    honest = exact_model
    monkeypatch.setattr(common, "exact_model", lambda config: Growing(honest(config), 1.0))
    load_model.cache_clear()
    rows = probe(store, "visited", ExactConfig(data, seed=5))
    load_model.cache_clear()
    control = [row for row in rows if row["eta"] == -1]
    assert all(abs(row["value"] - 1) < 4 * row["se"] + 0.02 for row in control)
    assert any(abs(row["value"] - 1) > 6 * row["se"] for row in rows if row["eta"] == 0)


def test_the_added_error_has_the_size_it_says(data: str) -> None:
    exact, wrong = exact_model(ExactConfig(data)), exact_model(ExactConfig(data, error=0.2))
    x, sigma = torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.5, 1, 3, 30])
    difference = (wrong(x, sigma) - exact(x, sigma)).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(difference * (1 + sigma.square()).sqrt(), torch.full((5,), 0.2), rtol=1e-3, atol=0)


def test_spread_of_one_gaussian_is_the_closed_form(store: Store, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """N(0, 1) down a ladder: .9735 of the truth at eta 0 and .9496 at eta 1 for 66 steps from 30 to 0.03."""
    d = 1024
    gaussian = Mixture(torch.ones(1), torch.zeros(1, d), torch.eye(d)[:, :16][None], torch.zeros(1, 16), torch.ones(1))
    monkeypatch.setattr(probe_setup, "read_mixture", lambda _: gaussian)
    monkeypatch.setattr(common, "exact_model", lambda _: gaussian)
    load_model.cache_clear()
    rows = probe(store, "spread", ExactConfig(data, seed=6), ladder=Ladder(), n_samples=400)
    load_model.cache_clear()
    for row in (row for row in rows if row["probe"] == "mean"):
        assert row["value"] == pytest.approx(1 / math.sqrt(400), rel=0.5)  # no more than draws of the truth show
    for row in (row for row in rows if row["probe"] == "spread"):
        steps = eta_steps(Ladder().sigmas(), row["eta"])
        variance = gaussian_moments(list(steps.sigmas), list(steps.alphas), list(steps.betas))[-1]
        expected = math.sqrt(variance / (1 + 0.03**2))
        assert row["value"] == pytest.approx(expected, abs=4 * row["se"]) and row["se"] < 0.02
        # a ladder that ends at 0.0286, as in the closed form known beforehand, is a little shorter
        assert expected == pytest.approx({0.0: 0.9735, 1.0: 0.9496}[row["eta"]], abs=1e-3)


def test_the_level_of_fresh_inputs_is_the_tracked_one(store: Store, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples replaced by x0 + sigma n, and by x0 + 1.1 sigma n, at every step."""

    def fresh(factor: float) -> Any:
        def trajectory(setup: Any, eta: float, x: torch.Tensor, noise: Any, first: int = 0) -> Any:
            for step, sigma in enumerate(setup.sigmas):
                yield step, setup.clean[: len(x)] + factor * sigma * noise()

        return trajectory

    for factor, seed in ((1.0, 7), (1.1, 8)):
        monkeypatch.setattr(probes.ProbeSetup, "trajectory", fresh(factor))
        rows = probe(store, "level", ExactConfig(data, seed=seed), etas=(0.0,))
        assert len(rows) == 13
        low = [row for row in rows if row["sigma"] < 10]  # above, a factor of 1.1 is far within what 80 images tell
        for row in low:
            assert row["value"] == pytest.approx(factor, abs=0.02 + 4 * row["se"])


def test_noise_contracts_a_gaussian_as_computed(store: Store, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is affine, so what is left of a push is the product of 1 - alpha sigma^2 / (1 + sigma^2)."""
    d = 1024
    gaussian = Mixture(torch.ones(1), torch.zeros(1, d), torch.eye(d)[:, :1][None], torch.zeros(1, 1), torch.ones(1))
    monkeypatch.setattr(probe_setup, "read_mixture", lambda _: gaussian)
    monkeypatch.setattr(common, "exact_model", lambda _: gaussian)
    load_model.cache_clear()
    rows = probe(store, "contraction", ExactConfig(data, seed=9))
    load_model.cache_clear()
    assert {row["start"] for row in rows} == {Ladder(n_steps=12).sigmas()[step] for step in (0, 4, 8)}
    for row in rows:
        steps = eta_steps(Ladder(n_steps=12).sigmas(), row["eta"])
        passed = [
            1 - alpha * sigma**2 / (1 + sigma**2)
            for sigma, alpha in zip(steps.sigmas, steps.alphas, strict=False)
            if row["start"] >= sigma > row["sigma"]
        ]
        assert row["value"] == pytest.approx(np.prod(passed), rel=1e-2)


def test_error_times_contraction_is_the_closed_form_for_a_gaussian(
    store: Store, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are affine, so what is left of a stretch's error is a product, and what all leave adds up."""
    d, wrong = 1024, 1.002
    gaussian = Mixture(torch.ones(1), torch.zeros(1, d), torch.eye(d)[:, :1][None], torch.zeros(1, 1), torch.ones(1))

    class Larger(WithError):
        def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return wrong * self.exact(x, sigma)

    monkeypatch.setattr(probe_setup, "read_mixture", lambda _: gaussian)
    monkeypatch.setattr(common, "exact_model", lambda _: Larger(gaussian, 1.0))
    load_model.cache_clear()
    rows = probe(store, "response", ExactConfig(data, seed=11), ladder=Ladder(n_steps=22))
    load_model.cache_clear()
    sigmas = Ladder(n_steps=22).sigmas()
    for eta in (0.0, 1.0):
        here = [row for row in rows if row["eta"] == eta]
        steps = eta_steps(sigmas, eta)
        keeps = [1 - wrong * a * s**2 / (1 + s**2) for s, a in zip(steps.sigmas, steps.alphas, strict=False)]
        left = {row["start"]: row["value"] for row in here if row["probe"] == "left"}
        assert list(left) == [sigmas[step] for step in range(0, 22, 2)]
        for step in range(0, 22, 2):
            assert left[sigmas[step]] == pytest.approx(np.prod(keeps[step + 2 :]), rel=2e-2)
        predicted, deviation = (
            next(row for row in here if row["probe"] == name) for name in ("predicted", "deviation")
        )
        assert predicted["value"] == pytest.approx(deviation["value"], rel=0.02) and deviation["value"] > 1e-3


def test_probes_are_computed_once_and_named(store: Store, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe(store, "visited", ExactConfig(data, error=0.3))
    monkeypatch.setattr(probes, "PROBES", dict.fromkeys(probes.PROBES))  # computed again, it would fail
    assert probe(store, "visited", ExactConfig(data, error=0.3)) == first
    with pytest.raises(
        ValueError, match="probe='luck': it must be one of visited, level, spread, contraction, response"
    ):
        ProbeConfig("luck", ExactConfig(data), ())


def test_a_mixture_is_a_data_set_whose_draws_are_not_clipped(data: str) -> None:
    images = mixture_data(data, None)
    x0 = images.standardised()
    assert x0.shape == (20_000, 1, 32, 32) and images.name == data
    assert (x0 < (0 - images.mean) / images.std).float().mean() > 0.1  # blacker than black
    torch.testing.assert_close(images.to_pixels(x0), images.pixels)
    others = mixture_data(f"{data}#reference", None).standardised()
    assert others.shape == x0.shape and not torch.equal(others[0], x0[0])
