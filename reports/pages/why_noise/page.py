"""The report on `why_noise`: explanations of why putting noise back helps, each with its prediction and verdict."""

from dataclasses import replace

import pandas as pd

from reports import components, explorer, figures, tables
from reports.columns import METRICS
from reports.document import Figure, Prose, Section, Table, table
from reports.formats import cell, interval, metric_name, number
from reports.pages.why_noise.attribution import (
    contrast,
    main_steps,
    on_main_ladder,
    part,
    verdict_on_denoiser,
    verdict_on_steps,
)
from reports.pages.why_noise.mechanisms import (
    SURE,
    paying,
)
from reports.pages.why_noise.opening import explanations, opening
from reports.pages.why_noise.trajectories import bookkeeping, contraction, inputs, response, where
from reports.results import Run, pooled
from reports.sentences import capital, condition, control, control_failed, head, pairs, scope

__all__ = ["opening", "sections"]


def sections(run: Run) -> list[Section | None]:
    """The sections below the first screen, from top to bottom. A part that the run did not measure is left out."""
    if not len(run.of_kind("control")):
        return [Section("Failed runs", components.failures(run)), numbers(run)]
    parts = [steps(run), denoiser(run), inputs(run), contraction(run), response(run), bookkeeping(run), where(run)]
    return [
        amount(run),
        explorer.section(run, choices(run)),
        *map(folded, parts),
        Section("The answer in detail", answer(run), folded=True),
        components.training(run),
        components.glossary("eta", "nfe", "fd", "kd"),
        numbers(run),
    ]


def folded(section: Section | None) -> Section | None:
    """The section, folded."""
    return None if section is None else replace(section, folded=True)


def choices(run: Run) -> list[explorer.Choice]:
    """What the explorer varies: the denoiser with its ladder, and eta."""
    rows = run.rows[(run.rows["status"] == "ok") & run.rows["mode"].isin(run.of_kind("noise")["mode"].unique())]
    knobs = [("denoiser", "mode"), ("eta (noise)", "eta")]
    return [
        explorer.Choice(
            "All denoisers", rows, knobs, lambda row: f"{row['mode']}, eta {number(row['eta'])}", ["eta (noise)"]
        )
    ]


def answer(run: Run) -> list[Prose]:
    """The verdict on each explanation with its numbers; then the conditions, the control and the failures."""
    unsure = " (not established, because the A/A control failed)" if control_failed(run) else ""
    found = explanations(run)
    out = [Prose(said(verdict), f"{name}{unsure}") for name, verdict in found.items()]
    where_it_pays = paying(run)
    out += [Prose(" ".join(where_it_pays), f"Where noise helps{unsure}")] if where_it_pays else []
    if pair := contrast(run, f"trained, {main_steps(run)} steps"):
        out.append(
            Prose(
                f"Measured on {scope(pair)}. The data are draws from a fitted mixture. {condition(pair)} "
                "The intervals are not corrected for the number of comparisons."
            )
        )
    return [*out, *control(run), *components.failures(run)]


def said(verdict: tuple[str, str]) -> str:
    """A verdict and its numbers as sentences."""
    word, text = verdict
    return f"{capital(word)}. {text}".strip()


def steps(run: Run) -> Section | None:
    """The section on discretisation alone: the exact denoiser on ladders from coarse to fine."""
    if not len(by_length(run, "exact")):
        return None
    prediction = (
        "If noise helps because the steps are too large, it also helps an exact denoiser, and most of all on coarse "
        "ladders."
    )
    blocks: list[Prose | Figure | Table] = [
        Prose(prediction, "Prediction"),
        Prose(said(verdict_on_steps(run)), "Verdict"),
        against_length(run, "exact"),
        *width(run),
    ]
    return Section("Are the steps too large?", blocks)


def by_length(run: Run, denoiser: str) -> pd.DataFrame:
    """The runs of one kind of denoiser that compare etas on ladders of different lengths."""
    modes = run.of_kind("noise").loc[lambda rows: rows["denoiser"] == denoiser, "mode"]
    return run.rows[(run.rows["status"] == "ok") & run.rows["mode"].isin(modes.unique())]


def against_length(run: Run, name: str) -> Figure:
    """The figure of quality against the number of steps with one kind of denoiser, one line per eta."""
    rows = by_length(run, name)
    looks = figures.shades(rows["eta"])
    figure, [axes] = figures.panels(1, len(METRICS), 3.3)
    for ax, metric in zip(axes, METRICS, strict=True):
        for eta, same in rows.groupby("eta"):
            line = same.groupby("nfe", as_index=False)[metric].mean().rename(columns={metric: "value"})
            figures.quality_line(line, same, "nfe", metric, ax, color=looks[eta], label=f"eta {number(eta)}")
        figures.log_ticks(ax, rows["nfe"])
        figures.floor_band(ax, run.floor(metric, rows.iloc[0]), metric)
        figures.fit_y(ax, rows[metric], metric)
        ax.set(ylabel=metric_name(metric, run.features, long=True), xlabel="steps = network evaluations")
    text = (
        f"The {name} denoiser: quality against the number of steps, one line per eta. Lower is better. Faint points: "
        "single runs. Green: score of draws from the true distribution (floor)."
    )
    alt = f"Kernel and Fréchet distance against steps for the {name} denoiser."
    return Figure(f"steps-{name}", figures.named(figure), alt, components.caption(run, text, rows=rows))


