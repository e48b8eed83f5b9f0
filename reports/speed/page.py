"""The report on a run of the benchmarks: how much time does everything but the network take, and how fast are we?"""

from pathlib import Path
from typing import Any

import pandas as pd

from reports import figures
from reports.document import Figure, Prose, Section, Table, Terms, table
from reports.formats import listed, missing, number, percent, times
from reports.render import write_pages
from reports.speed import figures as speed_figures
from reports.speed.opening import fastest, label, machine, opening, sides, speeds
from reports.speed.rows import Benchmarks, read_benchmarks

QUESTION = "How much time does everything but the network take, and how fast are other loops?"
GROWTH = {  # suite -> column of the x axis, its label
    "scaling: batch": ("batch", "batch"),
    "scaling: steps": ("nfe", "steps"),
    "scaling: samples": ("n_images", "samples"),
}
TERMS = [
    (
        "ms per step",
        "Wall time of a run divided by its network evaluations, one batch at a time; median of the rounds.",
    ),
    ("outside the network", "Share of the run time that is spent outside the network's calls. Measured on CPUs."),
    (
        "share of peak",
        "Operations per second of the whole run, divided by those of a square matrix product. Both have the same "
        "precision and run in the same process. torch counts the operations of a forward pass.",
    ),
    ("memory", "Peak during the benchmark: of the whole process on a CPU (Linux), of PyTorch's allocator on a GPU."),
]


def write_bench_report(file: Path, directory: Path) -> Path:
    """The path of report.html, after writing the report on the benchmarks in `file` into `directory`.

    Raises:
        FileNotFoundError, ValueError: see `read_benchmarks`.
    """
    benchmarks = read_benchmarks(file)
    with figures.style():
        return write_pages(directory, QUESTION, sections(benchmarks), footer(benchmarks), opening(benchmarks))


def sections(benchmarks: Benchmarks) -> list[Section | None]:
    """The sections below the first screen, from top to bottom. A suite that was not run is left out."""
    loop, sampling, training = (benchmarks.suite(name) for name in ("loop", "sampling", "training"))
    scaling = benchmarks.suite("scaling")
    answer = [*_compared(sampling, "Sampling"), *_compared(training, "Training"), *_outside(loop, sampling)]
    return [
        Section("Training", speeds(training, "training") if len(sampling) else []),  # else on the first screen
        Section("The loop alone", _alone(benchmarks, loop)),
        Section("How time grows", _growth(benchmarks, scaling)),
        Section("The answer in detail", answer, folded=True),
        Section("How to read this", [Terms(TERMS)], folded=True),
        Section("Tables", tables(benchmarks), folded=True),
    ]


def caption(benchmarks: Benchmarks, rows: pd.DataFrame, text: str) -> str:
    """`text`, then batch, image size, number of rounds and machine."""
    rounds = listed(number(count, 0) for count in sorted(set(rows["rounds"])))
    batch = listed(number(size, 0) for size in sorted(set(rows["batch"])))
    return f"{text} Batch {batch}, images of 32x32. Medians of {rounds} rounds in one process. {machine(benchmarks)}."


def _outside(loop: pd.DataFrame, sampling: pd.DataFrame) -> list[Prose]:
    phrases = []
    shares = sampling[sampling["ours"] & sampling["share_outside"].notna()]
    if len(shares):
        least, most = shares["share_outside"].min(), shares["share_outside"].max()
        phrases.append(
            f"Everything but the network takes {percent(least)} to {percent(most)} of our run time with the network "
            "“small”, depending on noise and precision."
        )
    ours, others = loop[loop["ours"]], loop[~loop["ours"]]
    if len(ours):
        fastest = ours.loc[ours["ms_per_step"].idxmin()]
        text = (
            f"With a network that costs nothing, a step takes {number(fastest['ms_per_step'])} ms ({fastest['who']})."
        )
        if len(others):
            low, high = others["ms_per_step"].min(), others["ms_per_step"].max()
            text += f" In other loops it takes {number(low)} to {number(high)} ms."
        phrases.append(text)
    return [Prose(" ".join(phrases), "Outside the network")] if phrases else []


