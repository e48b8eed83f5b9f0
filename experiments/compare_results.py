"""`python -m experiments compare BEFORE AFTER`: did a change help? Two results of one experiment, before and after it.

Each setting that both have is compared with itself, network by network and image by image: the stores have what each
image adds to a distance. Exit status: 0; 1 with --fail-if-worse if a setting is worse; 2 for invalid arguments.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import tyro

from experiments.console import Terminal
from experiments.run.options import option_help
from experiments.run.pairs import Pair
from reports.schema import EXPLORE, METRICS, PRIMARY_METRIC, WORSE, Row

NAME = "compare"
SETTING = ("section", "budget", "setting", "schedule", "sampler", "final_denoise")  # columns that name a setting
SAME = ("data", "features", "features_id", "n_samples", "sample_seed")  # in which paired runs agree
UNCHANGED = (
    "Both results are of the same stored samples, so nothing was compared. To sample after a change of this package, "
    "give the second run a --store of its own."
)
log = logging.getLogger(__name__)
Runs = Mapping[tuple[object, ...], Row]  # by setting and training seed


@dataclass(frozen=True)
class CompareOptions:
    """Did a change of code or of an option help? Two results of one experiment, run before and after it. Settings of
    the same label are compared on the same networks and noise, image by image. If the change is in this package, the
    second run needs a --store of its own."""

    before: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BEFORE")]
    """Result folder of the run before the change."""
    after: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AFTER")]
    """Result folder of the run after it."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/compare")
    """Folder for the result."""
    store: Annotated[Path | None, option_help("FOLDER", "that of each run")] = None
    """The store of both runs."""
    fail_if_worse: bool = False
    """Exit status 1 if a setting is worse after the change."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Compares the results and writes the report. Returns the exit status. ValueError as in `pair_settings`."""
    from PIL import Image

    from experiments.judge import answer, judge
    from experiments.run.result_folder import lock_folder, print_page, read_rows, write_finished

    start = time.time()
    options = tyro.cli(CompareOptions, prog=prog, args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,))
    both = [*pair_settings(*(read_runs(folder, options.store) for folder in (options.before, options.after)))]
    table, pairs, added = list[Row](), list[Pair](), {}
    files = {"real": options.before / "images" / "real.png"}
    for index, (old, new) in enumerate(both):
        title, budget = name_setting(old[0]), old[0]["budget"]
        a, b = ([(title, int(budget or 0), name)] for name in ("after", "before"))
        pairs.append(Pair(title, a, b, b_is=""))
        for name, rows in (("after", new), ("before", old)):
            set_id = f"set-{2 * index + (name == 'after')}"
            files[set_id] = rows[0]["folder"] / "images" / f"{rows[0]['samples_id']}.png"
            own = {"section": title, "setting": name, "samples_id": set_id}
            for row in rows:
                run_id = f"{set_id}, {row['train_seed']}"
                table.append(row | own | {"run_id": run_id})
                if row["status"] == "ok":
                    added[run_id] = read_added(row)
    floors, runs = pd.DataFrame(read_rows(options.before, "floors.csv")), pd.DataFrame(table)
    judged = judge(runs, pairs, floors, added)
    pictures = {name: Image.open(path) for name, path in files.items() if path.is_file()}
    info: Row = {"experiment": NAME, "question": f"Did the change help? {options.after} against {options.before}"}
    info["notes"] = [*dict.fromkeys(row["origin"] for row in table)]
    info["caveats"] = [UNCHANGED] if all(_samples_of(old) == _samples_of(new) for old, new in both) else []
    tables = {"table.csv": table, "contrasts.csv": judged, "answers.csv": answer(judged, runs), "floors.csv": floors}
    report = options.out / "report.html"
    console = Terminal()
    with lock_folder(options.out):
        page = write_finished(options.out, info, tables, time.time() - start, pictures)
        print_page(page, report, str(report), False, console)
    verdicts = Counter(judged.loc[judged["metric"] == PRIMARY_METRIC, "verdict"])
    if not console.is_terminal:
        print(json.dumps({"experiment": NAME, "verdict": page.headline, "verdicts": verdicts, "out": str(options.out)}))
    return int(options.fail_if_worse and verdicts[WORSE] > 0)


def read_runs(folder: Path, store: Path | None) -> Runs:
    """The runs of a result, each with its folder and its store. ValueError if there is no result in the folder."""
    from experiments.run.result_folder import read_rows
    from experiments.user.json_io import read_json

    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder}: it must be a result folder, which has a run.json")
    info = read_json(folder / "run.json")
    origin = f"{folder}: {info['command']}, commit {info['commit']}{' with changes' if info['dirty'] else ''}"
    store = store or Path(info.get("options", {}).get("store", "runs/store"))
    places: Row = {"experiment": NAME, "folder": folder, "store": store, "origin": origin}
    runs = dict[tuple[object, ...], Row]()
    for row in read_rows(folder, "table.csv"):
        if row["section"] == EXPLORE or row["status"] == "infeasible":
            continue
        runs[tuple(row[name] for name in (*SETTING, "train_seed"))] = row | places
    return runs


def pair_settings(before: Runs, after: Runs) -> Iterator[tuple[Sequence[Row], Sequence[Row]]]:
    """The rows of each setting before and after the change, on the networks that both results have.

    ValueError if they have none in common, or if paired runs differ in data, features, sizes or noise.
    """
    pairs: dict[object, list[tuple[Row, Row]]] = {}
    for (*setting, _), row in before.items():
        if (other := after.get((*setting, row["train_seed"]))) is not None:
            pairs.setdefault(tuple(setting), []).append((row, other))
            for name in (name for name in SAME if other.get(name) != row.get(name)):
                both = f"{other.get(name)} in {other['folder']}, but {row.get(name)} in {row['folder']}"
                raise ValueError(f"{name} of {row['setting']!r} is {both}; only equal ones can be compared")
    if not pairs:
        raise ValueError(
            "before, after: they have no setting of the same train_seed in common (section, budget, label, schedule, "
            "sampler and last step must be equal)"
        )
    if alone := [*dict.fromkeys(row["setting"] for row in before.values() if not _is_paired(row, pairs))]:
        log.warning(
            f"not compared, since it is not in both, or schedule, sampler or last step differ: {', '.join(alone)}"
        )
    for rows in pairs.values():
        old, new = zip(*rows, strict=True)
        yield old, new


def _is_paired(row: Row, pairs: Mapping[object, object]) -> bool:
    return tuple(row[name] for name in SETTING) in pairs


def _samples_of(rows: Sequence[Row]) -> set[tuple[Path, str]]:
    return {(row["store"].resolve(), row["samples_id"]) for row in rows}


def name_setting(row: Row) -> str:
    """A setting with its section, if that says more."""
    section, budget, label = (row[name] for name in SETTING[:3])
    return label if section in ("all", f"{budget} evaluations") else f"{section}: {label}"


def read_added(row: Row) -> Mapping[str, Any]:
    """What each image of a run adds to its distances. ValueError if the store lacks it, or has that of a later run."""
    from experiments.distances.distance import unpack_distances
    from experiments.run.cache import read_tensors

    path = row["store"] / "scores" / f"{row['run_id']}.safetensors"
    distances = unpack_distances(read_tensors(path))
    if any(distances[metric].value != row[metric] for metric in METRICS):
        raise ValueError(f"{path}: it was made again after {row['folder']}; run the change with its own --store")
    return distances
