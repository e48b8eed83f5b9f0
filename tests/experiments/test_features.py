"""The extractor `digits`: what it knows, that it is a function of one image, and torch-fidelity's use of it."""

import hashlib
import re
from collections.abc import Callable

import pytest
import torch
from safetensors import safe_open
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics
from torch_fidelity.utils import create_feature_extractor

from diffusion_core.data import Images, load
from experiments.features import FEATURES, WEIGHTS, extract, weights_hash


class Pixels(Dataset[torch.Tensor]):
    """uint8 images as torch-fidelity wants them: bare tensors, no tuples."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.pixels[index]


@pytest.fixture(scope="module")
def digits() -> Images:
    return load("mnist5k")


@pytest.fixture(scope="module")
def extracted(digits: Images) -> tuple[torch.Tensor, torch.Tensor]:
    return extract("digits", digits.pixels)


def fidelity(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    """FD, KD on all images at once, precision and recall; no worker processes, no cache."""
    return calculate_metrics(
        input1=Pixels(a),
        input2=Pixels(b),
        feature_extractor="digits",
        fid=True,
        kid=True,
        prc=True,
        kid_subsets=1,
        kid_subset_size=len(a),
        prc_neighborhood=3,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )


def test_layers_have_the_promised_shapes_and_dtypes(extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    features, logits = extracted
    assert (features.shape, features.dtype, features.device.type) == ((5000, 128), torch.float32, "cpu")
    assert (logits.shape, logits.dtype, logits.device.type) == ((5000, 10), torch.float32, "cpu")


def test_logits_tell_the_embedded_digits_apart(digits: Images, extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert (extracted[1].argmax(1) == digits.labels).double().mean() >= 0.993


def test_every_unit_is_alive_on_a_common_scale(extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    spread = extracted[0].double().std(dim=0)
    assert spread.min() > spread.max() / 4
    assert extracted[0].double().square().mean().item() == pytest.approx(1, rel=0.03)


def test_features_keep_more_than_the_class(digits: Images, extracted: tuple[torch.Tensor, torch.Tensor]) -> None:
    features = extracted[0].double()
    class_means = torch.stack([features[digits.labels == digit].mean(0) for digit in range(10)])
    within = (features - class_means[digits.labels]).var(dim=0).sum() / features.var(dim=0).sum()
    assert within > 0.2, "collapsed to ten points"
    eigenvalues = torch.linalg.eigvalsh(features.T.cov())
    assert eigenvalues[-9:].sum() < 0.95 * eigenvalues.sum(), "ten class means span nine directions; these hold it all"


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_changes_rounding_only(
    digits: Images, extracted: tuple[torch.Tensor, torch.Tensor], batch_size: int
) -> None:
    for got, expected in zip(extract("digits", digits.pixels[:64], batch_size=batch_size), extracted, strict=True):
        torch.testing.assert_close(got, expected[:64], rtol=1e-4, atol=1e-4)


def test_torch_fidelity_gets_the_same_features_in_the_order_asked_for(digits: Images) -> None:
    extractor = create_feature_extractor("digits", ["logits", "features"], cuda=False, verbose=False)
    logits, features = extractor(digits.pixels[:100])
    torch.testing.assert_close((features, logits), extract("digits", digits.pixels[:100]), rtol=0, atol=0)


def test_identical_inputs_are_at_distance_zero(digits: Images) -> None:
    metrics = fidelity(digits.pixels[:500], digits.pixels[:500])
    assert abs(metrics["frechet_inception_distance"]) < 1e-3
    assert metrics["kernel_inception_distance_mean"] < 0, "the unbiased estimate is negative for identical sets"
    assert metrics["precision"] == metrics["recall"] == 1


def test_fd_and_kd_grow_with_noise(digits: Images) -> None:
    half, other = digits.pixels[:500], digits.pixels[500:1000]
    noise = digits.std * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    rows = [
        fidelity((other + level * noise).round().clamp(0, 255).to(torch.uint8), half) for level in (0, 0.2, 0.4, 0.8)
    ]
    for metric in ("frechet_inception_distance", "kernel_inception_distance_mean"):
        values = [row[metric] for row in rows]
        assert all(torch.isfinite(torch.tensor(values))) and values == sorted(values), metric
        assert values[-1] > 3 * values[0], metric
    assert rows[-1]["precision"] < rows[0]["precision"]


def test_a_missing_class_is_seen_at_equal_n(digits: Images) -> None:
    pool, labels, reference = digits.pixels[:1000], digits.labels[:1000], digits.pixels[1000:2500]
    complete = fidelity(pool[:800], reference)
    without_sevens = fidelity(pool[labels != 7][:800], reference)
    for metric in ("frechet_inception_distance", "kernel_inception_distance_mean"):
        assert without_sevens[metric] > 2 * complete[metric], metric


def test_weights_are_small_and_say_where_they_come_from() -> None:
    path = WEIGHTS / "digits.safetensors"
    assert path.stat().st_size < 2_000_000
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert 0.993 <= float(metadata["test_accuracy"]) <= 1
    assert metadata["n_test"] == "10000"
    assert {"seed", "torch", "epochs", "script"} <= metadata.keys()


def test_weights_hash_is_sha256_of_the_file() -> None:
    assert FEATURES == ("digits",)
    with (WEIGHTS / "digits.safetensors").open("rb") as file:
        assert weights_hash("digits") == hashlib.file_digest(file, "sha256").hexdigest()[:12]


IMAGE = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: extract("digit", IMAGE), "features='digit': unknown feature extractor; the names are digits"),
        (lambda: weights_hash("inception"), "features='inception': unknown feature extractor; the names are digits"),
        (lambda: extract("digits", IMAGE.float()), "pixels is torch.float32 (2, 1, 32, 32); features='digits' needs"),
        (lambda: extract("digits", IMAGE.expand(2, 3, 32, 32)), "pixels is torch.uint8 (2, 3, 32, 32)"),
        (lambda: extract("digits", IMAGE[..., :28]), "(2, 1, 32, 28); features='digits' needs torch.uint8"),
        (lambda: extract("digits", IMAGE[0]), "pixels is torch.uint8 (1, 32, 32)"),
        (lambda: extract("digits", IMAGE[:0]), "pixels has 0 images; at least one"),
        (lambda: extract("digits", IMAGE, batch_size=0), "batch_size=0: it must be at least 1"),
        (
            lambda: create_feature_extractor(
                "digits", ["features"], cuda=False, verbose=False, feature_extractor_internal_dtype="float64"
            ),
            "feature_extractor_internal_dtype='float64': digits computes in float32 only",
        ),
        (lambda: create_feature_extractor("digits", ["pool"], cuda=False, verbose=False), "Requested features"),
    ],
    ids=["name", "hash-name", "dtype", "channels", "side", "no-batch", "empty", "batch-size", "float64", "layer"],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
