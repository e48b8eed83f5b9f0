"""Figures of differences with intervals, one line each: DataFrame -> axes."""

import itertools
import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from reports.figures.canvas import BLUE, FAINT, INK, ORANGE, target
from reports.formats import cell, interval, metric_name, missing, number, percent, plural
from reports.schema import BETTER, COLUMNS, WORSE


def forest(contrasts: pd.DataFrame, labels: list[str], metric: str, ax: Axes) -> Axes:
    """The axes with differences a − b: one line per contrast with its mean, its interval and each network's difference.

    Args:
        contrasts: rows of one metric with the columns of contrasts.csv and `line`, the line's number in the figure.
            Filled marks are verdicts (blue: better; orange: worse). Open marks are all other verdicts.
        labels: the label of each line.

    A difference far outside the range of most contrasts is drawn as an arrow at the edge, with its number.
    """
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    scale = COLUMNS[metric].scale
    reach = _reach(contrasts) * scale
    single = contrasts[(contrasts["train_seed"] != "") & (scale * contrasts["difference"].abs() <= reach)]
    ax.scatter(scale * single["difference"], single["line"] + 0.2, s=13, color=FAINT, alpha=0.7, linewidth=0)
    for _, row in single.iterrows():
        target(ax, scale * row["difference"], row["line"] + 0.2, _in_words(row))
    for _, row in contrasts[contrasts["train_seed"] == ""].iterrows():
        color = {BETTER: BLUE, WORSE: ORANGE}.get(row["verdict"], "#555555")
        low, mid, high = (scale * row[name] for name in ("low", "difference", "high"))
        place = max(min(mid, reach), -reach)
        if abs(mid) > reach:
            shown = number(mid, 0 if abs(mid) >= 100 else None)
            arrow, side = (f"◂ {shown}", "left") if mid < 0 else (f"{shown} ▸", "right")
            ax.text(place, row["line"], arrow, color=color, ha=side, va="center", fontsize=8)
        else:
            fill = color if row["verdict"] in (BETTER, WORSE) else "white"
            ax.plot([low, high], [row["line"]] * 2, color=color, linewidth=1.6, solid_capstyle="butt", zorder=3)
            ax.plot(mid, row["line"], "D", markersize=5, color=color, markerfacecolor=fill, zorder=4)
        target(ax, place, row["line"], _in_words(row))
    low, high = ax.get_xlim()
    if reach > 0:  # else all differences are 0
        ax.set_xlim(max(low, -1.05 * reach), min(high, 1.05 * reach))
    return _named_lines(ax, labels)


def _in_words(row: pd.Series) -> str:
    """A difference between two settings, as a row of contrasts.csv, for a tooltip: its size, interval and n."""
    alone = row["train_seed"] != ""
    who = f"network of seed {row['train_seed']}" if alone else plural(row["n_networks"], "network")
    samples = "" if missing(row.get("n_samples")) else f", {plural(row['n_samples'], 'sample')} each"
    note = "" if missing(row.get("level")) else f"{percent(row['level'])} interval "
    name = metric_name(row["metric"], row.get("features") or "")
    size = interval(row["metric"], row["difference"], row["low"], row["high"], note)
    cost = "" if missing(row.get("nfe_a")) else f", {cell('nfe', row['nfe_a'])} evaluations"
    return f"{row['a']} against {row['b']}{cost}: difference in {name} {size}, {who}{samples}"


def _reach(contrasts: pd.DataFrame) -> float:
    """The largest distance from 0 that is drawn to scale, without intervals that reach five times beyond the rest."""
    ends = contrasts.loc[contrasts["train_seed"] == "", ["low", "high"]].abs().max(axis=1).dropna().sort_values()
    reach = float("inf") if ends.empty else float(ends.iloc[-1])
    for inner, outer in itertools.pairwise(ends):
        if outer > 5 * inner > 0:
            reach = float(inner) if (ends <= inner).mean() > 0.5 else reach
    singles = contrasts.loc[contrasts["train_seed"] != "", "difference"].abs()
    return max(reach, float(singles[singles <= 2 * reach].max()) if (singles <= 2 * reach).any() else 0.0)


LETTERS = 70  # in a line of a name
FAR = 10.0  # a plot of limits ends at this many times the narrowest


def distances(settings: pd.DataFrame, marked: str, metric: str, features: str, ax: Axes) -> Axes:
    """The axes with the difference of each setting from the best, and its limits; the best comes first.

    Limits that are more than FAR times as wide as the narrowest leave the axis; an arrow shows where.

    Args:
        settings: columns setting, difference, low, high.
        marked: the setting that is drawn in blue.
    """
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    scale = COLUMNS[metric].scale
    name = metric_name(metric, features)
    reach = FAR * scale * settings[["low", "high"]].abs().max(axis=1).min()
    for line, (_, row) in enumerate(settings.iterrows()):
        color = BLUE if row["setting"] == marked else FAINT
        low, mid, high = (scale * row[name] for name in ("low", "difference", "high"))
        shown = min(max(mid, -reach), reach)
        ax.plot([max(low, -reach), min(high, reach)], [line] * 2, color=color, linewidth=1.6, solid_capstyle="butt",
                zorder=3)  # fmt: skip
        for end, arrow in ((low, "<"), (high, ">")):
            if abs(end) > reach:
                ax.plot(reach if end > 0 else -reach, line, arrow, markersize=5, color=color, zorder=4)
        if shown == mid:
            ax.plot(mid, line, "D", markersize=5, color=color, zorder=4)
        size = interval(metric, row["difference"], row["low"], row["high"], "limits ")
        target(ax, shown, line, f"{row['setting']}: difference in {name} from the lowest {size}")
    return _named_lines(ax, list(settings["setting"]))


def _named_lines(ax: Axes, names: Sequence[str]) -> Axes:
    """The axes with a name at each line: of long ones as much as fits into two lines."""
    texts = ["\n".join(textwrap.wrap(name, LETTERS, max_lines=2, placeholder=" …")) for name in names]
    ax.set_yticks(range(len(names)), texts, linespacing=0.95)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return ax
