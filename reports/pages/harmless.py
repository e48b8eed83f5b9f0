"""The page of `score --margin`: are images after a change as good as before, up to a margin?"""

from typing import Any

import pandas as pd

from reports import settings
from reports.details import describe_origin, list_files
from reports.formats import capital, difference, is_missing, metric_name, number, plural, scale_metric
from reports.page import Axis, Bar, Column, KeyFigure, Page, Row, SampleGrid, Table
from reports.results import LoadedResult
from reports.schema import BETTER, HARMFUL, HARMLESS, WORSE

LOOKS = {HARMLESS: BETTER, HARMFUL: WORSE}
ROW = 4  # pairs of a strip
WRONG = {(HARMFUL, "same law"), (HARMLESS, "harmed")}  # verdict, and what a change is by construction
TERMS = [
    (
        "As far as replacing", "How far the images after are from those before, as the share of images that can move "
        "them as far if they are picked at random and replaced: MMD² ≤ s² (1 + the mean kernel of two images before). "
        "Do not read it as a count of images: of subtler damage more images count the same. Pairs of one group do not "
        "meet. The upper end is at least that of 4.75 images, or groups: so few may not show.",
    ),
    ("Harmless", "The upper end of the 95 % interval is below the margin, and every other check holds."),
    ("Harmful", "The lower end is above the margin, or another check is beyond its limit."),
    ("Not decided", "Neither. More images may decide."),
    ("More grain", "Fine noise in the pixels beyond that before, in grey levels of 255."),
    ("More copies", "The share of images that are copies of others after the change, beyond that before."),
]  # fmt: skip


def page(result: LoadedResult) -> Page:
    facts: dict[str, Any] = result.info["harmless"]
    checks = result.harms
    if checks["a"].nunique() > 1:
        return _gates_page(result, checks)
    distances, first = result.contrasts[result.contrasts["metric"] != "copies"], checks.iloc[0]
    what = "images of each" if facts["pairs"] == "none" else "pairs of images"
    return Page(
        settings.describe_source(result, f"{number(facts['n'], 0)} {what}", f"margin {percent(facts['margin'])}"),
        result.info["question"], f"{capital(facts['verdict'])}:", facts["reason"] + ".",
        caveats=[f"{str(note).rstrip('.')}." for note in result.info.get("notes", [])],
        key_figures=_key_figures(facts, first, checks), grid=_make_grid(result, first),
        tables=[_checks_table(checks), *([_distances_table(distances)] if len(distances) else [])], noun="check",
        order="", note="All must hold; the first decides. Pairs that differ most are in worst_pairs.csv.",
        details=[*TERMS, *describe_origin(result.info), ("Files", list_files(result))],
    )  # fmt: skip


def percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return "" if is_missing(share) else "0 %" if share < 1e-4 else f"{float(f'{100 * share:.2g}'):g} %"


def _key_figures(facts: dict[str, Any], first: pd.Series, checks: pd.DataFrame) -> list[KeyFigure]:
    axis = Axis((0.0, max(1.15 * first["limit"], 1.05 * min(first["high"], 1.0))))
    bar = Bar.of(axis, [first["value"], first["low"], first["high"]], LOOKS.get(first["verdict"], ""))
    interval = f"95 % interval {percent(first['low'])} to {percent(first['high'])}"
    effect = KeyFigure(
        "As far as replacing", percent(first["value"]), [interval, f"limit {percent(first['limit'])}"],
        [bar, Bar.dot(axis, first["limit"], "real")], axis.place(0), [("real", "limit")], role="effect",
    )  # fmt: skip
    held = f"{(checks['verdict'] == HARMLESS).sum()} of {len(checks)}"
    notes = [f"of {plural(facts['n_units'], 'group')}"] if facts["n_units"] < facts["n"] else []
    notes.append(f"can show {percent(facts['at_best'])} at best")
    notes += [f"about {number(facts['needed'], 0)} would decide"] if facts["needed"] else []
    name = "Images of each" if facts["pairs"] == "none" else "Pairs"
    evidence = KeyFigure(name, number(facts["n"], 0), notes, role="evidence")
    return [effect, KeyFigure("Checks that hold", held, ["each has its own limit"]), evidence]


