"""Registers our extractors, `digits` and `natural`, with torch-fidelity when it is imported."""

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from torch_fidelity import FeatureExtractorBase, register_feature_extractor

from experiments.distances.features import check_pixels, load_extractor, weights_file


class DigitsExtractor(FeatureExtractorBase):
    """torch-fidelity's view of `digits`. `LAYERS`: their names, the one for distances first."""

    LAYERS: ClassVar[tuple[str, ...]] = ("features", "logits")

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name, features_list)
        self.network = load_extractor(name, Path(feature_extractor_weights_path or weights_file(name)))

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        check_pixels(input, self.name)
        layers = dict(zip(self.LAYERS, self.network(input), strict=True))
        return tuple(layers[layer] for layer in self.features_list)

    @classmethod
    def get_provided_features_list(cls) -> tuple[str, ...]:
        return cls.LAYERS

    @classmethod
    def get_default_feature_layer_for_metric(cls, metric: str) -> str:
        return "logits" if metric == "isc" else cls.LAYERS[0]


class NaturalExtractor(DigitsExtractor):
    """torch-fidelity's view of `natural`."""

    LAYERS = ("features",)


register_feature_extractor("digits", DigitsExtractor)
register_feature_extractor("natural", NaturalExtractor)
