"""Figures of values against a setting, a cost, a noise level or training: DataFrame -> axes."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reports import limits, tips
from reports.figures.canvas import BLUE, FAINT, INK, in_scale, new, target
from reports.figures.scales import plain_ticks
from reports.formats import number
from reports.schema import COLUMNS

TIPS = 20  # points of a loss curve that have a tooltip


def quality_line(
    means: pd.DataFrame,
    networks: pd.DataFrame,
    x: str,
    metric: str,
    ax: Axes | None = None,
    color: str = BLUE,
    **line: Any,
) -> Axes:
    """The axes with one metric against `x`: a line through the means over networks, a faint point per network."""
    ax = new(ax)
    ax.scatter(networks[x], in_scale(networks[metric], metric), s=14, color=color, alpha=0.35, linewidth=0, zorder=2)
    look: dict[str, Any] = {"marker": "o", "markersize": 4.5, "zorder": 3} | line
    ax.plot(means[x], in_scale(means["value"], metric), color=color, **look)
    scale = COLUMNS[metric].scale
    for _, row in networks.iterrows():
        target(ax, row[x], scale * row[metric], tips.of_run(row, metric))
    for _, row in means.iterrows():
        target(ax, row[x], scale * row["value"], tips.of_mean(row, x, metric, line.get("label", "")))
    ax.set_xlabel(COLUMNS[x].label)
    return ax


def field(rows: pd.DataFrame, x: str, metric: str, ax: Axes | None = None, label: str = "") -> Axes:
    """The axes with one metric against `x` as faint grey points: the background of other marks."""
    ax = new(ax)
    ax.scatter(
        rows[x], in_scale(rows[metric], metric), s=12, color=FAINT, alpha=0.6, linewidth=0, zorder=1, label=label
    )
    return ax


def points(rows: pd.DataFrame, x: str, metric: str, ax: Axes | None = None, **style: Any) -> Axes:
    """The axes with one metric against `x`: one point per row, a thin line through the points of each network."""
    ax = new(ax)
    label = style.pop("label", None)
    for _, network in rows.sort_values(x).groupby("train_seed"):
        ax.plot(network[x], in_scale(network[metric], metric), label=label, markersize=4.5, linewidth=0.7, **style)
        label = None
    for _, row in rows.iterrows():
        target(ax, row[x], COLUMNS[metric].scale * row[metric], tips.of_run(row, metric))
    ax.set_xlabel(COLUMNS[x].label)
    return ax


def lines(frame: pd.DataFrame, x: str, y: str, group: str, styles: dict[str, Any], ax: Axes | None = None) -> Axes:
    """The axes with `y` against `x`: one line per value of `group`, drawn in its style from `styles`."""
    ax = new(ax)
    for label, rows in frame.groupby(group, sort=False):
        ax.plot(rows[x], rows[y], label=label, **styles[label])
        for _, row in rows.iterrows():
            target(ax, row[x], row[y], tips.of_line(row, x, y, label))
    ax.set(xlabel=COLUMNS[x].label, ylabel=COLUMNS[y].label)
    return ax


def loss_curves(losses: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The axes with training loss against images seen, one line per model."""
    ax = new(ax)
    styles = ("-", "--", ":", "-.")
    for index, ((seed, _), model) in enumerate(losses.groupby(["train_seed", "model_id"], sort=True)):
        style = styles[index % len(styles)]
        ax.plot(
            model["images_seen"], model["loss"], linewidth=1, linestyle=style, color=INK, label=f"training seed {seed}"
        )
        for _, row in model.iloc[limits.evenly(len(model), TIPS)].iterrows():
            target(ax, row["images_seen"], row["loss"], tips.of_loss(row))
    ax.set_yscale("log")
    plain_ticks(ax)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))
    ax.set(xlabel="images seen in training", ylabel="training loss")
    return ax
