"""The first screen of the report on speed: what runs do by default, against the fastest other loop."""

import pandas as pd

from reports import figures
from reports.document import Figure, Number, Opening
from reports.formats import listed, missing, number, percent, plural, times
from reports.sentences import capital
from reports.speed import figures as speed_figures
from reports.speed.rows import Benchmarks


def opening(benchmarks: Benchmarks) -> Opening:
    """The default against the fastest other loop, in words, in numbers with the spread of their rounds, and as bars."""
    sampling, training = benchmarks.suite("sampling"), benchmarks.suite("training")
    figure = speeds(sampling, "sampling") or speeds(training, "training")
    numbers = [*_against(sampling, "sampling"), *outside(sampling), *_against(training, "training")[:1]]
    return Opening(
        _verdict(sampling, training), numbers=numbers, figure=next(iter(figure), None),
        key="Images per second, with the network “small”: higher is better. Range: slowest to fastest round."
        if figure else "",
        status=_status(benchmarks),
    )  # fmt: skip


def label(row: pd.Series) -> str:
    """The name of the loop, with precision and compilation."""
    mode = row["precision"] + (", compiled" if row["compiled"] else "")
    return row["who"] if row["precision"] in row["who"] else f"{row['who']}, {mode}"


def fastest(rows: pd.DataFrame) -> pd.Series:
    """The loop that makes the most images per second."""
    return rows.loc[rows["images_per_second"].idxmax()]


def sides(rows: pd.DataFrame) -> tuple[pd.Series | None, pd.Series | None]:
    """What runs do by default (or else the fastest of our modes), and the fastest other loop; None if not measured."""
    ours, others = rows[rows["ours"]], rows[~rows["ours"]]
    default = ours[ours["default"].astype(bool)]
    mine = default if len(default) else ours
    return (fastest(mine) if len(mine) else None), (fastest(others) if len(others) else None)


def machine(benchmarks: Benchmarks) -> str:
    """Processor or card, and threads."""
    info = benchmarks.info.get("machine_info", {})
    threads = info.get("threads")
    name = info.get("cpu", {}).get("brand_raw") or "unknown processor"
    card = "" if info.get("device") in (None, "cpu") else f"{info['device']}; "
    return f"{card}{name}" + (f", {plural(threads, 'thread')}" if threads else "")


def _verdict(sampling: pd.DataFrame, training: pd.DataFrame) -> str:
    """At most 25 words, the default first."""
    for name, rows in (("sampling", sampling), ("training", training)):
        mine, other = sides(rows)
        if mine is not None and other is not None:
            who = f"By default, {name}" if mine["default"] else f"Our fastest {name}"
            ratio = mine["images_per_second"] / other["images_per_second"]
            text = f"{who} is {times(ratio)} times as fast as the fastest other loop ({other['who']})."
            return text + "".join(f" The loop takes at most {one.value} of the time." for one in outside(rows))
        if mine is not None:
            kept = "".join(f" The loop takes at most {one.value} of the time." for one in outside(rows))
            return f"{capital(name)} makes {_rate(mine)} images per second.{kept}"
    return "Sampling and training were not measured."


def _against(rows: pd.DataFrame, what: str) -> list[Number]:
    mine, other = sides(rows)
    found = []
    if mine is not None:
        word = f"{what} by default" if mine["default"] else f"{what}, our fastest mode"
        notes = [label(mine), *_spread(mine)]
        notes += [] if other is None or what == "sampling" else [f"fastest other loop: {_rate(other)}"]
        found.append(Number(_rate(mine), word, notes))
    if other is not None:
        found.append(Number(_rate(other), "fastest other loop", [label(other), *_spread(other)]))
    return found


def outside(rows: pd.DataFrame) -> list[Number]:
    """The share of our run time that is spent outside the network."""
    shares = rows[rows["ours"] & rows["share_outside"].notna()]
    if not len(shares):
        return []
    least, most = shares["share_outside"].min(), shares["share_outside"].max()
    notes = [f"at most; at least {percent(least)}", "by noise and precision"]
    return [Number(percent(most), "outside the network", notes)]


def _rate(row: pd.Series) -> str:
    return number(row["images_per_second"], 0)


def _spread(row: pd.Series) -> list[str]:
    """The range over the rounds, for instance "3 rounds, 205 to 220". Two or more rounds have one."""
    if row["rounds"] < 2 or missing(row["fastest"]) or missing(row["slowest"]):
        return [f"{plural(row['rounds'], 'round')}, no spread"]
    low, high = (number(row["images_per_second"] * row["median"] / row[name], 0) for name in ("slowest", "fastest"))
    return [f"{plural(row['rounds'], 'round')}, {low} to {high}"]


def speeds(rows: pd.DataFrame, name: str) -> list[Figure]:
    """The figure of images per second, a bar per loop."""
    if not len(rows):
        return []
    rows = rows.assign(label=[label(row) for _, row in rows.iterrows()])
    rows = rows.sort_values("images_per_second", ascending=False, kind="stable")
    drawing, [[ax]] = figures.panels(1, 1, 0.22 * len(rows) + 0.6)
    speed_figures.bars(rows, "images_per_second", "images per second", ax)
    evaluations = f", {number(rows['nfe'].iloc[0], 0)} evaluations per image" if name == "sampling" else ""
    batch = listed(number(size, 0) for size in sorted(set(rows["batch"])))
    caption = (
        f"Images per second in {name} with the network “small”. Blue: ours. Medians of the rounds, batch {batch}, "
        f"images of 32x32{evaluations}."
    )
    return [Figure(name, drawing, f"Images per second in {name}.", caption)]


def _status(benchmarks: Benchmarks) -> list[str]:
    """The machine, and what was compared with what."""
    torch = benchmarks.info.get("machine_info", {}).get("torch")
    facts = ["same weights, one process", machine(benchmarks), *([f"torch {torch}"] if torch else [])]
    return [*facts, "holds for this machine"]
