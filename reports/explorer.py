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
        knobs: (label, column of `rows`) of what is chosen.
        named: the name of a row's setting.
        slider: the column whose knob is a slider.
    """

    title: str
    rows: pd.DataFrame
    knobs: Sequence[tuple[str, str]]
    named: Named = setting_and_cost
    slider: str = ""


def all_settings(run: Run, knobs: Sequence[tuple[str, str]], named: Named = setting_and_cost) -> Section | None:
    """The section with one view of all settings but the control."""
    return section(run, [Choice("All settings", run.compared(), knobs, named)])


def section(run: Run, choices: Sequence[Choice]) -> Section | None:
    """The section with the explorer, its figure and its pictures, or None without any setting."""
    choices = [choice for choice in choices if len(components.first_network(choice.rows))]
    if not choices:
        return None
    # one row per setting; its index is the key of its mark in the figure
    settings = pd.concat([_settings(run, choice) for choice in choices], ignore_index=True)
    settings["facts"] = [facts(run, row) for _, row in settings.iterrows()]
    views = [_view(run, choice, settings[settings["view"] == choice.title]) for choice in choices]
    rows = pd.concat([choice.rows for choice in choices])
    return Section(
        "Look at the samples", [Explorer(views, _figure(run, settings, rows)), *galleries(run, settings, rows)]
    )


def _settings(run: Run, choice: Choice) -> pd.DataFrame:
    """One row per setting: the row of the first network, with means over networks of the metrics, and its `name`."""
    by = [column for _, column in choice.knobs]
    means = choice.rows.groupby(by, sort=False, dropna=False)[[*run.metrics, "precision", "recall"]].mean()
    first = components.first_network(choice.rows).drop_duplicates(by)
    first = first.drop(columns=list(means)).merge(means.reset_index(), on=by, how="left")
    first = first.iloc[limits.spread(first[run.judge], limits.SETTINGS)]
    return first.assign(view=choice.title, name=[choice.named(row) for _, row in first.iterrows()])


def _view(run: Run, choice: Choice, settings: pd.DataFrame) -> dict[str, Any]:
    """The settings of a choice, for the script.

    A knob has a `name` in links; with `slider` it moves through its values in order; other values are buttons or a
    list. A point has its place `at` on each knob, the `key` of its mark in the figure, its `picture`, the noise levels
    of its film (empty without one), `facts` as (name, value, difference from the baseline), and the key of the
    baseline next to it, `against`.
    """
    values = [_values(settings[column], column == choice.slider) for _, column in choice.knobs]
    knobs = [
        {
            "label": label,
            "name": LINKED.get(column, column),
            "values": [cell(column, value) for value in found],
            "slider": column == choice.slider,
        }
        for (label, column), found in zip(choice.knobs, values, strict=True)
    ]
    group = settings.groupby(["mode", "budget"], sort=False, dropna=False).ngroup()
    first = {number: key for key, number in group.drop_duplicates().items()}
    keys = {(group[key], row["setting"]): key for key, row in settings.iterrows()}
    points = []
    for key, row in settings.iterrows():
        compared = contrasts(run, row, run.judge)
        named = compared.iloc[0]["b"] if len(compared) else None
        points.append({
            "at": [found.index(_plain(row[column])) for found, (_, column) in zip(values, choice.knobs, strict=True)],
            "key": key,
            "label": row["name"],
            "picture": row["samples_id"],
            "levels": levels(run, row["samples_id"]),
            "facts": row["facts"],
            "against": keys.get((group[key], named), first[group[key]]),
        })  # fmt: skip
    best = settings[run.judge].idxmin() if settings[run.judge].notna().any() else settings.index[0]
    return {"title": choice.title, "knobs": knobs, "points": points, "start": int(best)}


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
    known = [metric for metric in run.metrics if not missing(row[metric])]
    out = [(metric_name(metric, run.features), cell(metric, row[metric]), change(run, row, metric)) for metric in known]
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


def _figure(run: Run, settings: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Quality against evaluations: one grey mark per setting, with its values as a tooltip."""
    one_cost = settings["nfe"].nunique() == 1
    places = settings[METRIC].rank(method="first") if one_cost else settings["nfe"]
    drawing, [[ax]] = figures.panels(1, 1, 3.1)
    ax.scatter(places, settings[METRIC] * COLUMNS[METRIC].scale, s=30, color="#c4c4c4", edgecolor="#8a8a8a")
    components.quality_axis(ax, run, METRIC, settings)
    if one_cost:
        ax.set_xlabel("place among the settings")
    else:
        components.cost_axis(ax, places)
    for key, row in settings.iterrows():
        parts = [f"{fact}: {value}" + (f", {more}" if more else "") for fact, value, more in row["facts"]]
        text = f"{row['name']}. {'. '.join(parts)}."
        figures.target(ax, places[key], row[METRIC] * COLUMNS[METRIC].scale, text, key)
    what = "Quality, from the best setting to the worst" if one_cost else "Quality against cost"
    left = "" if one_cost else ", and further left is cheaper"
    words = (
        f"{what}, one mark per setting: mean over networks. Lower is better{left}. Green: score of real images "
        "(floor), if it is on the axis. Point at a mark for its values. The samples come from the first network."
    )
    alt = "Quality of the settings, one mark each." if one_cost else "Quality against evaluations, a mark per setting."
    return Figure("explorer", figures.named(drawing), alt, components.caption(run, words, rows=rows))


def galleries(run: Run, settings: pd.DataFrame, rows: pd.DataFrame) -> list[Gallery]:
    """The pictures of the explorer, folded: the grids of each view, and the films. Each picture appears once."""
    once = settings.drop_duplicates("samples_id").set_index("samples_id")
    shown, more = components.pictures(run, dict(once["name"]), ".png", "grids")
    if not shown:
        return []
    real, _ = components.pictures(run, {"real": "real images"}, ".png", "grids")
    text = f"{more.strip()} {_made(rows)}".strip()
    out: list[Gallery] = []
    for view in once["view"].unique():
        if mine := [(path, label) for path, label in shown if once.loc[path.stem, "view"] == view]:
            out.append(Gallery(f"All pictures: {view}", [*(real if not out else []), *mine], text))
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
        f"of many images.{more} {_made(rows)}"
    )
    return [Gallery("All films", strips, text, films=True)]


def _made(rows: pd.DataFrame) -> str:
    """The end of a caption of samples: which samples, and of which network."""
    first = components.first_network(rows)
    return (
        f"The first 16 samples, not selected. Network: {components.values(first, 'network')}, training seed "
        f"{components.values(first, 'train_seed')}, {components.values(first, 'images_seen')} images seen in training. "
        f"Device: {components.values(first, 'device')}."
    )
