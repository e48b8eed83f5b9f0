"""The text that `pytest --benchmark` prints, and the page of `experiments bench`: how fast is sampling, next to others?

Rounds alternate, so two rows of one group are compared round by round; two commits are compared process by process.
This is the one page that computes what it shows: nothing but benchmarks has these numbers.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom
from scipy.stats import t as student

from reports.details import describe_origin
from reports.formats import capital, join, number, percent, plural, short
from reports.page import Column, Page, Row, Source, Table

OURS, YOURS = "sigmabench", "yours"  # packages of loops
DRAWN_ONCE = ", noise drawn once"
ENOUGH = 3  # processes from which a ratio has an interval
SHARED = 0.25  # cores of other programs from which a page says so
SUITES = ("sampling", "training", "loop")  # loop: alone, with a network that costs nothing
COLUMNS = (
    Column("Suite"),
    Column("Compare within", "wide"),
    Column("ms per step", "n", after=" ms per step"),
    Column("Times as fast as the fastest other", "n", after=" times the fastest other"),
    Column("Images per second", "n", after=" images/s"),
)
COMPARED = (
    Column("Suite", "wide"),
    Column("Compare within", "wide"),
    Column("Ratio of times", "n"),
    Column("95 % interval", "n"),
)
TERMS = [
    ("Compare within", "Rows with the same words do equal work in equal precision. Divide no others."),
    ("ms per step", "Median of the rounds: time of a run divided by its network evaluations, or steps of training."),
    ("Times as fast as the fastest other", "Against the fastest loop of another project, with the 95 % interval of the "
     "median over rounds in this process."),
]  # fmt: skip


def read_benchmarks(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A row per benchmark that `pytest --benchmark --benchmark-json=FILE` wrote, and the rest of the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: no benchmark in it is ours and has the seconds of its rounds, which --benchmark-save leaves out.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; `python -m experiments bench --save NAME` writes some")
    info = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        bench["extra_info"] | {"data": bench["stats"]["data"], "name": bench["fullname"]}
        for bench in info.pop("benchmarks")
        if "package" in bench["extra_info"] and "data" in bench["stats"]
    ]
    if not rows:
        raise ValueError(f"{path}: no benchmark of this version with its rounds; write it by --benchmark-json")
    return frame_of(rows), info


def group_of(notes: Mapping[str, Any]) -> str:
    """Names the conditions that loops must share to be compared: device, precision, fresh noise."""
    words = [notes["mode"]] if "mode" in notes else []
    if notes["device"] != "cpu":
        words.append(notes["device"])
    if "noise" in notes:
        words.append(DRAWN_ONCE[2:] if notes["drawn_once"] else "fresh noise" if notes["noise"] else "no fresh noise")
    return ", ".join(words)


def frame_of(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of notes, among them `data`, the seconds of the rounds; `rounds` and `ms`: of a step, and their median."""
    defaults = {"mode": "", "drawn_once": False, "fault": ""}
    rows = []
    for result in results:
        rounds = [1e3 * seconds / result["nfe"] for seconds in result["data"]]
        rows.append(defaults | dict(result) | {"group": group_of(result), "rounds": rounds, "ms": median(rounds)})
    return pd.DataFrame(rows)


