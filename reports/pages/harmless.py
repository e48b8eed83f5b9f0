"""The page of `score --margin`: are images after a change as good as before, up to a margin?"""

from typing import Any

import pandas as pd

from reports import settings
from reports.conditions import origin
from reports.formats import capital, difference, metric_name, missing, number, plural, scaled
from reports.page import Axis, Bar, Column, Page, Row, Sheet, Slot, Table
from reports.results import Result
from reports.schema import BETTER, HARMFUL, HARMLESS, WORSE

LOOKS = {HARMLESS: BETTER, HARMFUL: WORSE}
ROW = 4  # pairs of a strip
WRONG = {("harmful", "same law"), ("harmless", "harmed")}  # verdict, and what a change is by construction
NAMES = {"share": "score --margin"}
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


def page(result: Result) -> Page:
    facts: dict[str, Any] = result.info["harmless"]
    rows = result.harms
    if rows["a"].nunique() > 1:
        return _gates(result, rows)
    checks, distances = rows, result.contrasts[result.contrasts["metric"] != "copies"]
    first, files = checks.iloc[0], sorted(path.name for path in result.folder.glob("*.csv*"))
    lead = f"{capital(facts['verdict'])}:"
    notes = [f"{str(note).rstrip('.')}." for note in result.info.get("notes", [])]
    what = "images of each" if facts["pairs"] == "none" else "pairs of images"
    made = Page(
        settings.source(result, f"{number(facts['n'], 0)} {what}", f"margin {percent(facts['margin'])}"),
        result.info["question"], lead, facts["reason"] + ".",
        caveat=" ".join(notes), slots=_slots(facts, first, checks), sheet=_sheet(result, first),
        tables=[_table(checks), *([_distances(distances)] if len(distances) else [])], noun="check", order="",
        note="All must hold; the first decides. Pairs that differ most are in worst_pairs.csv.",
        conditions=[*TERMS, *origin(result.info), ("Files", files)],
    )  # fmt: skip
    return made


def percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return "" if missing(share) else "0 %" if share < 1e-4 else f"{float(f'{100 * share:.2g}'):g} %"


def _slots(facts: dict[str, Any], first: pd.Series, checks: pd.DataFrame) -> list[Slot]:
    axis = Axis((0.0, max(1.15 * first["limit"], 1.05 * min(first["high"], 1.0))))
    bar = Bar.of(axis, [first["value"], first["low"], first["high"]], LOOKS.get(first["verdict"], ""))
    limit = Bar.dot(axis, first["limit"], "real")
    interval = f"95 % interval {percent(first['low'])} to {percent(first['high'])}"
    slots = [
        Slot("As far as replacing", percent(first["value"]), [interval], [bar, limit], axis.place(0),
             [("real", f"limit {percent(first['limit'])}")], role="effect"),
    ]  # fmt: skip
    held = int((checks["verdict"] == "harmless").sum())
    slots.append(Slot("Checks that hold", f"{held} of {len(checks)}", ["each has its own limit"]))
    needed = [f"about {number(facts['needed'], 0)} would decide"] if facts["needed"] else []
    needed = [f"can show {percent(facts['at_best'])} at best", *needed]
    units = [f"of {plural(facts['n_units'], 'group')}"] if facts["n_units"] < facts["n"] else []
    name = "Images of each" if facts["pairs"] == "none" else "Pairs"
    slots.append(Slot(name, number(facts["n"], 0), [*units, *needed], role="evidence"))
    return slots


