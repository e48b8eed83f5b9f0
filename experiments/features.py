"""The feature extractor `digits`, in whose feature space FD and KD of 32x32 grey images are measured.

It is registered with torch-fidelity, so that `torch_fidelity.calculate_metrics(feature_extractor="digits", ...)` and
`extract` here give the same features. Its network was trained on the 60,000 MNIST training digits by
`python -m experiments.train_digits`; accuracy and provenance are in the metadata of `weights/digits.safetensors`.

What makes these 128 numbers a metric, and not only a classifier:

- They are the *linear* output of the penultimate layer, before its GELU: no unit is dead, and every change of the image
  moves them. All other activations are GELU and all downsampling is strided convolution, so the map is smooth.
- A classifier alone tends to contract each class to a point (neural collapse: Papyan, Han & Donoho 2020, arXiv
  2008.08186) and so forgets slant, thickness and style, which is what a generator may get wrong. Hence the features are
  also trained to give back the image through one linear map (thrown away afterwards), and training is short, with
  dropout. What this weighting buys was not ablated. Measured on the training digits: 26 % of the variance is within
  classes, but nine directions hold 88 % of it (participation ratio 7.9), so FD and KD still weigh class content most.
- Units have standard deviation 3.1 to 5.7 (4.3 overall), not 1: FD is in those units squared, and KD's kernel is
  dominated by its cubic term. Compare values only within this feature space.
- Their mean square over the training digits is 1, so that x.y/128 in KD's kernel (x.y/128 + 1)^3 is of order 1: with
  larger features the cube, and in it a few images, would decide.
- There is no normalisation layer of any kind: an image's features do not depend on its batch, faint digits are not
  scaled up to look normal, and there are no running statistics to freeze.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.utils import create_feature_extractor

FEATURES = ("digits",)
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

    def standardise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 1, 32, 32), 0 to 255, as float32 with about mean 0 and standard deviation 1."""
        return (pixels.float() - self.PIXEL_MEAN) / self.PIXEL_STD

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.trunk(self.standardise(pixels))
        return features / self.rms, self.head(features)


class DigitsExtractor(FeatureExtractorBase):
    """torch-fidelity's view of `DigitsNetwork`: layers `features` (128, the default) and `logits` (10), both float32.

    Args:
        name: the name it is registered under.
        features_list: which layers `forward` returns, in this order.
        feature_extractor_weights_path: other weights than the committed ones, as safetensors.
        feature_extractor_internal_dtype: only "float32" (None means that too).
        **kwargs: the rest of torch-fidelity's keywords, which do not concern an extractor.

    Raises:
        ValueError: an unknown layer, or another internal dtype.
    """

    def __init__(
        self,
        name: str,
        features_list: list[str] | tuple[str, ...],
        feature_extractor_weights_path: str | Path | None = None,
        feature_extractor_internal_dtype: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, features_list)
        dtype = feature_extractor_internal_dtype
        if dtype not in (None, "float32"):
            raise ValueError(f"feature_extractor_internal_dtype={dtype!r}: {name} computes in float32 only")
        self.network = DigitsNetwork()
        self.network.load_state_dict(load_file(feature_extractor_weights_path or _weights_file(name)))
        self.requires_grad_(False)
        self.eval()

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The requested layers of `input`, uint8 (B, 1, 32, 32). Raises ValueError for any other dtype or shape."""
        _check_pixels(input, self.name)
        features, logits = self.network(input)
        layers = {"features": features, "logits": logits}
        return tuple(layers[layer] for layer in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return {"isc": "logits", "fid": "features", "kid": "features", "prc": "features"}[metric]

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> torch.Tensor:
        return torch.zeros(1, 1, 32, 32, dtype=torch.uint8)


register_feature_extractor("digits", DigitsExtractor)


def dimension(name: str) -> int:
    return 128


def features_id(name: str, weights: Path | None = None) -> str:
    """First 12 hex digits of the SHA-256 of the extractor's weights file. Raises ValueError for an unknown name."""
    return hashlib.sha256(_weights_file(name).read_bytes()).hexdigest()[:12]


def extract(
    name: str,
    pixels: torch.Tensor,
    *,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 500,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and class logits of images, from the extractor that torch-fidelity uses.

    Args:
        name: one of `FEATURES`.
        pixels: uint8 (n, 1, 32, 32), on any device.
        device: where to compute.
        batch_size: images at a time; changes the result by float rounding only.

    Returns:
        Features float32 (n, 128) and logits float32 (n, 10), both on the CPU.

    Raises:
        ValueError: an unknown name, a wrong dtype or shape, no images, or a batch size below 1.
    """
    _weights_file(name)
    _check_pixels(pixels, name)
    if len(pixels) == 0:
        raise ValueError("pixels has 0 images; at least one is needed")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: it must be at least 1")
    extractor = create_feature_extractor(name, ["features", "logits"], cuda=False, verbose=False).to(device)
    # TF32 convolutions (PyTorch's default on CUDA) keep 10 bits, and their rounding differs with the batch size.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        parts = [[layer.cpu() for layer in extractor(batch.to(device))] for batch in pixels.split(batch_size)]
    features, logits = (torch.cat(layer) for layer in zip(*parts, strict=True))
    return features, logits


def _weights_file(name: str) -> Path:
    if name not in FEATURES:
        raise ValueError(f"features={name!r}: unknown feature extractor; the names are {', '.join(FEATURES)}")
    return WEIGHTS / f"{name}.safetensors"


def _check_pixels(pixels: torch.Tensor, name: str) -> None:
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (1, 32, 32):
        raise ValueError(
            f"pixels is {pixels.dtype} {tuple(pixels.shape)}; features={name!r} needs torch.uint8 (n, 1, 32, 32)"
        )
