"""The explorer of a report: knobs that swap the samples of a setting and move a mark in the figure of quality and cost.

`section` makes it from views. Its pictures are those of the galleries below it, so a page holds each picture once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports import components, figures, limits
from reports.document import Explorer, Figure, Gallery, Section
from reports.formats import cell, interval, listed, metric_name, missing, percent
from reports.results import Run, pooled
from reports.schema import COLUMNS

METRIC = "fd"  # of the figure
LINKED = {"budget": "nfe"}  # column -> its name in a link to a point, such as report.html#eta=1&nfe=32
Named = Callable[[pd.Series], str]  # the name of a row's setting


def setting_and_cost(row: pd.Series) -> str:
    """The name of a row's setting, with its evaluations."""
    return f"{row['setting']}, {cell('nfe', row['nfe'])} evaluations"


def setting_and_mode(row: pd.Series) -> str:
    """The name of a row's setting, with its mode."""
    return f"{row['setting']}, {row['mode']}"


@dataclass(frozen=True)
class Choice:
    """What a view varies.

    Args:
        title: its name.
        rows: rows of table.csv that succeeded, of all networks.
        knobs: (label, column of `rows`) of what is chosen. A label in `sliders` makes it a slider.
        named: the name of a row's setting.
        sliders: labels of the knobs that are sliders.
    """

    title: str
    rows: pd.DataFrame
    knobs: Sequence[tuple[str, str]]
    named: Named = setting_and_cost
    sliders: Sequence[str] = ()


def all_settings(run: Run, knobs: Sequence[tuple[str, str]], named: Named = setting_and_cost) -> Section | None:
    """The section with one view of all settings but the control."""
    return section(run, [Choice("All settings", run.compared(), knobs, named)])


def section(run: Run, choices: Sequence[Choice], text: str = "") -> Section | None:
    """The section with the explorer, its figure and its pictures, or None without any setting."""
    choices = [choice for choice in choices if len(choice.rows)]
    views: list[dict[str, Any]] = []
    marks: list[pd.Series] = []
    for choice in choices:
        views.append(_view(run, choice, len(marks)))
        marks += list(_settings(run, choice).itertuples(index=False))
    if not marks:
        return None
    figure = _figure(run, choices, text)
    return Section("Look at the samples", [Explorer(views, figure), *galleries(run, choices)])


def _settings(run: Run, choice: Choice) -> pd.DataFrame:
    """One row per setting: the row of the first network, with means over networks of the metrics."""
    by = [column for _, column in choice.knobs]
    means = choice.rows.groupby(by, sort=False, dropna=False)[[*run.metrics, "precision", "recall"]].mean()
    first = components.first_network(choice.rows).drop_duplicates(by)
    first = first.drop(columns=list(means)).merge(means.reset_index(), on=by, how="left")
    return first.iloc[limits.spread(first[run.judge], limits.SETTINGS)]


def _view(run: Run, choice: Choice, first_key: int) -> dict[str, Any]:
    """The settings of a choice, for the script.

    A knob has a `name` in links; with `slider` it moves through its values in order; other values are buttons or a
    list. A point has its place `at` on each knob, the `key` of its mark in the figure, its `picture`, the noise levels
    of its film (empty without one), `facts` as (name, value, difference from the baseline), and the key of the
    baseline next to it, `against`.
    """
    settings = _settings(run, choice).reset_index(drop=True)
    values = [_values(settings[column], label in choice.sliders) for label, column in choice.knobs]
    knobs = [
        {
            "label": label,
            "name": LINKED.get(column, column),
            "values": [cell(column, value) for value in found],
            "slider": label in choice.sliders,
        }
        for (label, column), found in zip(choice.knobs, values, strict=True)
    ]
    group = settings.groupby(["mode", "budget"], sort=False, dropna=False).ngroup()
    baseline = {number: first_key + int(at) for at, number in group.drop_duplicates().items()}
    keys = {pair: first_key + at for at, pair in enumerate(zip(group, settings["setting"], strict=True))}
    points = []
    for at, row in settings.iterrows():
        compared = contrasts(run, row, run.judge)
        named = compared.iloc[0]["b"] if len(compared) else None
        points.append({
            "at": [found.index(_plain(row[column])) for found, (_, column) in zip(values, choice.knobs, strict=True)],
            "key": first_key + at,
            "label": choice.named(row),
            "picture": row["samples_id"],
            "levels": levels(run, row["samples_id"]),
            "facts": facts(run, row),
            "against": keys.get((group[at], named), baseline[group[at]]),
        })  # fmt: skip
    best = settings[run.judge].idxmin() if settings[run.judge].notna().any() else 0
    return {"title": choice.title, "knobs": knobs, "points": points, "start": first_key + int(best)}


def _values(column: pd.Series, ordered: bool) -> list[Any]:
    found = list(dict.fromkeys(_plain(value) for value in column))
    return sorted(found) if ordered or (None not in found and column.dtype == "float64") else found


def _plain(value: Any) -> Any:
    return None if missing(value) else value


def levels(run: Run, samples: str) -> list[str]:
    """The noise level of each frame of a film, as text."""
    rows = run.films[run.films["samples_id"] == samples].drop_duplicates("frame").sort_values("frame")
    return [cell("sigma", value) for value in rows["sigma"]]


