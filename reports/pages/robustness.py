"""The page of `robustness`: what an answer depends on, a line per question and fixed choice."""

import pandas as pd

from reports import settings
from reports.details import describe_origin
from reports.formats import SCALES, capital, join, number, plural, scale_metric
from reports.page import Axis, Bar, Column, Figure, FigureSection, Line, Page, Row, Table
from reports.results import LoadedResult
from reports.schema import BETTER, DEPENDS, HOLDS, NO_DIFFERENCE, PRIMARY_METRIC, TURNS, UNDECIDED, WORSE

TERMS = [
    ("Holds", "The effect is significant, uncorrected, and of one sign at every value (Berger 1982): so it may stand "
     "beside a verdict that is not significant after correction."),
    ("Turns", "It is significant with opposite signs at two values, after Holm over all turns and changes of a table."),
    ("Size depends", "The change between two values is significant after the same correction: by network where they "
     "share training seeds, of ln(a / b) where features differ, else by Welch's test."),
    ("Not decided", "Neither. Beside it stands the change that could be detected."),
]  # fmt: skip
COLUMNS = (
    Column("Fixed choice"), Column("Effects, by value", "wide"), Column("Change between values", "wide"),
    Column("Answer", "verdicts"),
)  # fmt: skip
WORDS = {TURNS: "turn", UNDECIDED: "are not decided", HOLDS: "hold"}  # of several lines, in the order of the sentence
OF_ONE = {TURNS: TURNS, UNDECIDED: "is not decided", HOLDS: HOLDS}


def page(result: LoadedResult) -> Page:
    rows = result.holds
    lines = [line for _, line in rows.groupby("line", sort=False)]
    notes = [capital(f"{note}.") for note in result.info["notes"]]
    source = settings.describe_source(result, plural(rows["result"].nunique(), "result"))
    details = [*TERMS, *describe_origin(result.info), ("Files", ["holds.csv"])]
    if not lines:
        text = "No two of these results differ in one fixed choice alone."
        return Page(source, result.info["question"], "Not decided.", text, caveats=notes, details=details)
    questions = [of_question for _, of_question in rows.groupby("question", sort=False)]
    tables = [_make_table(of_question) for of_question in questions]
    same = [f"Not varied by any of these: {join(result.info['not_varied'])}."] if result.info["not_varied"] else []
    lead, verdict = phrase_verdict(lines)
    return Page(
        source, result.info["question"], lead, verdict, caveats=[*same, *notes], figures=_draw(questions),
        tables=tables, noun="line", order="", details=details,
    )  # fmt: skip


def phrase_verdict(lines: list[pd.DataFrame]) -> tuple[str, str]:
    """How many answers turn, hold, or are not decided; the choices that turn one."""
    words = [line["effect"].iloc[0] for line in lines]
    turning = dict.fromkeys(line["choice"].iloc[0] for line in lines if line["effect"].iloc[0] == TURNS)
    sized = dict.fromkeys(line["choice"].iloc[0] for line in lines if line["size"].iloc[0] == DEPENDS)
    verbs = {word: OF_ONE[word] if words.count(word) == 1 else verb for word, verb in WORDS.items()}
    counts = join(f"{words.count(word)} {verb}" for word, verb in verbs.items() if word in words)
    lead = f"{capital(join(turning))} turn{'s' if len(turning) == 1 else ''} an answer." if turning else ""
    lead = lead or "No turn is detected."
    size = f" How large a difference is depends on {join(sized)}." if sized else ""
    what = "A line is one answer under one changed choice, and holds if it is significant and of one sign at each value"
    return lead, f"{what}: of {len(lines)}, {counts}.{size}"


def _make_table(rows: pd.DataFrame) -> Table:
    cells = []
    for _, line in rows.groupby("line", sort=False):
        first = line.iloc[0]
        values = "; ".join(f"{row['at']}: {_size(row)}, {_count(row)}" for _, row in line.iterrows())
        change = "at the score of real images"
        if pd.notna(first["change"]):
            change = f"{_change(first)}, {first['change_how']}"
        size = f"; {first['size']}" if first["size"] else ""
        detect = f"; could detect {_scaled(first, 'detectable')}" if first["effect"] == UNDECIDED and not size else ""
        cells.append(Row(first["choice"], [first["with"], values, change, f"{first['effect']}{size}{detect}"]))
    heads = (Column("With"), *COLUMNS[1:])
    return Table(capital(rows["question"].iloc[0]), heads, cells)


def _count(row: pd.Series) -> str:
    return f"{number(row['n_lower'], 0)} of {number(row['n_networks'], 0)} networks lower"


def _size(row: pd.Series) -> str:
    change, low, high = (scale_metric(PRIMARY_METRIC, row[name]) for name in ("difference", "low", "high"))
    return f"{change} ({low} to {high})"


def _scaled(row: pd.Series, name: str) -> str:
    return scale_metric(PRIMARY_METRIC, row[name]) if row["unit"] == PRIMARY_METRIC else number(row[name], 2)


def _change(row: pd.Series) -> str:
    change, low, high = (_scaled(row, name) for name in ("change", "change_low", "change_high"))
    return f"{change} ({low} to {high}){'' if row['unit'] == PRIMARY_METRIC else ' in ln ratio'}"


def _draw(questions: list[pd.DataFrame]) -> list[Figure]:
    """The effects at each value, by question and fixed choice, on one axis."""
    names = ["difference", "low", "high"]
    scale = SCALES[PRIMARY_METRIC]
    axis = Axis.over([scale * value for rows in questions for value in rows[names].to_numpy().ravel()])
    sections = []
    for rows in questions:
        for _, line in rows.groupby("line", sort=False):
            first = line.iloc[0]
            drawn = []
            for _, row in line.iterrows():
                bar = Bar.of(axis, [scale * row[name] for name in names], row["verdict"], [])
                text, _, interval = _size(row).partition(" ")
                drawn.append(Line(row["at"], bar, text, interval.strip("()"), row["verdict"]))
            words = "; ".join(filter(None, [first["effect"], first["size"]]))
            title = f"{first['question']}, by {first['choice']}: {words}"
            sections.append(FigureSection(capital(title), first["with"], drawn))
    label = "Difference in MMD ×1000, 95 % interval"
    note = f"{label} of each result, with its verdict there, corrected for its own comparisons."
    legend = [(BETTER, BETTER), (WORSE, WORSE), ("not", NO_DIFFERENCE)]
    return [
        Figure("The answer at each value", note, sections, axis.place(0), ticks=axis.ticks, label=label, legend=legend)
    ]
