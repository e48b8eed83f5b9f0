"""The feature spaces by name. Nothing is imported but rules, so that --help appears at once."""

from pathlib import Path
from typing import NamedTuple

from diffusion_core.validation import one_of

WEIGHTS = Path(__file__).parent / "weights"
DIGITS = ("mnist5k", "mnist")  # data sets that the extractor `digits` is made for


class Extractor(NamedTuple):
    """Facts of an extractor that are known before it is opened.

    Args:
        dimension: of its features.
        weights: its file in this package; None if it is installed with another package, or downloaded.
    """

    dimension: int
    weights: Path | None = None


FEATURES = {  # see features.py
    "digits": Extractor(128, WEIGHTS / "digits.safetensors"),
    "natural": Extractor(192),
    "inception-v3-compat": Extractor(2048),
    "vgg16": Extractor(4096),
    "clip-rn50": Extractor(1024),
    "clip-rn101": Extractor(512),
    "clip-rn50x4": Extractor(640),
    "clip-rn50x16": Extractor(768),
    "clip-rn50x64": Extractor(1024),
    "clip-vit-b-32": Extractor(512),
    "clip-vit-b-16": Extractor(512),
    "clip-vit-l-14": Extractor(768),
    "clip-vit-l-14-336px": Extractor(768),
    "dinov2-vit-s-14": Extractor(384),
    "dinov2-vit-b-14": Extractor(768),
    "dinov2-vit-l-14": Extractor(1024),
    "dinov2-vit-g-14": Extractor(1536),
}
PYTHON = "python:"  # a feature space of the user's, see run/image_features.py


def check_feature_space(name: str) -> None:
    """Raises ValueError unless `name` is a feature space: one of `FEATURES`, or python:MODULE:FUNCTION."""
    if not name.startswith(PYTHON):
        one_of("features", name, (*FEATURES, f"{PYTHON}MODULE:FUNCTION"))


def default_features(data: str) -> str:
    """The feature space that suits a data set, whose name may end with a fingerprint; `natural` for all but digits."""
    return "digits" if data.partition("@")[0] in DIGITS else "natural"


def sees_noise(name: str) -> bool:
    """Whether a feature space sees noise of 0.03, which people do not: all but `digits` may."""
    return name != "digits"


def unsuited_features(name: str, data: str) -> str:
    """A warning if a feature space is made for other images than those of this data set; else ""."""
    if name != "digits" or default_features(data) == "digits":
        return ""
    return (
        f"features='digits' were trained on MNIST and may not tell good images from bad ones of data={data!r}; use "
        "--features natural"
    )
