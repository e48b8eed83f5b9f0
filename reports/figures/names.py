"""The names of the lines of a figure: at the ends of the lines where they are few, else in one legend."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.canvas import FLOOR, INK

LEGEND_LETTERS = 130  # per line of a legend that is as wide as the page
FEW, SHORT = 4, 26  # lines without the floor, and letters of a name, that are named at their ends
LETTERS = 8  # points


def named(figure: Figure) -> Figure:
    """The figure with the name of each line at its right end, or in one legend if there are more than a few.

    A name stands once per row of panels, in the last panel that has the line. Call it when all axes have their limits.
    """
    lines = {label: line for ax in figure.axes for label, line in _lines(ax).items()}
    drawn = all(isinstance(line, Line2D) and np.size(line.get_xydata()) for line in lines.values())
    if not drawn or len(lines.keys() - {FLOOR}) > FEW or max(map(len, lines), default=0) > SHORT:
        return under_one_legend(figure)
    last: dict[tuple[int, str], Axes] = {}
    for ax in figure.axes:
        last |= {(_row(ax), label): ax for label in _lines(ax)}
    for ax in figure.axes:
        _name(ax, {label: line for label, line in _lines(ax).items() if last[_row(ax), label] is ax})
    return figure


def under_one_legend(figure: Figure) -> Figure:
    """The figure with one legend above it for all its axes, each label once."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
        if legend := ax.get_legend():
            legend.remove()
    if handles:
        columns = max(1, min(len(handles), LEGEND_LETTERS // (max(map(len, handles)) + 6)))
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=columns)
    return figure


def _lines(ax: Axes) -> dict[str, Any]:
    """Label -> line. A line with error bars is a tuple that starts with it."""
    handles, labels = ax.get_legend_handles_labels()
    return {
        label: handle[0] if isinstance(handle, tuple) else handle for handle, label in zip(handles, labels, strict=True)
    }


def _row(ax: Axes) -> int:
    spec = ax.get_subplotspec()
    return spec.rowspan.start if spec else 0


def _name(ax: Axes, lines: dict[str, Line2D]) -> None:
    ax.get_xlim(), ax.get_ylim()  # sets limits that are still to be found
    ends = {label: end for label, line in lines.items() if (end := _end(ax, line)) is not None and 0 <= end[1] <= 1}
    order = sorted(ends, key=lambda label: ends[label][1])
    gap = 1.25 * LETTERS / 72 / (ax.bbox.height / ax.get_figure(root=True).dpi)  # type: ignore[union-attr]
    for label, height in zip(order, _apart([ends[label][1] for label in order], gap), strict=True):
        line = {"arrowstyle": "-", "color": lines[label].get_color(), "linewidth": 0.8, "shrinkA": 0, "shrinkB": 2}
        ax.annotate(
            label, ends[label], (1.03, height), "axes fraction", "axes fraction", line,
            annotation_clip=False, fontsize=LETTERS, color=INK, va="center",
        )  # fmt: skip


def _end(ax: Axes, line: Line2D) -> tuple[float, float] | None:
    """The right end of a line, as shares of the axes; None if no point of it is finite."""
    points = ax.transAxes.inverted().transform(line.get_transform().transform(line.get_xydata()))
    points = points[np.isfinite(points).all(axis=1)]
    return tuple(points[points[:, 0].argmax()].tolist()) if len(points) else None


def _apart(heights: list[float], gap: float) -> list[float]:
    """Rising heights, moved as little as needed so that neighbours are `gap` apart and none is above 1."""
    out: list[float] = []
    for height in heights:
        out.append(max(height, out[-1] + gap) if out else height)
    top = 1.0
    for at in reversed(range(len(out))):
        out[at] = min(out[at], top)
        top = out[at] - gap
    return out
