"""The report on a run of the benchmarks: how much time does everything but the network take, and how fast are we?"""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reports import figures
from reports.document import About, Figure, Number, Opening, Section, Table, Terms, table
from reports.formats import listed, missing, number, percent, plural, times
from reports.render import origin, write_pages
from reports.sentences import capital
from reports.speed.rows import Benchmarks, read_benchmarks

QUESTION = "How much time does everything but the network take, and how fast are other loops?"
TERMS = {
    "ms per step": "Wall time of a run divided by its network evaluations, one batch at a time; median of the rounds.",
    "outside the network": "Share of the run time that is spent outside the network's calls. Measured on CPUs.",
    "share of peak": "Operations per second of the whole run, divided by those of a square matrix product. Both have "
    "the same precision and run in the same process. torch counts the operations of a forward pass.",
    "memory": "Peak during the benchmark: of the whole process on a CPU (Linux), of PyTorch's allocator on a GPU.",
}


def write_bench_report(file: Path, directory: Path) -> Path:
    """The path of report.html, after writing the report on the benchmarks in `file` into `directory`.

    Raises:
        FileNotFoundError, ValueError: see `read_benchmarks`.
    """
    benchmarks = read_benchmarks(file)
    with figures.style():
        about = About(QUESTION, [machine(benchmarks)], str(benchmarks.info.get("datetime", "unknown"))[:10])
        return write_pages(directory, about, sections(benchmarks), footer(benchmarks), opening(benchmarks))


def opening(benchmarks: Benchmarks) -> Opening:
    """What runs do by default against the fastest other loop: in words, with the spread of the rounds, and as bars."""
    sampling, training = benchmarks.suite("sampling"), benchmarks.suite("training")
    figure = next(iter(speeds(benchmarks, "sampling") or speeds(benchmarks, "training")), None)
    numbers = [*_against(sampling, "sampling"), *_outside(sampling), *_against(training, "training")[:1]]
    key = "Images per second, with the network “small”: higher is better. Range: slowest to fastest round."
    torch = benchmarks.info.get("machine_info", {}).get("torch")
    status = ["same weights, one process", *([f"torch {torch}"] if torch else [])]
    return Opening(
        _verdict(sampling, training), numbers=numbers, figure=figure, key=key if figure else "",
        status=[*status, "holds for this machine"],
    )  # fmt: skip


def sections(benchmarks: Benchmarks) -> list[Section | None]:
    """The sections below the first screen, from top to bottom. A suite that was not run is left out."""
    has_sampling = len(benchmarks.suite("sampling"))
    return [
        Section("Training", speeds(benchmarks, "training") if has_sampling else []),  # else on the first screen
        Section("The loop alone", _alone(benchmarks)),
        Section("How to read this", [Terms(TERMS)], folded=True),
        Section("Tables", _tables(benchmarks), folded=True),
    ]


def machine(benchmarks: Benchmarks) -> str:
    """Processor or card, and threads."""
    info = benchmarks.info.get("machine_info", {})
    threads = info.get("threads")
    name = info.get("cpu", {}).get("brand_raw") or "unknown processor"
    card = "" if info.get("device") in (None, "cpu") else f"{info['device']}; "
    return f"{card}{name}" + (f", {plural(threads, 'thread')}" if threads else "")


def caption(benchmarks: Benchmarks, rows: pd.DataFrame, text: str) -> str:
    """`text`, then batch, image size, number of rounds and machine."""
    batch, rounds = (listed(number(size, 0) for size in sorted(set(rows[name]))) for name in ("batch", "rounds"))
    return f"{text} Batch {batch}, images of 32x32. Medians of {rounds} rounds in one process. {machine(benchmarks)}."


def _sides(rows: pd.DataFrame) -> tuple[pd.Series | None, pd.Series | None]:
    """What runs do by default (or else the fastest of our modes), and the fastest other loop; None if not measured."""
    ours, default = rows[rows["ours"]], rows[rows["ours"] & rows["default"].astype(bool)]
    mine, others = default if len(default) else ours, rows[~rows["ours"]]
    first, other = (side.loc[side["images_per_second"].idxmax()] if len(side) else None for side in (mine, others))
    return first, other


def _verdict(sampling: pd.DataFrame, training: pd.DataFrame) -> str:
    """At most 25 words, the default first."""
    for name, rows in (("sampling", sampling), ("training", training)):
        mine, other = _sides(rows)
        if mine is None:
            continue
        text = f"{capital(name)} makes {_rate(mine)} images per second."
        if other is not None:
            who = f"By default, {name}" if mine["default"] else f"Our fastest {name}"
            ratio = mine["images_per_second"] / other["images_per_second"]
            text = f"{who} is {times(ratio)} times as fast as the fastest other loop ({other['who']})."
        return text + "".join(f" The loop takes at most {share.value} of the time." for share in _outside(rows))
    return "Sampling and training were not measured."


def _against(rows: pd.DataFrame, what: str) -> list[Number]:
    """The default and the fastest other loop, set large."""
    mine, other = _sides(rows)
    numbers = []
    if mine is not None:
        notes = [] if other is None or what == "sampling" else [f"fastest other loop: {_rate(other)}"]
        word = f"{what} by default" if mine["default"] else f"{what}, our fastest mode"
        numbers.append(Number(_rate(mine), word, [label(mine), *_spread(mine), *notes]))
    if other is not None:
        numbers.append(Number(_rate(other), "fastest other loop", [label(other), *_spread(other)]))
    return numbers


