"""Tables of gains, in FD and KD."""

import pandas as pd

from reports import components
from reports.columns import METRICS
from reports.document import Table, table
from reports.formats import cell, interval, metric_name, plural
from reports.pages.why_noise.select import FULL, claim, shown
from reports.results import Run, pooled

BEYOND = "beyond the exact denoiser (FD)"


def gain_table(run: Run, rows: pd.DataFrame, text: str) -> Table:
    """Gains with intervals: one line per arm, one column per metric."""
    body = []
    for _, row in rows.iterrows():
        line = {"denoiser": row["arm"], "setting": row["setting"], "samples": cell("n_samples", row["n_samples"])}
        line["FD without noise"] = cell("fd", row["value_0"])
        for metric in METRICS[::-1]:
            found = same_but(run, row, metric)
            line[f"change of {metric_name(metric, run.features)} (interval)"] = (
                "" if found is None else interval(metric, found["difference"], found["low"], found["high"])
            )
        beyond = claim(run, "denoiser − exact", row["images_seen"], arm=row["arm"]) if row["setting"] == FULL else None
        line[BEYOND] = "" if beyond is None else shown(run, beyond, named=False)
        body.append(line)
    made = "; ".join(dict.fromkeys(components.how(row) for _, row in rows.iterrows() if row["interval"]))
    text = f"{text} Below 0, noise helps. {plural(rows['n_networks'].max(), 'network')}. "
    frame = pd.DataFrame(body)
    if not frame[BEYOND].any():
        frame = frame.drop(columns=BEYOND)
    return table(frame, f"{text}Intervals: {made or 'none'}.", words=("denoiser", "setting"))


def same_but(run: Run, row: pd.Series, metric: str) -> pd.Series | None:
    """The gain of the same arm and setting in another metric."""
    rows = pooled(run.gains)
    rows = rows[(rows["arm"] == row["arm"]) & (rows["setting"] == row["setting"]) & (rows["metric"] == metric)]
    return rows.iloc[0] if len(rows) else None
