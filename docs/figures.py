"""Draws the figures of findings.md, and its tables, from the published reports: `python docs/figures.py`.

`python docs/figures.py table` writes the tables alone.
"""

import re
import sys
from functools import cache
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy import stats

from diffusion_core import load
from experiments.distances.intervals import holm
from reports.figures import draw_curves, style, svg
from reports.formats import difference
from reports.index import list_what_to_use
from reports.render import PAGES, read_page
from reports.results import LoadedResult, read_info
from reports.results import read as read_result
from reports.schema import IN_USE, PRIMARY, RIVAL

DOCS = Path(__file__).parent
PUBLISHED = DOCS.parent / "reports" / "published"
COLORS = sns.color_palette("colorblind")
BLUE, ORANGE, GREY = "#0a62a6", "#b04800", "#7d7a72"  # of pages: better, worse, neither
LEVELS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.06)  # of visible noise that is shown
ZOOM, MARGIN = 4, 84  # of their picture, in pixels
PANEL, GAP, TITLE = 512, 24, 44  # of the picture of README, in pixels: a panel, between two, and its letters
SHOWN = {  # settings in that picture, and their titles
    "geometric(30, 0.003), euler, 66": "No noise, 66 steps",
    "geometric(30, 0.003), euler(eta=1), 66": "Added noise, 66 steps",
    "linear(30, 0.3, end=0), res-2m, 8": "Advised, 8, no noise",
}
MARKS = "o^sDvP"  # of samplers, at most
NOISES = ("predicted", "fresh", "reused")  # of docs/examples/consistency.py
STUDY = ("carry-over-digits", "carry-over-natural")  # results of docs/examples/carry_over.py
TRADE = ("precision", "recall")
PAIR = ["a", "nfe_a", "b", "nfe_b"]  # the columns that name two settings
ELSEWHERE = (  # settings whose explored scores are shown, with the number of evaluations that they are within
    ("linear(30, 0.3, end=0), res-2m", 8), ("linear(30, 0.03, end=0), res-2m", 8),
    ("linear(30, 0.3, end=0), dpm++2m-sde", 16), ("linear(30, 1, end=0), dpm++2m-sde", 16),
    ("karras(30, 0.03, end=0), dpm++2m", 16), ("karras(30, 0.03, end=0), heun", 32),
    ("karras(30, 0.03, end=0), dpm++2m", 32), ("karras(30, 0.03, end=0), dpm++2m-sde", 32),
    ("geometric(30, 0.003), euler", 66),
)  # fmt: skip
ORDER = ("mnist5k", "mnist", "fashion-mnist", "cifar10")  # of data sets
Rows = list[list[str]]


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


def noise() -> plt.Figure:
    """With noise minus without, best against best within each number of evaluations, a panel per result."""
    names = noise_results()
    figure, axes = plt.subplots(1, len(names), figsize=(9, 2.4), layout="constrained")
    for ax, name in zip(axes, names, strict=True):
        rows = read(name, "answers").query("b_is == 'rival' and family == 'confirm'").sort_values("within")
        for at, row in enumerate(rows.itertuples()):
            color = BLUE if row.verdict == "better" else ORANGE if row.verdict == "worse" else GREY
            ends = [[1000 * (row.difference - row.low)], [1000 * (row.high - row.difference)]]
            look = {"fmt": "o", "color": color, "mfc": "white" if color == GREY else color, "capsize": 2}
            ax.errorbar([at], [1000 * row.difference], ends, markersize=5, **look)
        ax.axhline(0, color="0.4", linewidth=1)
        ax.set_xticks(range(len(rows)), [f"{budget:.0f}" for budget in rows["within"]])
        ax.set_title(describe(name).replace(", ", "\n", 1), fontsize=8)
        ax.set(xlabel="evaluations, at most", xlim=(-0.5, len(rows) - 0.5))
    axes[0].set_ylabel("change of MMD ×1000\nby fresh noise")
    return figure


