"""The report on `ladders`: which noise levels should sampling visit, and by which sampler?"""

import pandas as pd

from reports import best_setting, components, figures, tables
from reports.columns import METRICS
from reports.document import Figure, Section
from reports.formats import cell, metric_name
from reports.results import Run

MARKERS = "osD^vPX*<"


def sections(run: Run) -> list[Section | None]:
    """The report from top to bottom; a part that the run did not measure is left out."""
    return [
        Section("Answer", best_setting.answer(run, ("ladder", "sampler"), baseline(run))),
        quality(run),
        Section("The choice against the others", best_setting.against_others(run)),
        levels(run),
        samples(run),
        classes(run),
        components.training(run),
        components.glossary("nfe", "eta", "fd", "kd", "precision", "recall"),
        numbers(run),
    ]


def grid(run: Run) -> pd.DataFrame:
    """The runs of the grid: all but the control's."""
    return run.rows[(run.rows["status"] == "ok") & (run.rows["mode"] != "control")]


def baseline(run: Run) -> str:
    """The first ladder with the first sampler, as contrasts call it."""
    control = run.of_kind("control")
    return control["b"].iloc[0] if len(control) else ""


def quality(run: Run) -> Section | None:
    """FD and KD against evaluations: a panel a sampler, a line a ladder."""
    rows = grid(run)
    if not len(rows):
        return None
    samplers, schedules = rows["sampler"].unique(), rows["schedule"].unique()
    looks = figures.looks(list(schedules))
    figure, axes = figures.panels(len(samplers), len(METRICS), 2.6 * len(samplers) + 0.5)
    for row, sampler in zip(axes, samplers, strict=True):
        for ax, metric in zip(row, METRICS, strict=True):
            for schedule, marker in zip(schedules, MARKERS, strict=False):
                mine = rows[(rows["sampler"] == sampler) & (rows["schedule"] == schedule)]
                line = mine.groupby("budget", as_index=False)[metric].mean().rename(columns={metric: "value"})
                line, mine = (frame.rename(columns={"budget": "nfe"}) for frame in (line, mine.drop(columns="nfe")))
                figures.quality_line(line, mine, "nfe", metric, ax, label=schedule, marker=marker, **looks[schedule])
            figures.log_ticks(ax, rows["budget"])
            figures.floor_band(ax, run.floor(metric, rows.iloc[0]), metric)
            figures.fit_y(ax, rows[metric], metric)
            ax.set(ylabel=metric_name(metric, run.features, long=True), xlabel="network evaluations per image (nfe)")
            ax.set_title(sampler if metric == METRICS[0] else " ")
    text = (
        "Quality against evaluations, a line a ladder, a row of panels a sampler; lower and further left is better. "
        "Lines: means over networks; faint points: single networks; green: what real images score, where that is on "
        "the axis."
    )
    alt = "Kernel and Fréchet distance against network evaluations, one line for each ladder."
    drawing = Figure("quality", figures.under_one_legend(figure), alt, components.caption(run, text, rows=rows))
    return Section("Quality against cost", [drawing])


def levels(run: Run) -> Section | None:
    """Where each ladder puts its levels."""
    if not len(run.levels):
        return None
    figure, [[ax]] = figures.panels(1, 1, 3.2)
    figures.lines(run.levels, "step", "sigma", "schedule", figures.looks(list(run.levels["schedule"].unique())), ax)
    ax.set_yscale("log")
    text = (
        f"Noise level after each step, in standard deviations of the data, for "
        f"{cell('n_steps', run.levels['n_steps'].iloc[0])} steps."
    )
    drawing = Figure("levels", figures.under_one_legend(figure), "Noise level against step, a line a ladder.", text)
    return Section("The ladders", [drawing])


def samples(run: Run) -> Section | None:
    """The first samples of one network: all ladders at the smallest budget, and one film a sampler at the largest."""
    rows = grid(run)
    if not len(rows):
        return None
    rows = components.first_network(rows)
    fewest = rows[rows["budget"] == rows["budget"].min()]
    labels = {row["samples_id"]: f"{row['schedule']}, {row['sampler']}" for _, row in fewest.iterrows()}
    text = f"{fewest['mode'].iloc[0]}. Samples at the same place start from the same noise."
    blocks = list(components.gallery(run, fewest, labels, text))
    most = rows[(rows["budget"] == rows["budget"].max()) & (rows["schedule"] == rows["schedule"].iloc[0])]
    labels = {row["samples_id"]: row["sampler"] for _, row in most.iterrows()}
    text = f"The way of each sampler down the ladder {most['schedule'].iloc[0]}, {most['mode'].iloc[0]}."
    return Section("Samples", [*blocks, *components.films(run, most, labels, text)])


def classes(run: Run) -> Section | None:
    """Are all classes drawn as often as they should be, by each sampler on the first ladder at the largest budget?"""
    rows = grid(run)
    if not len(rows):
        return None
    rows = rows[(rows["budget"] == rows["budget"].max()) & (rows["schedule"] == rows["schedule"].iloc[0])]
    text = f"Samples a class, {rows['mode'].iloc[0]} on the ladder {rows['schedule'].iloc[0]}."
    settings = dict(list(rows.groupby("sampler", sort=False)))
    return Section("Classes", components.histograms(run, "classes", settings, text))


def numbers(run: Run) -> Section:
    """The numbers."""
    blocks = []
    for kind, text in (
        ("best", "The choice of each budget against all others, on the half of the images that did not choose."),
        ("control", "The A/A control."),
        ("ladder", "Each ladder against the first, with the same sampler."),
        ("sampler", "Each sampler against the first, on the same ladder."),
    ):
        if len(found := run.of_kind(kind)):
            blocks.append(tables.contrast_list(run, found, f"{text} Pooled over networks."))
    every = tables.runs(run, ("schedule", "sampler", "n_steps", "nfe"))
    return Section("Tables", [*blocks, tables.setting(run), *tables.floors(run), *every])
