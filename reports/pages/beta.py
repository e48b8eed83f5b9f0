"""The report on `beta`: is it better to put noise back at each step?"""

from itertools import cycle

import pandas as pd

from reports import components, figures, tables
from reports.columns import COLUMNS, METRICS
from reports.document import Figure, Prose, Section
from reports.formats import cell, listed, metric_name, number, plural
from reports.results import Run, means, timed
from reports.sentences import (
    FEW,
    budget,
    condition,
    control,
    control_failed,
    doubt,
    head,
    measured,
    pairs,
    price,
    relation,
    scope,
)

LEADS = {
    "better": "Yes",
    "worse": "No",
    "no clear difference": "Not clearly",
    "undecided: the metrics disagree": "Undecided",
}
TITLES = {
    "primary": "The primary contrast",
    "control": "A/A control",
    "same-alpha": "Same alpha: more beta, more evaluations",
    "same-ladder": "Same ladder, same evaluations",
    "pareto": "Ladders of several lengths",
    "best": "Chosen on half of the images, measured on the other half",
}
MARKERS = "osD^vPX"


def sections(run: Run) -> list[Section | None]:
    """The report from top to bottom; a part that the run did not measure is left out."""
    return [
        Section(
            "Answer",
            [*answer(run), *variety(run), *equal_alpha(run), *budget(run), *control(run), *components.failures(run)],
        ),
        differences(run),
        quality(run),
        cost(run),
        images(run),
        classes(run),
        components.training(run),
        components.glossary("alpha", "beta", "eta", "nfe", "fd", "kd", "precision", "recall"),
        numbers(run),
    ]


def answer(run: Run) -> list[Prose]:
    """The verdict on the primary contrast in one sentence, and what its interval is."""
    primary = pairs(run.of_kind("primary"))
    if not primary:
        runs = run.rows[run.rows["mode"] == "primary"]
        done = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'primary run')} succeeded"
        text = f"eta 1 was not compared with eta 0 on one ladder; {done}."
        return [Prose(text, "No verdict")]
    row = head(primary[0])
    because = f", because {doubt(primary[0])}" if row["verdict"] == "no clear difference" else ""
    text = (
        f"with {cell('nfe', row['nfe_a'])} evaluations on both sides, {relation(primary[0], betas=True)}{because}: "
        f"{measured(run, primary[0])}; {scope(primary[0])}."
    )
    return [Prose(text, lead(run, row)), Prose(f"{status(run)} {condition(primary[0])}")]


def lead(run: Run, row: pd.Series) -> str:
    """The first words: the verdict, and for what it is said."""
    networks = int(row["n_networks"])
    these = "" if networks >= FEW else "for this network " if networks == 1 else f"for these {networks} networks "
    word = "Not established, since the A/A control failed" if control_failed(run) else LEADS[row["verdict"]]
    return f"{word}, {these}on this ladder"


def status(run: Run) -> str:
    """Whether the primary contrast is the one that was fixed before any result was seen."""
    if run.info.get("fixed_beforehand"):
        return "This contrast was fixed beforehand; all others explore."
    return "This contrast has the form of the primary one, but not its ladder or training law: it explores."


def variety(run: Run) -> list[Prose]:
    """Precision and recall of the runs behind the primary contrast, one number a network."""
    rows = run.ok("primary")
    rows = rows[~rows["final_denoise"].fillna(False)].sort_values(["eta", "train_seed"])
    texts = [
        f"eta {number(eta)}: precision {listed(cell('precision', value) for value in same['precision'])}, "
        f"recall {listed(cell('recall', value) for value in same['recall'])}"
        for eta, same in rows.dropna(subset=["precision", "recall"]).groupby("eta")
    ]
    if not texts:
        return []
    found = [run.floor(metric, rows.iloc[0]) for metric in ("precision", "recall")]
    real = [cell("precision", floor["mean"]) for floor in found if floor is not None]
    texts += [f"real images: {listed(real)}"] if real else []
    return [Prose(f"{'; '.join(texts)}; one number a network.", "Precision and recall")]


def equal_alpha(run: Run) -> list[Prose]:
    """The original view, at equal alpha: beta 0.3 and the largest beta, and what they cost."""
    found = sorted(pairs(run.of_kind("same-alpha")), key=lambda pair: head(pair)["beta_a"])
    return [
        Prose(
            f"{relation(pair)}; {price(pair)}. {measured(run, pair, values=False)}.",
            f"At equal alpha ({number(head(pair)['alpha_a'])}; exploration)",
        )
        for pair in found
        if head(pair)["beta_a"] == 0.3 or pair is found[-1]
    ]


