"""The extractor `digits`: what it knows, that it is a function of one image, and torch-fidelity's use of it."""

import pytest
import torch
from fidelity_pixels import fidelity
from safetensors import safe_open

from diffusion_core.data import Images
from experiments.metrics.features import WEIGHTS, extract

FD_AND_KD = ("frechet_inception_distance", "kernel_inception_distance_mean")


@pytest.fixture(scope="module")
def extracted(digits: Images) -> tuple[torch.Tensor, torch.Tensor]:
    features, logits = extract("digits", digits.pixels)
    assert logits is not None
    return features, logits


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


def test_fd_and_kd_grow_with_noise(digits: Images) -> None:
    half, other = digits.pixels[:500], digits.pixels[500:1000]
    noise = digits.std * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(other + level * noise).round().clamp(0, 255).to(torch.uint8) for level in (0, 0.2, 0.4, 0.8)]
    rows = [fidelity(pixels, half) for pixels in noisy]
    for metric in FD_AND_KD:
        values = [row[metric] for row in rows]
        assert all(torch.isfinite(torch.tensor(values))) and values == sorted(values), metric
        assert values[-1] > 3 * values[0], metric
    assert rows[-1]["precision"] < rows[0]["precision"]


def test_a_missing_class_is_seen_at_equal_n(digits: Images) -> None:
    pool, labels, reference = digits.pixels[:1000], digits.labels[:1000], digits.pixels[1000:2500]
    complete = fidelity(pool[:800], reference)
    without_sevens = fidelity(pool[labels != 7][:800], reference)
    for metric in FD_AND_KD:
        assert without_sevens[metric] > 2 * complete[metric], metric


def test_weights_are_small_and_say_where_they_come_from() -> None:
    path = WEIGHTS / "digits.safetensors"
    assert path.stat().st_size < 2_000_000
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert 0.993 <= float(metadata["test_accuracy"]) <= 1
    assert metadata["n_test"] == "10000"
    assert {"seed", "torch", "epochs", "script"} <= metadata.keys()
