"""The fitted mixture as an artifact, and its draws."""

import dataclasses
from pathlib import Path

import pytest
import torch

from diffusion_core.data import Images
from experiments.config.identity import identity
from experiments.models import exact as exact_models
from experiments.models.exact import mixture_images, mixture_of
from experiments.stages import fit_mixture as module
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.store.store import Store, read_json

CONFIG = MixtureConfig(n_components=3, rank=2, em_steps=1)


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch) -> Images:
    """60 random images of two kinds in the place of the named data."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 1, 4, 4), dtype=torch.uint8, generator=generator)
    pixels[:30, :, :2] //= 8
    numbers = pixels.double()
    images = Images("fake", pixels, torch.zeros(60), numbers.mean().item(), numbers.std(correction=0).item())
    monkeypatch.setattr(module, "load", lambda *_, **__: images)
    return images


def test_a_mixture_is_fitted_once_and_found_by_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Images
) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match=r"no such file: .*fits and stores a mixture"):
        mixture_of(f"mixture:{tmp_path}/mixtures/none")
    name = mixture_stage(CONFIG, store)
    assert read_json(store.path("mixtures", name) / "config.json")["rank"] == 2
    monkeypatch.setattr(module, "fit_mixture", None)  # a second fit would fail
    assert mixture_stage(CONFIG, store) == name
    found = mixture_of(f"mixture:{tmp_path}/mixtures/{name}")
    assert (found.n_components, found.dim, found.rank, found.means.dtype) == (3, 16, 2, torch.float64)
    mean, covariance = found.moments()
    assert mean.mean().item() == pytest.approx(0, abs=1e-6)
    assert (covariance.trace() + mean.square().sum()).item() / 16 == pytest.approx(1, abs=1e-6)  # standardised units


def test_the_stored_mixture_is_the_fitted_one(tmp_path: Path, data: Images) -> None:
    mixture_stage(CONFIG, Store(tmp_path))
    fitted = module.fit_mixture(data.standardised(), 3, 2, 0, em_steps=1).state_dict()
    for name, tensor in mixture_of(f"mixture:{tmp_path}/mixtures/{identity(CONFIG)}").state_dict().items():
        torch.testing.assert_close(tensor, fitted[name], rtol=1e-12, atol=1e-12)


def test_every_field_changes_the_identity() -> None:
    changes = {"data": "mnist", "n_components": 2, "rank": 1, "min_std": 0.1, "em_steps": 2, "seed": 1}
    assert list(changes) == [field.name for field in dataclasses.fields(MixtureConfig)]
    configs = [CONFIG, *(dataclasses.replace(CONFIG, **{name: value}) for name, value in changes.items())]
    assert len(set(map(identity, configs))) == len(configs)


def test_draws_are_floats_that_depend_on_seed_and_index_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Images
) -> None:
    monkeypatch.setattr(exact_models, "DRAWN_AT_ONCE", 10)
    mixture_stage(CONFIG, Store(tmp_path))
    mixture = mixture_of(f"mixture:{tmp_path}/mixtures/{identity(CONFIG)}")
    x = mixture_images(mixture, data.shape, 35, seed=1)
    assert x.shape == (35, 1, 4, 4) and x.dtype == torch.float32
    assert len(x.unique()) == x.numel()  # nothing rounded, nothing repeated
    assert torch.equal(mixture_images(mixture, data.shape, 12, seed=1, first=9), x[9:21])
    assert not torch.isin(mixture_images(mixture, data.shape, 35, seed=2), x).any()


def test_draws_follow_the_mixture(tmp_path: Path, data: Images) -> None:
    mixture_stage(CONFIG, Store(tmp_path))
    mixture = mixture_of(f"mixture:{tmp_path}/mixtures/{identity(CONFIG)}")
    x = mixture_images(mixture, data.shape, 20_000, seed=0).flatten(1).double()
    mean, covariance = mixture.moments()
    assert (x.mean(dim=0) - mean).abs().max() < 0.05
    assert (x.T.cov() - covariance).abs().max() < 0.1


def test_a_fit_leaves_the_threads_as_they_were(tmp_path: Path) -> None:
    """They are a part of the identity of the runs that follow."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        mixture_stage(CONFIG, Store(tmp_path))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
