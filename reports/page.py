"""The one page that answers every question, as a value: templates/ draws it as HTML and Markdown.

The first screen of a question: source, question, finding, warnings, what to do, figure, pictures, facts, caveats.
Of a page without facts: source, question, finding, caveats, key figures, pictures, figures. Then at most one plot,
tables, details. Every part but the first three may be absent.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.formats import number
from reports.schema import BETTER, WORSE


@dataclass(frozen=True)
class Axis:
    """Values -> places in per cent of its width. `at`: the values at its ends."""

    at: tuple[float, float]

    @classmethod
    def over(cls, values: Iterable[float]) -> "Axis":
        """A linear axis for some values and 0."""
        finite = [0.0, *filter(math.isfinite, values)]
        low, high = min(finite), max(finite)
        margin = (high - low) * 0.06 or 1.0
        return cls((low - margin, high + margin))

    def place(self, value: float) -> float:
        """The place of a value; at the edge if it is beyond."""
        low, high = self.at
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Three to six places with their values as text."""
        low, high = self.at
        step = next(s for k in range(-9, 16) for s in (10.0**k, 2 * 10.0**k, 5 * 10.0**k) if (high - low) / s <= 6)
        digits = max(0, -math.floor(math.log10(step)))
        values = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
        return [(self.place(value), number(value, digits) if round(value, 9) else "0") for value in values]


@dataclass(frozen=True)
class Bar:
    """An interval from `low` to `high` with marks (look, place), all in per cent. The verdict is its colour."""

    verdict: str
    low: float
    high: float
    marks: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, axis: Axis, values: Sequence[float], verdict: str, specks: Iterable[float] = ()) -> "Bar":
        """The bar of a value and the ends of its interval, with a small dot for each network."""
        at, low, high = (axis.place(value if math.isfinite(value) else values[0]) for value in values)
        return cls(verdict, low, high, (*(("speck", axis.place(speck)) for speck in specks), ("", at)))

    @classmethod
    def dot(cls, axis: Axis, value: float, look: str) -> "Bar":
        """One mark without an interval. `look`: a verdict, "before" or "real"."""
        position = axis.place(value)
        return cls(look, position, position, (("", position),))

    @property
    def look(self) -> str:
        """The CSS class of its colour."""
        return self.verdict if self.verdict in (BETTER, WORSE, "before", "real") else "not"


@dataclass(frozen=True)
class Source:
    """The subject of a page: data, network, features; the date (ISO) of the last run, and the time of the command."""

    subject: Sequence[str] = ()
    date: str = ""
    time: str = ""

    @property
    def day(self) -> str:
        """The date as "1 December 2026"."""
        return f"{datetime.fromisoformat(self.date):%-d %B %Y}" if self.date else ""

    @property
    def line(self) -> str:
        return " · ".join(filter(None, ["Sigmabench", *self.subject, self.day, self.time]))


@dataclass(frozen=True)
class KeyFigure:
    """A number set large, with a drawing: bars and a zero on one axis, or lengths in per cent.

    `legend`: (class of a mark, what it is).
    """

    label: str
    value: str
    notes: Sequence[str] = ()
    bars: Sequence[Bar] = ()
    zero: float | None = None
    legend: Sequence[tuple[str, str]] = ()
    lengths: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class Picture:
    """Sixteen images, images/`name`.png, and their score as text."""

    name: str
    title: str
    label: str
    score: str


@dataclass(frozen=True)
class Line:
    """A line of a figure: label, bar, number with its interval, a word, coloured if it is a verdict, a note.

    `noise`: on visible noise, where a pointer rests.
    """

    label: str
    bar: Bar
    value: str
    interval: str = ""
    word: str = ""
    note: str = ""
    noise: str = ""


@dataclass(frozen=True)
class FigureSection:
    title: str
    evidence: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Figure:
    """Lines on one axis. `ends`: the words beside its zero. `label`, `legend`: of the plot for papers."""

    title: str
    note: str
    sections: Sequence[FigureSection]
    zero: float
    ends: Sequence[str] = ("better", "worse")
    ticks: Sequence[tuple[float, str]] = ()
    long: bool = False  # whether the labels of its lines are long
    label: str = ""
    legend: Sequence[tuple[str, str]] = ()

    @property
    def lines(self) -> list[Line]:
        return [line for section in self.sections for line in section.lines]