def _sheet(result: Result, first: pd.Series) -> Sheet | None:
    """The pairs that are furthest apart, before and after side by side."""
    worst = result.worst_pairs
    rows = []
    for at in range(len(worst) // ROW):
        part = worst.iloc[ROW * at : ROW * (at + 1)]
        names = [f"worst-{at + 1}-{side}" for side in ("before", "after")]
        if all((result.folder / "images" / f"{name}-4.png").is_file() for name in names):
            share = part["share"].sum()
            title = f"{ROW * at + 1} to {ROW * (at + 1)}"
            rows.append(
                (title, [(names[0], ", ".join(part["pair"])), (names[1], f"{percent(share)} of all squared distances")])
            )
    if not rows:
        return None
    note = "They are furthest apart in features: four pairs in a row, before on the left and after on the right."
    return Sheet("The pairs that differ most", note, [first["b"], first["a"]], rows)


def _table(checks: pd.DataFrame) -> Table:
    def shown(row: pd.Series, name: str) -> str:
        if missing(row[name]) or row["unit"] == "share":
            return percent(row[name])
        return f"{number(row[name])} {row['unit']}"

    rows = []
    for _, row in checks.iterrows():
        interval = "" if missing(row["low"]) else f"{shown(row, 'low')} to {shown(row, 'high')}"
        rows.append(Row(row["check"], [shown(row, "value"), interval, shown(row, "limit"), row["verdict"]]))
    heads = (
        Column("Value", "n"),
        Column("95 % interval", "wide"),
        Column("Limit", "n", "limit "),
        Column("Verdict", "n"),
    )
    return Table("What must hold", heads, rows)


def _distances(distances: pd.DataFrame) -> Table:
    """The distances of both sets to reference images, which do not decide."""
    rows = []
    for _, row in distances.iterrows():
        values, (change, interval) = [scaled(row["metric"], row[f"value_{side}"]) for side in "ba"], difference(row)
        rows.append(Row(metric_name(row["metric"], row["features"]), [*values, f"{change} ({interval})"]))
    heads = Column("Before", "n", "before "), Column("After", "n", "after "), Column("Difference", "wide")
    return Table("Distances to the reference, which do not decide", heads, rows)


def _gates(result: Result, rows: pd.DataFrame) -> Page:
    """Several changes whose harm is known by construction, by several gates."""
    gates = list(dict.fromkeys(rows["check"]))
    n = number(result.info["harmless"]["n"], 0)
    truths = rows.drop_duplicates("a").set_index("a")["truth"]
    found = rows.pivot(index="a", columns="check", values="verdict").loc[truths.index]
    wrong = {
        gate: [a for a, truth in truths.items() if (found.loc[a, gate], truth) in WRONG] for gate in gates
    }  # fmt: skip
    possible = int(truths.isin([truth for _, truth in WRONG]).sum())  # slight changes are no error either way
    lead = f"{NAMES.get(gates[0], gates[0])} errs on {len(wrong[gates[0]])} of {possible}."
    rest = ", ".join(f"{gate} on {len(wrong[gate])}" for gate in gates[1:])
    rest += f": on these {len(truths)} changes, for which the checks of {NAMES.get(gates[0], gates[0])} were made"
    slots = [
        Slot(NAMES.get(gate, gate), f"{len(wrong[gate])} of {possible}", ["; ".join(wrong[gate]) or "no error"])
        for gate in gates
    ]
    cells = []
    for change, truth in truths.items():
        own = rows[(rows["a"] == change) & (rows["check"] == gates[0])].iloc[0]
        interval = f"{percent(own['value'])} ({percent(own['low'])} to {percent(own['high'])})"
        marks = [percent(own["limit"]), own["verdict"], own["decided_by"]]
        for gate in gates[1:]:
            row = rows[(rows["a"] == change) & (rows["check"] == gate)].iloc[0]
            marks.append(f"{number(row['value'], 2)} {'passes' if row['verdict'] == 'harmless' else 'fails'}")
        cells.append(Row(change, [truth, interval, *marks]))
    heads = [Column("Truth"), Column("As far as replacing", "verdicts"), Column("Limit", "n", "limit ")]
    heads += [Column("Verdict", "verdicts"), Column("Decided by", "verdicts", "decided by ")]
    heads += [Column(gate, before=f"{gate} ") for gate in gates[1:]]
    limits = rows.drop_duplicates("check").set_index("check")["limit"]
    said = ", ".join(f"{gate} {number(limits[gate], 2)}" for gate in gates[1:])
    return Page(
        settings.source(result, f"{n} images before and after"), result.info["question"], lead, f"{rest}.",
        slots=slots, tables=[Table(f"{len(cells)} changes of {rows['b'].iloc[0]}", heads, cells)], noun="change",
        order="", note=f"An error: same law refused, or harm passed. Slight changes are none. Limits: {said}.",
        conditions=[*TERMS, *origin(result.info)],
    )  # fmt: skip
