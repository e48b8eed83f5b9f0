"""The settings of a result on a page: where they come from, what speaks against them, pictures, and tables."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date

import pandas as pd

from reports.formats import (
    correction,
    difference,
    duration,
    listed,
    metric_name,
    missing,
    number,
    percent,
    plural,
    scaled,
)
from reports.page import Column, Picture, Row, Source, Table
from reports.results import Result
from reports.schema import BETTER, JUDGE, WORSE

ROWS = 25  # of all tables of a page, and of its figure
FAR, VERY_FAR = 10, 40  # floors of 500 images above the floor
FEW_IMAGES = 500
KEYS = [
    "section",
    "budget",
    "n_samples",
    "setting",
    "sampler",
    "nfe",
    "final_denoise",
]  # these name a setting in a table
OPPOSITE = {BETTER: WORSE, WORSE: BETTER}
COLUMNS = (
    Column("Evaluations", "n", after=" evaluations"),
    Column("{judge}", "n", "MMD "),
    Column("{fd}", "n few", "FD "),
    Column("Difference in {judge}", "wide"),
    Column("Verdict", "verdicts"),
    Column("Grain", "n few", "grain "),
)


def source(result: Result, *subject: str) -> Source:
    """Data, network, the day of the last run and the time of the whole command."""
    runs = result.runs
    if not subject and len(runs):
        one = runs.loc[runs["images_seen"].fillna(0).idxmax()]
        trained = one["trained_by"] != "others" and one["images_seen"] > 0
        seen = f", {number(one['images_seen'], 0)} training images" if trained else ""
        seen += ", trained elsewhere" if one["trained_by"] == "others" else ""
        real = next(iter(result.floors["data"]), one["data"])
        data = one["data"] if real == one["data"] else f"{one['data']}, compared with {real}"
        subject = (data, f"{one['network']} network{seen}", f"{result.features} features")
    days = [text[:10] for text in (*result.table["finished_at"], result.info.get("finished_at", "")) if text]
    day = f"{date.fromisoformat(max(days)):%-d %B %Y}" if days else ""
    seconds, computed = result.info.get("wall_seconds"), result.info.get("computed", 1)
    stored = f" ({percent(1 - computed)} was stored before)" if computed < 1 else ""
    return Source(subject, day, f"{duration(seconds)}{stored}" if seconds else "")


def rows(result: Result) -> pd.DataFrame:
    """One row per setting: means over networks, and the samples of the first network."""
    runs = result.runs.drop_duplicates([*KEYS, "run_id"])
    runs = runs.sort_values("train_seed", kind="stable", key=pd.to_numeric)
    means = {name: (name, "mean") for name in ("mmd", "fd", "grain")}
    firsts = {name: (name, "first") for name in ("eta", "schedule", "samples_id")}
    grouped = runs.groupby(KEYS, sort=False, dropna=False)
    return grouped.agg(**means, **firsts, networks=("mmd", "size")).reset_index()


def caveats(result: Result, shown: Iterable[pd.Series]) -> list[str]:
    """Reasons for care: grain in the samples of settings that are shown, samples far from real ones, failed runs."""
    shown, limit = list(shown), float(result.info.get("statistics", {}).get("grainy", 0.01))
    noisy, texts = [row for row in shown if row["grain"] > limit], list[str]()
    if noisy:
        grains = ", ".join(dict.fromkeys(grain(row) for row in noisy))
        names = listed(dict.fromkeys(f"{row['setting']}" for row in noisy))
        texts.append(f"Fine noise in the samples of {names} (grain {grains}).")
    ratios = [(_above_floor(result, row), row) for row in shown]
    ratio, row = min(ratios, key=lambda pair: pair[0], default=(0.0, None))
    if row is not None and ratio >= FAR:
        floor = result.floor("fd", row["n_samples"])
        assert floor is not None
        name = metric_name("fd", result.features)
        how = "Very far" if ratio >= VERY_FAR else "Far"
        texts.append(f"{how} from real images: {name} {number(row['fd'])}, real images {number(floor['mean'])}.")
    if count := result.table.loc[result.table["status"] == "failed", "run_id"].nunique():
        texts.append(f"{plural(count, 'run')} failed.")
    return texts


def grain(row: pd.Series) -> str:
    """The grain of a setting."""
    return number(row["grain"], 3, 3)


def _above_floor(result: Result, row: pd.Series) -> float:
    """How many floors of 500 images FD of a setting is above the floor: FD falls as the sum of one over each number."""
    floor = result.floor("fd", row["n_samples"])
    if floor is None or not floor["mean"] > 0:
        return 0.0
    n, rest = floor["n_samples"], floor["n_reference"]
    of_few = (1 / FEW_IMAGES + 1 / rest) / (1 / n + 1 / rest)
    return float((row["fd"] - floor["mean"]) / (floor["mean"] * of_few))


def pictures(result: Result, metric: str, *sides: tuple[pd.Series, str, str]) -> list[Picture]:
    """The data, and settings (row, title, label) with their scores, as far as there are pictures."""
    floor = result.floor(metric, sides[0][0]["n_samples"])
    name = metric_name(metric, result.features)
    real = "" if floor is None else f"{name} {scaled(metric, floor['mean'])}"
    decoded = any(result.floors["data"].str.startswith("latents:"))
    every = [Picture("real", "Data", "decoded latents" if decoded else "real images", real)]
    every += [
        Picture(row["samples_id"], title, label, f"{name} {scaled(metric, row[metric])}") for row, title, label in sides
    ]
    return [one for one in every if (result.folder / "images" / f"{one.name}.png").is_file()]


def columns(result: Result) -> list[Column]:
    """The columns of a table of settings."""
    names = {"judge": metric_name(JUDGE, result.features), "fd": metric_name("fd", result.features)}
    return [Column(one.head.format(**names), one.look, one.before, one.after) for one in COLUMNS]


def compared(found: pd.Series, *, flip: bool = False, against: bool = False) -> tuple[str, str]:
    """The difference of a setting, as text, and its verdict. In the contrast it is a, or b if `flip`.

    `against`: whether the text says from what.
    """
    text, interval = difference(found, -1 if flip else 1)
    text += f" ({interval})" if interval else ""
    text += f" from {found['a' if flip else 'b']}" if against else ""
    word = OPPOSITE.get(found["verdict"], found["verdict"]) if flip else found["verdict"]
    return text, word + correction(found)


def table_row(row: pd.Series, change: str = "", verdict: str = "", best: bool = False, name: str = "") -> Row:
    """A setting, under its own name by default; `best`: it is recommended."""
    nfe = row["nfe"]
    values = [
        "" if missing(nfe) else number(nfe, 0 if float(nfe).is_integer() else 1), scaled(JUDGE, row[JUDGE]),
        scaled("fd", row["fd"]), change, verdict, grain(row),
    ]  # fmt: skip
    return Row(name or row["setting"], values, row["samples_id"], best)


def rooms(counts: Sequence[int]) -> tuple[list[int], str]:
    """How many rows each of some tables or families shows, ROWS in all, and what to say if rows are left out."""
    out = [0] * len(counts)
    while sum(out) < ROWS and out != list(counts):
        at = min((at for at in range(len(counts)) if out[at] < counts[at]), key=lambda at: out[at])
        out[at] += 1
    left = sum(counts) - sum(out)
    return out, f"{plural(left, 'setting')} with higher scores are left out. " if left else ""


def table(title: str, result: Result, rows: pd.DataFrame, make: Callable[[pd.Series], Row]) -> Table:
    """A table of settings, best first, without empty columns."""
    made, heads = [make(row) for _, row in rows.sort_values(JUDGE, kind="stable").iterrows()], columns(result)
    kept = [at for at in range(len(heads)) if any(row.cells[at] for row in made)]
    made = [replace(row, cells=[row.cells[at] for at in kept]) for row in made]
    return Table(title, [heads[at] for at in kept], made)


def names(items: Iterable[str], most: int = 2) -> str:
    """Some names, and how many more there are."""
    items = list(items)
    return listed(items if len(items) <= most + 1 else [*items[:most], f"{len(items) - most} more"])
