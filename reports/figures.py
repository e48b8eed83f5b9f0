"""Figures for papers by seaborn, and the SVG files of them: the same drawing gives the same bytes."""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib.style
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports import page
from reports.formats import short
from reports.schema import BETTER, WORSE

WIDTH = 8.0  # inches
COLORS = {BETTER: "#0a62a6", WORSE: "#b04800"}
GREY = "#7d7a72"
STYLE = {
    "svg.hashsalt": "sigmabench",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may have dollars
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.title_fontsize": 9,
    "figure.constrained_layout.use": True,
}


def style() -> Any:
    """Inside this block figures are drawn in one style."""
    return matplotlib.style.context([sns.axes_style("ticks"), STYLE])


def differences(figure: page.Figure) -> page.Drawing:
    """The figure of a page as a forest plot."""
    lines = figure.lines
    canvas = Canvas(figsize=(WIDTH, 0.24 * (len(lines) + len(figure.families)) + 0.7))
    ax, at, names = canvas.subplots(), 0, dict[int, str]()
    for family in figure.families:
        names[at] = f"{family.title}:"
        at += 1
        for line in family.lines:
            color = COLORS.get(line.word, GREY)
            ax.plot([line.bar.low, line.bar.high], [at, at], color=color, linewidth=1.6)
            fill = color if line.word in COLORS else "white"
            for _, place in line.bar.marks:
                ax.plot(place, at, "o", color=color, markerfacecolor=fill, markersize=5)
            names[at] = line.label
            at += 1
    ax.axvline(figure.zero, color="black", linewidth=0.8, zorder=0)
    ax.set_xticks([place for place, _ in figure.ticks], [text for _, text in figure.ticks])
    ax.set_yticks(list(names), list(names.values()))
    ax.set(xlim=(0, 100), ylim=(at - 0.4, -0.6), xlabel=figure.note.partition(".")[0])
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)
    return page.Drawing("differences", figure.title, figure.note, canvas)


def quality(rows: pd.DataFrame, hue: str, metric: str, name: str) -> page.Drawing:
    """A metric against evaluations, mean over networks, a line per value of `hue`."""
    canvas = Canvas(figsize=(WIDTH, 3.4))
    ax = canvas.subplots()
    means = rows.groupby([hue, "nfe"], as_index=False, sort=False)[metric].mean()
    sns.lineplot(means, x="nfe", y=metric, hue=hue, style=hue, markers=True, palette="colorblind", ax=ax)
    ax.set(xscale="log", xlabel="network evaluations per image", ylabel=name, ylim=(min(0, means[metric].min()), None))
    plain_ticks(ax.xaxis, sorted(means["nfe"].unique()))
    sns.move_legend(ax, "center left", bbox_to_anchor=(1, 0.5))
    sns.despine(ax=ax)
    return page.Drawing("quality", "", "", canvas)


def errors(curves: pd.DataFrame, densities: pd.DataFrame) -> Canvas:
    """The error at each noise level: its ratio to that of the first setting, above the densities of the levels.

    Args:
        curves: columns setting, train_noise, sigma, relative_error (mean over networks).
        densities: columns train_noise, sigma, density.
    """
    usual = curves[curves["setting"] == curves["setting"].iloc[0]].set_index("sigma")["relative_error"]
    ratio = curves.assign(ratio=curves["relative_error"] / curves["sigma"].map(usual))
    peak = densities.groupby("train_noise")["density"].transform("max")
    canvas = Canvas(figsize=(WIDTH, 5.2))
    above, below = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
    order = list(ratio["setting"].unique())
    colors = dict(zip(order, sns.color_palette("colorblind", len(order)), strict=True))
    first = ratio.drop_duplicates("train_noise").set_index("train_noise")["setting"].map(colors).to_dict()
    sns.lineplot(ratio, x="sigma", y="ratio", hue="setting", style="setting", palette=colors, ax=above)
    known = densities.assign(density=densities["density"] / peak)
    known = known[known["train_noise"].isin(first)]
    sns.lineplot(known, x="sigma", y="density", hue="train_noise", palette=first, ax=below, legend=False)
    above.set(
        xscale="log",
        yscale="log",
        ylabel=f"error, ratio to\n{order[0]}",
        xlim=(ratio["sigma"].min(), ratio["sigma"].max()),
    )
    below.set(ylabel="density in\ntraining", xlabel="noise level sigma", ylim=(0, None))
    plain_ticks(above.yaxis)
    plain_ticks(below.xaxis)
    sns.move_legend(above, "lower center", bbox_to_anchor=(0.5, 1), ncols=2, title=None)
    sns.despine(canvas)
    return canvas


def plain_ticks(axis: Any, values: Sequence[float] | None = None) -> None:
    """Plain numbers instead of powers of ten along a logarithmic axis; at each of `values` if they are given."""
    if values is None:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axis.set_ticks([value for at, value in enumerate(values) if not at or value > 1.15 * values[at - 1]])
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def svg(canvas: Canvas) -> str:
    """A figure as the text of an SVG file."""
    if (engine := canvas.get_layout_engine()) is not None:
        engine.execute(canvas)  # once: the solver's last digits change with each call
        canvas.set_layout_engine("none")
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(
        r'\b([dxy])="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), buffer.getvalue().decode()
    )
    return re.sub(r"<!--.*?-->\n?|(?<=\n) +", "", text, flags=re.DOTALL)