def where_to_stop() -> plt.Figure:
    """MMD against the level from which the last step goes to 0, for networks and for an exact denoiser."""
    kinds = {"where-to-stop": "networks, digits", "where-to-stop-exact": "exact denoiser", "where-to-stop-fashion":
             "networks, Fashion-MNIST"}  # fmt: skip
    kinds = {name: title for name, title in kinds.items() if (PUBLISHED / name).is_dir()}
    columns = [(schedule, budget) for budget in (8, 32) for schedule in ("linear", "karras")]
    figure, axes = plt.subplots(len(kinds), 4, figsize=(9, 2.2 * len(kinds)), layout="constrained", sharex=True)
    for row, (name, title) in zip(axes.reshape(len(kinds), 4), kinds.items(), strict=True):
        rows = read(name, "table").query("status == 'ok'")
        rows = rows[rows["setting"].str.startswith("from ")]
        rows[["schedule_", "sampler_", "budget_"]] = rows["section"].str.split(", ", expand=True).to_numpy()
        rows["level"] = rows["setting"].str.removeprefix("from ").astype(float)
        for ax, (schedule, budget) in zip(row, columns, strict=True):
            shown = rows[(rows["schedule_"] == schedule) & (rows["budget_"] == str(budget))]
            for number, (sampler, of) in enumerate(shown.groupby("sampler_", sort=False)):
                means = of.groupby("level")["mmd"].mean() * 1000
                ax.plot(means.index, means, f"{MARKS[number % len(MARKS)]}-", color=COLORS[number], markersize=3,
                        linewidth=0.9, label=sampler)  # fmt: skip
            ax.set_title(f"{title}: {schedule}, {budget}", fontsize=8)
            ax.set(xscale="log")
            ax.set_xticks([0.003, 0.03, 0.3], ["0.003", "0.03", "0.3"])
            ax.minorticks_off()
        row[0].set_ylabel("MMD ×1000")
    for ax in axes.reshape(len(kinds), 4)[-1]:
        ax.set_xlabel("level before 0")
    figure.legend(
        *row[0].get_legend_handles_labels(), frameon=False, fontsize="small", loc="outside lower center", ncols=6
    )
    return figure


def schedules() -> plt.Figure:
    """MMD of every schedule and sampler at equal evaluations, on the networks that chose: a map per number."""
    rows = read("schedules-digits", "choices").dropna(subset=["mmd"])
    rows[["schedule", "sampler"]] = rows["setting"].str.rsplit(", ", n=1, expand=True).to_numpy()
    budgets = rows.groupby("budget")
    names, samplers = (sorted(rows[column].unique()) for column in ("schedule", "sampler"))  # the same in every map
    figure, axes = plt.subplots(1, len(budgets), figsize=(11, 4.6), sharey=True, layout="constrained")
    for ax, (budget, at_budget) in zip(axes, budgets, strict=True):
        wide = 1000 * at_budget.pivot_table(index="schedule", columns="sampler", values="mmd")
        wide = wide.reindex(index=names, columns=samplers)
        top = 2.2 * 1000 * at_budget["mmd"].median()  # a few, such as Heun with few evaluations, are far above
        sns.heatmap(wide, ax=ax, vmax=top, cmap="mako_r", annot=True, fmt=".0f", annot_kws={"size": 6}, cbar=False)
        for row in at_budget[at_budget["chosen"]].itertuples():
            place = samplers.index(row.sampler), names.index(row.schedule)
            ax.add_patch(plt.Rectangle(place, 1, 1, fill=False, edgecolor=COLORS[1], linewidth=2))
        ax.set(title=f"{budget} evaluations", xlabel="", ylabel="")
        ax.tick_params(labelsize=7, length=0)
    return figure