def _compared(rows: pd.DataFrame, lead: str) -> list[Prose]:
    """What runs do by default, or else the fastest of our modes, against the fastest other loop."""
    first, other = sides(rows)
    if first is None or other is None:
        return []
    best = fastest(rows[rows["ours"]])
    ratio = first["images_per_second"] / other["images_per_second"]
    text = (
        f"{_rate(first)}. The fastest other loop makes {_rate(other)}. Ours is {times(ratio)} times as fast, with the "
        "same weights in the same run."
    )
    if first["default"] and not best["default"]:
        share = first["images_per_second"] / best["images_per_second"]
        text += f" The fastest of our modes makes {_rate(best)}; the default reaches {percent(share)} of that."
    return [Prose(text, lead)]


def _rate(row: pd.Series) -> str:
    return f"{number(row['images_per_second'], 0)} images per second ({label(row)})"


def _alone(benchmarks: Benchmarks, rows: pd.DataFrame) -> list[Figure]:
    if not len(rows):
        return []
    rows = rows.assign(label=rows["who"]).sort_values("ms_per_step", kind="stable")
    figure, [[ax]] = figures.panels(1, 1, 0.24 * len(rows) + 0.8)
    speed_figures.bars(rows, "ms_per_step", "ms per step, with a network that costs nothing", ax)
    text = caption(benchmarks, rows, "Time of a step without the network. Blue: ours.")
    return [Figure("loop", figure, "Milliseconds per step for each loop.", text)]


def _growth(benchmarks: Benchmarks, rows: pd.DataFrame) -> list[Figure]:
    if not len(rows):
        return []
    rows = rows.assign(seconds=rows["n_images"] / rows["images_per_second"])
    shown = [(suite, *GROWTH[suite]) for suite in GROWTH if (rows["suite"] == suite).any()]
    figure, [axes] = figures.panels(1, len(shown), 2.6)
    for ax, (suite, by, name) in zip(axes, shown, strict=True):
        value, unit = ("ms_per_step", "ms per step") if by == "batch" else ("seconds", "seconds")
        speed_figures.growth(rows[rows["suite"] == suite], by, value, (name, unit), ax)
    text = caption(
        benchmarks, rows, "Time against batch size, number of steps and number of samples. Dashed: proportional growth."
    )
    return [Figure("growth", figures.named(figure), "Time against batch, steps and samples.", text)]


def tables(benchmarks: Benchmarks) -> list[Table]:
    """One table per suite that was run."""
    found = []
    for name in ("loop", "sampling", "training", "noise"):
        if len(rows := benchmarks.suite(name)):
            text = caption(benchmarks, rows, f"All benchmarks of the suite “{name}”.")
            by = rows["who"] if name in ("loop", "noise") else [label(row) for _, row in rows.iterrows()]
            found.append(_table(rows.assign(label=by).sort_values("ms_per_step", kind="stable"), text))
    return found


def _table(rows: pd.DataFrame, text: str) -> Table:
    columns: dict[str, list[str]] = {
        "loop": list(rows["label"]),
        "evaluations": [number(value, 0) if value > 1 else "" for value in rows["nfe"]],
        "ms per step": [number(value) for value in rows["ms_per_step"]],
        "images per second": [number(value, 0) for value in rows["images_per_second"]],
        "outside the network": ["" if missing(value) else percent(value) for value in rows["share_outside"]],
        "TFLOP/s": [number(value / 1e12) for value in rows["flop_per_second"]],
        "share of peak": ["" if missing(value) else percent(value) for value in rows["fraction_of_roof"]],
        "memory, MiB": [number(value, 0) for value in rows["peak_mib"]],
        "rounds": [number(value, 0) for value in rows["rounds"]],
    }
    shown = pd.DataFrame({name: texts for name, texts in columns.items() if any(texts)})
    return table(shown, text, words=("loop",))


def footer(benchmarks: Benchmarks) -> list[tuple[str, str]]:
    """The origin of the numbers: command, commit, versions, machine, date."""
    info: dict[str, Any] = benchmarks.info
    commit, about = info.get("commit_info", {}), info.get("machine_info", {})
    versions = {
        "torch": about.get("torch"),
        "python": about.get("python_version"),
        "pytest-benchmark": info.get("version"),
    }
    return [
        ("Command", "pytest --benchmark --benchmark-json=FILE.json"),
        ("Commit", (commit.get("id") or "unknown") + (", with uncommitted changes" if commit.get("dirty") else "")),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "unknown"),
        ("Machine", machine(benchmarks)),
        ("Measured", str(info.get("datetime", "unknown"))),
    ]
