"""Draws the figures of findings.md, and its table of what to use, from the published reports: `python docs/figures.py`.

`python docs/figures.py table` writes the table alone.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from PIL import Image

from diffusion_core import load
from reports.figures import draw_curves, style, svg
from reports.index import list_what_to_use
from reports.render import PAGES, read_page
from reports.results import read as read_result
from reports.results import read_info

DOCS = Path(__file__).parent
PUBLISHED = DOCS.parent / "reports" / "published"
COLORS = sns.color_palette("colorblind")
FIRST, LAST = "<!-- what to use: python docs/figures.py table -->", "<!-- end of what to use -->"  # in findings.md
LEVELS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.06)  # of visible noise that is shown
MARKS = "o^sDvP"  # of samplers, at most


def read(report: str, table: str) -> pd.DataFrame:
    """A table of a published report; large ones are compressed."""
    (path,) = (PUBLISHED / report).glob(f"{table}.csv*")
    return pd.read_csv(path)


def beta() -> plt.Figure:
    """MMD within each number of evaluations on 5,000 digits, as on the page."""
    curves = read_page(PUBLISHED / "beta-digits").curves
    assert curves
    with style():
        return draw_curves(curves)


def better_networks() -> plt.Figure:
    """What fresh noise changes, against the quality of the network: 5,000 digits, each report with other training."""
    rows = []
    for report in sorted(PUBLISHED.glob("beta-digits*")):
        floors = read(report.name, "floors").query("metric == 'fd'")
        contrasts = read(report.name, "contrasts").query("train_seed.isna()")
        of_fd = contrasts.query("metric == 'fd' and kind == 'confirm' and budget == 66").iloc[0]
        quality = min(of_fd["value_a"], of_fd["value_b"]) - floors.loc[floors["n_samples"].idxmax(), "mean"]
        rows.append(contrasts.assign(quality=quality))
    every = pd.concat(rows)
    questions = {
        "best against best, within 8": "kind == 'confirm' and budget == 8",
        "best against best, within 66": "kind == 'confirm' and budget == 66",
        "geometric schedule, Euler, 66": "kind == 'primary'",
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for ax, (metric, name, scale) in zip(axes, (("mmd", "MMD ×1000", 1000), ("fd", "FD", 1)), strict=True):
        for number, (label, question) in enumerate(questions.items()):
            shown = every.query(f"metric == '{metric}' and {question}").sort_values("quality")
            ends = [scale * (shown["difference"] - shown["low"]), scale * (shown["high"] - shown["difference"])]
            at = shown["quality"] * 1.03 ** (number - 1)
            ax.errorbar(at, scale * shown["difference"], ends, fmt=f"{MARKS[number]}-", color=COLORS[number], capsize=2,
                        markersize=4, linewidth=0.8, label=f"{label} evaluations")  # fmt: skip
        ax.axhline(0, color="0.4", linewidth=1)
        ax.set(title=name, xscale="log", xlabel="FD of the better one above real images\n(left: better networks)")
        ax.set_xticks(ticks := sorted(every["quality"].unique()), [f"{tick:.1f}" for tick in ticks])
        ax.minorticks_off()
    axes[0].set_ylabel("with noise minus without\n(below 0: noise is better)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize="small", loc="outside lower center", ncols=3)
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
    for draw in (beta, better_networks, schedules, training):
        (DOCS / "figures" / f"{draw.__name__}.svg").write_text(svg(draw()), encoding="utf-8")
        plt.close()


if __name__ == "__main__":
    main()