def training() -> plt.Figure:
    """Change of FD by another training, eta 1, in both feature spaces: means over networks with their intervals."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.4), layout="constrained", sharey=True)
    for ax, (report, features) in zip(axes, {"laptop": "digits", "natural": "natural"}.items(), strict=True):
        rows = read(f"noise_levels-{report}", "contrasts")
        rows = rows[rows["question"].str.endswith("eta 1") & (rows["metric"] == "fd")].sort_values("a", ascending=False)
        half = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        ax.errorbar(rows["difference"], rows["a"], xerr=half, fmt="D", color=COLORS[0], markersize=4)
        ax.axvline(0, color="0.4", linewidth=1)
        ax.set(title=f"features {features}", xlabel="change of FD (below 0: better), 95 % interval")
    return figure


def few_steps() -> plt.Figure:
    """MMD of fresh, reused and predicted noise by evaluations; and how much noise is left in denoised images."""
    scores, residuals = (pd.read_csv(DOCS / "data" / f"consistency_{name}.csv") for name in ("scores", "residuals"))
    scores = scores[scores["section"].isna()].assign(mmd=1000 * scores["mmd"])
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
    axes[1].sharey(axes[0])
    for ax, (network, rows) in zip(axes, scores.groupby("network"), strict=False):
        one = rows[rows["nfe"] == 1]
        for color, (noise, of) in zip((COLORS[3], COLORS[0], COLORS[2]), rows.groupby("noise"), strict=True):
            by = pd.concat([one, of]).drop_duplicates(["nfe", "seed"]).groupby("nfe")["mmd"]
            half = 2.26 * by.sem()  # Student's t of ten networks
            ax.errorbar(by.mean().index, by.mean(), half, fmt="o-", color=color, markersize=3, capsize=2, label=noise)
        ax.set(title=f"{network} networks", xscale="log", yscale="log", xlabel="evaluations", ylabel="MMD ×1000")
        ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        ax.set_yticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize="small")
    for color, (network, rows) in zip(COLORS, residuals.groupby("network"), strict=False):
        by = rows.groupby("sigma")["correlation"]
        look = {"fmt": "o-", "color": color, "markersize": 3, "label": network}
        axes[2].errorbar(by.mean().index, by.mean(), 2.26 * by.sem(), **look)
        axes[2].plot(rows.groupby("sigma")["optimal"].mean(), ":", color=color)
    axes[2].set(title="noise left in denoised images", xscale="log", xlabel="noise level", ylabel="correlation")
    axes[2].legend(frameon=False, fontsize="small")
    return figure


def visible_noise() -> None:
    """Real digits with noise of LEVELS data standard deviations, six in a row per level: an illustration."""
    data = load("mnist5k")
    generator = torch.Generator().manual_seed(0)
    real = data.pixels[:6].float()
    noisy = [real + level * data.std * torch.randn(real.shape, generator=generator) for level in LEVELS]
    rows = [torch.cat([*images.round().clamp(0, 255)[:, 0]], dim=1) for images in noisy]
    picture = Image.fromarray(torch.cat(rows).to(torch.uint8).numpy())
    enlarged = picture.resize((ZOOM * picture.width, ZOOM * picture.height), Image.Resampling.NEAREST)
    labelled = ImageOps.expand(enlarged, (MARGIN, 0, 0, 0), fill=255)
    height = enlarged.height / len(LEVELS)
    for at, level in enumerate(LEVELS):
        place = (MARGIN - 12, (at + 0.5) * height)
        ImageDraw.Draw(labelled).text(place, f"{level:g}", fill=0, anchor="rm", font=ImageFont.load_default(26))
    labelled.save(DOCS / "figures" / "visible_noise.png", optimize=True)


def samples() -> None:
    """Real digits and three settings of carry_over.py with the same initial noise, each with its MMD in `natural`."""
    rows = read("carry-over-natural", "table").query("section == 'against the default'")
    means = 1000 * rows.groupby("setting")["mmd"].mean()
    first = rows.drop_duplicates("setting").set_index("setting")["samples_id"]
    floors = read("carry-over-natural", "floors").set_index("metric")["mean"]
    panels = [("Real digits", "real", 1000 * floors["mmd"])]
    panels += [(title, first[setting], means[setting]) for setting, title in SHOWN.items()]
    letters = ImageFont.load_default(TITLE)
    picture = Image.new("L", (2 * PANEL + GAP, 2 * (PANEL + 3 * TITLE) + GAP), 255)
    for at, (title, name, mmd) in enumerate(panels):
        left, top = at % 2 * (PANEL + GAP), at // 2 * (PANEL + 3 * TITLE + GAP)
        ImageDraw.Draw(picture).text((left, top), f"{title}\nMMD {max(mmd, 0):.1f}", fill=0, font=letters)
        images = Image.open(PUBLISHED / "carry-over-natural" / "images" / f"{name}.png")
        picture.paste(images.resize((PANEL, PANEL), Image.Resampling.NEAREST), (left, top + 3 * TITLE))
    picture.quantize(16).save(DOCS / "figures" / "samples.png", optimize=True)


@cache
def results() -> dict[str, LoadedResult]:
    """The published results by their folder."""
    infos = {path.parent.name: read_info(path) for path in sorted(PUBLISHED.glob("*/run.json"))}
    return {name: read_result(PUBLISHED / name) for name, info in infos.items() if info["experiment"] in PAGES}


def noise_results() -> list[str]:
    """The results of `beta` by data; not that of the quickstart."""
    found = {name: result for name, result in results().items() if result.info["experiment"] == "beta"}
    found = {name: result for name, result in found.items() if name != "beta-laptop"}
    return sorted(found, key=lambda name: (place(found[name].runs["data"].iloc[0]), found[name].features, name))


def place(data: str) -> int:
    """The place of a data set in tables, by its name or that of its file."""
    return max(at for at, name in enumerate(ORDER) if name in data)


def describe(name: str) -> str:
    """Data, features and training of a result, as "mnist, natural, 300,000"."""
    result = results()[name]
    return f"{short_name(result.runs['data'].iloc[0])}, {result.features}, {result.runs['images_seen'].max():,.0f}"


def short_name(data: str) -> str:
    """The name of a data set without what a file's name has besides: "cifar10" of "npz:cifar10-train.npz@565e7"."""
    return re.sub(r"^npz:|(-train)?\.npz.*$", "", data)


