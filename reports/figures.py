"""Figures by seaborn, as wide as a column of a paper, and their SVG files: the same figure gives the same bytes."""

import io
import re
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

import matplotlib.style
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.formats import short
from reports.page import Curves, Figure, Page
from reports.schema import BETTER, WORSE

WIDTH = 252 / 72  # inches
ROW = 8.5 / 72  # inches, of a line of text
LETTERS = 30  # of a line of a label
WIDE = 8  # ratio of the ends of a numeric factor that is drawn on a logarithmic axis
COLORS = {BETTER: "#0a62a6", WORSE: "#b04800"}
GREY = "#7d7a72"
MARKS: dict[str, dict[str, Any]] = {  # look -> how its mark differs from a dot of the line's colour
    "open": {"color": GREY, "markerfacecolor": "white"},
    "grey": {"color": GREY},
    "diamond": {"marker": "D", "markersize": 3.5},
    "speck": {"color": GREY, "markersize": 2, "alpha": 0.7},
    "not": {"color": GREY, "markerfacecolor": "white"},
}
STYLE = {
    "svg.hashsalt": "sigmabench",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may have dollars
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 7),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), 6.5),
    "axes.linewidth": 0.6,
    "lines.linewidth": 1,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
# A file turns dark with what shows it. Within a page `svg:root` is nothing: the page does so itself.
DARK = "@media screen and (prefers-color-scheme: dark) { svg:root { filter: invert(.92) hue-rotate(180deg) } }"
PALE = (6, 8)  # of the palette: pink and yellow, which thin lines do not show


def style() -> Any:
    """Inside this block figures are drawn in one style."""
    return matplotlib.style.context([sns.axes_style("ticks"), STYLE])


