"""Figures of values against a setting, a cost, a noise level or training, and of classes: DataFrame -> axes."""

from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reports import limits
from reports.figures.canvas import BLUE, INK, LINE_STYLES, target
from reports.figures.scales import plain_ticks
from reports.formats import cell, metric_name, missing, number, plural
from reports.schema import COLUMNS

TIPS, LOSS_TIPS = 40, 20  # points of a line, and of a loss curve, that have a tooltip


def quality_line(networks: pd.DataFrame, x: str, metric: str, ax: Axes, color: str = BLUE, **line: Any) -> Axes:
    """The axes with one metric against `x`: a line through the means over networks, a faint point per network."""
    scale = COLUMNS[metric].scale
    ax.scatter(networks[x], scale * networks[metric], s=14, color=color, alpha=0.35, linewidth=0, zorder=2)
    means = networks.groupby(x)[metric].mean()
    look: dict[str, Any] = {"marker": "o", "markersize": 4.5, "zorder": 3} | line
    ax.plot(means.index, scale * means, color=color, **look)
    _target_runs(networks, x, metric, ax)
    start = f"{line['label']}, " if line.get("label") else ""
    for at, value in means.items():
        where = f"{start}{COLUMNS[x].label} {cell(x, at)}"
        text = f"{where}: {COLUMNS[metric].label} {cell(metric, value)}, mean over networks"
        target(ax, at, scale * value, text)
    ax.set_xlabel(COLUMNS[x].label)
    return ax


def points(rows: pd.DataFrame, x: str, metric: str, ax: Axes, **style: Any) -> Axes:
    """The axes with one metric against `x`: one point per row, a thin line through the points of each network."""
    label = style.pop("label", None)
    for _, network in rows.sort_values(x).groupby("train_seed"):
        values = COLUMNS[metric].scale * network[metric]
        ax.plot(network[x], values, label=label, markersize=4.5, linewidth=0.7, **style)
        label = None
    _target_runs(rows, x, metric, ax)
    return ax


def _target_runs(rows: pd.DataFrame, x: str, metric: str, ax: Axes) -> None:
    """A tooltip at the point of each run, a row of table.csv: its setting, cost, network, value and n."""
    for _, row in rows.iterrows():
        evaluations = f"{cell('nfe', row['nfe'])} evaluations" if not missing(row.get("nfe")) else ""
        network = f"network of seed {row['train_seed']}" if not missing(row.get("train_seed")) else ""
        samples = f" ({plural(row['n_samples'], 'sample')})" if not missing(row.get("n_samples")) else ""
        what = ", ".join(str(text) for text in (row.get("setting"), evaluations, network) if not missing(text))
        name = metric_name(metric, row.get("features") or "")
        target(ax, row[x], COLUMNS[metric].scale * row[metric], f"{what}: {name} {cell(metric, row[metric])}{samples}")


def lines(frame: pd.DataFrame, x: str, y: str, group: str, styles: dict[str, Any], ax: Axes) -> Axes:
    """The axes with `y` against `x`: one line per value of `group`, drawn in its style from `styles`."""
    for label, rows in frame.groupby(group, sort=False):
        ax.plot(rows[x], rows[y], label=label, **styles[label])
        for _, row in rows.iloc[limits.evenly(len(rows), TIPS)].iterrows():
            text = f"{label}, {COLUMNS[x].label} {cell(x, row[x])}: {COLUMNS[y].label} {cell(y, row[y])}"
            target(ax, row[x], row[y], text)
    ax.set(xlabel=COLUMNS[x].label, ylabel=COLUMNS[y].label)
    return ax


def loss_curves(losses: pd.DataFrame, ax: Axes) -> Axes:
    """The axes with training loss against images seen, one line per model."""
    models = losses.groupby(["train_seed", "model_id"], sort=True)
    for ((seed, _), model), style in zip(models, cycle(LINE_STYLES), strict=False):
        ax.plot(model["images_seen"], model["loss"], style, linewidth=1, color=INK, label=f"training seed {seed}")
        for _, row in model.iloc[limits.evenly(len(model), LOSS_TIPS)].iterrows():
            seen, loss = cell("images_seen", row["images_seen"]), cell("loss", row["loss"])
            text = f"network of seed {seed}, {seen} images: {COLUMNS['loss'].label} {loss}"
            target(ax, row["images_seen"], row["loss"], text)
    ax.set_yscale("log")
    plain_ticks(ax)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))
    ax.set(xlabel="images seen in training", ylabel="training loss")
    return ax
