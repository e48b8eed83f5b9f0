"""torch-fidelity's view of a network of ours, and the pixels that feature spaces take."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch_fidelity import FeatureExtractorBase


class OwnExtractor(FeatureExtractorBase):
    """An extractor of float32 layers. A subclass names them, the one that distances use first, and loads its network.

    Arguments are those of torch-fidelity; further keywords are ignored. ValueError for an unknown layer, an internal
    dtype other than float32, or weights that are missing.
    """

    LAYERS: ClassVar[tuple[str, ...]]

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
        self.network = self.load(feature_extractor_weights_path)
        self.requires_grad_(False)
        self.eval()

    def load(self, path: str | Path | None) -> nn.Module:
        """The network with the weights of a file, or with the usual ones. It returns one tensor per layer."""
        raise NotImplementedError  # a subclass has it

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The requested layers of `input`. Raises ValueError as `check_pixels` does."""
        check_pixels(input, self.name)
        layers = dict(zip(self.LAYERS, self.network(input), strict=True))
        return tuple(layers[layer] for layer in self.features_list)

    @classmethod
    def get_provided_features_list(cls) -> tuple[str, ...]:
        return cls.LAYERS

    @classmethod
    def get_default_feature_layer_for_metric(cls, metric: str) -> str:
        return "logits" if metric == "isc" else cls.LAYERS[0]

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> torch.Tensor:
        return torch.zeros(1, 1, 32, 32, dtype=torch.uint8)


def check_pixels(pixels: torch.Tensor, name: str) -> None:
    """Raises ValueError unless pixels are uint8 (n, C, H, W) with C 1 or 3; for `digits`, (n, 1, 32, 32)."""
    shape, digits = tuple(pixels.shape), name == "digits"
    suits = shape[1:] == (1, 32, 32) if digits else shape[1:2] in ((1,), (3,))
    if pixels.dtype == torch.uint8 and len(shape) == 4 and suits:
        return
    needs = "(n, 1, 32, 32)" if digits else "(n, C, H, W) with C 1 or 3"
    colour = ": it knows grey digits only, use features='natural'" if digits and shape[1:2] == (3,) else ""
    raise ValueError(f"pixels is {pixels.dtype} {shape}; features={name!r} needs torch.uint8 {needs}{colour}")