def facts(run: Run, row: pd.Series) -> list[tuple[str, str, str]]:
    """What the explorer says of a setting: each metric with its difference from the baseline, and the cost."""
    out = []
    for metric in run.metrics:
        if not missing(row[metric]):
            out.append((metric_name(metric, run.features), cell(metric, row[metric]), change(run, row, metric)))
    if not missing(row["nfe"]):
        out.append(("evaluations per image", cell("nfe", row["nfe"]), ""))
    quality = [name for name in ("precision", "recall") if not missing(row[name])]
    if quality:
        out.append((listed(quality), listed(cell(name, row[name]) for name in quality), ""))
    return out


def contrasts(run: Run, row: pd.Series, metric: str) -> pd.DataFrame:
    """The contrasts of a setting with others. The first one is with its baseline."""
    found = pooled(run.contrasts)
    found = found[(found["mode"] == row["mode"]) & (found["a"] == row["setting"]) & (found["metric"] == metric)]
    return found[(found["nfe_a"] == row["nfe"]) & ~found["kind"].isin(["control", "final-denoise"])]


def change(run: Run, row: pd.Series, metric: str) -> str:
    """The difference of a setting from its baseline with its interval, if they were compared."""
    found = contrasts(run, row, metric)
    if not len(found):
        return ""
    first = found.iloc[0]
    size = interval(metric, first["difference"], first["low"], first["high"], f"{percent(first['level'])} interval ")
    return f"difference from {first['b']}: {size}"


def _figure(run: Run, choices: Sequence[Choice], text: str) -> Figure:
    """Quality against evaluations: one grey mark per setting, with its values as a tooltip."""
    every = pd.concat([_settings(run, choice).assign(named=None) for choice in choices], ignore_index=True)
    one_cost = every["nfe"].nunique() == 1
    places = every[METRIC].rank(method="first") if one_cost else every["nfe"]
    drawing, [[ax]] = figures.panels(1, 1, 3.1)
    ax.scatter(places, every[METRIC] * COLUMNS[METRIC].scale, s=30, color="#c4c4c4", edgecolor="#8a8a8a")
    figures.floor_band(ax, run.floor(METRIC, every.iloc[0]), METRIC)
    if not one_cost:
        figures.log_ticks(ax, places)
    figures.fit_y(ax, every[METRIC], METRIC)
    names = [choice.named(row) for choice in choices for _, row in _settings(run, choice).iterrows()]
    for key, (name, (_, row)) in enumerate(zip(names, every.iterrows(), strict=True)):
        parts = [f"{fact}: {value}" + (f", {more}" if more else "") for fact, value, more in facts(run, row)]
        figures.target(ax, places[key], row[METRIC] * COLUMNS[METRIC].scale, f"{name}. {'. '.join(parts)}.", key)
    cost = "network evaluations per image (nfe)"
    ax.set(xlabel="place among the settings" if one_cost else cost, ylabel=metric_name(METRIC, run.features, long=True))
    what = "Quality, from the best setting to the worst" if one_cost else "Quality against cost"
    left = "" if one_cost else ", and further left is cheaper"
    words = (
        f"{text} {what}, one mark per setting: mean over networks. Lower is better{left}. Green: score of real images "
        "(floor), if it is on the axis. Point at a mark for its values. The samples come from the first network."
    )
    caption = components.caption(run, words.strip(), rows=pd.concat([choice.rows for choice in choices]))
    alt = "Quality of the settings, one mark each." if one_cost else "Quality against evaluations, a mark per setting."
    return Figure("explorer", figures.named(drawing), alt, caption)


def galleries(run: Run, choices: Sequence[Choice]) -> list[Gallery]:
    """The pictures of the explorer, folded: the grids of each view, and the films. Each picture appears once."""
    found: dict[str, tuple[str, str]] = {}  # samples -> title of the view, label
    for choice in choices:
        for _, row in _settings(run, choice).iterrows():
            found.setdefault(row["samples_id"], (choice.title, choice.named(row)))
    labels = {name: label for name, (_, label) in found.items()}
    shown, more = components.pictures(run, labels, ".png", "grids", limits.PICTURE_BYTES)
    if not shown:
        return []
    rows = pd.concat([choice.rows for choice in choices])
    real, _ = components.pictures(run, {"real": "real images"}, ".png", "grids")
    out: list[Gallery] = []
    for choice in choices:
        mine = [(path, label) for path, label in shown if found[path.stem][0] == choice.title]
        text = f"{more.strip()} {components.made(run, components.first_network(rows))}".strip()
        if mine:
            out.append(Gallery(f"All pictures: {choice.title}", [*(real if not out else []), *mine], text))
    room = limits.FILM_BYTES - sum(path.stat().st_size for path, _ in shown)
    return [*out, *films(run, rows, {path.stem: label for path, label in shown}, room)]


def films(run: Run, rows: pd.DataFrame, labels: dict[str, str], room: int) -> list[Gallery]:
    """The films of the settings (samples -> label), x and then the denoised estimates, or nothing if none were kept."""
    shown, more = components.pictures(run, labels, "-film.png", "films", room, also="-denoised.png")
    if not shown:
        return []
    strips: list[tuple[Path, str]] = []
    for path, label in shown:
        strips.append((path, f"{label}: x"))
        other = path.with_name(path.name.replace("-film.png", "-denoised.png"))
        strips += [(other, f"{label}: denoised estimate")] if other.is_file() else []
    text = (
        "One line per sample, from the first noise level (left) to the last (right), in about ten equal parts of the "
        "ladder. x is scaled to unit variance. The denoised estimate is x − sigma · eps. At high sigma it is the mean "
        f"of many images.{more} {components.made(run, components.first_network(rows))}"
    )
    return [Gallery("All films", strips, text, "Film", wide=True)]
