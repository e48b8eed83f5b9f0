"""The page on a result of which only the first networks are done: samples and scores, no difference and no verdict."""

from dataclasses import replace

from reports import settings
from reports.conditions import conditions
from reports.formats import number, plural
from reports.page import Page
from reports.results import Result


def page(result: Result) -> Page:
    done, planned = result.info["early"]
    rows = settings.rows(result)
    source = settings.source(result)
    networks = f"{done} of {plural(planned, 'network')}"
    groups = list(rows.groupby(["mode", "budget"], sort=False, dropna=False))
    sizes, note = settings.rooms([len(group) for _, group in groups])
    tables = []
    for ((mode, _), group), size in zip(groups, sizes, strict=True):
        images, each = number(group["n_samples"].iloc[0], 0), plural(group["networks"].max(), "network")
        shown = group.nsmallest(size, "mmd")
        tables.append(settings.table(f"{mode}: {images} images from each of {each}", result, shown, settings.table_row))
    sides = [(row, "Samples", row["setting"]) for _, row in rows.head(2).iterrows()]
    return Page(
        replace(source, subject=[f"{networks}, no verdict yet", *source.subject]),
        result.info["question"], "No verdict yet.", f"{networks} are done.",
        pictures=settings.pictures(result, "fd", *sides) if sides else (),
        aside="Same place, same initial noise: compare them one by one.", tables=tables, note=note,
        conditions=conditions(result, None, "MMD ×1000", "FD", "Grain", "Evaluations"),
    )  # fmt: skip
