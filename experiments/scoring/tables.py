"""The result folder of `score`: its tables, its pictures, and run.json, from which the report is made."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from experiments.distances.intervals import LEVEL, Estimate
from experiments.distances.real import JUDGE
from experiments.own.files import write_json
from experiments.run import folder as result_folder
from experiments.run.compare import Row
from experiments.scoring.compare import Compared
from experiments.scoring.inputs import ImageSet
from experiments.scoring.result import Difference, Scores, Space
from reports.results import digests, sealed

NAME = "score"
TILE = 64  # largest side of an image in a picture, in pixels


def write(folder: Path, compared: Compared) -> None:
    """Writes a result folder, which is held (see run/folder.py). ValueError if it has what no run wrote."""
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
        "best_sets.csv": _best(shared, first),
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
    _pictures(folder / "images", compared)
    info = {"schema": 2, "experiment": NAME, "preset": "", "question": question(scores), "notes": list(scores.notes)}
    info |= result_folder.origin() | {NAME: _facts(scores), "files": digests(folder, rows)}
    write_json(folder / "run.json", sealed(info))


def question(scores: Scores) -> str:
    """The question that is answered."""
    names = [side.name for side in scores.spaces[0].sides]
    if len(names) == 1:
        return f"How good is {names[0]}?"
    return f"Is {names[1]} better than {names[0]}?" if len(names) == 2 else "Which images are nearest to real ones?"


def _facts(scores: Scores) -> dict[str, Any]:
    """What no table holds."""
    differences = scores.spaces[0].differences
    return {
        "sentence": scores.sentence,
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


def _best(shared: Row, space: Space) -> list[Row]:
    """Each set against the best of the others, if there are three sets or more."""
    if not space.standings:
        return []
    values = [side.values[JUDGE].difference for side in space.sides]
    best = int(np.argmin(values))
    kept = {name: shared[name] for name in ("mode", "data", "features", "n_samples", "n_reference")}
    return [
        kept | {
            "setting": side.name, "metric": JUDGE, "value": side.values[JUDGE].difference,
            "fd": side.values["fd"].difference, "difference": standing.difference, "low": standing.low,
            "high": standing.high, "level": LEVEL, "in_set": not standing.worse, "best": place == best,
            "simplest": place == best, "n_settings": len(values), "n_networks": 1,
            "interval": simultaneous(space),
        }
        for place, (side, standing) in enumerate(zip(space.sides, space.standings, strict=True))
    ]  # fmt: skip


def _pictures(folder: Path, compared: Compared) -> None:
    """real.png and set-1.png, ...: the first 16 images of each, in pairs where there are pairs."""
    names = ["real", *(f"set-{place + 1}" for place in range(len(compared.inputs) - 1))]
    for name, images, chosen in zip(names, compared.inputs, compared.chosen, strict=True):
        if isinstance(images, ImageSet):
            folder.mkdir(exist_ok=True)
            _grid([images.read(int(index)) for index in chosen[: result_folder.SHOWN]]).save(folder / f"{name}.png")


def _grid(images: Sequence[np.ndarray]) -> Image.Image:
    """Images in a square. Larger ones are reduced; if their sizes differ, all are fitted into squares."""
    shapes = {image.shape[:2] for image in images}
    side = min(TILE, max(max(shape) for shape in shapes))
    tiles = [Image.fromarray(image.squeeze()).convert("RGB") for image in images]
    if len(shapes) > 1 or max(next(iter(shapes))) > TILE:
        tiles = [ImageOps.pad(tile, (side, side)) for tile in tiles]
    pixels = np.stack([np.asarray(tile) for tile in tiles])
    return result_folder.square(torch.from_numpy(pixels).permute(0, 3, 1, 2))
