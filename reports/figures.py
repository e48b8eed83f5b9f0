"""Figures: DataFrame -> axes. Means, differences and intervals are columns of the input; nothing is computed here.

Every function draws into `ax` (None: a new figure) and returns it. Values are raw; `COLUMNS` gives their scale.
"""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib.style
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports import tips
from reports.columns import COLUMNS
from reports.formats import number

INK, FAINT, GRID = "#222222", "#8a8a8a", "#e3e3e3"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # Okabe & Ito: distinct in every common colour blindness
PALETTE = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00", INK)
WIDTH = 9.0  # inches: 864 CSS pixels
TIP = "tip:"  # starts the id of an artist that carries the text of a tooltip; see drawing.py
LEGEND_LETTERS = 130  # per line of a legend that is as wide as the page

STYLE = {
    "svg.hashsalt": "sigmabench",
    "svg.fonttype": "none",
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


def _new(ax: Axes | None) -> Axes:
    return Figure(figsize=(WIDTH / 2, 3)).subplots() if ax is None else ax


def _shown(values: pd.Series, metric: str) -> pd.Series:
    return values * COLUMNS[metric].scale


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


def floor_band(ax: Axes, floor: pd.Series | None, metric: str) -> Axes:
    """The axes with the floor: the mean score of real images, and its range if there are several repeats."""
    if floor is None:
        return ax
    scale = COLUMNS[metric].scale
    if floor["repeats"] > 1:
        ax.axhspan(scale * floor["low"], scale * floor["high"], color=GREEN, alpha=0.18, linewidth=0, zorder=0.5)
    ax.axhline(scale * floor["mean"], color=GREEN, linewidth=1, zorder=0.6, label="real images (floor)")
    return ax


def fit_y(ax: Axes, values: pd.Series, metric: str) -> Axes:
    """The axes with a logarithmic y axis if values are positive and span a factor above 20, else with 0 on the axis."""
    shown = _shown(values, metric).dropna()
    if len(shown) and shown.min() > 0 and shown.max() / shown.min() > 20:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(bottom=min(shown.min() * 0.8, max(ax.get_ylim()[0], shown.min() / 10)))
    else:
        ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    return ax


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
    ax = _new(ax)
    ax.scatter(networks[x], _shown(networks[metric], metric), s=14, color=color, alpha=0.35, linewidth=0, zorder=2)
    look: dict[str, Any] = {"marker": "o", "markersize": 4.5, "zorder": 3} | line
    ax.plot(means[x], _shown(means["value"], metric), color=color, **look)
    scale = COLUMNS[metric].scale
    for _, row in networks.iterrows():
        target(ax, row[x], scale * row[metric], tips.of_run(row, metric))
    for _, row in means.iterrows():
        target(ax, row[x], scale * row["value"], tips.of_mean(row, x, metric, line.get("label", "")))
    ax.set_xlabel(COLUMNS[x].label)
    return ax


def field(rows: pd.DataFrame, x: str, metric: str, ax: Axes | None = None, label: str = "") -> Axes:
    """The axes with one metric against `x` as faint grey points: the background of other marks."""
    ax = _new(ax)
    ax.scatter(rows[x], _shown(rows[metric], metric), s=12, color=FAINT, alpha=0.6, linewidth=0, zorder=1, label=label)
    return ax


def top_ticks(ax: Axes, at: pd.Series, labels: pd.Series, title: str) -> Axes:
    """The axes with a second x axis on top that labels the same settings by another quantity."""
    top = ax.secondary_xaxis("top")
    top.set_xticks(list(at), [number(value) for value in labels])
    top.set_xlabel(title, fontsize=8)
    top.tick_params(labelsize=8)
    return ax


def log_ticks(ax: Axes, values: pd.Series | None = None) -> Axes:
    """The axes with a logarithmic x axis and a tick at each of `values` (only at the first of close values)."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if values is not None:
        ticks: list[float] = []
        for value in sorted(values.dropna().unique()):
            if not ticks or value > 1.15 * ticks[-1]:
                ticks.append(value)
        ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", which="minor", length=0)
    return ax


def points(rows: pd.DataFrame, x: str, metric: str, ax: Axes | None = None, **style: Any) -> Axes:
    """The axes with one metric against `x`: one point per row, a thin line through the points of each network."""
    ax = _new(ax)
    label = style.pop("label", None)
    for _, network in rows.sort_values(x).groupby("train_seed"):
        ax.plot(network[x], _shown(network[metric], metric), label=label, markersize=4.5, linewidth=0.7, **style)
        label = None
    for _, row in rows.iterrows():
        target(ax, row[x], COLUMNS[metric].scale * row[metric], tips.of_run(row, metric))
    ax.set_xlabel(COLUMNS[x].label)
    return ax


def plain_ticks(ax: Axes) -> Axes:
    """The axes with plain numbers instead of powers of ten along a logarithmic y axis."""
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    return ax


def looks(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Label -> colour and line style, distinct in every common colour blindness for up to 28 labels."""
    styles = ("-", "--", ":", "-.")
    return {
        label: {"color": PALETTE[index % len(PALETTE)], "linestyle": styles[index // len(PALETTE) % len(styles)]}
        for index, label in enumerate(labels)
    }


def lines(frame: pd.DataFrame, x: str, y: str, group: str, styles: dict[str, Any], ax: Axes | None = None) -> Axes:
    """The axes with `y` against `x`: one line per value of `group`, drawn in its style from `styles`."""
    ax = _new(ax)
    for label, rows in frame.groupby(group, sort=False):
        ax.plot(rows[x], rows[y], label=label, **styles[label])
    ax.set(xlabel=COLUMNS[x].label, ylabel=COLUMNS[y].label)
    return ax


def forest(contrasts: pd.DataFrame, labels: list[str], metric: str, ax: Axes | None = None) -> Axes:
    """The axes with differences a − b: one line per contrast with its mean, its interval and each network's difference.

    Args:
        contrasts: rows of one metric with the columns of contrasts.csv and `line`, the line's number in the figure.
            Filled marks are verdicts (blue: better; orange: worse). Open marks are all other verdicts.
        labels: the label of each line.

    A difference far outside the range of most contrasts is drawn as an arrow at the edge, with its number.
    """
    ax = _new(ax)
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    scale = COLUMNS[metric].scale
    reach = _reach(contrasts) * scale
    single = contrasts[(contrasts["train_seed"] != "") & (scale * contrasts["difference"].abs() <= reach)]
    ax.scatter(_shown(single["difference"], metric), single["line"] + 0.2, s=13, color=FAINT, alpha=0.7, linewidth=0)
    for _, row in single.iterrows():
        target(ax, scale * row["difference"], row["line"] + 0.2, tips.of_contrast(row))
    for _, row in contrasts[contrasts["train_seed"] == ""].iterrows():
        color = {"better": BLUE, "worse": ORANGE}.get(row["verdict"], "#555555")
        low, mid, high = (scale * row[name] for name in ("low", "difference", "high"))
        if abs(mid) > reach:
            shown = number(mid, 0 if abs(mid) >= 100 else None)
            edge, arrow = (-reach, f"◂ {shown}") if mid < 0 else (reach, f"{shown} ▸")
            side = "left" if mid < 0 else "right"
            ax.text(edge, row["line"], arrow, color=color, ha=side, va="center", fontsize=8)
            continue
        ax.plot([low, high], [row["line"]] * 2, color=color, linewidth=1.6, solid_capstyle="butt", zorder=3)
        clear = row["verdict"] in ("better", "worse")
        ax.plot(mid, row["line"], "D", markersize=5, color=color, markerfacecolor=color if clear else "white", zorder=4)
        target(ax, mid, row["line"], tips.of_contrast(row))
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    low, high = ax.get_xlim()
    if reach > 0:  # else all differences are 0
        ax.set_xlim(max(low, -1.05 * reach), min(high, 1.05 * reach))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return ax


def _reach(contrasts: pd.DataFrame) -> float:
    """The largest distance from 0 that is drawn to scale, without intervals that reach five times beyond the rest."""
    ends = contrasts.loc[contrasts["train_seed"] == "", ["low", "high"]].abs().max(axis=1).dropna().sort_values()
    reach = float("inf") if ends.empty else float(ends.iloc[-1])
    for inner, outer in itertools.pairwise(ends):
        if outer > 5 * inner > 0:
            reach = float(inner) if (ends <= inner).mean() > 0.5 else reach
    singles = contrasts.loc[contrasts["train_seed"] != "", "difference"].abs()
    return max(reach, float(singles[singles <= 2 * reach].max()) if (singles <= 2 * reach).any() else 0.0)


def distances(settings: pd.DataFrame, marked: str, metric: str, features: str, ax: Axes | None = None) -> Axes:
    """The axes with the difference of each setting from the best, and its limits; the best comes first.

    Args:
        settings: columns setting, difference, low, high.
        marked: the setting that is drawn in blue.
    """
    ax = _new(ax)
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    scale = COLUMNS[metric].scale
    for line, (_, row) in enumerate(settings.iterrows()):
        color = BLUE if row["setting"] == marked else FAINT
        low, mid, high = (scale * row[name] for name in ("low", "difference", "high"))
        ax.plot([low, high], [line] * 2, color=color, linewidth=1.6, solid_capstyle="butt", zorder=3)
        ax.plot(mid, line, "D", markersize=5, color=color, zorder=4)
        target(ax, mid, line, tips.of_distance(row, metric, features))
    ax.set_yticks(range(len(settings)), list(settings["setting"]))
    ax.set_ylim(len(settings) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return ax


def class_counts(counts: pd.DataFrame, real: pd.DataFrame, settings: list[str], ax: Axes | None = None) -> Axes:
    """The axes with samples per class: grey bars for the expected count, one point per run."""
    ax = _new(ax)
    order = sorted(set(counts["label"]) | set(real["label"]))
    sns.barplot(real, x="label", y="count", order=order, color="#dddddd", width=0.9, errorbar=None, ax=ax)
    sns.stripplot(
        counts, x="label", y="count", order=order, hue="setting", hue_order=settings, palette=PALETTE[: len(settings)],
        dodge=len(settings) > 1,
        jitter=False, size=4.5, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="class, by the feature network", ylabel="samples")
    ax.grid(axis="x", visible=False)
    return ax


def loss_curves(losses: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The axes with training loss against images seen, one line per model."""
    ax = _new(ax)
    styles = ("-", "--", ":", "-.")
    for index, ((seed, _), model) in enumerate(losses.groupby(["train_seed", "model_id"], sort=True)):
        style = styles[index % len(styles)]
        ax.plot(
            model["images_seen"], model["loss"], linewidth=1, linestyle=style, color=INK, label=f"training seed {seed}"
        )
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))
    ax.set(xlabel="images seen in training", ylabel="training loss")
    return ax


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


def settle(figure: Figure) -> Figure:
    """The figure with a fixed layout. Positions are rounded: the solver's last digits change with each call."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        bounds = [round(value, 4) for value in ax.get_position().bounds]
        ax.set_position(bounds)  # type: ignore[arg-type]  # any four numbers will do
    return figure


def style() -> AbstractContextManager[None]:
    """The context for drawing and saving figures: matplotlib's defaults, then `STYLE`, without the user's settings."""
    return matplotlib.style.context(["default", STYLE])
