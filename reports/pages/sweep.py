"""The report on a user's own sweep: which of its settings is best in each mode?"""

from reports import best_sets, components, explorer, tables
from reports.best_sets import opening
from reports.document import Section
from reports.results import Run

__all__ = ["opening", "sections"]

KINDS = {"setting": "Each setting against the first setting of its mode.", "control": "The A/A control."}


def sections(run: Run) -> list[Section | None]:
    return [
        best_sets.ties(run),
        explorer.all_settings(run, [("mode", "mode"), ("setting", "setting")]),
        best_sets.conditions(run),
        differences(run),
        components.training(run),
        components.glossary("nfe", "eta", run.judge, "fd", "precision", "recall"),
        tables.section(run, best_sets.listing(run), KINDS, ("schedule", "sampler", "n_steps", "nfe", "final_denoise")),
    ]


def differences(run: Run) -> Section:
    """Every setting against the first setting of its mode."""
    groups = dict(list(run.of_kind("setting").groupby("mode", sort=False)))
    groups["A/A control"] = run.of_kind("control")
    text = "Every setting against the first setting of its mode. Below 0, it is better than the first."
    return Section("Against the first setting", components.forest(run, "differences", groups, text))
