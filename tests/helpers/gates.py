"""Sets of images before and after a change, and `score --margin` on them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments import harmless
from experiments.scoring import command
from experiments.scoring.equivalence import Harmless

N = 300
MARGIN = ("--margin", "0.02")


def save(folder: Path, images: np.ndarray, name: str = "p{}-{}.png") -> Path:
    folder.mkdir(parents=True)
    for at, image in enumerate(images):
        path = folder / name.format(at // 5, at % 5)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def run(*arguments: str) -> int:
    return command.command([*arguments, "--features", "digits"], "score")


def measure_change(
    before: np.ndarray, after: np.ndarray, margin: float | None = None, groups: Any = None, **options: Any
) -> Harmless:
    """Pairs by their order; unless the options say so otherwise, in digits features."""
    return harmless(before, after, margin, groups, **{"pairs": "order", "features": "digits"} | options)
