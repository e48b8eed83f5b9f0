"""Quality against cost in the report on `beta`: by evaluations, by seconds, and the differences at each budget."""

from itertools import cycle

import pandas as pd

from reports import components, figures
from reports.document import Figure, Section
from reports.formats import metric_name, number
from reports.results import Run, timed
from reports.schema import COLUMNS
from reports.sentences import capital

MARKERS = "osD^vPX"


def section(run: Run, titles: dict[str, str]) -> Section | None:
    """Quality against network evaluations and against seconds, and the differences at each budget.

    Args:
        titles: the title of the contrasts of each kind.
    """
    rows = run.ok("pareto", "same-alpha")
    if not len(rows):
        return None
    groups = {titles["pareto"]: run.of_kind("pareto")}
    text = "Difference from eta 0 at the same number of evaluations. Below 0, noise helps."
    budgets = components.forest(run, "budgets", groups, text)
    by_nfe = components.quality_and_cost(run, "nfe", {"": families(rows)}, 3.5, "", "eta")
    return Section("Quality against cost", [by_nfe, *against_seconds(run, rows), *components.untimed(run), *budgets])


def families(rows: pd.DataFrame) -> components.Looks:
    """The lines of a cost figure with their looks: one per eta of the ladders, one for the runs at equal alpha."""
    ladders, alpha = rows[rows["mode"] == "pareto"], rows[rows["mode"] == "same-alpha"]
    found: components.Looks = [
        (ladders[ladders["eta"] == eta], {"color": color, "marker": marker, "label": f"eta {number(eta)}"})
        for (eta, color), marker in zip(figures.shades(ladders["eta"]).items(), cycle(MARKERS), strict=False)
    ]
    if len(alpha):
        label = f"alpha {number(alpha['alpha'].iloc[0])}, rising beta"
        found.append((alpha, {"color": figures.INK, "marker": "x", "linestyle": ":", "label": label}))
    return found


def against_seconds(run: Run, rows: pd.DataFrame) -> list[Figure]:
    """Quality against measured seconds: one figure per way of computing, because only equal ways can be compared."""
    ways = ["device", "precision_mode", "compiled", "threads", "batch_size", "n_samples"]
    found = []
    for count, (_, same) in enumerate(timed(rows).groupby(ways, dropna=False, sort=False), start=1):
        figure, [axes] = figures.panels(1, len(run.metrics), 3.3)
        seconds = f"seconds for {components.values(same, 'n_samples')} images"
        for ax, metric in zip(axes, run.metrics, strict=True):
            for mine, look in families(same):
                figures.points(mine, "seconds", metric, ax, **look)
            figures.log_ticks(ax)
            figures.fit_y(ax, same[metric], metric)
            ax.set(ylabel=metric_name(metric, run.features, long=True), xlabel=seconds)
        how = "; ".join(f"{COLUMNS[name].label}: {components.values(same, name)}" for name in ways[:-1])
        text = (
            "Quality against the measured time of the sampling loop. A thin line joins the runs of one network. "
            f"{capital(how)}."
        )
        alt = f"Quality, as {components.spoken(run)}, against measured seconds, one line for each eta and network."
        caption = components.caption(run, text, rows=same)
        found.append(Figure(f"seconds-{count}", figures.named(figure), alt, caption))
    return found