def link(name: str, text: str = "") -> str:
    return f"[{text or name}](../reports/published/{name}/report.md)"


def what_to_use() -> Rows:
    """The table of the index of the published reports."""
    table = list_what_to_use({name: results()[name] for name in noise_results()})
    rows = [["Data", *(column.head for column in table.columns)]]
    for row in table.rows:
        *cells, report = row.cells
        rows.append([short_name(row.name), *cells, link(report) if report else ""])
    return rows


def fresh_noise() -> Rows:
    """Changes by fresh noise: on the geometric schedule, and best against best within each budget.

    In MMD with its verdict; then in precision and recall.
    """
    budgets = ("geometric, 66", *(f"within {n}" for n in (8, 16, 32, 66)))
    rows = [["data, features, images seen in training", "change of", *budgets]]
    for name in noise_results():
        of_result = pairs_of_noise(name).set_index("budget")
        rows.append([link(name, describe(name)), "MMD ×1000", *(say(of_result.loc[budget]) for budget in budgets)])
        changes = pd.read_csv(DOCS / "data" / "trade.csv").query("report == @name").set_index(["metric", *PAIR])
        for metric in TRADE:
            cells = [changes.loc[(metric, *pair)] for pair in of_result.loc[[*budgets], PAIR].to_numpy()]
            rows.append(["", metric, *(say_share(cell) for cell in cells)])
    return rows


def pairs_of_noise(name: str) -> pd.DataFrame:
    """The contrasts of fresh noise of a result, with what they are asked for in `budget`."""
    asked = results()[name].answers
    asked = asked[asked["b_is"] == RIVAL].assign(metric="mmd")
    words = ["geometric, 66" if row.family == PRIMARY else f"within {row.within:.0f}" for row in asked.itertuples()]
    return asked.assign(budget=words)