def differences(run: Run) -> Section:
    """The main figure: what noise changes, in differences."""
    groups = {
        TITLES["primary"] + (", fixed beforehand" if run.info.get("fixed_beforehand") else ""): run.of_kind(
            "primary", "final-denoise", "control"
        ),
        TITLES["same-alpha"]: run.of_kind("same-alpha"),
        TITLES["same-ladder"]: run.of_kind("same-ladder"),
    }
    text = "What putting noise back changes: differences in quality; below 0 is better."
    return Section("Differences", components.forest(run, "differences", groups, text))


def quality(run: Run) -> Section | None:
    """FD and KD against beta."""
    modes = {mode: rows for mode in ("same-alpha", "same-ladder") if len(rows := run.ok(mode))}
    if not modes:
        return None
    figure, grid = figures.panels(len(modes), len(METRICS), 2.9 * len(modes))
    above = {"same-alpha": ("nfe", "network evaluations"), "same-ladder": ("eta", "eta")}
    for axes, (mode, rows) in zip(grid, modes.items(), strict=True):
        for ax, metric in zip(axes, METRICS, strict=True):
            line = means(run.of_kind(mode), metric)
            figures.quality_line(line, rows, "beta", metric, ax)
            figures.floor_band(ax, run.floor(metric, rows.iloc[0]), metric)
            figures.fit_y(ax, rows[metric], metric)
            ticks = rows.drop_duplicates("beta").sort_values("beta")
            figures.top_ticks(ax, ticks["beta"], ticks[above[mode][0]], above[mode][1])
            ax.set_ylabel(metric_name(metric, run.features, long=True))
            ax.set_title(TITLES[mode] if metric == METRICS[0] else " ")
    figures.under_one_legend(figure)
    text = (
        "Quality against beta; lower is better. Blue: mean over networks; faint: single networks; green: what real "
        "images score (band: range of the repeats)."
    )
    rows = pd.concat(modes.values())
    alt = f"Kernel and Fréchet distance against beta for {listed(modes)}."
    return Section("Quality against beta", [Figure("beta", figure, alt, components.caption(run, text, rows=rows))])


def cost(run: Run) -> Section | None:
    """Quality against network evaluations and against seconds; and the differences at each budget."""
    rows = run.ok("pareto", "same-alpha")
    if not len(rows):
        return None
    best = run.of_kind("best")
    groups = {TITLES["pareto"]: run.of_kind("pareto"), TITLES["best"]: best[best["mode"] == "pareto"]}
    text = "Differences to eta 0 with the same number of evaluations; below 0 is better."
    budgets = components.forest(run, "budgets", groups, text)
    figures_of_cost = [against_nfe(run, rows), *against_seconds(run, rows)]
    return Section("Quality against cost", [*figures_of_cost, *components.untimed(run), *budgets])


def families(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, dict[str, str]]]:
    """What is one line in a figure of costs, with its look: each eta of the ladders, and the equal-alpha runs."""
    ladders, alpha = rows[rows["mode"] == "pareto"], rows[rows["mode"] == "same-alpha"]
    found = [
        (ladders[ladders["eta"] == eta], {"color": color, "marker": marker, "label": f"eta {number(eta)}"})
        for (eta, color), marker in zip(figures.shades(ladders["eta"]).items(), cycle(MARKERS), strict=False)
    ]
    if len(alpha):
        betas = listed(number(beta) for beta in sorted(alpha["beta"].unique()))
        label = f"alpha {number(alpha['alpha'].iloc[0])}, beta {betas}"
        found.append((alpha, {"color": figures.INK, "marker": "x", "linestyle": ":", "label": label}))
    return found