@dataclass(frozen=True)
class Curve:
    """A line through (x, y), with dots (x, y), all in per cent; its name and what stands at its end.

    `titles`: of each dot setting, score and visible noise.
    `explored`: a thin line of its own, of the networks that chose.
    """

    look: str
    name: str
    end: str
    corners: Sequence[tuple[float, float]]
    dots: Sequence[tuple[float, float]]
    titles: Sequence[str]
    explored: Sequence[tuple[float, float]] = ()

    @property
    def last(self) -> float:
        """The height of its end."""
        return self.corners[-1][1]


@dataclass(frozen=True)
class Curves:
    """Scores against network evaluations, in even columns: (evaluations, verdict, words below)."""

    title: str
    note: str
    curves: Sequence[Curve]
    ticks: Sequence[tuple[float, str]]
    columns: Sequence[tuple[str, str, Sequence[str]]]


@dataclass(frozen=True)
class Column:
    """The head of a column, its CSS class, and the words before and after a cell on a phone."""

    head: str
    look: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Row:
    """The cells of a row after its name. `strip`: four samples, images/`strip`-4.png. `best`: it is drawn bold."""

    name: str
    cells: Sequence[str]
    strip: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]

    @property
    def text(self) -> list[str]:
        """Its title and rows as lines, for a terminal."""
        rows = [["", *(column.head for column in self.columns)], *([row.name, *row.cells] for row in self.rows)]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows)
        return [self.title, *(f"  {line}" for line in lines)]


@dataclass(frozen=True)
class Plot:
    """A figure by seaborn, also figures/`name`.svg, which `figures.DRAWINGS[name](*values)` draws."""

    name: str
    title: str
    caption: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Code:
    """Code to copy, folded."""

    title: str
    text: str


@dataclass(frozen=True)
class Page:
    """All parts of a page, in their order.

    Args:
        lead: the first words of the verdict, such as "Yes.".
        alarm: whether the verdict is bad news, which a terminal shows in red.
        advice: what to do, in a line.
        also: what holds elsewhere; lines are paragraphs.
        facts: (term, text) or (term, Code): what a reader must know to believe it, and to run it again.
        curves: the figure of the first screen; otherwise it is the first of `figures`.
        warnings, caveats: those that may change the verdict, the worst first; the others, which are normal.
        aside: what the pictures show.
        noun, order: what the rows of the tables are, and how they are ordered.
        details: (term, text), (term, Code) or (term, files).
        folded: tables below the details.
    """

    source: Source
    question: str
    lead: str
    verdict: str
    alarm: bool = False
    advice: str = ""
    also: str = ""
    facts: Sequence[tuple[str, Any]] = ()
    curves: Curves | None = None
    warnings: Sequence[str] = ()
    caveats: Sequence[str] = ()
    key_figures: Sequence[KeyFigure] = ()
    pictures: Sequence[Picture] = ()
    aside: str = ""
    figures: Sequence[Figure] = ()
    plot: Plot | None = None
    tables: Sequence[Table] = ()
    noun: str = "setting"
    order: str = ", best first"
    note: str = ""
    details: Sequence[tuple[str, Any]] = ()
    folded: Sequence[Table] = ()

    @property
    def headline(self) -> str:
        return f"{self.lead} {self.verdict}".strip()

    @property
    def finding(self) -> str:
        """Its first sentence; without a verdict also why."""
        return self.headline if self.lead.startswith("No verdict") else self.lead or self.verdict

    @property
    def text(self) -> list[str]:
        """The first screen as lines, for a terminal."""
        lines = [f"verdict: {self.headline}", *([f"what to do: {self.advice}"] if self.advice else [])]
        lines += [f"also: {text}" for text in self.also.splitlines()]
        lines += [f"warning: {text}" for text in self.warnings] + [f"caveat: {text}" for text in self.caveats]
        for figure in self.key_figures:
            notes = f" ({'; '.join(figure.notes)})" if figure.notes else ""
            lines.append(f"  {figure.label}: {figure.value}{notes}")
        return lines + [f"  {term}: {text}" for term, text in self.facts if isinstance(text, str)]

    @property
    def strips(self) -> list[str]:
        """The names of all samples in tables."""
        return sorted({row.strip for table in (*self.tables, *self.folded) for row in table.rows} - {""})