def draw_differences(figure: Figure) -> Canvas:
    """The figure of a page as a forest plot, with a legend of its marks."""
    canvas = Canvas()
    ax = canvas.subplots()
    labels = list[tuple[float, str, str]]()  # place, text, weight
    at = 0.0
    for section in figure.sections:
        for title, line in [(section.title, None), *((line.label, line) for line in section.lines)]:
            rows = [re.sub("\u200b ?", "", row) for row in wrap(title.replace("\u200b", "\u200b "), LETTERS)] or [""]
            weight = "normal" if line else "bold"
            labels += [(at + row + 0.5, text, weight) for row, text in enumerate(rows)]  # each a text of its own
            middle = at + len(rows) / 2
            if line:
                color = COLORS.get(line.bar.look, GREY)
                ax.plot([line.bar.low, line.bar.high], [middle, middle], color=color)
                for look, place in line.bar.marks:
                    ax.plot(place, middle, **_mark(look or line.bar.look, color), clip_on=False)
            at += len(rows) + 0.4
    ax.axvline(figure.zero, color="black", linewidth=0.6, zorder=0)
    ax.set_xticks([place for place, _ in figure.ticks], [text for _, text in figure.ticks])
    ax.set_yticks([place for place, _, _ in labels], [text for _, text, _ in labels])
    for label, (_, _, weight) in zip(ax.get_yticklabels(), labels, strict=True):
        label.set_fontweight(weight)
    ax.set(xlim=(0, 100), ylim=(at, 0), xlabel=figure.label)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", top=True, labeltop=True)
    sns.despine(ax=ax, left=True)
    handles = [Line2D([], [], label=words, **_mark(look, COLORS.get(look, "black"))) for look, words in figure.legend]
    if handles:
        canvas.legend(handles=handles, loc="outside lower center", ncols=2)
    canvas.set_size_inches(WIDTH, ROW * (at + 5 + 1.4 * ((len(handles) + 1) // 2)))
    return canvas


def _mark(look: str, color: str) -> dict[str, Any]:
    return {"marker": "o", "linestyle": "", "color": color} | MARKS.get(look, {})


def draw_curves(curves: Curves) -> Canvas:
    """Scores against evaluations, each line named at its end."""
    canvas = Canvas(figsize=(WIDTH, 2.3))
    ax = canvas.subplots()
    highest = max(curves.curves, key=lambda curve: curve.last)
    for curve in curves.curves:
        color = COLORS.get(curve.look, GREY)
        ax.plot(*zip(*curve.corners, strict=True), "-" if curve.look in COLORS else "--", color=color)
        if curve.explored:
            ax.plot(*zip(*curve.explored, strict=True), ":", color=color, linewidth=0.7)
        ax.plot(*zip(*curve.dots, strict=True), "o", color=color)
        name = "\n".join(wrap(curve.name, 14))
        ax.text(
            curve.corners[-1][0] + 3,
            curve.corners[-1][1],
            name,
            va="bottom" if curve is highest else "top",
            color=color,
        )
    places = [100 * (at + 0.5) / len(curves.columns) for at in range(len(curves.columns))]
    ax.set_xticks(places, [nfe for nfe, _, _ in curves.columns])
    ax.set_yticks([at for at, _ in curves.ticks], [text for _, text in curves.ticks])
    ax.set(xlim=(0, 100), ylim=(0, 100), xlabel="network evaluations", ylabel="MMD (lower is better)")
    sns.despine(ax=ax)
    return canvas


def draw_levels(rows: pd.DataFrame) -> Canvas:
    """The levels of each schedule at the largest number of steps, by evaluation; the named form as a line."""
    canvas = Canvas(figsize=(WIDTH, 2.3))
    ax = canvas.subplots()
    rows = rows[rows["n_steps"] == rows["n_steps"].max()]
    names = rows["schedule"].map(lambda name: "\n".join(wrap(name, 2 * LETTERS)))
    rows = rows.assign(sigma=rows["sigma"].clip(1e-4, 1e4), schedule=names)
    for (name, group), color in zip(
        rows.groupby("schedule", sort=False), sns.color_palette("colorblind"), strict=False
    ):
        line = "-" if group["form"].iloc[0] else ""
        ax.plot(group["step"], group["sigma"], line, marker=".", color=color, label=name, linewidth=0.7)
    ax.set(yscale="log", xlabel="evaluation", ylabel="noise level sigma")
    plain_ticks(ax.yaxis, [10.0**at for at in range(-4, 5) if rows["sigma"].min() <= 10.0**at <= rows["sigma"].max()])
    canvas.legend(loc="outside upper left")
    sns.despine(ax=ax)
    return canvas


def draw_errors(curves: pd.DataFrame, densities: pd.DataFrame) -> Canvas:
    """The error at each noise level as a ratio to that of the first setting, above the densities of the levels.

    `curves` has columns setting, train_noise, sigma, relative_error (mean over networks); `densities` train_noise,
    sigma, density.
    """
    usual = curves[curves["setting"] == curves["setting"].iloc[0]].set_index("sigma")["relative_error"]
    ratio = curves.assign(ratio=curves["relative_error"] / curves["sigma"].map(usual))
    peak = densities.groupby("train_noise")["density"].transform("max")
    order = list(ratio["setting"].unique())
    canvas = Canvas(figsize=(WIDTH, 3.2 + 1.3 * ROW * len(order)))
    above, below = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
    palette = enumerate(sns.color_palette("colorblind"))
    readable = [color for index, color in palette if index not in PALE]
    colors = dict(zip(order, sns.color_palette(readable, len(order)), strict=True))
    first = ratio.drop_duplicates("train_noise").set_index("train_noise")["setting"].map(colors).to_dict()
    sns.lineplot(ratio, x="sigma", y="ratio", hue="setting", style="setting", palette=colors, ax=above)
    relative = densities.assign(density=densities["density"] / peak)[densities["train_noise"].isin(first)]
    sns.lineplot(relative, x="sigma", y="density", hue="train_noise", palette=first, ax=below, legend=False)
    ends = ratio["sigma"].min(), ratio["sigma"].max()
    above.set(xscale="log", yscale="log", ylabel=f"error, ratio to\n{order[0]}", xlim=ends)
    below.set(xlabel="noise level sigma", ylabel="density in\ntraining\n(peak = 1)", ylim=(0, None))
    plain_ticks(above.yaxis)
    plain_ticks(below.xaxis)
    sns.move_legend(above, "lower left", bbox_to_anchor=(0, 1), title=None)
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
    """A figure as the text of an SVG file, which is light or dark as the screen is."""
    if (engine := canvas.get_layout_engine()) is not None:
        engine.execute(canvas)  # once: the solver's last digits change with each call
        canvas.set_layout_engine("none")
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue().decode()
    text = text.replace("</style>", f"{DARK}</style>", 1)
    text = re.sub(r'\b[dxy]="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    return re.sub(r"<!--.*?-->\n?|(?<=\n) +", "", text, flags=re.DOTALL)


DRAWINGS: dict[str, Callable[..., Canvas]] = {"levels": draw_levels, "errors": draw_errors}


def draw_page(page: Page) -> dict[str, str]:
    """The figures of a page for papers, as the text of an SVG file by name."""
    with style():
        canvases = dict[str, Canvas]()
        if page.figures:
            canvases["differences"] = draw_differences(page.figures[0])
        if page.curves:
            canvases["curves"] = draw_curves(page.curves)
        if page.plot:
            canvases[page.plot.name] = DRAWINGS[page.plot.name](*page.plot.values)
        return {name: svg(canvas) for name, canvas in canvases.items()}
