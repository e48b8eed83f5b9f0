"""The building blocks of a report: sections of prose, figures, tables and galleries. The templates render them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import matplotlib.figure
import pandas as pd
from PIL import Image

from reports.columns import COLUMNS
from reports.formats import cell, metric_name


class PictureError(ValueError):
    """A file that should be shown is no picture."""


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
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Gallery:
    """Images (file, label), side by side or, if they are `wide`, one below another. `what` describes one image."""

    pictures: list[tuple[Path, str]]
    caption: str
    what: str = "Grid of 16 images"
    wide: bool = False
    kind: ClassVar[str] = "gallery"

    def width(self, picture: Path) -> int:
        """The shown width of a picture in CSS pixels: twice its own width."""
        with Image.open(picture) as image:
            return 2 * image.width


@dataclass(frozen=True)
class Terms:
    """A glossary: (term, meaning)."""

    terms: list[tuple[str, str]]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True)
class Section:
    """A heading and its blocks."""

    title: str
    blocks: Sequence[Prose | Figure | Table | Gallery | Terms]


def table(
    frame: pd.DataFrame,
    caption: str,
    labels: dict[str, str] | None = None,
    *,
    words: Sequence[str] = (),
    features: str = "",
) -> Table:
    """`frame` as a Table. `COLUMNS` formats its cells; numbers without their own digits follow the row's `metric`.

    Args:
        frame: the rows. Columns that are in `words`, or not in `COLUMNS`, hold text already.
        caption: the caption.
        labels: heads that differ from the column's label.
        words: columns of text, aligned to the left.
        features: the feature space, which names the metrics.
    """
    known = [name in COLUMNS and name not in words for name in frame]
    heads = [
        (labels or {}).get(name, COLUMNS[name].label if use else name) for name, use in zip(frame, known, strict=True)
    ]
    body = [
        [
            cell(name, row[name], row.get("metric")) if use else str(row[name])
            for name, use in zip(frame, known, strict=True)
        ]
        for row in frame.to_dict("records")
    ]
    if features:
        at = list(frame).index("metric")
        for row in body:
            row[at] = metric_name(row[at], features)
    numeric = [
        COLUMNS[name].kind == "number" if use else name not in words for name, use in zip(frame, known, strict=True)
    ]
    return Table(heads, body, numeric, caption)