def width(run: Run) -> list[Table]:
    """A table of the width and mean of the samples, relative to the true distribution, for each number of steps."""
    rows = run.probes[run.probes["probe"].isin(["spread", "mean"])]
    if not len(rows):
        return []
    body = []
    for (denoiser, n_steps, eta), same in rows.groupby(["denoiser", "n_steps", "eta"], sort=False):
        line = {"denoiser": denoiser, "steps": cell("n_steps", n_steps), "eta": number(eta)}
        for name, title in (("spread", "width"), ("mean", "shift of the mean")):
            found = same[same["probe"] == name]
            se = SURE * float(found["se"].pow(2).sum()) ** 0.5 / len(found)
            line[title] = f"{number(found['value'].mean(), 3)} ± {number(se, 3)}"
        body.append(line)
    n, shift = components.values(rows, "n_samples"), float(rows["n_samples"].iloc[0]) ** -0.5
    text = (
        "Width: standard deviation of the samples divided by that of the true distribution, in its 16 widest "
        "directions (geometric mean). Below 1, the samples are too narrow. Shift: distance of the means in these "
        "directions, in standard deviations of the true distribution (root mean square). The shift of "
        f"{n} true draws is {number(shift, 3)}. Means over seeds ± {number(SURE)} s.e. over samples."
    )
    return [table(pd.DataFrame(body), components.caption(run, text), words=("denoiser",))]


def denoiser(run: Run) -> Section | None:
    """The section on the trained denoiser: the same ladders, and the difference split in parts."""
    if not len(run.split):
        return None
    prediction = (
        "If noise helps because the denoiser is imperfect, a trained denoiser gains more than the exact denoiser. The "
        "gain stays when the steps get finer."
    )
    body = []
    for name, mode in dict.fromkeys(zip(run.split["part"], run.split["mode"], strict=True)):
        line = {"part": f"{name}, {mode}"}
        for metric in METRICS:
            row = part(run, name, mode, metric)
            if row is not None:
                shown = interval(metric, row["difference"], row["low"], row["high"])
                line[f"{metric_name(metric, run.features)}: eta 1 − eta 0 (interval)"] = shown
        body.append(line)
    text = (
        f"The difference between eta 1 and eta 0 on {main_steps(run)} steps, split in two: total (trained denoiser) = "
        f"steps (exact denoiser) + denoiser (the rest). Intervals: {intervals(run)}."
    )
    blocks: list[Prose | Figure | Table] = [
        Prose(prediction, "Prediction"),
        Prose(said(verdict_on_denoiser(run)), "Verdict"),
        table(pd.DataFrame(body), text, words=("part",)),
        against_length(run, "trained"),
    ]
    return Section("Is the denoiser imperfect?", blocks)


def intervals(run: Run) -> str:
    """How the intervals of the parts were made, and for which networks they hold."""
    made = [components.how(row) for _, row in pooled(run.split).iterrows() if row["interval"]]
    return "; ".join(dict.fromkeys(made)) or "none"


def amount(run: Run) -> Section | None:
    """The section on noise against no noise with denoisers of different quality."""
    n = main_steps(run)
    rows = on_main_ladder(run, "exact", "trained", "undertrained", "exact + error")
    modes = list(rows["mode"].unique())
    groups = {mode: rows[rows["mode"] == mode] for mode in modes}
    if not groups:
        return None
    best = run.of_kind("best")
    chosen = [f"{head(pair)['a']} for “{head(pair)['mode']}”" for pair in pairs(best[best["mode"].isin(modes)])]
    text = f"Difference from eta 0 on {n} steps, with denoisers of different quality. Below 0, noise helps."
    prose = Prose(
        f"{'; '.join(chosen)}. Each was chosen on one half of the images. The verdicts of the other half are under "
        "Tables.",
        "Chosen eta for each denoiser",
    )
    return Section("Does a worse denoiser need more noise?", [prose, *components.forest(run, "amount", groups, text)])


def numbers(run: Run) -> Section:
    """The tables."""
    blocks = []
    for kind, text in (
        ("noise", "Each eta against eta 0, for each denoiser and ladder."),
        ("where", "Noise in one range of levels against no noise."),
        ("correction", "Corrections without noise against eta 0."),
        ("rival", "The correction chosen on one half of the images against eta 1, on the other half."),
        (
            "best",
            "The setting (eta, range or correction) chosen on one half of the images, measured on the other half.",
        ),
        ("control", "The A/A control."),
    ):
        if len(found := run.of_kind(kind)):
            if kind != "control":
                found = found.assign(a=found["mode"] + ": " + found["a"])
                chosen = found["verdict"] == "baseline chosen"
                found.loc[chosen, "b"] = found.loc[chosen, "mode"] + ": " + found.loc[chosen, "b"]
            blocks.append(tables.contrast_list(run, found, f"{text} Means over networks."))
    every = tables.runs(run, ("network", "eta", "n_steps", "nfe"))
    return Section("Tables", [*blocks, tables.setting(run), *tables.floors(run), *every], folded=True)
