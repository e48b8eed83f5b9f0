"""The feature spaces in which distances are measured, and the extractor `digits` of 32x32 grey images.

The spaces are `digits` (below), `natural` (features_natural.py), and torch-fidelity's own under its names. All are
registered with torch-fidelity, so `torch_fidelity.calculate_metrics(feature_extractor=NAME, ...)` and `extract` of
own/features.py give the same features. torch-fidelity's DINOv2 is left out: it takes no weights file and runs code
fetched from the network, so nothing would identify its features.

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

import pickle
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

from diffusion_core.validation import one_of
from experiments.distances import features_natural
from experiments.distances.features_base import OwnExtractor
from experiments.distances.spaces import FEATURES

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


def extractor(name: str, file: Path) -> FeatureExtractorBase:
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
