"""The page of `check-sampler`: are samplers right if their network is known?

Of several a count, one figure, and a table of names, verdicts, numbers and sentences; of a single one its directions.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from reports import settings
from reports.details import Details, describe_origin, list_files
from reports.formats import capital, is_missing, is_set, number, plural, sentence
from reports.page import Axis, Bar, Column, Figure, FigureSection, KeyFigure, Line, Page, Row, Source, Table
from reports.results import LoadedResult
from reports.schema import WORSE

WIDE = 0.1  # directions of a smaller standard deviation only show noise that is left over
TOLERANCE = 0.01  # of a limit that is right
LEVELS = "right in the limit, with a fault in the noise levels"
IRREGULAR, NOT_DECIDED = "irregular in the number of steps", "not decided"
MEANINGS = {  # of verdicts on samplers, the worst first, with what they mean for images and what to do
    "wrong limit": "Images have less contrast and variety (below 1), more noise (above 1) or another brightness (mean "
    "off), with any number of steps: more steps do not mend it.",
    "noise left over": "Faint grain stays in images. Let the schedule end at 0.",
    "correlated pixels": "Blocks or stripes of an image share their noise. Draw noise in the shape of the images.",
    "depends on its batch": "The same seed gives another image in another batch. Draw the noise of each image alone.",
    "ignores its generator": "A seed does not repeat an image. Pass the generator to every draw.",
    "touches the global generator": "It changes what other code draws. Draw from the generator that it is given.",
    "ignores its noise": "All initial noise gives the same image.",
    "not reproducible": "The same seed gives another image in another call.",
    IRREGULAR: "Some numbers of steps give worse images than fewer steps. Take a divisor of 1,000, such as 25 or 50.",
    "order lost": "Equally good images take more steps than its order promises.",
    "unlike its reference": "With few steps, its images differ from those of its reference.",
    NOT_DECIDED: "Whether images are right with many steps is not known. Try more steps: --budgets.",
    LEVELS: "With few steps, images differ from those of the schedule that was asked for; with many they do not.",
}
RIGHT, FAULT, ON_PURPOSE = "right", "fault", "on purpose"
STATES = (FAULT, ON_PURPOSE, NOT_DECIDED, LEVELS, RIGHT)  # in the order of a figure
NOTE = "Standard deviation of the samples ÷ that of the data"
TERMS: Details = [
    ("Exact network", "The network is the conditional mean of Gaussian data, so every error is that of the code."),
    ("Ratio", f"{NOTE}, in the direction where it is farthest from 1. The data has independent directions of standard "
     "deviation 2, 1, 0.5 and 0.2; one of 0.01 only shows noise."),
    ("Right", "With more steps mean and standard deviations tend to those of the data, to within 1 %. An error at one "
     "step whose effect vanishes with more steps is not seen: at a fixed number of steps, --reference or the command "
     "levels shows it."),
    ("Limit", "What the ratio tends to with more steps, extrapolated from chains of N, 2N and 4N steps."),
    ("Batch, generator", "A sample must depend on its own noise and draws alone. The same generator must repeat it, "
     "another must not, and the global one must be left alone. Otherwise its limit is not measured."),
    ("On purpose", "The authors mean what was found, such as a limit for distilled models, sharpening or exploration."),
    ("Impulses", "It gets zeros for its draws, and 1 in one draw at a time: mean and variance are exact."),
    ("Noise left over", "Standard deviation of the noise at the end, as where a schedule ends above 0."),
    ("Irregular", "It converges along divisors of 1,000, but is far from that curve for some other numbers of steps."),
]  # fmt: skip
FEW = 28
N_STEPS = (FEW, 400)  # which are drawn
AXIS = Axis((0.35, 1.65))
TICKS = (0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6)


def page(result: LoadedResult) -> Page:
    rows, ratios = _read_samplers(result)
    ratios["worst"] = ratios["low"].where((ratios["low"] - 1).abs() > (ratios["high"] - 1).abs(), ratios["high"])
    worst = ratios.pivot(index="sampler", columns="n_steps", values="worst")
    rows[["few", "many"]] = worst.reindex(index=rows["sampler"], columns=N_STEPS).to_numpy(float)
    rows["off"] = (rows["limit_ratio"] - 1).abs()
    rows["state"] = _find_states(rows)
    versions = result.info.get("versions", {})
    libraries = [f"{name} {versions[name]}" for name in ("diffusers", "smalldiffusion") if name in versions]
    network = "exact network on Gaussian data"
    source = settings.describe_source(result, network, plural(len(rows), "sampler"), *libraries)
    links = [*filter(None, dict.fromkeys(rows["link"]))]
    details = [
        *TERMS, ("Measured", f"{number(rows['seconds'].sum(), 0)} s of CPU."), *describe_origin(result.info),
        ("Files", list_files(result)), *([("Sources", links)] if links else []),
    ]  # fmt: skip
    page = _describe_one(result, rows.iloc[0], ratios) if len(rows) == 1 else _describe_many(rows)
    return replace(page, source=source, question=result.info["question"], details=details)


def _read_samplers(result: LoadedResult) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows with a word for the figure and a text for the table; the ends of the ratios over the wide directions."""
    wide = result.budgets[(result.budgets["data_std"] > WIDE) & result.budgets["ratio"].notna()]
    ratios = wide.groupby(["sampler", "n_steps"], sort=False)["ratio"].agg(low="min", high="max").reset_index()
    rows = result.verdicts.copy()
    said = rows["sentence"].str.partition(": ")[2].mask(rows["kind"] == RIGHT, "")
    texts = zip(said, rows["note"], rows["level_faults"], strict=True)
    rows["found"] = [_join_texts(map(capital, each)) for each in texts]
    rows["word"] = [_find_word(row) for _, row in rows.iterrows()]
    rows["note"] = rows["note"].mask((rows["kind"] == RIGHT) & (rows["level_faults"] != ""), rows["level_faults"])
    return rows, ratios