def trade() -> pd.DataFrame:
    """Changes of precision and recall by fresh noise, over networks with Student's t, each pair of settings once.

    Holm's correction is over those of the best of each kind (thirty), and over those on the geometric schedule (ten).
    """
    rows = []
    for name in noise_results():
        table = read(name, "table").query("status == 'ok'").drop_duplicates(["setting", "nfe", "section", "train_seed"])
        for pair in pairs_of_noise(name).drop_duplicates(["family", *PAIR]).itertuples():
            of_pair = table[table["section"] == pair.section].set_index(["setting", "nfe", "train_seed"]).sort_index()
            for metric in TRADE:
                a, b = (of_pair.loc[side, metric] for side in ((pair.a, pair.nfe_a), (pair.b, pair.nfe_b)))
                named = {column: getattr(pair, column) for column in ("family", *PAIR)}
                rows.append({"report": name, **named, "metric": metric, **measure_change(a, b)})
    every = pd.DataFrame(rows)
    for _, family in every.groupby("family"):
        every.loc[family.index, "p_adjusted"] = holm([*family["p_value"]])
    return every


def measure_change(a: pd.Series, b: pd.Series) -> dict[str, float]:
    """The means of two settings over networks, and their mean difference with its 95 % interval and p value."""
    change = (a - b).dropna()
    low, high = stats.t.interval(0.95, len(change) - 1, change.mean(), change.sem())
    means = {"value_a": a.mean(), "value_b": b.mean(), "difference": change.mean(), "low": low, "high": high}
    return means | {"n_networks": len(change), "p_value": stats.ttest_1samp(change, 0).pvalue}


def more_evaluations() -> pd.DataFrame:
    """Changes of MMD by the best with noise within 66 evaluations instead of that within 16, network by network."""
    rows = []
    for name in noise_results():
        chosen = pairs_of_noise(name).set_index("budget").loc[["within 66", "within 16"], ["a", "nfe_a"]]
        (a, nfe_a), (b, nfe_b) = chosen.to_numpy()
        scores = read(name, "table").query("status == 'ok' and section == 'confirm'")
        scores = scores.groupby(["setting", "nfe", "train_seed"])["mmd"].first()
        if (a, nfe_a) != (b, nfe_b):
            pair = {"a": a, "nfe_a": nfe_a, "b": b, "nfe_b": nfe_b, "metric": "mmd"}
            rows.append({"report": name, **pair, **measure_change(scores[a, nfe_a], scores[b, nfe_b])})
    return pd.DataFrame(rows)


def last_level() -> pd.DataFrame:
    """Changes of MMD by the last level 1 instead of 0.03, the mean over the six samplers, network by network."""
    table = read("where-to-stop", "table").query("status == 'ok' and setting in ('from 1', 'from 0.03')")
    table[["levels", "sampler", "budget"]] = table["section"].str.split(", ", expand=True).to_numpy()
    means = table.groupby(["levels", "budget", "setting", "train_seed"])["mmd"].mean()
    rows = []
    for levels, budget in means.index.droplevel([2, 3]).unique():
        a, b = (means[levels, budget, f"from {level}"] for level in ("1", "0.03"))
        rows.append({"levels": levels, "evaluations": budget, "metric": "mmd", **measure_change(a, b)})
    return pd.DataFrame(rows)


def where_to_begin() -> Rows:
    """The effects of the last level on networks; and of six samplers how many are better and worse, also if exact."""
    rows = [["levels, evaluations", "networks: change of MMD", "better, worse of 6 samplers", "exact denoiser"]]
    for row in pd.read_csv(DOCS / "data" / "last_level.csv").sort_values(["evaluations", "levels"]).itertuples():
        counts = []
        for name in ("where-to-stop", "where-to-stop-exact"):
            found = results()[name].answers.query("a == 'from 1'")
            place = found["section"].str.fullmatch(f"{row.levels}, .*, {row.evaluations}")
            counts.append(", ".join(str((found[place]["verdict"] == word).sum()) for word in ("better", "worse")))
        size = "{} ({})".format(*difference(pd.Series(row._asdict())))
        rows.append([f"{row.levels}, {row.evaluations}", size, *counts])
    return rows


