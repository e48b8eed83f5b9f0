"""The settings of a result on a page: where they come from, what speaks against them, pictures, and tables."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pandas as pd

from reports.formats import (
    difference,
    duration,
    evaluations,
    join,
    lower_on,
    number,
    percent,
    plural,
    scale_metric,
    verdict_words,
)
from reports.page import Column, Picture, Row, Source, Table
from reports.results import LoadedResult, find_files
from reports.schema import PRIMARY_METRIC

ROWS = 25  # of all tables of a page, and of its figure
FAR, VERY_FAR = 10, 40  # floors of 500 images above the floor
FEW_IMAGES = 500
MEMORISED = 0.01  # share of samples
KEYS = ["section", "budget", "n_samples", "setting", "sampler", "nfe", "final_denoise"]  # these name a setting
MEANS = ("mmd", "fd", "precision", "recall", "visible_noise", "to_training", "to_training_real", "memorised", "seconds")
TRAINING = ["train_noise", "weighting", "parameterisation"]
COLUMNS = (
    Column("Evaluations", "n", after=" evaluations"),
    Column("{primary}", "n", "MMD "),
    Column("{fd}", "n few", "FD "),
    Column("Difference in {primary}", "wide"),
    Column("Verdict", "verdicts"),
    Column("Visible noise", "n few", "visible noise "),
)


def describe_source(result: LoadedResult, *subject: str) -> Source:
    """Data, network, the day of the last run, and what it took to make everything, stored parts too."""
    runs = result.runs if len(result.runs) else result.table[result.table["status"] == "ok"]
    if not subject and len(runs):
        run = runs.loc[runs["images_seen"].fillna(0).idxmax()]
        elsewhere = run["trained_by"] == "others"
        seen = f", {number(run['images_seen'], 0)} {result.unit}s seen in training" if run["images_seen"] > 0 else ""
        real = next(iter(result.floors["data"]), run["data"])
        data = run["data"] if real == run["data"] else f"{run['data']}, compared with {real}"
        network = f"{run['network']} network{', trained elsewhere' if elsewhere else seen}"
        subject = (data, network, f"{result.features} features")
    days = [text[:10] for text in (*result.table["finished_at"], result.info.get("finished_at", "")) if text]
    day = max(days, default="")
    info = result.info
    if total := info.get("total_seconds"):
        time = f"{duration(total)} of computing on {info['machine']}"
        if total > info["wall_seconds"]:  # runs side by side took less: only their sum is known
            time += ", summed over runs"
        return Source(subject, day, time)
    seconds = info.get("wall_seconds") if info.get("computed", 1) == 1 else None  # else parts were stored before
    return Source(subject, day, duration(seconds) if seconds else "")


def summarise_settings(result: LoadedResult) -> pd.DataFrame:
    """One row per setting: means over networks, the worst network, and the samples of the first one."""
    runs = result.runs.drop_duplicates([*KEYS, "run_id"])
    runs = runs.sort_values("train_seed", kind="stable", key=pd.to_numeric)
    means = {name: (name, "mean") for name in MEANS}
    parameters = ("eta", "schedule", "sigma_max", "sigma_min", "n_steps", "p_mean", "p_std")
    firsts = {name: (name, "first") for name in (*parameters, "samples_id", "sample_seed", *TRAINING)}
    grouped = runs.groupby(KEYS, sort=False, dropna=False)
    return grouped.agg(
        **means, **firsts, networks=(PRIMARY_METRIC, "size"), worst=(PRIMARY_METRIC, "max")
    ).reset_index()


def find_caveats(result: LoadedResult, shown: Sequence[pd.Series]) -> tuple[list[str], list[str]]:
    """Warnings and caveats: failed runs, samples of the shown settings far from real ones."""
    warnings = list[str]()
    caveats = list[str]()
    real = f"real {result.unit}s"
    row = min(shown, key=lambda row: _above_floor(result, row))
    ratio = _above_floor(result, row)
    floor = result.floor("fd", row["n_samples"])
    if floor is not None and ratio >= FAR:
        text = f"{real}: {result.metric_name('fd')} {number(row['fd'])}, {real} {number(floor['mean'])}."
        (warnings if ratio >= VERY_FAR else caveats).append(f"{'Very far' if ratio >= VERY_FAR else 'Far'} from {text}")
    if count := result.table.loc[result.table["status"] == "failed", "run_id"].nunique():
        warnings.append(f"{plural(count, 'run')} failed.")
    copied = [f"{percent(row['memorised'])} ({row['setting']})" for row in shown if row["memorised"] > MEMORISED]
    if copied:
        text = f"lie much nearer to training {result.unit}s than {real} do: they may be copies"
        warnings.append(f"At least {join(dict.fromkeys(copied))} of the samples {text}.")
    return warnings, [*caveats, *result.info.get("caveats", [])]


def count_images(result: LoadedResult, row: pd.Series) -> str:
    return f"{plural(row['n_samples'], result.unit)} from each of {plural(row['networks'], 'network')}"


def format_noise(row: pd.Series) -> str:
    return number(row["visible_noise"], 3, 3)


def format_scores(result: LoadedResult, row: pd.Series) -> str:
    """The scores of a setting, as "MMD ×1000 7.0 (FD 3.8)"."""
    primary, fd = (f"{result.metric_name(name)} {scale_metric(name, row[name])}" for name in (PRIMARY_METRIC, "fd"))
    return f"{primary} ({fd})"


def format_worst(row: pd.Series) -> str:
    """The score of a setting on the worst of several networks, as ", 9.3 on the worst of 5 networks"; otherwise ""."""
    worst = scale_metric(PRIMARY_METRIC, row["worst"])
    return f", {worst} on the worst of {row['networks']} networks" if row["networks"] > 1 else ""


def score_real(result: LoadedResult, n_samples: float) -> str:
    """The scores of as many real images, in the form of `format_scores`; "" if they were not measured."""
    floors = {name: result.floor(name, n_samples) for name in (PRIMARY_METRIC, "fd")}
    means = {name: floor["mean"] for name, floor in floors.items() if floor is not None}
    return format_scores(result, pd.Series(means)) if len(means) == len(floors) else ""


def name_with_evaluations(row: pd.Series) -> str:
    return f"{row['setting']}, {evaluations(row['nfe'])} evaluations"


def find_setting(every: pd.DataFrame, row: pd.Series, side: str) -> pd.Series:
    """A side of a comparison among all settings; of an effect the first, or the lowest, of its section."""
    section = every[every["section"] == row["section"]]
    rows = section[section["setting"] == row[side]]
    if rows.empty:
        return section.iloc[0] if side == "b" else section.loc[section[PRIMARY_METRIC].idxmin()]
    return rows.loc[(rows["nfe"] - row[f"nfe_{side}"]).abs().fillna(0).idxmin()]


def _above_floor(result: LoadedResult, row: pd.Series) -> float:
    """How many floors of 500 images FD of a setting is above the floor: FD falls as the sum of one over each number."""
    floor = result.floor("fd", row["n_samples"])
    if floor is None or not floor["mean"] > 0:
        return 0.0
    n_samples, n_reference = floor["n_samples"], floor["n_reference"]
    of_few = (1 / FEW_IMAGES + 1 / n_reference) / (1 / n_samples + 1 / n_reference)
    return float((row["fd"] - floor["mean"]) / (floor["mean"] * of_few))


def show_pictures(result: LoadedResult, *sides: tuple[pd.Series, str, str]) -> list[Picture]:
    """The data, and settings (row, title, label) with their scores, as far as there are pictures, of 16 or of 4."""
    real = score_real(result, sides[0][0]["n_samples"])
    decoded = any(result.floors["data"].str.startswith("latents:"))
    pictures = [Picture("real", "Real", "decoded latents" if decoded else f"{result.unit}s", real)]
    pictures += [Picture(row["samples_id"], title, label, format_scores(result, row)) for row, title, label in sides]
    names = [(picture, [f"{picture.name}{end}" for end in ("", "-4")]) for picture in pictures]
    files = [(picture, find_files(result.folder / "images", [f"{name}.png" for name in of])) for picture, of in names]
    return [replace(picture, name=found[0].stem) for picture, found in files if found]


def format_comparison(row: pd.Series, digits: int = 1) -> tuple[str, str]:
    """The difference of a setting, as text, and its verdict."""
    text, interval = difference(row, digits=digits)
    inside = "; ".join(filter(None, [interval, lower_on(row)]))
    return text + (f" ({inside})" if inside else ""), verdict_words(row)


def table_row(row: pd.Series, change: str = "", verdict: str = "", digits: int = 1) -> Row:
    """A setting with its difference from another; `digits`: decimals of its MMD."""
    scores = [scale_metric(PRIMARY_METRIC, row[PRIMARY_METRIC], digits), scale_metric("fd", row["fd"])]
    values = [evaluations(row["nfe"]), *scores, change, verdict, format_noise(row)]
    return Row(row["setting"], values, row["samples_id"])


def allot_rows(counts: Sequence[int]) -> tuple[list[int], str]:
    """How many rows each of some tables or sections shows, ROWS in all, and what to say if rows are left out."""
    sizes = [0] * len(counts)
    while sum(sizes) < ROWS and sizes != list(counts):
        sizes[min((at for at in range(len(counts)) if sizes[at] < counts[at]), key=lambda at: sizes[at])] += 1
    left = sum(counts) - sum(sizes)
    return sizes, f"{plural(left, 'setting')} with higher scores are left out. " if left else ""


def make_table(title: str, result: LoadedResult, rows: pd.DataFrame, make_row: Callable[[pd.Series], Row]) -> Table:
    """A table of settings, best first, without empty columns."""
    names = {"primary": result.metric_name(), "fd": result.metric_name("fd")}
    cells = [make_row(row) for _, row in rows.sort_values(PRIMARY_METRIC, kind="stable").iterrows()]
    kept = [at for at in range(len(COLUMNS)) if any(row.cells[at] for row in cells)]
    columns = [replace(COLUMNS[at], head=COLUMNS[at].head.format(**names)) for at in kept]
    return Table(title, columns, [replace(row, cells=[row.cells[at] for at in kept]) for row in cells])


def list_names(items: Iterable[str]) -> str:
    """Two or three names, or two and how many more there are."""
    names = list(items)
    return join(names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"])
