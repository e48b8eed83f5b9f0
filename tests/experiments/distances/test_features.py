"""What is common to all extractors: names, weights, what is refused; and what `digits` knows and FD in it sees."""

import hashlib
import re
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from fidelity_pixels import fidelity
from safetensors.torch import load_file, save_file
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torch_fidelity.utils import create_feature_extractor

from diffusion_core.data.dataset import Images
from experiments.distances import features as extractors
from experiments.distances.distance import Distance
from experiments.distances.features import FEATURES, WEIGHTS, weights_file
from experiments.distances.reference import FixedReference, ReferenceSet, precision_recall
from experiments.user.features import dimension, extract, features_id, open_extractor

natural = pytest.mark.skipif(find_spec("efficientnet_lite_pytorch") is None, reason="needs the extra natural")


def test_other_weights_give_other_features(digits: Images, tmp_path: Path) -> None:
    weights = load_file(WEIGHTS / "digits.safetensors")
    save_file(weights | {"rms": weights["rms"] / 2}, tmp_path / "x.safetensors")
    other, usual = (extract("digits", digits.pixels[:5], weights=w)[0] for w in (tmp_path / "x.safetensors", None))
    torch.testing.assert_close(other, 2 * usual)


def test_names_are_torch_fidelitys() -> None:
    """DINOv2 is left out on purpose; anything that torch-fidelity adds would have to be decided on."""
    assert {*FEATURE_EXTRACTORS_REGISTRY} == {*FEATURES, *(f"dinov2-vit-{size}-14" for size in "sblg")}
    assert (dimension("digits", IMAGE), dimension("inception-v3-compat", IMAGE)) == (128, 2048)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers"), [("digits", ["logits", "features"]), pytest.param("natural", ["features"], marks=natural)]
)
def test_features_are_those_of_torch_fidelity_and_of_one_image(name: str, layers: list[str], digits: Images) -> None:
    """In the order asked for, whatever the batch; and grey images are their three channels."""
    extractor = create_feature_extractor(name, layers, cuda=False, verbose=False)
    features, logits = extract(name, digits.pixels[:14])
    theirs = dict(zip(layers, extractor(digits.pixels[:14]), strict=True))
    torch.testing.assert_close(theirs["features"], features, rtol=0, atol=0)
    if logits is not None:
        torch.testing.assert_close(theirs["logits"], logits, rtol=0, atol=0)
    else:
        colour = digits.pixels[:14].expand(-1, 3, -1, -1)
        for same in (extractor(colour), extract(name, colour)):
            torch.testing.assert_close(same[0], features, rtol=0, atol=0)
    for batch_size in (1, 6):
        parts = [extract(name, part) for part in digits.pixels[:14].split(batch_size)]
        got = [torch.cat(layer) for layer in zip(*parts, strict=True) if layer[0] is not None]
        torch.testing.assert_close(got, [features] if logits is None else [features, logits], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of torch-fidelity's Inception in its format, drawn at random: the real ones are a download of 91 MB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # PyTorch's own law lets the signal die out over so many layers
            nn.init.kaiming_normal_(module.weight, generator=generator)
    file = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.mark.slow
def test_inception_features_give_torch_fidelitys_kid(
    inception: Path, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FD is left out: test_reference.py compares it, and in 2,048 dimensions it takes 10 seconds."""
    pixels = torch.cat([digits.pixels[:4], 255 - digits.pixels[4:8]])  # far apart, so that KD does not cancel
    rgb = pixels.expand(-1, 3, -1, -1)
    colour, logits = extract("inception-v3-compat", rgb, weights=inception)
    network = open_extractor("inception-v3-compat", inception)
    halves = [network(half)[0] for half in pixels.split(4)]  # as theirs
    assert (colour.shape, colour.dtype, logits) == ((8, 2048), torch.float32, None)
    assert colour.std(dim=0).mean() > 0.01
    torch.testing.assert_close(torch.cat(halves), colour, rtol=1e-4, atol=1e-5)
    samples, real = (half.double().numpy() for half in halves)
    monkeypatch.setattr(FixedReference, "_frechet", lambda self, own: Distance(0.0, own[:, 0]))
    ours = ReferenceSet.of(real).whole().distances(samples)["kd"].value
    options = {"fid": False, "prc": False, "feature_extractor_weights_path": str(inception)}
    theirs = fidelity(rgb[:4], rgb[4:], "inception-v3-compat", **options)["kernel_inception_distance_mean"]
    assert ours == pytest.approx(theirs, rel=1e-4)  # it computes the kernel in float32


def test_downloaded_weights_are_used_and_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    clip = "clip-vit-b-32-40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af.pt"
    files = {"inception-v3-compat": "weights-inception-2015-12-05-6726825d.pth", "vgg16": "vgg16-397923af.pth"}
    for name, file in (files | {"clip-vit-b-32": clip}).items():
        (tmp_path / "checkpoints" / file).write_bytes(name.encode())
        assert weights_file(name) == tmp_path / "checkpoints" / file
        assert features_id(name) == hashlib.sha256(name.encode()).hexdigest()[:12]


def test_download_is_checked_against_the_hash_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "weights-6726825d.pth").write_bytes(b"not these")
    monkeypatch.setattr(extractors, "URL_INCEPTION_V3", (tmp_path / "weights-6726825d.pth").as_uri())
    with pytest.raises(ValueError, match=r"could not be downloaded \(invalid hash value"):
        weights_file("inception-v3-compat")
    right = f"weights-{hashlib.sha256(b'not these').hexdigest()[:8]}.pth"
    (tmp_path / "weights-6726825d.pth").rename(tmp_path / right)
    monkeypatch.setattr(extractors, "URL_INCEPTION_V3", (tmp_path / right).as_uri())
    assert weights_file("inception-v3-compat").read_bytes() == b"not these"


def test_failed_download_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    what = f"could not be downloaded .*; get {URL_INCEPTION_V3} by other means and pass --feature-weights PATH$"
    with pytest.raises(ValueError, match=what):
        features_id("inception-v3-compat")


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return warnings.warn, ("unpickled",)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", pytest.param("natural", marks=natural), "inception-v3-compat", "clip-rn50"])
@pytest.mark.parametrize("content", [Evil(), {"weight": torch.zeros(2)}, b"<html>not found</html>"], ids=type)
def test_foreign_weights_are_refused_and_not_run(name: str, content: object, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError, match=rf"^features='{name}': .*weights does not hold its weights \(\w+\)$"):
        extract(name, IMAGE, weights=file)


IMAGE = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: extract("digit", IMAGE), "features='digit': it must be one of digits, na"),
    (lambda: features_id("inception"), "features='inception': it must be one of digits"),
    (lambda: dimension("dinov2-vit-s-14", IMAGE), "features='dinov2-vit-s-14': it must be one of"),
    (lambda: extract("digits", IMAGE, weights=Path("no")), "features='digits': no such weights file: no"),
    (lambda: extract("vgg16", IMAGE.float()), "torch.float32 (2, 1, 32, 32); features='vgg16' needs torch.uint8"),
    (lambda: extract("natural", IMAGE.expand(2, 4, 32, 32)), "needs torch.uint8 (n, C, H, W) with C 1 or 3"),
    (lambda: extract("digits", IMAGE.expand(2, 3, 32, 32)), "it knows grey digits only, use features='natural'"),
    (lambda: extract("digits", IMAGE[..., :28]), "(2, 1, 32, 28); features='digits' needs torch.uint8"),
    (lambda: extract("digits", IMAGE[0]), "pixels is torch.uint8 (1, 32, 32)"),
    (lambda: extract("digits", IMAGE[:0]), "pixels has 0 images; at least one"),
])  # fmt: skip
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


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
