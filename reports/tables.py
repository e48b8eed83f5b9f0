"""Tables for the report on any experiment: contrasts, runs, failures, floors, the setting."""

from collections.abc import Sequence

import pandas as pd

from reports import limits
from reports.components import by_contrast, caption, line_label, values
from reports.document import Section, Table, table
from reports.formats import cell, interval, metric_name
from reports.results import Run, every_run
from reports.schema import COLUMNS, METRICS
from reports.sentences import head, pairs, verdict

FLOORS = "The floor, which is the score of real images: mean, lowest and highest of the repeats."
TRAINING = "data network trained_by train_noise weighting parameterisation images_seen".split()
MEASURING = "n_samples n_reference features device precision_mode compiled threads batch_size".split()
STEP = ("alpha", "beta", "eta", "n_steps", "nfe", "final_denoise")


def contrast_by_network(run: Run, contrasts: pd.DataFrame, text: str) -> Table:
    """Values, difference, interval and distance above the floor of a few contrasts: each network, then all together."""
    rows = []
    for _, row in by_contrast(contrasts).iterrows():
        floor, metric, whole = run.floor(row["metric"], row), row["metric"], row["train_seed"] == ""
        real = float("nan") if floor is None else floor["mean"]
        rows.append({
            "contrast": line_label(row),
            "metric": metric_name(metric, run.features),
            "network": ("all" if whole else f"seed {row['train_seed']}"),
            **{f"value of {side}": cell("value_a", row[f"value_{side}"], metric) for side in "ab"},
            "a − b (interval)": interval(metric, row["difference"], row["low"], row["high"]),
            **{f"{side} above the floor": cell("value_a", row[f"value_{side}"] - real, metric) for side in "ab"},
            "verdict on a": verdict(row) if whole else "",
        })  # fmt: skip
    words = ("contrast", "metric", "network", "verdict on a")
    return table(pd.DataFrame(rows), caption(run, text, contrasts), words=words)


def contrast_list(run: Run, contrasts: pd.DataFrame, text: str) -> Table:
    """Pooled contrasts, one line each, with both metrics."""
    every = pairs(by_contrast(contrasts))
    shown = limits.spread(pd.Series([head(pair)["difference"] for pair in every]), limits.ROWS)
    rows = [
        {"kind": head(pair)["kind"], "a against b": line_label(head(pair))}
        | {
            f"{metric_name(metric, run.features)}: a − b (interval)": interval(
                metric, row["difference"], row["low"], row["high"]
            )
            for metric, row in pair.items()
        }
        | {"verdict on a": verdict(head(pair))}
        for pair in (every[at] for at in shown)
    ]
    text += limits.note(len(shown), len(every), "differences", "contrasts.csv", limits.extremes(run, "differences in "))
    words = ("kind", "a against b", "verdict on a")
    file = run.directory / "contrasts.csv"
    return table(pd.DataFrame(rows).fillna(""), caption(run, text, contrasts), words=words, file=file)


def floors(run: Run, text: str = FLOORS, of: Sequence[str] = ("data", "features")) -> list[Table]:
    """The scores of real images, if they were measured, with the columns `of` that say what of."""
    if not len(run.floors):
        return []
    frame = run.floors[[*of, "metric", "n_samples", "n_reference", "mean", "low", "high", "repeats"]].copy()
    frame.loc[frame["repeats"] < 2, ["low", "high"]] = float("nan")
    return [table(frame, text, {"low": "lowest", "high": "highest"}, features=run.features)]


def section(run: Run, first: Sequence[Table], kinds: dict[str, str], columns: Sequence[str] = STEP) -> Section:
    """The section of tables, folded: `first`, contrasts, setting, floors, every run.

    Args:
        kinds: a kind of contrasts, or several with spaces between -> the caption of their table.
        columns: what varies from run to run.
    """
    lists = [
        contrast_list(run, rows, f"{text} Means over networks.")
        for names, text in kinds.items()
        if len(rows := run.of_kind(*names.split()))
    ]
    return Section("Tables", [*first, *lists, setting(run), *floors(run), *runs(run, columns)], folded=True)


def runs(run: Run, setting: Sequence[str] = STEP) -> list[Table]:
    """All runs that succeeded, all that failed, and the impossible settings. `setting`: the columns that vary."""
    names = ["mode", *setting, "train_seed", "sample_seed"]
    grain = ["grain"] if "grain" in run.rows else []
    scores = [run.judge, f"{run.judge}_se", "fd", "precision", "recall", *grain, "seconds"]
    labels = {"final_denoise": "final", "train_seed": "train seed", "sample_seed": "sample seed"}
    labels |= {metric: metric_name(metric, run.features) for metric in METRICS} | {f"{run.judge}_se": "s.e."}
    done, failed = every_run(run.rows[run.rows["status"] == "ok"]), run.failed()
    infeasible = run.rows[run.rows["status"] == "infeasible"]
    tables = []
    if len(done):
        shown = limits.spread(done[run.judge], limits.ROWS)
        which = "Every run" if len(shown) == len(done) else "Runs that succeeded"
        text = (
            f"{which}. s.e.: standard error over the images of this run. Seconds: time of the sampling loop; empty if "
            "the device was shared."
        )
        text += limits.note(len(shown), len(done), "runs", "table.csv", limits.extremes(run))
        text = caption(run, text, rows=done)
        tables.append(table(done[names + scores].iloc[shown], text, labels, file=run.directory / "table.csv"))
    for rows, what, text in (
        (failed, "runs", "Runs that failed."),
        (infeasible, "settings", "Impossible settings, and why they are impossible."),
    ):
        if len(rows):
            shown = limits.evenly(len(rows), limits.ROWS)
            given = [name for name in names if not rows[name].isin([""]).all() and rows[name].notna().any()]
            text += limits.note(len(shown), len(rows), what, "table.csv")
            tables.append(table(rows[[*given, "error"]].iloc[shown], text, labels))
    return tables


def setting(run: Run) -> Table:
    """All values of data, training, ladder and device that occur in the runs."""
    names = [*TRAINING, "sampler", "schedule", "sigma_max", "sigma_min", *MEASURING]
    frame = run.rows[run.rows["status"] != "infeasible"]
    body = [[COLUMNS[name].label, values(frame, name)] for name in names if name in frame]
    return Table(["setting", "values"], body, [False, False], "The setting: every value that occurs in the runs.")


def dialects(rows: pd.DataFrame) -> Table:
    """The same quantity in the terms of other papers and libraries."""
    frame = rows[["alpha", "beta", "eta", "s_churn", "mu", "beta_ks", "n_steps"]].drop_duplicates()
    text = (
        "The same quantity under other names: S_churn of Karras et al. (2022), mu of smalldiffusion, beta_KS of "
        "Kadkhodaie and Simoncelli (2020), where 1 means no fresh noise."
    )
    return table(frame.sort_values(["n_steps", "beta"]), text)
