"""The extractor `digits`: what it knows, and what FD and KD in its features see."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

from diffusion_core.data.dataset import Images
from experiments.distances.features import WEIGHTS
from experiments.distances.reference import ReferenceSet, precision_recall
from experiments.user.features import extract


@pytest.fixture(scope="module")
def extracted(digits: Images) -> tuple[torch.Tensor, torch.Tensor]:
    features, logits = extract("digits", digits.pixels)
    assert logits is not None
    return features, logits


@pytest.mark.slow
def test_layers_are_what_they_promise(digits: Images, extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    for layer, size in zip(extracted, (128, 10), strict=True):
        assert (layer.shape, layer.dtype, layer.device.type) == ((5000, size), torch.float32, "cpu")
    features, logits = extracted
    assert (logits.argmax(1) == digits.labels).double().mean() >= 0.993
    spread = features.double().std(dim=0)
    assert spread.min() > spread.max() / 4, "a unit is dead"
    assert features.double().square().mean().item() == pytest.approx(1, rel=0.03)


def test_features_keep_more_than_the_class(digits: Images, extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    features = extracted[0].double()
    class_means = torch.stack([features[digits.labels == digit].mean(0) for digit in range(10)])
    within = (features - class_means[digits.labels]).var(dim=0).sum() / features.var(dim=0).sum()
    assert within > 0.2, "collapsed to ten points"
    eigenvalues = torch.linalg.eigvalsh(features.T.cov())
    assert eigenvalues[-9:].sum() < 0.95 * eigenvalues.sum(), "ten class means span nine directions; these hold it all"


def test_fd_and_kd_grow_with_noise(digits: Images, extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    half, other = extracted[0][:500].double().numpy(), digits.pixels[500:1000]
    noise = digits.std * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(other + level * noise).round().clamp(0, 255).to(torch.uint8) for level in (0, 0.2, 0.4, 0.8)]
    features = [extract("digits", pixels)[0].double().numpy() for pixels in noisy]
    against = ReferenceSet.of(half).whole()
    distances = [against.distances(part) for part in features]
    for metric in ("fd", "kd", "mmd"):
        values = [each[metric].value for each in distances]
        assert np.isfinite(values).all() and values == sorted(values), metric
        assert values[-1] > 3 * values[0], metric
    assert precision_recall(features[-1], half)[0] < precision_recall(features[0], half)[0]


def test_a_missing_class_is_seen_at_equal_n(digits: Images, extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    features = extracted[0].double().numpy()
    real = ReferenceSet.of(features[1000:2500]).whole()
    without_sevens = features[:1000][digits.labels[:1000].numpy() != 7]
    complete, lacking = (real.distances(part[:800]) for part in (features, without_sevens))
    assert all(lacking[metric].value > 2 * complete[metric].value for metric in ("fd", "kd", "mmd"))


def test_weights_are_small_and_say_where_they_come_from() -> None:
    path = WEIGHTS / "digits.safetensors"
    assert path.stat().st_size < 2_000_000
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert 0.993 <= float(metadata["test_accuracy"]) <= 1
    assert metadata["n_test"] == "10000"
    assert {"seed", "torch", "epochs", "script"} <= metadata.keys()
