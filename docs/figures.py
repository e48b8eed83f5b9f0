"""Draws the figures of findings.md, and its table of what to use, from the published reports: `python docs/figures.py`.

`python docs/figures.py table` writes the table alone.
"""

import math
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from PIL import Image
from scipy.stats import t

from diffusion_core import load
from reports.figures import svg
from reports.index import list_what_to_use
from reports.render import PAGES
from reports.results import read as read_result
from reports.results import read_info

DOCS = Path(__file__).parent
PUBLISHED = DOCS.parent / "reports" / "published"
COLORS = sns.color_palette("colorblind")
DATA = {  # name -> report, training images, and the level from which on most samples without noise are near copies
    "mixture of the digits": ("why_noise-laptop", 45_000, 0.0),
    "mixture of Fashion-MNIST": ("why_noise-fashion-mixture", 300_000, 0.0),
    "digits": ("why_noise-digits", 36_000, 2.85),
    "Fashion-MNIST": ("why_noise-fashion", 300_000, 1.6),
}
FIRST, LAST = "<!-- what to use: python docs/figures.py table -->", "<!-- end of what to use -->"  # in findings.md
# where "exact everywhere" and "exact nowhere" are drawn on the axis of sigma:
EVERYWHERE = 0.5
NOWHERE = 17.0
LEVELS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.06)  # of visible noise that is shown
ENOUGH = 3  # networks for an interval
MARKS = "o^sDvP"  # of samplers, at most
CHANGE = "change of FD by noise\n(below 0: better)"


def read(report: str, table: str) -> pd.DataFrame:
    """A table of a published report; large ones are compressed."""
    (path,) = (PUBLISHED / report).glob(f"{table}.csv*")
    return pd.read_csv(path)


def gains(report: str, images: int) -> pd.DataFrame:
    """Changes of FD by noise at 66 steps, means over networks, for one number of training images and for no network."""
    rows = read(report, "gains")
    over_networks = rows["train_seed"].isna() & (rows["metric"] == "fd") & (rows["n_steps"] == 66)
    return rows[over_networks & rows["images_seen"].isin([images, float("nan")])]


def half_width(values: pd.Series) -> float:
    """Half of the 95 % interval of the mean over networks, by Student's t; NaN for fewer than ENOUGH."""
    if len(values) < ENOUGH:
        return math.nan
    return float(t.ppf(0.975, len(values) - 1) * values.sem())


def beta() -> plt.Figure:
    """MMD against evaluations on 5,000 digits: what explorers found best at each number, and what was confirmed."""
    figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
    explored = read("beta-digits", "choices").query("rank == 1")
    confirmed = read("beta-digits", "quality").query("section == 'confirm'")
    for color, kind in zip(COLORS, ("without fresh noise", "with fresh noise"), strict=False):
        line = explored[explored["kind"] == kind]
        ax.plot(line["budget"], 1000 * line["mmd"], "-", color=color, linewidth=0.9, label=f"best {kind}, explorers")
        rows = confirmed[confirmed["curve"] == kind]
        ends = [1000 * (rows["value"] - rows["low"]), 1000 * (rows["high"] - rows["value"])]
        ax.errorbar(rows["budget"], 1000 * rows["value"], ends, fmt="o", color=color, capsize=2, label="confirmed")
    ax.set(xscale="log", xlabel="network evaluations per image", ylabel="MMD ×1000 (lower is better)", ylim=(0, None))
    ax.set_xticks(ticks := [8, 16, 32, 66], ticks)
    ax.minorticks_off()
    ax.legend(fontsize="small", frameon=False)
    return figure


