"""The axes of figures: logarithmic or from 0, with plain numbers as ticks, and the score of real images."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.figures.canvas import FLOOR, GREEN
from reports.formats import number
from reports.schema import COLUMNS


def floor_band(ax: Axes, floor: pd.Series | None, metric: str) -> Axes:
    """The axes with the floor: the mean score of real images, and its range if there are several repeats."""
    if floor is None:
        return ax
    scale = COLUMNS[metric].scale
    if floor["repeats"] > 1:
        ax.axhspan(scale * floor["low"], scale * floor["high"], color=GREEN, alpha=0.18, linewidth=0, zorder=0.5)
    ax.axhline(scale * floor["mean"], color=GREEN, linewidth=1, zorder=0.6, label=FLOOR)
    return ax


def fit_y(ax: Axes, values: pd.Series, metric: str) -> Axes:
    """The axes with a logarithmic y axis if values are positive and span a factor above 20, else with 0 on the axis."""
    shown = COLUMNS[metric].scale * values.dropna()
    if len(shown) and shown.min() > 0 and shown.max() / shown.min() > 20:
        ax.set_yscale("log")
        plain_ticks(ax)
        ax.set_ylim(bottom=min(shown.min() * 0.8, max(ax.get_ylim()[0], shown.min() / 10)))
    else:
        ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    return ax


def log_ticks(ax: Axes, values: pd.Series | None = None) -> Axes:
    """The axes with a logarithmic x axis and a tick at each of `values` (only at the first of close values)."""
    ax.set_xscale("log")
    _plain(ax.xaxis)
    if values is not None:
        ticks: list[float] = []
        for value in sorted(values.dropna().unique()):
            if not ticks or value > 1.15 * ticks[-1]:
                ticks.append(value)
        ax.set_xticks(ticks)
    ax.tick_params(axis="x", which="minor", length=0)
    return ax


def plain_ticks(ax: Axes) -> Axes:
    """The axes with plain numbers instead of powers of ten along a logarithmic y axis."""
    _plain(ax.yaxis)
    return ax


def _plain(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(NullFormatter())