def against_nfe(run: Run, rows: pd.DataFrame) -> Figure:
    """Quality against network evaluations."""
    figure, [axes] = figures.panels(1, len(METRICS), 3.5)
    for ax, metric in zip(axes, METRICS, strict=True):
        for mine, look in families(rows):
            line = means(run.of_kind(mine["mode"].iloc[0]), metric)
            if mine["mode"].iloc[0] == "pareto":
                line = line[line["eta"] == mine["eta"].iloc[0]]
            figures.quality_line(line.sort_values("nfe"), mine, "nfe", metric, ax, **look)
        figures.log_ticks(ax, rows["nfe"])
        figures.floor_band(ax, run.floor(metric, rows.iloc[0]), metric)
        figures.fit_y(ax, rows[metric], metric)
        ax.set(ylabel=metric_name(metric, run.features, long=True), xlabel="network evaluations per image (nfe)")
    text = (
        "Quality against evaluations; lower and further left is better. Lines: means over networks; faint points: "
        "single networks; green: what real images score, where that is on the axis."
    )
    alt = "Kernel and Fréchet distance against network evaluations, one line for each eta."
    return Figure("nfe", figures.under_one_legend(figure), alt, components.caption(run, text, rows=rows))


def against_seconds(run: Run, rows: pd.DataFrame) -> list[Figure]:
    """Quality against measured seconds: one figure for each way of computing, as seconds compare only within one."""
    ways = ["device", "precision_mode", "compiled", "threads", "batch_size", "n_samples"]
    found = []
    for count, (_, same) in enumerate(timed(rows).groupby(ways, dropna=False, sort=False), start=1):
        figure, [axes] = figures.panels(1, len(METRICS), 3.3)
        seconds = f"seconds for {components.values(same, 'n_samples')} images"
        for ax, metric in zip(axes, METRICS, strict=True):
            for mine, look in families(same):
                figures.points(mine, "seconds", metric, ax, **look)
            figures.log_ticks(ax)
            figures.fit_y(ax, same[metric], metric)
            ax.set(ylabel=metric_name(metric, run.features, long=True), xlabel=seconds)
        how = ", ".join(f"{COLUMNS[name].label} {components.values(same, name)}" for name in ways[:-1])
        text = (
            f"Quality against the measured time of the sampling loop; a thin line joins the runs of one network; {how}."
        )
        alt = "Kernel and Fréchet distance against measured seconds, one line for each eta and network."
        caption = components.caption(run, text, rows=same)
        found.append(Figure(f"seconds-{count}", figures.under_one_legend(figure), alt, caption))
    return found


def images(run: Run) -> Section:
    """The first samples of one network, all from the same initial noise."""
    blocks = []
    for mode, knob in (("same-alpha", "beta"), ("same-ladder", "eta")):
        rows = components.first_network(run.ok(mode)).sort_values(knob)
        labels = {
            row["samples_id"]: f"{knob} {number(row[knob])}, {cell('nfe', row['nfe'])} nfe"
            for _, row in rows.iterrows()
        }
        text = f"{TITLES[mode]}. Samples at the same place start from the same noise."
        blocks += components.gallery(run, rows, labels, text)
    rows = components.first_network(run.ok("primary")).sort_values("eta")
    rows = rows[~rows["final_denoise"].fillna(False)]
    labels = {row["samples_id"]: f"eta {number(row['eta'])}" for _, row in rows.iterrows()}
    blocks += components.films(run, rows, labels, "The same samples with and without fresh noise.")
    return Section("Samples", blocks)


def classes(run: Run) -> Section:
    """Are all classes drawn as often as they should be?"""
    primary, alpha = run.ok("primary"), run.ok("same-alpha")
    primary = primary[~primary["final_denoise"].fillna(False)]
    by_eta = {f"eta {number(eta)}": rows for eta, rows in primary.groupby("eta")}
    by_beta = {f"beta {number(beta)}": rows for beta, rows in alpha.groupby("beta")}
    blocks = components.histograms(run, "classes", by_eta, "Samples a class on the primary contrast's ladder.")
    blocks += components.histograms(run, "classes-alpha", by_beta, "Samples a class at equal alpha.")
    return Section("Classes", blocks)


def numbers(run: Run) -> Section:
    """The numbers."""
    blocks = []
    primary, others = (
        run.of_kind("primary", "final-denoise", "control"),
        run.of_kind("same-alpha", "same-ladder", "pareto", "best"),
    )
    if len(primary):
        text = "The primary contrast, the same with a final denoising step, and the control, by network."
        blocks.append(tables.contrast_by_network(run, primary, text))
    if len(others):
        blocks.append(tables.contrast_list(run, others, "All other contrasts, pooled over networks: exploration."))
    blocks.append(tables.setting(run))
    settings = run.ok("primary", "same-alpha", "same-ladder")
    if len(settings):
        blocks.append(tables.dialects(settings))
    return Section("Tables", [*blocks, *tables.floors(run), *tables.runs(run)])
