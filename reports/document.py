"""What a report is made of: sections of prose, figures, tables and galleries. The templates render exactly these."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import matplotlib.figure
import pandas as pd
from PIL import Image

from reports.columns import COLUMNS
from reports.formats import cell, metric_name


@dataclass(frozen=True)
class Prose:
    """A paragraph; `lead` is its emphasised beginning."""

    text: str
    lead: str = ""
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Figure:
    """A drawing, written to figures/`name`.svg. `alt` says in words what it shows."""

    name: str
    drawing: matplotlib.figure.Figure
    alt: str
    caption: str
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Table:
    """Texts, row by row; `numeric` says which columns are aligned to the right."""

    head: list[str]
    body: list[list[str]]
    numeric: list[bool]
    caption: str
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Gallery:
    """Images (file, label), side by side or, if they are `wide`, below each other. `what` says what each of them is."""

    pictures: list[tuple[Path, str]]
    caption: str
    what: str = "Grid of 16 images"
    wide: bool = False
    kind: ClassVar[str] = "gallery"

    def width(self, picture: Path) -> int:
        """How wide a picture is shown, in CSS pixels: twice its own width."""
        with Image.open(picture) as image:
            return 2 * image.width


@dataclass(frozen=True)
class Terms:
    """A glossary: (term, meaning)."""

    terms: list[tuple[str, str]]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

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
    """`frame` as a Table, its cells as `COLUMNS` says (numbers of an undetermined scale like the row's `metric`).

    Args:
        frame: columns that `COLUMNS` does not know, and those in `words`, hold text already.
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
