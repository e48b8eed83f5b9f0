"""What a point of a figure says when it is pointed at: its setting, its value, its interval and its n."""

import pandas as pd

from reports.formats import cell, interval, metric_name, missing, percent, plural
from reports.schema import COLUMNS


def of_run(row: pd.Series, metric: str) -> str:
    """One run, as a row of table.csv."""
    what = [row.get("setting"), f"{cell('nfe', row['nfe'])} evaluations" if not missing(row.get("nfe")) else ""]
    seed = row.get("train_seed")
    what += [] if missing(seed) else [f"network of seed {seed}"]
    samples = row.get("n_samples")
    count = "" if missing(samples) else f" ({plural(samples, 'sample')})"
    name = metric_name(metric, row.get("features") or "")
    return f"{', '.join(str(text) for text in what if not missing(text))}: {name} {cell(metric, row[metric])}{count}"


def of_mean(x: str, at: float, metric: str, value: float, line: str = "") -> str:
    """A mean over networks, as a point of a line: the `value` of a metric where `x` is `at`."""
    start = f"{line}, " if line else ""
    where = f"{COLUMNS[x].label} {cell(x, at)}"
    return f"{start}{where}: {COLUMNS[metric].label} {cell(metric, value)}, mean over networks"


def of_contrast(row: pd.Series) -> str:
    """A difference between two settings, as a row of contrasts.csv."""
    alone = row["train_seed"] != ""
    who = f"network of seed {row['train_seed']}" if alone else plural(row["n_networks"], "network")
    samples = "" if missing(row.get("n_samples")) else f", {plural(row['n_samples'], 'sample')} each"
    note = "" if missing(row.get("level")) else f"{percent(row['level'])} interval "
    name = metric_name(row["metric"], row.get("features") or "")
    size = interval(row["metric"], row["difference"], row["low"], row["high"], note)
    cost = "" if missing(row.get("nfe_a")) else f", {cell('nfe', row['nfe_a'])} evaluations"
    return f"{row['a']} against {row['b']}{cost}: difference in {name} {size}, {who}{samples}"


def of_distance(row: pd.Series, metric: str, features: str) -> str:
    """The difference of a setting from the best of its mode."""
    size = interval(metric, row["difference"], row["low"], row["high"], "limits ")
    return f"{row['setting']}: difference in {metric_name(metric, features)} from the lowest {size}"


def of_loss(row: pd.Series) -> str:
    """A point of a loss curve, as a row of losses.csv."""
    at = f"network of seed {row['train_seed']}, {cell('images_seen', row['images_seen'])} images"
    return f"{at}: {COLUMNS['loss'].label} {cell('loss', row['loss'])}"


def of_line(row: pd.Series, x: str, y: str, line: str) -> str:
    """A point of a named line."""
    return f"{line}, {COLUMNS[x].label} {cell(x, row[x])}: {COLUMNS[y].label} {cell(y, row[y])}"
