"""How often do the intervals of `score` contain the truth? A simulation on real features.

    python bench/score_check.py features digits far    # extracts them once: digits or natural, far or near
    python bench/score_check.py run digits far 500 600   # 600 comparisons of 500 images
    python bench/score_check.py table

REAL and the sets are drawn anew in each comparison, from MNIST digits that do not overlap: REAL as they are, A and B
blurred, with features shifted a little at random, so that no image occurs twice. In pairs, A and B are the same digits;
else they are others. There are as many real images as images of each set. The truth is the mean over all comparisons.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from diffusion_core import load
from experiments.metrics.features import extract
from experiments.scoring.distances import Real, of_one, of_two
from reports.schema import METRICS

FOLDER = Path("runs/score_check")
IMAGES = {"digits": 40_000, "natural": 8_000}  # half of them real ones
BLURS = {"far": (1.2, 1.0), "near": (0.8, 0.65)}  # of A and B, in pixels; near real images
SHIFT = 0.05  # of the standard deviation of each feature


def features(space: str, distance: str) -> None:
    pixels = load("mnist", root="/work/shared/data").pixels[: IMAGES[space]]
    real, base = pixels.chunk(2)
    sets = [real]
    for blur in BLURS[distance]:
        blurred = gaussian_filter(base.numpy().astype(np.float64), (0, 0, blur, blur)).round().clip(0, 255)
        sets.append(torch.from_numpy(blurred.astype(np.uint8)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez(FOLDER / f"{space}-{distance}.npz", *[extract(space, part)[0].numpy() for part in sets])


def run(space: str, distance: str, n: int, repeats: int) -> None:
    space = f"{space}-{distance}"
    real, a, b = (part.astype(np.float64) for part in np.load(FOLDER / f"{space}.npz").values())
    scale, start = SHIFT * real.std(axis=0), time.time()
    with (FOLDER / f"{space}-{n}.jsonl").open("a") as file:
        done = len((FOLDER / f"{space}-{n}.jsonl").read_text().splitlines())
        for repeat in range(done, done + repeats):
            rng = np.random.default_rng([n, repeat])

            def drawn(part: np.ndarray, indices: np.ndarray, rng: np.random.Generator = rng) -> np.ndarray:
                return part[indices] + scale * rng.standard_normal((len(indices), part.shape[1]))

            first, other, reals = rng.integers(len(a), size=(3, n))
            against = Real.of(drawn(real, reals))
            of_a, of_b, of_other = (against.distances(drawn(*pair)) for pair in ((a, first), (b, first), (b, other)))
            line = {}
            for metric in METRICS:
                found = {
                    "pairs": of_two(of_b[metric], of_a[metric], True),
                    "none": of_two(of_other[metric], of_a[metric], False),
                    "one": of_one(of_a[metric]),
                }
                line |= {f"{metric} {name}": [one.difference, one.low, one.high] for name, one in found.items()}
            file.write(json.dumps(line) + "\n")
            file.flush()
            if repeat % 50 == 0:
                print(space, n, repeat, round(time.time() - start), flush=True)


def table() -> None:
    print(
        "| feature space | images | comparisons |",
        " | ".join(f"{m} {k}" for k in ("pairs", "none", "one") for m in METRICS),
        "|",
    )
    for path in sorted(FOLDER.glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        cells = []
        for kind in ("pairs", "none", "one"):
            for metric in METRICS:
                values, low, high = np.array([line[f"{metric} {kind}"] for line in lines]).T
                cells.append(f"{((low <= values.mean()) & (values.mean() <= high)).mean():.3f}")
        print(f"| {path.stem} | {len(lines)} |", " | ".join(cells), "|")


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    {"features": features, "run": lambda s, b, n, r: run(s, b, int(n), int(r)), "table": table}[name](*arguments)
