"""The report on `ladders`: which noise levels should sampling visit, and by which sampler?"""

from itertools import cycle

from reports import best_sets, budgets, components, explorer, figures, tables
from reports.budgets import opening
from reports.document import Figure, Section
from reports.formats import cell
from reports.results import Run

__all__ = ["opening", "sections"]

KINDS = {
    "control": "The A/A control.",
    "ladder": "Each ladder against the first, with the same sampler.",
    "sampler": "Each sampler against the first, on the same ladder.",
}
MARKERS = "osD^vPX*<"


def sections(run: Run) -> list[Section | None]:
    knobs = [("evaluations", "budget"), ("ladder", "schedule"), ("sampler", "sampler")]
    return [
        best_sets.ties(run),
        budgets.section(run),
        explorer.all_settings(run, knobs),
        quality(run),
        best_sets.conditions(run),
        differences(run),
        levels(run),
        components.training(run),
        components.glossary("nfe", "eta", run.judge, "fd", "precision", "recall"),
        tables.section(run, best_sets.listing(run), KINDS, ("schedule", "sampler", "n_steps", "nfe")),
    ]


def differences(run: Run) -> Section:
    """Each ladder against the first with the same sampler, and each sampler against the first on the same ladder."""
    blocks = []
    for kind, title in (("ladder", "ladders, same sampler"), ("sampler", "samplers, same ladder")):
        groups = {f"{mode}: {title}": rows for mode, rows in run.of_kind(kind).groupby("mode", sort=False)}
        blocks += components.forest(run, f"all-{kind}", groups, "Below 0, the first setting of a line is better.")
    return Section("All differences", blocks, folded=True)


def quality(run: Run) -> Section | None:
    """Two distances against evaluations: one row of panels per sampler, one line per ladder."""
    rows = run.compared()
    if not len(rows):
        return None
    rows = rows.assign(nfe=rows["budget"])
    looks = figures.looks(list(rows["schedule"].unique()))
    lines = [
        (schedule, {"label": schedule, "marker": marker, **look})
        for (schedule, look), marker in zip(looks.items(), cycle(MARKERS), strict=False)
    ]
    panels = {
        sampler: [(same[same["schedule"] == schedule], look) for schedule, look in lines]
        for sampler, same in rows.groupby("sampler", sort=False)
    }
    text = ": one line per ladder, one row of panels per sampler"
    drawing = components.quality_and_cost(run, "quality", panels, 2.6 * len(panels) + 0.5, text, "ladder")
    return Section("Quality against cost", [drawing])


def levels(run: Run) -> Section | None:
    """The noise levels of each ladder."""
    if not len(run.levels):
        return None
    figure, [[ax]] = figures.panels(1, 1, 3.2)
    figures.lines(run.levels, "step", "sigma", "schedule", figures.looks(list(run.levels["schedule"].unique())), ax)
    ax.set_yscale("log")
    figures.plain_ticks(ax)
    text = (
        f"Noise level after each step, in standard deviations of the data, for "
        f"{cell('n_steps', run.levels['n_steps'].iloc[0])} steps."
    )
    drawing = Figure("levels", figures.named(figure), "Noise level against step, one line per ladder.", text)
    return Section("The ladders", [drawing], folded=True)
