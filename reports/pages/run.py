"""The page of `run`: how good is one setting?"""

from reports import settings
from reports.details import list_details
from reports.formats import SCALES, metric_name, number, plural, scale_metric
from reports.page import Axis, Bar, KeyFigure, Page
from reports.results import LoadedResult
from reports.schema import JUDGE


def page(result: LoadedResult) -> Page:
    source, question = settings.describe_source(result), result.info["question"]
    details = list_details(result, None, "MMD ×1000", "FD", "Grain", "Evaluations")
    if not len(result.runs):
        return Page(source, question, "No score.", "No run succeeded.", details=details)
    rows, runs = settings.summarise_settings(result), result.runs
    row, floor, name = rows.iloc[0], result.floor("fd", rows["n_samples"].iloc[0]), metric_name("fd", result.features)
    real = "" if floor is None else f"; real {result.unit}s have {scale_metric('fd', floor['mean'])}"
    evidence = f"{number(row['networks'], 0)} × {number(row['n_samples'], 0)}"
    key_figures = [
        *(show_score(result, metric, list(runs[metric]), row["n_samples"]) for metric in ("fd", JUDGE)),
        KeyFigure(f"Evaluations per {result.unit}", number(row["nfe"], 0), [f"{row['sampler']}"]),
        KeyFigure(f"Networks × {result.unit}s", evidence, ["nothing is compared"], role="evidence"),
    ]
    warnings, caveats = settings.find_caveats(result, [row])
    table = settings.make_table(settings.count_images(result, row), result, rows, settings.table_row)
    return Page(
        source, question, "", f"{row['setting']} has {name} {scale_metric('fd', row['fd'])}{real}.",
        warnings=warnings, caveats=caveats, key_figures=key_figures,
        pictures=settings.show_pictures(result, "fd", (row, "Samples", row["setting"])), tables=[table],
        note=f"Kernel distance, precision, recall and the {plural(len(runs), 'run')} are in table.csv.",
        details=details,
    )  # fmt: skip


def show_score(
    result: LoadedResult, metric: str, values: list[float], n_samples: float, ends: tuple[float, float] | None = None
) -> KeyFigure:
    """The mean score of some networks, or one score with the `ends` of its interval, next to that of real images."""
    floor, scale, mean = result.floor(metric, n_samples), SCALES.get(metric, 1), sum(values) / len(values)
    marks = [scale * value for value in (*values, *(ends or ()), *([] if floor is None else [floor["mean"]]))]
    axis, notes = Axis.over(marks), ["mean over networks"] * (len(values) > 1)
    bars = [Bar.dot(axis, scale * value, "not") for value in values]
    legend = [("not", "a network")] * (len(values) > 1)
    if ends:
        bars = [Bar.of(axis, [scale * value for value in (mean, *ends)], "")]
        notes = [f"95 % interval {scale_metric(metric, ends[0])} to {scale_metric(metric, ends[1])}"]
    if floor is not None:
        bars.append(Bar.dot(axis, scale * floor["mean"], "real"))
        legend.append(("real", f"real {result.unit}s"))
        notes.append(f"{plural(floor['n_samples'], f'real {result.unit}')}: {scale_metric(metric, floor['mean'])}")
    name = metric_name(metric, result.features)
    return KeyFigure(name, scale_metric(metric, mean), notes, bars, axis.place(0), legend)