def of_rounds(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median over rounds, from the order of the values; with fewer than six, their range."""
    ordered = sorted(values)
    cut = max(int(binom.ppf(0.025, len(ordered), 0.5)), 1)
    return ordered[cut - 1], ordered[-cut]


def times_as_fast(row: pd.Series, other: pd.Series) -> tuple[float, float, float]:
    """By how much a step is faster than the other's: ratio of the medians, and the interval of the ratio of a round."""
    ratio = other["ms"] / row["ms"]
    low, high = of_rounds([b / a for a, b in zip(row["rounds"], other["rounds"], strict=True)])
    return ratio, min(low, ratio), max(high, ratio)


def fastest_other(rows: pd.DataFrame, row: pd.Series) -> pd.Series | None:
    """The fastest right loop of another project in its group; None for a loop that is wrong, or draws noise once."""
    alike = (rows["suite"] == row["suite"]) & (rows["group"] == row["group"]) & (rows["fault"] == "")
    others = rows[alike & (rows["package"] != row["package"])]
    return None if others.empty or row["drawn_once"] or row["fault"] else others.loc[others["ms"].idxmin()]


def find_fault(rows: pd.DataFrame) -> str:
    """Says what is wrong with the user's sampler, after its name, as `check-sampler` does; "" if nothing is."""
    wrong = rows[rows["fault"] != ""]
    return "" if wrong.empty else f"{wrong['who'].iloc[0]}: {wrong['fault'].iloc[0]}"


def find_verdict(rows: pd.DataFrame) -> tuple[str, str]:
    """The user's loop, or else ours, against the fastest other: in the first suite and group that have both.

    A sampler that is wrong is not compared.
    """
    if fault := find_fault(rows):
        return fault, "So its speed is not compared."
    loops = rows[rows["package"] == (YOURS if YOURS in set(rows["package"]) else OURS)]
    for suite in SUITES:
        for _, row in loops[loops["suite"] == suite].iterrows():
            if (other := fastest_other(rows, row)) is None:
                continue
            ratio, low, high = times_as_fast(row, other)
            lead = "Faster." if low > 1 else "Slower." if high < 1 else "No difference detected."
            times = f"a step takes {short(row['ms'])} ms with {row['who']}, {short(other['ms'])} with {other['who']}"
            return lead, f"{capital(suite)}, {row['group']}: {times}: {_interval(ratio, low, high)} times as fast."
    return "", "There is nothing to compare: no group has loops of two projects."


def make_table(rows: pd.DataFrame) -> Table:
    """All loops, by suite and group, the fastest first."""
    made = list[Row]()
    places = {group: place for place, group in enumerate(dict.fromkeys(rows["group"]))}
    order = rows.assign(suite_at=rows["suite"].map(SUITES.index), group_at=rows["group"].map(places))
    for _, row in order.sort_values(["suite_at", "group_at", "ms"]).iterrows():
        other = fastest_other(rows, row)
        ratio = "" if other is None else _interval(*times_as_fast(row, other))
        per_second = "" if row["suite"] == "loop" else number(row["n_images"] / median(row["data"]), 0)
        made.append(Row(row["who"], [row["suite"], row["group"], short(row["ms"]), ratio, per_second]))
    return Table("Loops, by what they share", COLUMNS, made)


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def conditions(rows: pd.DataFrame) -> str:
    """How it was timed, and what may be divided."""
    words = [f"{plural(rows['threads'].iloc[0], 'thread')} of the processor"]
    if (peak := rows["peak_mib"].max()) > 0:
        words.append(f"peak memory {number(peak, 0)} MiB")
    if (busy := rows["busy"].max()) > SHARED:
        words.append(f"other programs kept {number(busy)} cores busy")
    for _, first in rows.drop_duplicates("suite").iterrows():
        network = "" if first["suite"] == "loop" else f" with the network {first['network']}"
        cost = "" if first["suite"] == "training" else f", {plural(first['nfe'], 'evaluation')}"
        words.append(f"{first['suite']}{network}{cost} in batches of {first['batch']}")
    return f"{'; '.join(words)}. Divide only rows that agree in suite and in {COLUMNS[1].head!r}."


def text_of(rows: pd.DataFrame) -> list[str]:
    """The verdict, the conditions and the tables as lines, for a terminal."""
    return [" ".join(find_verdict(rows)).strip(), conditions(rows), "", *make_table(rows).text]


def bench_page(rows: pd.DataFrame, info: dict[str, Any]) -> Page:
    """The page on one run of the benchmarks."""
    return _page(info, rows, find_verdict(rows), make_table(rows))


def compare_page(files: Sequence[Path], against: Sequence[Path], limit: float | None, name: str) -> tuple[Page, bool]:
    """The page on runs against those called `name`, and whether a loop of ours or yours is slower by more than `limit`.

    Run i of one is compared with run i of the other; they may have alternated. On one machine a ratio counts beside
    that of other projects' loops, which cancels how busy the machine was. A run counts by its fastest round, which
    other programs disturb least. Intervals are Student's, of the mean of logs.

    Raises:
        ValueError: unequal numbers of files; a limit, but too few files for intervals; no benchmark is in all files, or
            a loop of the user's is not.
    """
    if len(files) != len(against):
        raise ValueError(f"against={name}: it has {plural(len(against), 'run')}, not {len(files)}; --runs adds some")
    if limit is not None and len(files) < ENOUGH:
        raise ValueError(f"fail_if_slower: it needs an interval, so --runs {ENOUGH} on each side")
    pairs = [[read_benchmarks(path) for path in pair] for pair in zip(files, against, strict=True)]
    times = [[rows.set_index("name")["rounds"].map(min) for rows, _ in pair] for pair in pairs]
    logs = np.log(pd.concat([new / old for new, old in times], axis=1)).dropna()
    if logs.empty:
        raise ValueError("against: no benchmark is in all runs")
    yours = {name for pair in pairs for made, _ in pair for name in made.loc[made["package"] == YOURS, "name"]}
    if lost := sorted(yours.difference(logs.index)):
        raise ValueError(f"against: {lost[0]} is not in all runs; give all runs the same --sampler and --network")
    (rows, info), (_, before) = pairs[0]
    rows = rows.set_index("name").loc[logs.index]
    machines = {_machine(about["machine_info"]) for about in (info, before)}
    title = f"Time of these runs, over that of {name}"
    own = rows["package"].isin((OURS, YOURS))
    if len(machines) == 1 and not own.all():  # their code is the same in both: they differ by what the machine does
        logs -= logs[~own].mean()
        title += ", where loops of other projects are 1 on average"
    ratios = _ratios(logs)
    made = [
        Row(row["who"], [row["suite"], row["group"], f"{ratio:.2f}", f"{low:.2f} to {high:.2f}" if low == low else ""])
        for (_, row), (ratio, low, high) in zip(rows.iterrows(), ratios.to_numpy(), strict=True)
    ]
    ours = ratios[own]
    whose = "ours and yours" if yours else "ours"
    caveats = [f"Two machines or settings: {join(sorted(machines))}."] if len(machines) > 1 else []
    slower = [*dict.fromkeys(rows["who"][own & (ratios["low"] > 1)])]
    lead = find_fault(rows) or (f"Slower than {name}: {join(slower)}." if slower else "")
    detect = _say_detectable(logs[rows["package"].eq(YOURS) if yours else own])
    verdict = (lead, f"{_count_slower(ours, whose, len(files))}{detect}")
    page = _page(info, rows, verdict, Table(title, COMPARED, made), caveats)
    return page, limit is not None and bool((ours["low"] > 1 + limit).any())


def _ratios(logs: pd.DataFrame) -> pd.DataFrame:
    """Ratios of times with their intervals, missing for few files. `logs`: a row per benchmark, a column per pair."""
    n = logs.shape[1]
    middle = logs.mean(axis=1)
    reach = student.ppf(0.975, n - 1) * logs.sem(axis=1) if n >= ENOUGH else middle * math.nan
    return np.exp(pd.DataFrame({"ratio": middle, "low": middle - reach, "high": middle + reach}))


def _count_slower(ours: pd.DataFrame, whose: str, n: int) -> str:
    """How many of these rows are slower or faster, over n pairs of files."""
    if n < ENOUGH:
        return f"No intervals: they need {ENOUGH} runs on each side. The same loop differs by 30 % minutes apart."
    slower, faster = (ours["low"] > 1).sum(), (ours["high"] < 1).sum()
    text = f"Of {len(ours)} rows of {whose} {slower} are slower and {faster} faster (95 % intervals over {n} pairs of "
    return f"{text}runs; of 40 equal rows one is called slower)."


def _say_detectable(logs: pd.DataFrame) -> str:
    """Which change half of these rows could detect, with a power of 80 %, and how many runs would detect 10 %."""
    if (n := logs.shape[1]) < ENOUGH:
        return ""
    spread = float(logs.std(axis=1).median())

    def detectable(n: int) -> float:
        return float(np.exp((student.ppf(0.975, n - 1) + student.ppf(0.8, n - 1)) * spread / math.sqrt(n)) - 1)

    enough = next((n for n in range(ENOUGH, 100) if detectable(n) <= 0.1), 100)
    most = f"{enough} runs on each side" if enough < 100 else "more than 99"
    return f" A change of {percent(detectable(n))} could be detected; 10 % would take {most}."


def _page(
    info: Mapping[str, Any], rows: pd.DataFrame, verdict: tuple[str, str], table: Table,
    caveats: Sequence[str] = ("Holds for this machine.",),
) -> Page:  # fmt: skip
    machine = info["machine_info"]
    versions = {"torch": machine["torch"], "python": machine["python_version"], "pytest-benchmark": info["version"]}
    about = {"command": "python -m experiments bench", "commit": info["commit_info"].get("id"),
             "dirty": info["commit_info"].get("dirty"), "machine": _machine(machine), "versions": versions}  # fmt: skip
    return Page(
        Source([_machine(machine)], info["datetime"][:10]), "How fast is the loop, next to others?", *verdict,
        caveats=[*caveats, conditions(rows)], tables=[table], noun="loop", order=", by what they share",
        note="Same weights, one process, rounds alternate.", details=[*TERMS, *describe_origin(about)],
    )  # fmt: skip


def _machine(info: Mapping[str, Any]) -> str:
    """Card or processor, and threads."""
    name = info.get("cpu", {}).get("brand_raw") or "unknown processor"
    card = "" if info["device"] == "cpu" else f"{info['device']}; "
    return f"{card}{name}, {plural(info['threads'], 'thread')}, torch {info['torch']}"
