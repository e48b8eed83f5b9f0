"""The feature spaces in which distances are measured, and the extractor `digits` of 32x32 grey images.

The spaces are `digits` (below), `natural` (features_natural.py), and torch-fidelity's own under its names. All are
registered with torch-fidelity, so `torch_fidelity.calculate_metrics(feature_extractor=NAME, ...)` and `extract` here
give the same features. torch-fidelity's DINOv2 is left out: it takes no weights file and runs code fetched from the
network, so nothing would identify its features.

The network of `digits` was trained once on the 60,000 MNIST training digits, by `git show
ba1acd3:experiments/metrics/train_digits.py`. It computed in bf16, which rounds differently from CPU to CPU, so another
machine would not give the same weights. Accuracy and settings are in the metadata of `weights/digits.safetensors`.

Why these 128 numbers are a metric, and not only a classifier:

- They are the *linear* output of the penultimate layer, before its GELU: no unit is dead. All other activations are
  GELU and all downsampling is strided convolution, so the map is smooth.
- A classifier alone tends to contract each class to a point (neural collapse: Papyan, Han & Donoho 2020, arXiv
  2008.08186), and forgets slant, thickness and style. So the features were also trained to reconstruct the image by one
  linear map (discarded), for a short time and with dropout; the weight of this loss was not ablated. On the training
  digits 26 % of the variance is within classes, but nine directions hold 88 % of it: class content weighs most.
- They are divided by their root mean square over the training digits (4.3), so that x.y/128 in KD's kernel is of order
  1. With larger features the cube, and in it a few images, would decide. Compare values only within this space.
- There is no normalisation layer, so an image's features do not depend on its batch, and faint digits stay faint.
"""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.feature_extractor_clip import MODEL_METADATA as CLIP_MODELS
from torch_fidelity.feature_extractor_clip import MODEL_URLS as CLIP_URLS
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torch_fidelity.utils import create_feature_extractor
from torchvision.models import VGG16_Weights

from experiments.config.names import FEATURES, PYTHON, check_features, one_of
from experiments.metrics import features_natural, features_user
from experiments.metrics.features_base import OwnExtractor, check_pixels

WEIGHTS = Path(__file__).parent / "weights"


class DigitsNetwork(nn.Module):
    """Features (B, 128) and class logits (B, 10) of uint8 pixels (B, 1, 32, 32): 0.4 million parameters."""

    PIXEL_MEAN, PIXEL_STD = 25.6, 70.3  # of the MNIST training split padded to 32x32, in pixel values
    rms: torch.Tensor  # of the trunk's output over the training digits

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 96, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(96, 128, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(128 * 4 * 4, 128),
        )
        self.head = nn.Sequential(nn.GELU(), nn.Dropout(0.2), nn.Linear(128, 10))
        self.register_buffer("rms", torch.ones(()))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.trunk((pixels.float() - self.PIXEL_MEAN) / self.PIXEL_STD)
        return features / self.rms, self.head(features)


class DigitsExtractor(OwnExtractor):
    """torch-fidelity's view of `DigitsNetwork`, whose weights are a safetensors file."""

    LAYERS = ("features", "logits")

    def load(self, path: str | Path | None) -> DigitsNetwork:
        network = DigitsNetwork()
        network.load_state_dict(load_file(path or WEIGHTS / "digits.safetensors"))
        return network


register_feature_extractor("digits", DigitsExtractor)


def dimension(name: str, pixels: torch.Tensor) -> int:
    """The number of features per image. Raises ValueError as in `extract`."""
    check_features(name)
    return FEATURES[name] if name in FEATURES else extract(name, pixels[:1])[0].shape[1]