def above_or_below() -> plt.Figure:
    """FD without and with noise, of networks that were made better at some noise levels only."""
    rows = pd.read_csv(DOCS / "data" / "above_or_below.csv")
    names = ["network", "better below", "better above", "better everywhere"]
    figure, axes = plt.subplots(1, rows["data"].nunique(), figsize=(9, 2.8), layout="constrained", squeeze=False)
    for ax, (data, mine) in zip(axes.flat, rows.groupby("data", sort=False), strict=True):
        for place, name in enumerate(names):
            wide = mine[mine["denoiser"] == name].pivot_table(index="seed", columns="eta", values="fd")
            before, after = wide.mean()
            change = wide[1.0] - wide[0.0]
            ends = (change.mean() + sign * half_width(change) for sign in (-1, 1))
            text = f"{change.mean():.1f} ({' to '.join(f'{end:.1f}' for end in ends)})".replace("-", "−")
            arrow = {"arrowstyle": "-|>", "color": COLORS[0], "linewidth": 2}
            ax.annotate("", (after, place), (before, place), arrowprops=arrow)
            ax.text((before + after) / 2, place - 0.15, text, ha="center")
        title = {"mnist5k": "digits", "fashion-mnist": "Fashion-MNIST"}[data]
        most = 1.08 * mine["fd"].max()
        ax.set(title=title, xlim=(0, most), ylim=(3.5, -0.6), xlabel="FD, from eta 0 to eta 1 (lower is better)")
        ax.set_yticks(range(4), ["the network", "better below 2.85", "better above 2.85", "better everywhere"])
    return figure


def why() -> plt.Figure:
    """Change of FD by noise if the denoiser is exact above a level."""
    figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for number, (name, (report, images, copies)) in enumerate(DATA.items()):
        rows = gains(report, images)
        rows = rows[(rows["setting"] == "eta 1") & ((rows["part"] == "above") | (rows["part"] == "whole"))]
        level = rows["band_low"].where(rows["part"] == "above", NOWHERE).where(rows["arm"] != "exact", EVERYWHERE)
        rows = rows.assign(level=level * 1.025**number).query("level > 0.4").sort_values("level")
        color = COLORS[number % 2]
        dash = "-" if copies == 0 else "--"
        ax.plot(rows["level"], rows["difference"], dash, color=color, label=name)
        for row in rows.itertuples():
            copied = row.level / 1.025**number <= copies * 1.01
            ax.errorbar(
                row.level, row.difference, [[row.difference - row.low], [row.high - row.difference]],
                fmt="o" if copies == 0 else "s", color=color, mfc="white" if copied else color, capsize=2,
            )  # fmt: skip
    ax.axhline(0, color="0.4", linewidth=1)
    ax.set(xscale="log", xlabel="the denoiser is exact above this sigma", ylabel=CHANGE)
    ticks = {EVERYWHERE: "every-\nwhere", NOWHERE: "nowhere\n(network)"}
    ax.set_xticks([EVERYWHERE, 0.9, 1.6, 2.85, 5, 9, NOWHERE])
    ax.set_xticklabels([ticks.get(tick, f"{tick:g}") for tick in ax.get_xticks()])
    ax.minorticks_off()
    ax.legend(frameon=False)
    return figure


def where() -> plt.Figure:
    """Change of FD by noise that is put back at some levels only."""
    figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    places = ("everywhere", "below sigma 2.85", "below sigma 0.9", "above sigma 2.85")
    rows_of = pd.concat([gains(report, images) for report, images, _ in DATA.values()]).groupby("setting", sort=False)
    for number, place in enumerate(places):
        rows = rows_of.get_group(f"noise {place}")
        error = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        at = [group + 0.2 * (number - 1.5) for group in range(len(rows))]
        ax.bar(at, rows["difference"], 0.19, yerr=error, color=COLORS[number], label=place, capsize=2, ecolor="0.2")
    ax.axhline(0, color="0.4", linewidth=1)
    ax.set_xticks(range(len(DATA)), list(DATA))
    ax.set_ylabel(CHANGE)
    ax.legend(title="noise is put back", ncols=2, frameon=False, fontsize="small")
    return figure


