"""Figures: DataFrame -> axes. Means, differences and intervals are columns of the input; nothing is computed here.

Every function draws into `ax` and returns it. Values are raw; `COLUMNS` gives their scale.

    canvas       colours and style, panels, targets for tooltips, the fixed layout
    scales       logarithmic and plain axes, the score of real images
    curves       values against a setting, a cost, a noise level or training, and samples per class
    differences  differences with intervals, one line each
    card         a report as a picture, for links to it
    names        the names of lines: next to them, or in a legend
"""

from matplotlib.axes import Axes

from reports.figures.canvas import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PALETTE,
    TIP,
    few,
    looks,
    panels,
    settle,
    shades,
    style,
    target,
)
from reports.figures.card import card
from reports.figures.curves import class_counts, field, lines, loss_curves, points, quality_line
from reports.figures.differences import box, distances, forest, hatching
from reports.figures.names import named, under_one_legend
from reports.figures.scales import fit_y, floor_band, log_ticks, plain_ticks, top_ticks