def features_id(name: str, weights: Path | None = None) -> str:
    """First 12 hex digits of the SHA-256 of the extractor's weights file. Other weights give other features.

    For python:MODULE:FUNCTION the source of the module stands for the weights. Arguments and errors as `weights_file`.
    """
    if name.startswith(PYTHON):
        if weights is not None:
            raise ValueError(f"feature_weights={str(weights)!r}: {name} reads its own weights")
        return features_user.content(name)
    with weights_file(name, weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def extract(
    name: str, pixels: torch.Tensor, *, weights: Path | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Features of images from the extractor that torch-fidelity uses, and class logits for `digits`.

    Args:
        name: one of `FEATURES`, or python:MODULE:FUNCTION.
        pixels: uint8 (n, C, H, W) with C 1 or 3, on any device; grey is repeated to three channels. `digits` needs
            (n, 1, 32, 32).
        weights: a weights file in the extractor's own format, instead of the committed, installed or downloaded file.

    Returns:
        Features float32 (n, d) and, for `digits` only, logits float32 (n, 10), both on the CPU.

    Raises:
        ValueError: an unknown name, a wrong dtype or shape, no images, weights that are missing or not the extractor's,
            a package that is not installed, or a user's function that fails.
    """
    check_features(name)
    check_pixels(pixels, name)
    if len(pixels) == 0:
        raise ValueError("pixels has 0 images; at least one is needed")
    extractor = opened(name, weights)
    parts = [extractor(batch) for batch in pixels.split(usual_batch(name))]
    layers = [torch.cat(layer) for layer in zip(*parts, strict=True)]
    return layers[0], layers[1] if name == "digits" else None


def usual_batch(name: str) -> int:
    """Images per batch on a CPU. All but `digits` work at 64x64 and above: small batches stay in the cache."""
    return 500 if name == "digits" else 25


def opened(
    name: str, weights: Path | None = None, device: torch.device | str = "cpu"
) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """The extractor as a function from a batch of pixels to its layers on the CPU. Arguments and errors as `extract`.

    It loads its weights once, so it suits images that come bit by bit.
    """
    users = name.startswith(PYTHON)
    network = _users(name) if users else _extractor(name, weights_file(name, weights)).to(device)

    def layers(pixels: torch.Tensor) -> list[torch.Tensor]:
        check_pixels(pixels, name)
        if name != "digits" and not users:
            pixels = pixels.expand(-1, 3, -1, -1)
        # TF32 convolutions (PyTorch's default on CUDA) keep 10 bits, and their rounding differs with the batch size.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return [layer.cpu() for layer in network(pixels.to(device))]

    return layers


def check_suits(name: str, pixels: torch.Tensor, weights: Path | None = None) -> None:
    """Raises ValueError if a feature space does not suit images, or if those of an image depend on its batch."""
    extract(name, pixels[:2], weights=weights)
    if name.startswith(PYTHON) and len(pixels) > 1:
        features_user.check_batches(name, features_user.load(name), pixels[: features_user.CHECKED])


def _users(name: str) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """A user's function as an extractor with one layer."""
    function = features_user.load(name)
    return lambda batch: [features_user.rows(name, function, batch.cpu())]


def weights_file(name: str, weights: Path | None = None) -> Path:
    """The extractor's weights file: `weights`, or its own file, downloaded if necessary.

    ValueError for an unknown name, a file or a package that is missing, or a failed download.
    """
    one_of("features", name, FEATURES)
    if weights is not None:
        if not weights.is_file():
            raise ValueError(f"features={name!r}: no such weights file: {weights}")
        return weights
    if name == "digits":
        return WEIGHTS / "digits.safetensors"
    if name == "natural":
        return features_natural.weights_file()
    url, cached = _source(name)
    file = Path(torch.hub.get_dir()) / "checkpoints" / cached
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"features={name!r}: its weights could not be downloaded ({_one_line(error)}); get {url} by other "
                "means and pass --feature-weights PATH"
            ) from error
    return file


def _source(name: str) -> tuple[str, str]:
    """The URL of torch-fidelity's weights, and the name of their file, which ends in the start of their SHA-256."""
    if name in CLIP_URLS:
        return CLIP_URLS[name], f"{name}-{CLIP_MODELS[name]['hash']}.pt"
    url = {"inception-v3-compat": URL_INCEPTION_V3, "vgg16": VGG16_Weights.IMAGENET1K_V1.url}[name]
    return url, url.rpartition("/")[2]


def _extractor(name: str, file: Path) -> FeatureExtractorBase:
    """torch-fidelity's extractor with its FD layer first. Raises ValueError if the file does not hold its weights."""
    layer = FEATURE_EXTRACTORS_REGISTRY[name].get_default_feature_layer_for_metric("fid")
    layers = [layer, "logits"] if name == "digits" else [layer]
    try:
        if name in ("inception-v3-compat", "vgg16"):
            torch.load(file, map_location="cpu", weights_only=True)  # torch-fidelity would unpickle anything in it
        return create_feature_extractor(
            name, layers, cuda=False, verbose=False, feature_extractor_weights_path=str(file)
        )
    except (
        OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError, SafetensorError
    ) as error:  # fmt: skip  # errors of loading a wrong file
        raise ValueError(f"features={name!r}: {file} does not hold its weights ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # PyTorch's text advises loading the file without protection
        return "it is no plain state dict, which loads without running code"
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:160] + "..."