def schedules() -> plt.Figure:
    """MMD of every schedule with the best samplers and eta 0, at equal evaluations, on the networks that chose."""
    rows = read("schedules", "choices").dropna(subset=["mmd"])
    rows[["schedule", "sampler"]] = rows["setting"].str.split(", ", n=1, expand=True).to_numpy()
    best = rows.groupby("sampler")["mmd"].min().nsmallest(len(MARKS) - 1).index
    shown = rows[rows["sampler"].isin([*best, "eta 0"])]
    samplers = list(shown["sampler"].unique())
    budgets = shown.groupby("budget")
    figure, axes = plt.subplots(1, len(budgets), figsize=(9, 3.6), sharey=True, layout="constrained")
    for ax, (budget, at_budget) in zip(axes, budgets, strict=True):
        names = list(at_budget["schedule"].unique())
        for row in at_budget.itertuples():
            number = samplers.index(row.sampler)
            place = names.index(row.schedule) + 0.6 * ((number + 0.5) / len(samplers) - 0.5)
            fill = COLORS[number] if row.chosen else "white"
            ax.plot(place, 1000 * row.mmd, MARKS[number], color=COLORS[number], markersize=4, mfc=fill)
        top = 2.2 * 1000 * shown["mmd"].median()  # a few, such as Heun with few evaluations, are far above
        ax.set(title=f"{budget} evaluations", ylim=(0, top))
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes[0].set_ylabel("MMD ×1000 (lower is better)")
    looks = zip(MARKS, COLORS, samplers, strict=False)
    handles = [plt.Line2D([], [], marker=mark, linestyle="", color=color, label=name) for mark, color, name in looks]
    handles.append(plt.Line2D([], [], marker="o", linestyle="", color="0.4", label="filled: chosen, or the default"))
    figure.legend(handles=handles, frameon=False, fontsize="small", loc="outside lower center", ncols=len(handles))
    return figure


def training() -> plt.Figure:
    """Change of FD by another training, eta 1, in both feature spaces: means over networks with their intervals."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.4), layout="constrained", sharey=True)
    for ax, (report, features) in zip(axes, {"laptop": "digits", "natural": "natural"}.items(), strict=True):
        rows = read(f"noise_levels-{report}", "contrasts")
        chosen = rows["kind"].isin(["setting", "confirm"]) & rows["train_seed"].isna() & (rows["eta_a"] == 1)
        rows = rows[chosen & (rows["metric"] == "fd")].sort_values("a", ascending=False)
        half = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        ax.errorbar(rows["difference"], rows["a"], xerr=half, fmt="D", color=COLORS[0], markersize=4)
        ax.axvline(0, color="0.4", linewidth=1)
        ax.set(title=f"features {features}", xlabel="change of FD (below 0: better), 95 % interval")
    return figure


def visible_noise() -> None:
    """Real digits with noise of LEVELS data standard deviations, eight in a row per level: an illustration."""
    data = load("mnist5k")
    generator = torch.Generator().manual_seed(0)
    real = data.pixels[:8].float()
    noisy = [real + level * data.std * torch.randn(real.shape, generator=generator) for level in LEVELS]
    rows = [torch.cat([*images.round().clamp(0, 255)[:, 0]], dim=1) for images in noisy]
    picture = Image.fromarray(torch.cat(rows).to(torch.uint8).numpy())
    enlarged = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
    enlarged.save(DOCS / "figures" / "visible_noise.png", optimize=True)


def what_to_use() -> str:
    """The table of the index of the published reports, in Markdown."""
    infos = {path.parent.name: read_info(path) for path in sorted(PUBLISHED.glob("*/run.json"))}
    table = list_what_to_use({
        name: read_result(PUBLISHED / name) for name, info in infos.items() if info["experiment"] in PAGES
    })  # fmt: skip
    rows = [["Data", *(column.head for column in table.columns)], ["---"] * (1 + len(table.columns))]
    for row in table.rows:
        *cells, report = row.cells
        rows.append([row.name, *cells, f"[{report}](../reports/published/{report}/report.md)" if report else ""])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def write_table() -> None:
    """Puts the table between its two markers in findings.md."""
    path = DOCS / "findings.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(FIRST)
    _, _, after = rest.partition(LAST)
    path.write_text(f"{before}{FIRST}\n\n{what_to_use()}\n\n{LAST}{after}", encoding="utf-8")


def main() -> None:
    write_table()
    if "table" in sys.argv:
        return
    visible_noise()
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}
    mpl.rcParams.update({"svg.hashsalt": "findings", **style})  # the same tables give the same bytes
    for draw in (beta, above_or_below, why, where, schedules, training):
        (DOCS / "figures" / f"{draw.__name__}.svg").write_text(svg(draw()), encoding="utf-8")
        plt.close()


if __name__ == "__main__":
    main()