def detail() -> pd.DataFrame:
    """How much of the finest diagonal detail of real images the sixteen published samples of a setting have."""
    rows = []
    for name in noise_results():
        table = read(name, "table").drop_duplicates("samples_id").set_index("samples_id")
        real = measure_detail(PUBLISHED / name / "images" / "real.png")
        for path in sorted((PUBLISHED / name / "images").glob("*.png")):
            if path.stem in table.index:
                setting = table.loc[path.stem, ["setting", "nfe"]].to_dict()
                rows.append({"report": name, **setting, "detail": measure_detail(path) / real})
    return pd.DataFrame(rows)


def measure_detail(path: Path) -> float:
    """The mean square of the finest diagonal coefficients of Haar's wavelets, over the images of a picture."""
    pixels = np.asarray(Image.open(path)).astype(float)
    return float((((pixels[::2] - pixels[1::2])[:, ::2] - (pixels[::2] - pixels[1::2])[:, 1::2]) ** 2).mean())


def explored() -> pd.DataFrame:
    """MMD of every setting on the networks that chose, its rank and its ratio to the lowest at this `budget`."""
    tables = [read(name, "choices").dropna(subset="mmd").assign(report=name) for name in noise_results()]
    rows = pd.concat(tables).drop_duplicates(["report", "budget", "setting"])
    of_budget = rows.groupby(["report", "budget"])["mmd"]
    return rows.assign(
        ratio=rows["mmd"] / of_budget.transform("min"), place=of_budget.rank(), n=of_budget.transform("count")
    )


def elsewhere() -> Rows:
    """Explored MMD of settings that people use in five results, and how often the lowest with as many evaluations.

    Without a last step to 0, results in `digits` end at 0.03, not 0.003.
    """
    names, every = noise_results(), explored()
    every["setting"] = every["setting"].replace("geometric(30, 0.03), euler", "geometric(30, 0.003), euler")
    rows = [["schedule, sampler, evaluations at most", *(link(name, describe(name)) for name in names), "at most"]]
    for setting, budget in ELSEWHERE:
        of_setting = every[(every["setting"] == setting) & (every["budget"] == budget)]
        of_setting = of_setting.drop_duplicates("report", keep="last").set_index("report").loc[names]
        cells = [f"{1000 * row.mmd:.1f} ({row.ratio:.2f})" for row in of_setting.itertuples()]
        rows.append([f"{setting}, {budget}", *cells, f"{of_setting['ratio'].max():.2f}"])
    return rows


def carry_over() -> Rows:
    """The study carry_over.py: every setting in both feature spaces, against geometric, eta 0, with 66."""
    rows = [["schedule, sampler, evaluations"]]
    means, changes = [], []
    for name in STUDY:
        of_default = read(name, "table").query("section == 'against the default'")
        means.append(of_default.groupby("setting")[["mmd", *TRADE]].mean())
        changes.append(
            results()[name].contrasts.query("metric == 'mmd' and section == 'against the default'").set_index("a")
        )
        rows[0] += [link(name, name.removeprefix("carry-over-")), "against the default", "precision, recall"]
    for setting in means[-1].sort_values("mmd").index:
        cells = []
        for of_default, change in zip(means, changes, strict=True):
            mmd, precision, recall = of_default.loc[setting]
            said = say(change.loc[setting]) if setting in change.index else "the default"
            cells += [f"{1000 * mmd:.1f}", said, f"{precision:.2f}, {recall:.2f}"]
        rows.append([setting, *cells])
    return rows


def say_share(row: pd.Series) -> str:
    """A change of precision or recall with its interval, and a star if it is detected."""
    texts = (f"{round(row[name], 2) + 0.0:.2f}".replace("-", "−") for name in ("difference", "low", "high"))
    return "{} ({} to {}){}".format(*texts, "*" if row["p_adjusted"] <= 0.05 else "")