def _find_word(row: pd.Series) -> str:
    """Names what is wrong with a sampler, short, with a number if its ratio does not say it; "" if it is right."""
    if row["kind"] == "noise left over":
        return f"noise {number(row['left_over'], 3)}"
    if row["kind"] == "wrong limit" and abs(row["limit_mean_error"]) > abs(row["limit_ratio"] - 1):
        return f"mean off by {number(row['limit_mean_error'], 2)}"
    return {RIGHT: "", IRREGULAR: "irregular"}.get(row["kind"], row["kind"])


def _join_texts(texts: Iterable[str]) -> str:
    return " ".join(sentence(text) for text in texts if text)


def _find_states(rows: pd.DataFrame) -> pd.Series:
    states = rows["kind"].where(rows["kind"].isin((RIGHT, NOT_DECIDED)), FAULT)
    states = states.mask((states == RIGHT) & (rows["level_faults"] != ""), LEVELS)
    return states.mask((states == FAULT) & rows["on_purpose"].map(is_set), ON_PURPOSE)


def _make_figure(title: str, note: str, sections: list[FigureSection], *legend: tuple[str, str]) -> Figure:
    """Lines on the axis of ratios."""
    return Figure(
        title, f"{NOTE}, {note}", sections, AXIS.place(1), ("too narrow", "too wide"),
        [(AXIS.place(tick), number(tick)) for tick in TICKS], long=True, label=NOTE.replace(" ÷", "\n÷"),
        legend=legend,
    )  # fmt: skip


def _count_faults(rows: pd.DataFrame) -> str:
    """ "20 of 121 samplers have a fault; 17 more are meant not to tend to the data; 84 tend to it." """
    faults, meant, unknown = (int((rows["state"] == state).sum()) for state in (FAULT, ON_PURPOSE, NOT_DECIDED))
    right = len(rows) - faults - meant - unknown
    parts = [f"{faults or 'none'} of {len(rows)} samplers {_verb(faults, 'has', 'have')} a fault"]
    if meant:
        parts.append(f"{meant} {'more ' if faults else ''}{_verb(meant, 'is', 'are')} meant not to tend to the data")
        parts.append(f"{right} {_verb(right, 'tends', 'tend')} to it")
    if unknown:
        parts.append(f"{unknown} {_verb(unknown, 'is', 'are')} not decided")
    return sentence(capital("; ".join(parts)))


