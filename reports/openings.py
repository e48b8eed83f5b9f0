"""The first screen of a report: its evidence, its status line, and the reasons not to trust it."""

from collections.abc import Iterable, Sequence

import pandas as pd

from reports.document import About, Effect, Number
from reports.formats import SPEECH, as_precise, cell, duration, listed, metric_name, missing, number, percent, plural
from reports.results import Run, seconds_taken
from reports.schema import BETTER, COLUMNS, ENOUGH_NETWORKS, GRAINY, NO_VERDICT, POWER, WORSE
from reports.sentences import control_failed, detectable, head, is_clear, pairs, these, training

EXPLORATION = "exploration, not fixed beforehand"
FAR, VERY_FAR = 10, 40  # floors of 500 images above the floor
FAILED = "Do not rely on this result: the A/A control shows a difference between a setting and itself."


def sure(run: Run, row: pd.Series) -> Number:
    """How much the run has seen: networks, samples, and the difference that it could have detected."""
    networks, samples = number(row["n_networks"], 0), cell("n_samples", row["n_samples"])
    notes = ["networks × samples of each setting"]
    if size := detectable(row):
        name = metric_name(row["metric"], run.features)
        notes.append(f"could have detected a difference in {name} of {size} ({percent(POWER)} power)")
    words = {
        "n_to_settle": "{} samples each would detect it",
        "minutes_to_settle": "about {} minutes",
        "networks_to_settle": "{} networks would detect it",
    }
    notes += [word.format(cell(name, row[name])) for name, word in words.items() if not missing(row.get(name))]
    return Number(f"{networks} × {samples}", "evidence", notes)


def floor(run: Run, like: pd.Series, metric: str) -> list[str]:
    """The score of real images, for instance "real images score 1.38 (0.83 to 2.12)", if it was measured."""
    measured = run.floor(metric, like)
    if measured is None:
        return []
    mean, low, high = (cell(name, measured[name], metric) for name in ("mean", "low", "high"))
    return [f"real images score {mean}" + (f" ({low} to {high})" if measured["repeats"] > 1 else "")]


def status(run: Run, row: pd.Series | None, beforehand: str = EXPLORATION) -> list[str]:
    """The status line: fixed beforehand or exploration, the control, for what it holds, failed runs."""
    controls = pairs(run.of_kind("control"))
    control = "A/A control FAILED" if control_failed(run) else "A/A control passed (a setting against itself)"
    if not controls:
        control = "A/A control not measured"
    elif head(controls[0])["verdict"] == NO_VERDICT:
        control = "A/A control: no verdict"
    facts = [beforehand, control]
    if row is not None:
        if not missing(row.get("adjusted")):
            facts.append(f"corrected for many comparisons ({row['adjusted']})")
        if not missing(row.get("n_networks")) and row["n_networks"] < ENOUGH_NETWORKS:
            facts.append(f"holds for {these(row['n_networks'])}")
    count = len(run.failed())
    return facts + ([f"{plural(count, 'failed run')}"] if count else [])


def about(run: Run) -> About:
    """The question of a run, its data, its network and its features; its date, and the time that it took."""
    rows = run.ok()
    date = max(filter(None, run.rows["finished_at"]), default="")[:10]
    if not len(rows):
        return About(run.info["question"], ["no run succeeded"], date)
    network = rows["network"].iloc[0]
    longest = rows.loc[rows["images_seen"].fillna(0).idxmax()]
    helped = " with a mixture as input" if longest.get("parameterisation") == "mixture-input" else ""
    known = f"network “{network}”{helped}, {training(longest).removesuffix(' in training')}"
    subject = [rows["data"].iloc[0], known, f"{run.features or 'no'} features"]
    return About(run.info["question"], subject, date, [f"{duration(seconds_taken(run))} of computing"])


def warnings(run: Run, shown: Sequence[tuple[float, pd.Series]] = ()) -> list[str]:
    """The banner: the control failed, or samples are far from real images. The latter changes no verdict.

    Args:
        shown: FD of what the first screen is about, each with a row that names its data and its numbers of images.
    """
    reasons = [FAILED] if control_failed(run) else []
    distances = []
    for fd, like in shown:
        floor = run.floor("fd", like)
        if floor is not None and floor["mean"] > 0 and not missing(fd):
            distances.append(((fd - floor["mean"]) / (floor["mean"] * _of_500(like)), fd, floor["mean"]))
    ratio, fd, mean = max(distances, default=(0.0, 0.0, 0.0))
    if ratio >= FAR:
        size = f"{metric_name('fd', run.features)} {cell('fd', fd)}, floor {cell('fd', mean)}"
        how = "Very far" if ratio >= VERY_FAR else "Far"
        reasons.append(f"{how} from real images: {size}. The answer is about such networks.")
    return reasons


