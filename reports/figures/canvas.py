"""What all figures share: colours and style, panels, axes to draw into, targets for tooltips, a fixed layout."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from typing import Any

import matplotlib.style
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, GRID = "#222222", "#8a8a8a", "#e3e3e3"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # Okabe & Ito: distinct in every common colour blindness
LINE_STYLES = ("-", "--", ":", "-.")
PALETTE = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00", INK)
FLOOR = "real images"  # the name of the line of the floor
WIDTH = 9.0  # inches: 864 CSS pixels
TIP = "tip:"  # starts the id of an artist that carries the text of a tooltip; see drawing.py

STYLE = {
    "svg.hashsalt": "sigmabench",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may have dollars
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
}


def panels(rows: int, columns: int, height: float, ratios: Sequence[float] | None = None) -> tuple[Figure, Any]:
    """A figure as wide as the page, `height` inches high, and its grid of axes. `ratios`: relative heights of rows."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, squeeze=False, height_ratios=ratios)


def target(ax: Axes, x: float, y: float, text: str, key: int | None = None) -> None:
    """Draws an invisible mark that shows `text` when it is pointed at. `key` is its number for the explorer."""
    [mark] = ax.plot(
        x, y, "o", color=INK, markeredgewidth=0, markersize=9, alpha=0, zorder=5, scalex=False, scaley=False
    )
    mark.set_gid(f"{TIP}{'' if key is None else key}|{text}")


def shades(values: pd.Series) -> dict[float, str]:
    """Value -> colour, from dark to light with rising value."""
    levels = sorted(values.dropna().unique())
    return dict(zip(levels, sns.color_palette("plasma", len(levels) + 1).as_hex(), strict=False))


def looks(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Label -> colour and line style, distinct in every common colour blindness for up to 28 labels."""
    each = ({"color": color, "linestyle": line} for line in LINE_STYLES for color in PALETTE)
    return dict(zip(labels, cycle(list(each)), strict=False))


def settle(figure: Figure) -> Figure:
    """The figure with a fixed layout. Positions are rounded: the solver's last digits change with each call."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # without a drawing, of which saving it makes one
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)  # an engine that does nothing would have it drawn twice
    for ax in figure.axes:
        bounds = [round(value, 4) for value in ax.get_position().bounds]
        ax.set_position(bounds)  # type: ignore[arg-type]  # any four numbers will do
    return figure


def style() -> AbstractContextManager[None]:
    """The context for drawing and saving figures: matplotlib's defaults, then `STYLE`, without the user's settings."""
    return matplotlib.style.context(["default", STYLE])
