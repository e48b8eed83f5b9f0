"""The names of the lines of a figure: next to the lines where they are few, else in one legend."""

from typing import Any

from matplotlib.figure import Figure

LEGEND_LETTERS = 130  # per line of a legend that is as wide as the page


def under_one_legend(figure: Figure) -> Figure:
    """The figure with one legend above it for all its axes, each label once."""
    found: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
        if legend := ax.get_legend():
            legend.remove()
    if found:
        columns = max(1, min(len(found), LEGEND_LETTERS // (max(map(len, found)) + 6)))
        figure.legend(list(found.values()), list(found), loc="outside upper left", ncols=columns)
    return figure
