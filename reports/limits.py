"""What a report shows of very many results: the extremes and an even sample, so that its page stays readable."""

import numpy as np
import pandas as pd

from reports.formats import metric_name, number
from reports.results import Run

LINES = 60  # of one group in a forest plot
PICTURES = 60  # of one gallery
ROWS = 300  # of one table
SETTINGS = 300  # of the explorer
PICTURE_BYTES = 360_000  # of all grids of samples
FILM_BYTES = 420_000  # of all films and grids together
DOWNLOAD = 40_000  # letters of a compressed table that is embedded in the page


def spread(values: pd.Series, count: int) -> list[int]:
    """At most `count` positions in `values`: a third lowest, a third highest, and an even sample of those between.

    They come in the order of `values`. A missing value counts as higher than any number.
    """
    if len(values) <= count:
        return list(range(len(values)))
    order = np.argsort(values.to_numpy(), kind="stable")
    third = count // 3
    between = np.linspace(third, len(order) - third - 1, count - 2 * third).round().astype(int)
    return sorted({*order[:third].tolist(), *order[-third:].tolist(), *order[between].tolist()})


def evenly(total: int, count: int) -> list[int]:
    """At most `count` of the positions below `total`, evenly spaced, with the first and the last."""
    return list(dict.fromkeys(np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()))


def fitting(sizes: list[int], count: int, budget: int) -> list[int]:
    """At most `count` positions in `sizes`, as even and as many as fit into `budget`."""
    for tried in range(min(len(sizes), count), 0, -1):
        chosen = evenly(len(sizes), tried)
        if sum(sizes[at] for at in chosen) <= budget:
            return chosen
    return []


def extremes(run: Run, of: str = "") -> str:
    """How `spread` chose by the metric that decides, or by what is `of` it ("differences in "), for `note`."""
    return f"the lowest and the highest {of}{metric_name(run.judge, run.features)}, and an even sample of those between"


def note(shown: int, total: int, what: str, file: str, how: str = "an even sample in the order of the table") -> str:
    """The end of a caption where only `shown` of `total` are shown, chosen in the way `how`; "" where all are."""
    if shown == total:
        return ""
    return f" {number(shown, 0)} of {number(total, 0)} {what} are shown: {how}. {file} has all."