def chosen_levels() -> Rows:
    """What `schedules` advises with 8 and with 32 evaluations, and the change of MMD from the default."""
    rows = [["data", "evaluations", "use", "MMD: default, chosen", "change of MMD"]]
    for name, result in results().items():
        if result.info["experiment"] == "schedules":
            asked = result.answers[result.answers["b_is"] == IN_USE].assign(metric="mmd")
            for _, row in asked[asked["within"].isin((8, 32))].iterrows():
                scores = f"{1000 * row['value_b']:.1f}, {1000 * row['value_a']:.1f}"
                use = row["a"] if row["use"] == row["a"] else f"the default; tried {row['a']}"
                rows.append([link(name, describe(name)), f"{row['within']:.0f}", use, scores, say(row)])
    return rows


def few_evaluations() -> Rows:
    """MMD (FD) of predicted, fresh and reused noise at 1 to 8 evaluations, and the changes of MMD by reused noise."""
    scores, changes = (pd.read_csv(DOCS / "data" / f"consistency{name}.csv") for name in ("_scores", ""))
    scores = scores[scores["section"].isna()].assign(mmd=1000 * scores["mmd"])
    rows = [["networks, evaluations", *NOISES, *(f"reused against {noise}" for noise in ("fresh", "predicted"))]]
    for (network, nfe), of in scores.groupby(["network", "nfe"]):
        means = of.groupby("noise")[["mmd", "fd"]].mean()
        cells = [f"{means['mmd'][noise]:.1f} ({means['fd'][noise]:.1f})" for noise in NOISES if noise in means.index]
        found = changes[(changes["network"] == network) & (changes["nfe"] == nfe) & (changes["a"] == "reused")]
        judged = found.assign(verdict=found["difference"].map(lambda d: "better" if d < 0 else "worse"))
        judged.loc[judged["p_adjusted"] > 0.05, "verdict"] = ""
        said = [say(judged[judged["b"] == noise].iloc[0]) for noise in ("fresh", "predicted") if len(judged)]
        rows.append([f"{network}, {nfe}", *cells, *said, *[""] * (5 - len(cells) - len(said))])
    return rows


def say(row: pd.Series) -> str:
    """The difference with its interval, and its verdict if one is detected."""
    word = f", {row['verdict']}" if row["verdict"] in ("better", "worse") else ""
    return "{} ({}){}".format(*difference(row), word)


MADE = {  # tables of findings.md
    "what to use": what_to_use, "fresh noise": fresh_noise, "chosen levels": chosen_levels,
    "few evaluations": few_evaluations, "last level": where_to_begin,
    "carry over": carry_over, "elsewhere": elsewhere,
}  # fmt: skip


COMPUTED = (trade, last_level, more_evaluations, detail)  # tables of docs/data that write_tables writes


def made(name: str) -> str:
    """A table in Markdown between its two markers."""
    head, *rows = MADE[name]()
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"<!-- {name}: python docs/figures.py table -->\n\n{text}\n\n<!-- end of {name} -->"


def write_tables() -> None:
    """Puts the tables between their markers in findings.md."""
    for make in COMPUTED:
        make().to_csv(DOCS / "data" / f"{make.__name__}.csv", index=False)
    path = DOCS / "findings.md"
    text = path.read_text(encoding="utf-8")
    for name in MADE:
        before, _, rest = text.partition(f"<!-- {name}:")
        _, _, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}{made(name)}{after}"
    path.write_text(text, encoding="utf-8")


def main() -> None:
    write_tables()
    if "table" in sys.argv:
        return
    visible_noise()
    samples()
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}
    mpl.rcParams.update({"svg.hashsalt": "findings", **style})  # the same tables give the same bytes
    for draw in (beta, noise, where_to_stop, schedules, training, few_steps):
        (DOCS / "figures" / f"{draw.__name__}.svg").write_text(svg(draw()), encoding="utf-8")
        plt.close()


if __name__ == "__main__":
    main()
