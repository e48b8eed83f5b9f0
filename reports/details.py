"""The fold of every page: evidence, real images, intervals, what the words mean, command, versions, files."""

from typing import Any

from reports.formats import join, percent, plural, scale_metric
from reports.page import Code
from reports.results import LoadedResult
from reports.schema import CONFIRM, EFFECTS, EXPLORATION, PRIMARY, PRIMARY_METRIC
from reports.settings import list_names

ELSEWHERE = " Not comparable with FID, which is that in features of Inception."
TERMS = {
    "MMD ×1000": "Maximum mean discrepancy: the distance between samples and real {unit}s in a feature space. Lower is "
    "better, and 0 is a perfect match. It is the primary metric.",
    "FD": "Fréchet distance, that of FID. It falls with the number of {unit}s, so compare it at equal numbers "
    f"only.{ELSEWHERE}",
    "Visible noise": "The level of fine noise that one sees in the pixels, in standard deviations of the data: that of "
    "real images with so much noise. 0 is as in real images.",
    "Evaluations": "How often the network runs to make one {unit}. This is the cost.",
    "eta, beta": "eta: the fresh noise per step; 0 has none (DDIM), 1 is DDPM. beta: the part of the noise that a step "
    "puts back after it denoised with rate alpha.",
    "Interaction": "How much an effect differs between two values of another factor. Below 0 it lowers the score more.",
}
CALLED = {"euler": "eta (the sampler euler)"}  # in the names of settings
Details = list[tuple[str, Any]]


def list_details(result: LoadedResult, *terms: str) -> Details:
    """The rows of the fold. `terms` are what TERMS explains."""
    rows = [*_real(result), *_intervals(result), *_not_run(result)]
    rows += [_meaning(term, result) for term in terms if term != "Visible noise" or result.features != "values"]
    for name, text in result.info.get("formulas", {}).items():
        if text:
            rows.append((f"Formula: {CALLED.get(name, name)}", text.replace("`", "")))
    notes = [f"{str(note).rstrip('.')}." for note in result.info.get("notes", [])]
    rows += [("Notes", " ".join(notes))] if notes else []
    return [*rows, *describe_origin(result.info), ("Files", list_files(result))]


def _meaning(term: str, result: LoadedResult) -> tuple[str, str]:
    """A term, by the name that it has on the page, and what it means."""
    text = TERMS[term].format(unit=result.unit)
    name = result.metric_name("fd") if term == "FD" else term
    return name, text.removesuffix(ELSEWHERE) if name == "FID" else text


def _real(result: LoadedResult) -> Details:
    texts = []
    for _, rows in result.floors.groupby(["n_samples", "n_reference"], sort=False):
        floor = rows.iloc[0]
        values = rows.set_index("metric")
        scores = []
        for metric in (metric for metric in (PRIMARY_METRIC, "fd") if metric in values.index):
            mean, low, high = (scale_metric(metric, values.loc[metric, name]) for name in ("mean", "low", "high"))
            scores.append(f"{result.metric_name(metric)} {mean} ({low} to {high})")
        texts.append(
            f"{plural(floor['n_samples'], result.unit)} against {floor['n_reference']:,.0f} others, "
            f"{plural(floor['repeats'], 'time')}: {', '.join(scores)}."
        )
    return [(f"Real {result.unit}s", " ".join(texts))] if texts else []


def _intervals(result: LoadedResult) -> Details:
    rows = result.judged.dropna(subset="low")
    if rows.empty:
        return []
    general = result.hold_for(rows["n"].min())
    method = "Student's t over the differences of networks" if general else f"over what each {result.unit} adds"
    text = f"{percent(result.confidence)}, each of its own comparison: {method}."
    words = {EXPLORATION: "exploratory comparison", CONFIRM: "confirmed comparison", EFFECTS: "effect"}
    sizes = rows[rows["family"].isin(words)].groupby("family", sort=False)["compared"].max()
    if families := [plural(size, words[name]) for name, size in sizes.items() if size > 1]:
        text += f" Holm's method corrects the verdicts on {join(families)}, 5 % in all for each family."
    if rows["family"].eq(PRIMARY).any():
        primary = "The comparison that was fixed beforehand" if result.fixed_beforehand else "The main comparison"
        text += f" {primary} is a family of one."
    if not general:
        text += " They hold for the networks of this run; others may differ."
    return [("Intervals", text)]


def _not_run(result: LoadedResult) -> Details:
    rows = result.table[result.table["status"] == "infeasible"].drop_duplicates(["section", "setting"])
    reasons = [
        f"{list_names(f'{row.setting} ({row.section})' for row in settings.itertuples())}: {reason}."
        for reason, settings in rows.groupby("error", sort=False)
    ]
    return [("Not run", " ".join(reasons))] if reasons else []


def describe_origin(info: dict[str, Any]) -> Details:
    """Command, commit, versions and machine; what is missing is unknown."""
    commit = info.get("commit") or "unknown"
    commit += " with changes" if info.get("dirty") else ""
    versions = ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items())
    origin = [f"commit {commit}", versions, info.get("machine") or ""]
    return [("Command", Code("", info.get("command", "unknown"))), ("Versions", "; ".join(filter(None, origin)))]


def list_files(result: LoadedResult) -> list[str]:
    """The tables beside the page."""
    return sorted(path.name for path in result.folder.glob("*.csv*") if path.stat().st_size)
