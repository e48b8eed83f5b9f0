"""The result folder of `score --margin`: its tables, the pairs that differ most, run.json and the report."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.distances.real import JUDGE
from experiments.run import folder as result_folder
from experiments.scoring.harmless import Compared
from experiments.scoring.inputs import ImageSet
from experiments.scoring.tables import pictures

if TYPE_CHECKING:
    from experiments.run.folder import Page

NAME = "harmless"
ROW = 4  # pairs of a strip


def write(folder: Path, compared: Compared, seconds: float) -> "Page":
    """Writes a result folder, which is held (see run/folder.py), after so many seconds. Returns its page.

    ValueError if the folder has what no run wrote.
    """
    result_folder.clear(folder)
    answer = compared.answer
    checks = [
        {"a": answer.after, "b": answer.before, "check": one.name}
        | {name: None if math.isnan(value) else value for name, value in vars(one).items() if isinstance(value, float)}
        | {"verdict": one.verdict}
        for one in answer.checks
    ]
    scores = answer.scores
    for space in scores.spaces if scores else ():
        (pair,) = space.differences
        for metric, value in pair.values.items():
            name = f"{metric} to {scores.real if scores else ''}, {space.features} features"
            sides = {side.name: side.values[metric].difference for side in space.sides}
            checks.append(
                {
                    "a": answer.after, "b": answer.before, "check": name, "value": value.difference, "low": value.low,
                    "high": value.high, "limit": None, "verdict": pair.verdict if metric == JUDGE else "",
                    "value_a": sides[pair.a], "value_b": sides[pair.b],
                }
            )  # fmt: skip
    result_folder.write_rows(folder / "harms.csv", checks)
    worst = [{"place": at + 1, "pair": name, "share": share} for at, (name, share) in enumerate(answer.worst)]
    result_folder.write_rows(folder / "worst_pairs.csv", worst)
    for name, images, chosen in zip(("before", "after"), compared.inputs, compared.chosen, strict=True):
        if not isinstance(images, ImageSet):
            continue
        (folder / "images").mkdir(exist_ok=True)
        for row in range(len(compared.worst) // ROW):
            places = chosen[list(compared.worst[ROW * row : ROW * (row + 1)])]
            for ending, picture in pictures(images, places):
                if ending:
                    picture.save(folder / "images" / f"worst-{row + 1}-{name}{ending}.png", optimize=True)
    info = {
        "experiment": NAME, "preset": "", "question": f"Is {answer.after} as good as {answer.before}?",
        "notes": list(answer.notes), "wall_seconds": round(seconds, 1),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        NAME: {
            "verdict": answer.verdict, "sentence": answer.sentence, "margin": answer.margin, "n": answer.n,
            "n_units": answer.n_units, "pairs": answer.pairs, "needed": answer.needed,
        },
    }  # fmt: skip
    return result_folder.write(folder, info)