def _make_grid(result: LoadedResult, first: pd.Series) -> SampleGrid | None:
    """The pairs that are furthest apart, before and after side by side."""
    worst, rows = result.worst_pairs, []
    for at in range(len(worst) // ROW):
        part = worst.iloc[ROW * at : ROW * (at + 1)]
        share = f"{percent(part['share'].sum())} of all squared distances"
        cells = [(f"worst-{at + 1}-before", ", ".join(part["pair"])), (f"worst-{at + 1}-after", share)]
        rows.append((f"{ROW * at + 1} to {ROW * (at + 1)}", cells))
    if not (result.folder / "images" / "worst-1-after-4.png").is_file():
        return None
    note = "They are furthest apart in features: four pairs in a row, before on the left and after on the right."
    return SampleGrid("The pairs that differ most", note, [first["b"], first["a"]], rows)


def _checks_table(checks: pd.DataFrame) -> Table:
    def show(row: pd.Series, name: str) -> str:
        if is_missing(row[name]) or row["unit"] == "share":
            return percent(row[name])
        return f"{number(row[name])} {row['unit']}"

    rows = []
    for _, row in checks.iterrows():
        interval = "" if is_missing(row["low"]) else f"{show(row, 'low')} to {show(row, 'high')}"
        rows.append(Row(row["check"], [show(row, "value"), interval, show(row, "limit"), row["verdict"]]))
    columns = [Column("Value", "n"), Column("95 % interval", "wide"), Column("Limit", "n", "limit ")]
    return Table("What must hold", [*columns, Column("Verdict", "n")], rows)


def _distances_table(distances: pd.DataFrame) -> Table:
    rows = []
    for _, row in distances.iterrows():
        values = [scale_metric(row["metric"], row[f"value_{side}"]) for side in "ba"]
        change, interval = difference(row)
        rows.append(Row(metric_name(row["metric"], row["features"]), [*values, f"{change} ({interval})"]))
    columns = Column("Before", "n", "before "), Column("After", "n", "after "), Column("Difference", "wide")
    return Table("Distances to the reference, which do not decide", columns, rows)


def _gates_page(result: LoadedResult, rows: pd.DataFrame) -> Page:
    """Several changes whose harm is known by construction, by several gates; the first is that of `score`."""
    gates, n = list(dict.fromkeys(rows["check"])), number(result.info["harmless"]["n"], 0)
    names, (own, *others) = {gate: "score --margin" if gate == "share" else gate for gate in gates}, gates
    truths = rows.drop_duplicates("a").set_index("a")["truth"]
    by_gate = rows.set_index(["a", "check"])
    verdicts = by_gate["verdict"]
    wrong = {gate: [a for a, truth in truths.items() if (verdicts[a, gate], truth) in WRONG] for gate in gates}
    possible = int(truths.isin([truth for _, truth in WRONG]).sum())  # slight changes are no error either way
    rest = ", ".join(f"{gate} on {len(wrong[gate])}" for gate in others)
    rest += f": on these {len(truths)} changes, for which the checks of {names[own]} were made."
    errors = {gate: "; ".join(wrong[gate]) or "no error" for gate in gates}
    key_figures = [KeyFigure(names[gate], f"{len(wrong[gate])} of {possible}", [errors[gate]]) for gate in gates]
    cells = []
    for change, truth in truths.items():
        row = by_gate.loc[(change, own)]
        interval = f"{percent(row['value'])} ({percent(row['low'])} to {percent(row['high'])})"
        marks = [percent(row["limit"]), row["verdict"], row["decided_by"]]
        for row in (by_gate.loc[(change, gate)] for gate in others):
            marks.append(f"{number(row['value'], 2)} {'passes' if row['verdict'] == HARMLESS else 'fails'}")
        cells.append(Row(change, [truth, interval, *marks]))
    columns = [
        Column("Truth"), Column("As far as replacing", "verdicts"), Column("Limit", "n", "limit "),
        Column("Verdict", "verdicts"), Column("Decided by", "verdicts", "decided by "),
        *(Column(gate, before=f"{gate} ") for gate in others),
    ]  # fmt: skip
    limits = rows.drop_duplicates("check").set_index("check")["limit"]
    stated = ", ".join(f"{gate} {number(limits[gate], 2)}" for gate in others)
    return Page(
        settings.describe_source(result, f"{n} images before and after"), result.info["question"],
        f"{names[own]} errs on {len(wrong[own])} of {possible}.", rest, key_figures=key_figures,
        tables=[Table(f"{len(cells)} changes of {rows['b'].iloc[0]}", columns, cells)], noun="change", order="",
        note=f"An error: same law refused, or harm passed. Slight changes are none. Limits: {stated}.",
        details=[*TERMS, *describe_origin(result.info)],
    )  # fmt: skip