def _verb(count: int, singular: str, plural: str) -> str:
    return plural if count > 1 else singular


def _describe_many(rows: pd.DataFrame) -> Page:
    """Several: how many have a fault, a line for each unless they are many and right, and the table of all."""
    key_figures = [_show_faults(rows)]
    figures = []
    measured = list[Column]()
    if rows[["few", "limit_ratio"]].notna().any(axis=None):
        few, many = (f"{n} steps" for n in N_STEPS)
        error = 100 * (rows.loc[rows["kind"] == RIGHT, "few"] - 1).abs().median()
        note = "median error of the standard deviation"
        key_figures.append(KeyFigure(f"Right ones, with {few}", f"{number(error, 0) or '–'} %", [note]))
        note = "where it is farthest from 1. The number is the limit. A mark at the edge lies beyond it."
        marks = (("open", few), ("grey", many), ("diamond", "limit (orange: wrong)"))
        figures = [_make_figure("The samples of each sampler", note, _sections(rows), *marks)]
        measured = [Column("Limit", "n few", "limit "), Column(few, "n few", after=f" with {few}")]
    columns = [Column("Verdict"), *measured, Column("What was found", "found")]
    right, others = list[Table](), list[Table]()  # those that are right are folded, if others are not
    for group, members in rows.groupby("group", sort=False):
        for is_right, alike in members.groupby(members["state"] == RIGHT):
            title = ", ".join(filter(None, [group or "What was found", RIGHT if is_right else ""]))
            cells = [
                _list_cells(row, bool(measured)) for _, row in alike.sort_values("state", kind="stable").iterrows()
            ]
            (right if is_right else others).append(Table(title, columns, cells))
    tables, folded = (others, right) if others else (right, [])
    if figures and len(rows) > settings.ROWS:
        tables, folded = [], [*others, *right]
    yours = "To check yours: python -m experiments check-sampler my_file:MySampler (docs/samplers.md)."
    return Page(
        Source(), "", _count_faults(rows), "", also="\n".join([*_list_meanings(rows), yours]),
        key_figures=key_figures, figures=figures, noun="sampler", order="", tables=tables, folded=folded,
    )  # fmt: skip


def _show_faults(rows: pd.DataFrame) -> KeyFigure:
    """How many have a fault, by fault."""
    faulty = rows[rows["state"] == FAULT]
    notes = [f"{n} {name}" for name, n in faulty["kind"].value_counts().items()][:4]
    lengths = [("before", 100.0), (WORSE, 100 * len(faulty) / len(rows))]
    return KeyFigure("With a fault", f"{len(faulty)} of {len(rows)}", notes, lengths=lengths)


def _list_cells(row: pd.Series, is_measured: bool) -> Row:
    verdict = f"{row['kind']}{', on purpose' if row['state'] == ON_PURPOSE else ''}"
    numbers = [number(row[name], 3) for name in ("limit_ratio", "few") if is_measured]
    return Row(short(row["sampler"]), [verdict, *numbers, " ".join(filter(None, [row["found"], row["link"]]))])


def _sections(rows: pd.DataFrame) -> list[FigureSection]:
    """The lines by state, the worst first; right ones only if all are few."""
    sections = []
    order = {name: place for place, name in enumerate(MEANINGS)}
    far = rows["off"].where(rows["state"] != RIGHT, -rows["off"]).fillna(0)
    rows = rows.assign(place=rows["kind"].map(order).fillna(0), near=-far).sort_values(["place", "near"])
    for state in STATES if len(rows) <= settings.ROWS else STATES[:-1]:
        lines = [_line(row) for _, row in rows[rows["state"] == state].iterrows()]
        sections += [FigureSection(capital(state), str(len(lines)), lines)] if lines else []
    return sections


