"""The page of `run`: how good is one setting?"""

from reports import settings
from reports.conditions import conditions
from reports.formats import SCALES, metric_name, number, plural, scaled
from reports.page import Axis, Bar, Page, Slot
from reports.results import Result
from reports.schema import JUDGE

TERMS = ("MMD ×1000", "FD", "Grain", "Evaluations")


def page(result: Result) -> Page:
    source, question = settings.source(result), result.info["question"]
    if not len(result.runs):
        return Page(source, question, "No score.", "No run succeeded.", conditions=conditions(result, None, *TERMS))
    row, runs = settings.rows(result).iloc[0], result.runs
    floor = result.floor("fd", row["n_samples"])
    name = metric_name("fd", result.features)
    real = "" if floor is None else f"; real images have {scaled('fd', floor['mean'])}"
    slots = [_ruler(result, metric) for metric in ("fd", JUDGE)]
    slots.append(Slot("Evaluations per image", number(row["nfe"], 0), [f"{row['sampler']}"]))
    evidence = f"{number(row['networks'], 0)} × {number(row['n_samples'], 0)}"
    slots.append(Slot("Networks × images", evidence, ["nothing is compared"], role="evidence"))
    return Page(
        source, question, "", f"{row['setting']} has {name} {scaled('fd', row['fd'])}{real}.",
        caveat=" ".join(settings.caveats(result, [row])), slots=slots,
        pictures=settings.pictures(result, "fd", (row, "Samples", row["setting"])),
        tables=[settings.table(
            f"{number(row['n_samples'], 0)} images from each of {plural(row['networks'], 'network')}", result,
            settings.rows(result), settings.table_row,
        )],
        note=f"Kernel distance, precision, recall and the {plural(len(runs), 'run')} are in table.csv.",
        conditions=conditions(result, None, *TERMS),
    )  # fmt: skip


def _ruler(result: Result, metric: str) -> Slot:
    """The score of each network next to that of real images."""
    values, scale = result.runs[metric], SCALES.get(metric, 1)
    floor = result.floor(metric, result.runs["n_samples"].iloc[0])
    marks = [("not", scale * value) for value in values]
    marks += [("real", scale * floor["mean"])] if floor is not None else []
    axis = Axis.over(value for _, value in marks)
    bars = [Bar.dot(axis, value, kind) for kind, value in marks]
    legend = [("real", f"real {scaled(metric, floor['mean'])}")] if floor is not None else []
    return Slot(
        metric_name(metric, result.features), scaled(metric, values.mean()), ["mean; each dot is a network"]
        if len(values) > 1 else [], bars, axis.place(0), legend,
    )  # fmt: skip