def _outside(rows: pd.DataFrame) -> list[Number]:
    """The share of our run time that is spent outside the network."""
    shares = rows.loc[rows["ours"], "share_outside"].dropna()
    notes = [f"at most; at least {percent(shares.min())}", "by noise and precision"]
    return [Number(percent(shares.max()), "outside the network", notes)] if len(shares) else []


def label(row: pd.Series) -> str:
    """The name of the loop, with precision and compilation."""
    mode = row["precision"] + (", compiled" if row["compiled"] else "")
    return row["who"] if row["precision"] in row["who"] else f"{row['who']}, {mode}"


def _rate(row: pd.Series) -> str:
    return number(row["images_per_second"], 0)


def _spread(row: pd.Series) -> list[str]:
    """The range over the rounds, for instance "3 rounds, 205 to 220". Two or more rounds have one."""
    if row["rounds"] < 2 or missing(row["fastest"]) or missing(row["slowest"]):
        return [f"{plural(row['rounds'], 'round')}, no spread"]
    low, high = (number(row["images_per_second"] * row["median"] / row[name], 0) for name in ("slowest", "fastest"))
    return [f"{plural(row['rounds'], 'round')}, {low} to {high}"]


def speeds(benchmarks: Benchmarks, name: str) -> list[Figure]:
    """The figure of images per second, a bar per loop."""
    rows = benchmarks.suite(name)
    if not len(rows):
        return []
    rows = rows.assign(label=[label(row) for _, row in rows.iterrows()])
    rows = rows.sort_values("images_per_second", ascending=False, kind="stable")
    drawing, [[ax]] = figures.panels(1, 1, 0.22 * len(rows) + 0.6)
    bars(rows, "images_per_second", "images per second", ax)
    evaluations = f", {number(rows['nfe'].iloc[0], 0)} evaluations per image" if name == "sampling" else ""
    text = f"Images per second in {name} with the network “small”{evaluations}. Blue: ours."
    return [Figure(name, drawing, f"Images per second in {name}.", caption(benchmarks, rows, text))]


def bars(rows: pd.DataFrame, value: str, label: str, ax: Axes) -> Axes:
    """The axes with one bar per row (label, value, ours), and its value. Ours are blue. The first row is on top."""
    colors = [figures.BLUE if ours else figures.FAINT for ours in rows["ours"]]
    ax.barh(range(len(rows)), rows[value], color=colors, height=0.7)
    for line, (amount, name, rounds) in enumerate(zip(rows[value], rows["label"], rows["rounds"], strict=True)):
        figures.target(ax, amount, line, f"{name}: {number(amount)} {label}, median of {plural(rounds, 'round')}")
        ax.annotate(number(amount), (amount, line), (3, 0), textcoords="offset points", va="center", fontsize=8,
                    color=figures.INK)  # fmt: skip
    ax.set_yticks(range(len(rows)), rows["label"])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, 1.15 * rows[value].max())
    ax.set_xlabel(label)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: number(amount)))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return ax


def _alone(benchmarks: Benchmarks) -> list[Figure]:
    rows = benchmarks.suite("loop").sort_values("ms_per_step", kind="stable")
    if not len(rows):
        return []
    drawing, [[ax]] = figures.panels(1, 1, 0.24 * len(rows) + 0.8)
    bars(rows.assign(label=rows["who"]), "ms_per_step", "ms per step, with a network that costs nothing", ax)
    text = caption(benchmarks, rows, "Time of a step without the network. Blue: ours.")
    return [Figure("loop", drawing, "Milliseconds per step for each loop.", text)]


def _tables(benchmarks: Benchmarks) -> list[Table]:
    """One table per suite that was run."""
    tables = []
    for name in ("loop", "sampling", "training", "noise"):
        rows = benchmarks.suite(name).sort_values("ms_per_step", kind="stable")
        columns = {
            "loop": rows["who"] if name in ("loop", "noise") else [label(row) for _, row in rows.iterrows()],
            "evaluations": [number(value, 0) if value > 1 else "" for value in rows["nfe"]],
            "ms per step": rows["ms_per_step"].map(number),
            "images per second": [number(value, 0) for value in rows["images_per_second"]],
            "outside the network": ["" if missing(value) else percent(value) for value in rows["share_outside"]],
            "TFLOP/s": [number(value / 1e12) for value in rows["flop_per_second"]],
            "share of peak": ["" if missing(value) else percent(value) for value in rows["fraction_of_roof"]],
            "memory, MiB": [number(value, 0) for value in rows["peak_mib"]],
            "rounds": [number(value, 0) for value in rows["rounds"]],
        }
        if len(rows):
            shown = pd.DataFrame({head: list(texts) for head, texts in columns.items() if any(texts)})
            text = caption(benchmarks, rows, f"All benchmarks of the suite “{name}”.")
            tables.append(table(shown, text, words=("loop",)))
    return tables


def footer(benchmarks: Benchmarks) -> list[tuple[str, str]]:
    """The origin of the numbers: command, commit, versions, machine, date."""
    info = benchmarks.info
    commit, about = info.get("commit_info", {}), info.get("machine_info", {})
    versions = {
        "torch": about.get("torch"),
        "python": about.get("python_version"),
        "pytest-benchmark": info.get("version"),
    }
    known = {
        "command": "pytest --benchmark --benchmark-json=FILE.json",
        "commit": commit.get("id"),
        "dirty": commit.get("dirty"),
        "versions": {name: version for name, version in versions.items() if version},
        "machine": machine(benchmarks),
    }
    return [*origin(known), ("Measured", str(info.get("datetime", "unknown")))]