def _line(row: pd.Series) -> Line:
    """The ratio with few steps, with many, and in the limit, which is orange if it is wrong."""
    ratios = (("open", row["few"]), ("grey", row["many"]), ("diamond", row["limit_ratio"]))
    marks = tuple((look, AXIS.place(ratio)) for look, ratio in ratios if not is_missing(ratio))
    places = [place for _, place in marks] or [AXIS.place(1)]
    is_wrong = row["state"] == FAULT and (row["kind"] == "wrong limit" or row["off"] > TOLERANCE)
    bar = Bar(WORSE if is_wrong else "", min(places), max(places), marks)
    label = re.sub(r"([(_=])", "\\1\u200b", short(row["sampler"]))  # where a line may break
    return Line(label, bar, number(row["limit_ratio"], 3) or "none", "", row["word"], row["note"])


def _list_meanings(rows: pd.DataFrame) -> list[str]:
    """Lists what the verdicts on samplers mean for images, the worst first."""
    counts = rows["kind"].where(rows["state"].isin((FAULT, NOT_DECIDED)), rows["state"]).value_counts()
    return [f"{capital(name)} ({counts[name]}): {meaning}" for name, meaning in MEANINGS.items() if name in counts]


def _describe_one(result: LoadedResult, row: pd.Series, ratios: pd.DataFrame) -> Page:
    """A single one: what is wrong with it, its ratios by the number of steps, and those by direction."""
    texts = {"Ratio in the limit": number(row["limit_ratio"], 3) or "none"}
    texts |= {f"Ratio with {n} steps": number(row[name], 3) for name, n in zip(("few", "many"), N_STEPS, strict=True)}
    key_figures = [KeyFigure(label, text, ["1 is right"]) for label, text in texts.items() if text]
    declared = [] if is_missing(row["declared"]) else [f"declared: {number(row['declared'], 0)}"]
    key_figures.append(KeyFigure("Order of convergence", number(row["order"], 1) or "not measured", declared))
    if not is_missing(row["evaluations"]):
        levels = row["levels"] or "no known schedule"
        key_figures.append(KeyFigure(f"Evaluations with {FEW} steps", number(row["evaluations"], 0), [levels]))
    lines = []
    for _, ratio in ratios.iterrows():
        low, high = (AXIS.place(ratio[name]) for name in ("low", "high"))
        bar = Bar("", low, high, (("speck", low), ("speck", high)))
        lines.append(Line(plural(ratio["n_steps"], "step"), bar, f"{ratio['low']:.3f}–{ratio['high']:.3f}"))
    sections = [FigureSection("By number of steps", "", lines)]
    note = "lowest and highest of four directions."
    figure = _make_figure("The way to the limit", note, sections, ("speck", "lowest and highest direction"))
    verdict, _, more = row["sentence"].partition(". ")
    return Page(
        Source(), "", "", sentence(capital(verdict)), also=f"{more} {MEANINGS.get(row['kind'], '')}".strip(),
        warnings=[f"With {FEW} steps: {row['level_faults']}."] if row["level_faults"] else [],
        key_figures=key_figures, figures=[figure] if lines else [], noun="number of steps", order="",
        tables=[_directions(result)] if result.budgets["ratio"].notna().any() else [],
    )  # fmt: skip


def _directions(result: LoadedResult) -> Table:
    """The ratio in each direction, by the number of steps."""
    values = result.budgets.pivot(index="n_steps", columns="data_std", values="ratio")
    values = values[values.columns[::-1]]
    rows = [
        Row(f"{n:.0f}", [number(value, 3) for value in row]) for n, row in zip(values.index, values.values, strict=True)
    ]
    return Table(f"{NOTE}, by direction", [Column(f"std {std:.3g}", "n") for std in values.columns], rows)


def short(name: str) -> str:
    """The name without its library or file."""
    place, bracket, options = name.partition("(")
    return place.rpartition(":")[2] + bracket + options
