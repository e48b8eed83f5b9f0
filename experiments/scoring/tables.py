"""The result folder of `score`: its tables, its pictures, run.json and the report."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageOps

from experiments.distances.intervals import LEVEL, Estimate
from experiments.distances.real import JUDGE
from experiments.run import folder as result_folder
from experiments.run.compare import Row
from experiments.scoring.compare import Compared
from experiments.scoring.inputs import ImageSet, Input
from experiments.scoring.result import Difference, Scores, Space

if TYPE_CHECKING:
    from experiments.run.folder import Page

NAME = "score"
NAMED = 3  # sets that the question names, besides the first
TILE = 64  # largest side of an image in a picture, in pixels


def write(folder: Path, compared: Compared, seconds: float) -> "Page":
    """Writes a result folder, which is held (see run/folder.py), after so many seconds. Returns its page.

    ValueError if the folder has what no run wrote.
    """
    result_folder.clear(folder)
    scores = compared.scores
    first = scores.spaces[0]
    shared: Row = {
        "experiment": NAME, "mode": NAME, "data": scores.real, "features": first.features, "n_samples": scores.n,
        "n_reference": scores.n_real,
    }  # fmt: skip
    rows = {
        "table.csv": [_row(shared, first, place) for place in range(len(first.sides))],
        "contrasts.csv": [
            shared | _contrast(first, pair, metric) for pair in first.differences for metric in pair.values
        ],
        "floors.csv": _floors(shared, first),
        "scores.csv": [
            {"features": space.features, "setting": side.name, "metric": metric} | _ends(value)
            for space in scores.spaces
            for side in space.sides
            for metric, value in side.values.items()
        ],
        "spaces.csv": [
            {"features": space.features, "a": pair.a, "b": pair.b, "metric": JUDGE, "verdict": pair.verdict}
            | _ends(pair.values[JUDGE])
            for space in scores.spaces
            for pair in space.differences
        ],
    }
    for name, lines in rows.items():
        result_folder.write_rows(folder / name, lines)
    names = ["real", *(f"set-{place + 1}" for place in range(len(first.sides)))]
    for name, images, chosen in zip(names, compared.inputs, compared.chosen, strict=True):
        for ending, picture in pictures(images, chosen):
            (folder / "images").mkdir(exist_ok=True)
            picture.save(folder / "images" / f"{name}{ending}.png", optimize=True)
    info = {"experiment": NAME, "preset": "", "question": question(scores), "notes": list(scores.notes)}
    return result_folder.write(folder, info | {"wall_seconds": round(seconds, 1), NAME: _facts(scores)})


def question(scores: Scores) -> str:
    """The question that is answered."""
    first, *others = (side.name for side in scores.spaces[0].sides)
    if not others:
        return f"How close is {first} to the real images?"
    if len(others) > NAMED:
        return f"Which of {len(others) + 1} sets are closer to the real images than {first}?"
    *most, last = others
    listed = f"Are {', '.join(most)} and {last}" if most else f"Is {last}"
    return f"{listed} closer to the real images than {first}?"


def _facts(scores: Scores) -> dict[str, Any]:
    """What no table holds."""
    differences = scores.spaces[0].differences
    return {
        "pairs": scores.pairs,
        "pairing": scores.pairing,
        "dimension": scores.spaces[0].dimension,
        "needed": {pair.a: pair.needed for pair in differences},
        "gain": {pair.a: pair.gain for pair in differences},
        "warnings": list(scores.warnings),
    }


def _row(shared: Row, space: Space, place: int) -> Row:
    side = space.sides[place]
    values = {metric: value.difference for metric, value in side.values.items()}
    ses = {f"{metric}_se": value.se for metric, value in side.values.items() if metric != "fd"}
    name, now = f"set-{place + 1}", datetime.now(UTC).isoformat(timespec="seconds")
    return shared | values | ses | {
        "setting": side.name, "status": "ok", "features_id": space.features_id, "precision": side.precision,
        "recall": side.recall, "grain": side.grain,
        "samples_id": name, "run_id": name, "finished_at": now,
    }  # fmt: skip


def _contrast(space: Space, pair: Difference, metric: str) -> Row:
    values = {side.name: side.values[metric].difference for side in space.sides}
    return vars(pair.values[metric]) | {
        "holds_for": None, "level": LEVEL, "adjusted": simultaneous(space), "kind": "set", "a": pair.a, "b": pair.b,
        "metric": metric, "value_a": values[pair.a], "value_b": values[pair.b], "train_seed": "", "n_networks": 1,
        "verdict": pair.verdict,
    }  # fmt: skip


def simultaneous(space: Space) -> str | None:
    """How many intervals hold at once, if there are several: those of all pairs of sets."""
    n = len(space.sides)
    return f"simultaneous, {n * (n - 1) // 2} pairs" if n > 2 else None


def _ends(value: Estimate) -> Row:
    return {"value": value.difference, "low": value.low, "high": value.high}


def _floors(shared: Row, space: Space) -> list[Row]:
    floor = space.floor
    counts = {"n_samples": floor.n, "n_reference": floor.n_others, "repeats": floor.repeats}
    kept = {name: shared[name] for name in ("data", "features")} | counts
    return [kept | {"metric": metric} | dict(values) for metric, values in floor.values.items()]


def pictures(images: Input, chosen: np.ndarray) -> Iterator[tuple[str, Image.Image]]:
    """The first 16 images in a square, and the first four in a row, with the endings of their names.

    Large images are reduced; if their sizes differ, all are fitted into squares.
    """
    if not isinstance(images, ImageSet):
        return
    read = [images.read(int(index)) for index in chosen[: result_folder.SHOWN]]
    shapes = {image.shape[:2] for image in read}
    side = min(TILE, max(max(shape) for shape in shapes))
    tiles = [Image.fromarray(image.squeeze()).convert("RGB") for image in read]
    if len(shapes) > 1 or max(next(iter(shapes))) > TILE:
        tiles = [ImageOps.pad(tile, (side, side)) for tile in tiles]
    pixels = torch.from_numpy(np.stack([np.asarray(tile) for tile in tiles])).permute(0, 3, 1, 2)
    if (pixels == pixels[:, :1]).all():
        pixels = pixels[:, :1]  # grey
    yield "", result_folder.square(pixels)
    yield f"-{result_folder.FEW}", result_folder.strip(pixels)
