"""Figures: DataFrame -> axes. Differences and intervals are columns of the input; means over networks are made here.

Every function draws into `ax` and returns it. Values are raw; `COLUMNS` gives their scale.
"""

from matplotlib.axes import Axes

from reports.figures.canvas import BLUE, FAINT, GREEN, INK, ORANGE, looks, panels, shades, style, target
from reports.figures.curves import lines, loss_curves, points, quality_line
from reports.figures.differences import distances, forest
from reports.figures.names import named, under_one_legend
from reports.figures.scales import fit_y, floor_band, log_ticks, plain_ticks
