"""The building blocks of a report: the first screen, then sections of prose, figures, tables and galleries.

The templates render them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import matplotlib.figure
import pandas as pd
from PIL import Image

from reports.formats import cell, metric_name
from reports.schema import COLUMNS


class PictureError(ValueError):
    """A file that should be shown is no picture."""


@dataclass(frozen=True)
class About:
    """What a result is about: its question, its data in a few words, and who found it out, when and in what time."""

    question: str
    subject: Sequence[str] = ()
    date: str = ""
    facts: Sequence[str] = ()

    @property
    def title(self) -> str:
        """The title of the tab: the question, then the data."""
        return " · ".join([self.question, *self.subject])

    @property
    def line(self) -> str:
        """The line above the question."""
        return " · ".join(filter(None, [*self.subject, self.date, *self.facts]))


class Effect(NamedTuple):
    """A difference with its interval, in the scale of `metric`, the metric's name. Below 0 is better."""

    at: float
    low: float
    high: float
    metric: str

    @property
    def verdict(self) -> str:
        return "better" if self.high < 0 else "worse" if self.low > 0 else "unclear"


@dataclass(frozen=True)
class Number:
    """A number set large: what it is in a few words, and lines on its interval and what it compares with.

    `effect` is its difference from another setting, if it has one with an interval.
    """

    value: str
    word: str
    notes: Sequence[str] = ()
    effect: Effect | None = None


@dataclass(frozen=True)
class Opening:
    """The first screen: what a reader learns without scrolling.

    Args:
        verdict: the answer, in at most 25 words with `lead`.
        lead: its first word or two, for instance "Yes.".
        numbers: three or four large numbers.
        pictures: (file, label), side by side: real images, the baseline, the winner.
        key: a line that says what the numbers mean.
        lines: one line per part of the answer, (name, verdict), where the question has several.
        status: facts in a few words each, such as "A/A control passed".
        warnings: the reasons why the result must not be trusted. They stand in a red banner.
        figure: the main figure, where the answer is no picture.
    """

    verdict: str
    lead: str = ""
    numbers: Sequence[Number] = ()
    pictures: Sequence[tuple[Path, str]] = ()
    key: str = ""
    lines: Sequence[tuple[str, str]] = ()
    status: Sequence[str] = ()
    warnings: Sequence[str] = ()
    figure: "Figure | None" = None

    @property
    def effects(self) -> dict[str, Effect]:
        """Number -> its difference and interval, of the numbers that have them."""
        return {number.word: number.effect for number in self.numbers if number.effect}

    @property
    def dots(self) -> dict[str, dict[str, float]]:
        """If several numbers are differences: number -> place of its point, its interval and 0, in % of the width."""
        ends = [0.0, *(end for effect in self.effects.values() for end in effect[:3])]
        least, room = min(ends), max(ends) - min(ends) or 1.0

        def places(**values: float) -> dict[str, float]:
            return {name: round(100 * (value - least) / room, 2) for name, value in values.items()}

        dots = {word: places(zero=0.0, at=at, low=low, high=high) for word, (at, low, high, _) in self.effects.items()}
        return dots if len(dots) > 1 else {}

    @property
    def answer(self) -> str:
        """The verdict with its first words."""
        return f"{self.lead} {self.verdict}".strip()


@dataclass(frozen=True)
class Prose:
    """A paragraph. `lead` is its emphasised beginning: a sentence, or words that the template ends with a colon."""

    text: str
    lead: str = ""
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Figure:
    """A drawing, written to figures/`name`.svg. `alt` is its description in words."""

    name: str
    drawing: matplotlib.figure.Figure
    alt: str
    caption: str
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Table:
    """A table of texts. `numeric` says for each column whether it is aligned to the right."""

    head: list[str]
    body: list[list[str]]
    numeric: list[bool]
    caption: str
    file: Path | None = None  # the whole table, to download
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Gallery:
    """Grids of 16 images (file, label), folded and side by side; or films, one below another."""

    title: str
    pictures: list[tuple[Path, str]]
    caption: str
    films: bool = False
    kind: ClassVar[str] = "gallery"


def shown_width(picture: Path, room: int = 256) -> int:
    """The shown width of a picture in CSS pixels: the largest whole multiple of its own width that fits into `room`."""
    with Image.open(picture) as image:
        return image.width * max(1, room // image.width)


@dataclass(frozen=True)
class Explorer:
    """Controls that swap the samples and move a mark in the figure. It needs the script; the figure does not.

    `views` is what the script reads, a dict per group of settings: `title`, `knobs` that choose among its `points`, and
    `start`, the key of the point that is shown first. `explorer.py` makes them.
    """

    views: list[dict[str, Any]]
    figure: Figure
    kind: ClassVar[str] = "explorer"


@dataclass(frozen=True)
class Terms:
    """A glossary: term -> meaning."""

    terms: dict[str, str]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True)
class Code:
    """Code in Python to copy. `title` says what it is for."""

    title: str
    text: str
    kind: ClassVar[str] = "code"


Block = Prose | Figure | Table | Gallery | Terms | Explorer | Code


@dataclass(frozen=True)
class Section:
    """A heading and its blocks. If it is `folded`, only the heading is seen until it is opened."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


def table(
    frame: pd.DataFrame,
    caption: str,
    labels: dict[str, str] | None = None,
    *,
    words: Sequence[str] = (),
    features: str = "",
    file: Path | None = None,
) -> Table:
    """`frame` as a Table. `COLUMNS` formats its cells; numbers without their own digits follow the row's `metric`.

    Args:
        frame: the rows. Columns that are in `words`, or not in `COLUMNS`, hold text already.
        caption: the caption.
        labels: heads that differ from the column's label.
        words: columns of text, aligned to the left.
        features: the feature space, which names the metrics.
        file: the whole table, to download.
    """
    known = {name: COLUMNS[name] for name in frame if name in COLUMNS and name not in words}
    heads = {name: column.label for name, column in known.items()} | (labels or {})
    metrics = list(frame["metric"]) if "metric" in frame else [None] * len(frame)
    if features:
        frame = frame.assign(metric=[metric_name(metric, features) for metric in frame["metric"]])
    body = [
        [cell(name, value, metric) if name in known else str(value) for name, value in row.items()]
        for row, metric in zip(frame.to_dict("records"), metrics, strict=True)
    ]
    numeric = [known[name].kind == "number" if name in known else name not in words for name in frame]
    return Table([heads.get(name, name) for name in frame], body, numeric, caption, file)
