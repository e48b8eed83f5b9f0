"""The figures of the report on speed: rows of `read_benchmarks` -> axes."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reports.figures import BLUE, FAINT, INK, target
from reports.formats import number, plural


def bars(rows: pd.DataFrame, value: str, label: str, ax: Axes) -> Axes:
    """The axes with one bar per row (label, value, ours), and its value. Ours are blue. The first row is on top."""
    colors = [BLUE if ours else FAINT for ours in rows["ours"]]
    ax.barh(range(len(rows)), rows[value], color=colors, height=0.7)
    for line, (amount, name, rounds) in enumerate(zip(rows[value], rows["label"], rows["rounds"], strict=True)):
        target(ax, amount, line, f"{name}: {number(amount)} {label}, median of {plural(rounds, 'round')}")
        ax.annotate(
            number(amount), (amount, line), (3, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    ax.set_yticks(range(len(rows)), rows["label"])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, 1.15 * rows[value].max())
    ax.set_xlabel(label)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: number(amount)))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return ax