def _of_500(like: pd.Series) -> float:
    """The floor of FD with 500 images, as a multiple of that with n: it falls as the sum of one over each number."""
    n, rest = like["n_samples"], like["n_reference"]
    return float((1 / 500 + 1 / rest) / (1 / n + 1 / rest))


def closer(pair: dict[str, pd.Series]) -> list[tuple[float, pd.Series]]:
    """FD of the better side of a contrast, for `warnings`."""
    return [(min(pair["fd"]["value_a"], pair["fd"]["value_b"]), pair["fd"])] if "fd" in pair else []


def grainy(run: Run, settings: Iterable[tuple[str, str]]) -> list[str]:
    """Which of these settings, (mode, setting), hold fine noise, which features may hardly see. Means over networks."""
    texts = []
    for mode, name in dict.fromkeys(settings):
        if has_grain(run, mode, name):
            rows = run.ok(mode)[lambda rows, name=name: rows["setting"] == name]
            left = rows["sigma_min"].where(~rows["final_denoise"].fillna(False), 0.0)
            own, meant = (left + rows["grain"]).mean(), left.mean()
            texts.append(f"“{name}” (like sigma {own:.2g} instead of {meant:.2g})")
    return [f"Grain: fine noise in the samples of {listed(texts)}."] if texts else []


def but_grainy(run: Run, settings: Iterable[tuple[str, str]]) -> str:
    """A sentence to add to a verdict that is for these settings, (mode, setting), if samples hold grain; else ""."""
    names = dict.fromkeys(name for mode, name in settings if has_grain(run, mode, name))
    return f" But the samples of {listed(f'“{name}”' for name in names)} are grainy." if names else ""


def has_grain(run: Run, mode: str, setting: str) -> bool:
    """Whether the samples of a setting hold fine noise that is not left by its ladder; mean over networks."""
    rows = run.ok(mode)[lambda rows: rows["setting"] == setting]
    return "grain" in rows and bool(rows["grain"].mean() > GRAINY)


def score(run: Run, row: pd.Series, side: str, word: str, notes: Sequence[str]) -> Number:
    """The value of one side of a contrast; that of side a has the difference from b."""
    value = as_precise(row["metric"], [row[f"value_{side}"]], row["low"], row["high"])[0]
    change = effect(run, row) if side == "a" else None
    return Number(value, f"{metric_name(row['metric'], run.features)} {word}", notes, change)


def effect(run: Run, row: pd.Series) -> Effect | None:
    """The difference of a contrast with its interval, as it is drawn; None without an interval or a verdict."""
    scale = COLUMNS[row["metric"]].scale
    size, low, high = (float(row[name]) * scale for name in ("difference", "low", "high"))
    if missing(low) or missing(high) or not missing(row.get("no_verdict")):
        return None
    return Effect(size, low, high, metric_name(row["metric"], run.features))


def change(row: pd.Series) -> list[str]:
    """The difference of a contrast and its interval, for the notes of a number."""
    if missing(row["difference"]):
        return []
    names = ("difference", "low", "high", "new_network_low", "new_network_high")
    size, low, high, new_low, new_high = as_precise(row["metric"], map(row.get, names), row["low"], row["high"])
    if not low or not high:
        return [f"difference {size}", "no interval"]
    more = [f"for one more such network {new_low} to {new_high}"] if new_low and new_high else []
    return [f"difference {size}", f"{percent(row['level'])} interval {low} to {high}", *more]


def key(run: Run, metric: str) -> str:
    """What a metric is, in a line."""
    own = "" if run.features == "inception-v3-compat" else f", in {run.features} features (not comparable with FID)"
    name = metric_name(metric, run.features)
    at = "; compare it at equal numbers of samples only" if metric == "fd" else ""  # it falls as their number grows
    return f"{name} is the {SPEECH[metric]} between samples and real images{own}: lower is better{at}."


def shown_metric(pair: dict[str, pd.Series]) -> pd.Series:
    """The row that the first screen shows: FD where FD alone is enough to see the verdict, else the deciding metric."""
    row = head(pair)
    fd = pair.get("fd", row)
    agrees = is_clear(fd) and fd["difference"] * row["difference"] > 0
    return fd if agrees and row["verdict"] in (BETTER, WORSE) else row
