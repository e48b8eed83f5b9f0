"""Blocks for the report on any experiment: captions, forest plots, galleries, histograms, loss curves, the glossary.

A function that may have nothing to show returns a list, which is then empty.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from reports import figures, limits
from reports.document import Figure, PictureError, Prose, Section, Terms
from reports.formats import SPEECH, cell, listed, metric_name, missing, number, percent, plural
from reports.results import Run, pooled
from reports.schema import COLUMNS, CONTRAST, MEANINGS, METRICS
from reports.sentences import head, pairs, these


def values(frame: pd.DataFrame, name: str) -> str:
    """All values of a column as one text, for instance "500" or "250 and 500"."""
    texts = dict.fromkeys(cell(name, value) for value in frame[name].unique())
    return listed([text for text in texts if text] or ["not given"])


def place(run: Run) -> str:
    """The end of a caption: feature space and device."""
    return f"Feature space: {run.features or 'none'}. Device: {values(run.rows, 'device')}."


def caption(run: Run, text: str, contrasts: pd.DataFrame | None = None, rows: pd.DataFrame | None = None) -> str:
    """`text`, then networks, n, intervals, feature space and device, from contrasts or from rows of table.csv."""
    if contrasts is not None:
        whole = pooled(contrasts)
        made = dict.fromkeys(f"{percent(row['level'])}, {how(row)}" for _, row in whole.iterrows() if row["interval"])
        counts = [
            f"{plural(n, 'network')}, {values(mine, 'n_samples')} samples{' each' if n > 1 else ''}"
            for n, mine in whole.groupby("n_networks", sort=False)
        ]
        return f"{text} {'; '.join(counts)}. Intervals: {'; '.join(made) or 'none'}. {place(run)}"
    if rows is not None:
        count = f"{plural(rows['train_seed'].nunique(), 'network')}, {values(rows, 'n_samples')} samples per run."
        return f"{text} {count} No intervals. {place(run)}"
    return f"{text} {place(run)}"


def how(row: pd.Series) -> str:
    """How the interval of a row was made, and for which networks it holds, for a caption."""
    return row["interval"] + ("" if missing(row["holds_for"]) else f", for {these(row['holds_for'])} only")


def line_label(row: pd.Series) -> str:
    """A contrast as the label of a line, for instance "16 nfe: eta 1 against eta 0"."""
    text = f"{row['a']} against {row['b']}"
    if row["kind"] == "noise":
        text = f"{row['mode']}: {text}"
    elif row["kind"] == "control":
        text = f"{row['b']} against itself, other seed"
    if row["nfe_a"] != row["nfe_b"]:
        text += f" ({cell('nfe', row['nfe_a'])} : {cell('nfe', row['nfe_b'])} nfe)"
    elif row["kind"] == "pareto":
        text = f"{cell('nfe', row['nfe_a'])} nfe: {text}"
    return f"{text}, final denoising" if row["final_denoise"] is True else text


def by_contrast(contrasts: pd.DataFrame) -> pd.DataFrame:
    """`contrasts` ordered by kind, contrast and metric, with single networks before the pooled row."""
    order = contrasts.assign(
        kind_order=pd.factorize(contrasts["kind"])[0],
        line_order=contrasts.groupby(CONTRAST, sort=False, dropna=False).ngroup(),
        metric_order=contrasts["metric"].map(METRICS.index),
        whole=contrasts["train_seed"] == "",
    )
    return order.sort_values(["kind_order", "line_order", "metric_order", "whole", "train_seed"]).drop(columns="whole")


def decisive(contrasts: pd.DataFrame) -> pd.DataFrame:
    """One pooled row per line, in the file's order: the row of the metric that decides the verdict."""
    return contrasts.loc[[head(pair).name for pair in pairs(contrasts)]]


def forest(run: Run, name: str, groups: dict[str, pd.DataFrame], text: str) -> list[Figure]:
    """A forest plot of differences with intervals: one panel per group (title -> contrasts) and metric."""
    groups = {title: frame for title, frame in groups.items() if len(pooled(frame))}
    if not groups:
        return []
    every = {title: decisive(frame) for title, frame in groups.items()}
    lines = {title: frame.iloc[limits.spread(frame["difference"], limits.LINES)] for title, frame in every.items()}
    heights = [0.24 * len(frame) + 0.62 for frame in lines.values()]
    figure, grid = figures.panels(len(groups), len(run.metrics), sum(heights) + 0.4, heights)
    for axes, (title, frame) in zip(grid, groups.items(), strict=True):
        labels = [line_label(row) for _, row in lines[title].iterrows()]
        numbered = frame.merge(lines[title][CONTRAST].assign(line=range(len(labels))), on=CONTRAST)
        for ax, metric in zip(axes, run.metrics, strict=True):
            first = metric == run.judge
            figures.forest(numbered[numbered["metric"] == metric], labels if first else [""] * len(labels), metric, ax)
            ax.set_title(title if first else " ")
    for ax, metric in zip(grid[-1], run.metrics, strict=True):
        ax.set_xlabel(f"difference in {metric_name(metric, run.features, long=True)}")
    key = (
        "Diamonds: mean over networks, with its interval. Grey points: single networks. Filled diamonds are verdicts "
        "(blue: better; orange: worse). Open diamonds: not detectable, or no verdict. Each panel has its own scale."
    )
    corrected = pd.concat(every.values()).get("adjusted")
    ways = [] if corrected is None else [str(text) for text in corrected if not missing(text)]
    if any(text.startswith("simultaneous") for text in ways):
        key += " Intervals of exploration hold all at once."
    elif ways:
        key += (
            " Verdicts are corrected for the number of comparisons (Holm), intervals are not. So the interval of an "
            "open diamond may exclude 0."
        )
    alt = f"Differences with intervals in {spoken(run)}. {'; '.join(groups)}."
    shown, total = (sum(map(len, frames.values())) for frames in (lines, every))
    key += limits.note(shown, total, "differences", "contrasts.csv", limits.extremes(run, "differences in "))
    return [Figure(name, figure, alt, caption(run, f"{text} {key}", pd.concat(groups.values())))]


def pictures(
    run: Run, labels: dict[str, str], ending: str, what: str, budget: int = limits.PICTURE_BYTES, also: str = ""
) -> tuple[list[tuple[Path, str]], str]:
    """The files images/ID`ending` to show (samples_id -> label), and a note if there are more.

    Args:
        budget: bytes of all of them. `also` is the ending of files that are shown next to them, and count too.

    Raises:
        PictureError (a ValueError): one of them is no picture.
    """
    found = [
        (path, label)
        for name, label in labels.items()
        if Path(name).name == name  # else, as in ../x, it points to another folder
        and (path := run.directory / "images" / f"{name}{ending}").is_file()
    ]
    pairs = [[path, path.with_name(path.name.replace(ending, also))] if also else [path] for path, _ in found]
    sizes = [sum(path.stat().st_size for path in pair if path.is_file()) for pair in pairs]
    chosen = limits.fitting(sizes, limits.PICTURES, budget)
    for path in (path for at in chosen for path in pairs[at] if path.is_file()):
        try:
            with Image.open(path) as image:
                image.verify()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise PictureError(f"images/{path.name}: it cannot be read as a picture ({error})") from error
    note = limits.note(len(chosen), len(found), what, "The folder images/")
    return [found[at] for at in chosen], note


def strip(run: Run, labels: dict[str, str]) -> list[tuple[Path, str]]:
    """The pictures of the first screen: real images, then the samples (samples_id -> label), if they were kept."""
    shown, _ = pictures(run, labels, ".png", "grids")
    real, _ = pictures(run, {"real": "real images"}, ".png", "grids")
    return [*real, *shown] if shown else []


def strip_of(run: Run, mode: str, labels: dict[str, str]) -> list[tuple[Path, str]]:
    """The pictures of the first screen: real images, then these settings of a mode (setting -> label)."""
    samples = first_network(run.ok(mode)).set_index("setting")["samples_id"]
    return strip(run, {samples[name]: label for name, label in labels.items() if name in samples.index})


def first_network(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first training seed and sampling seed. Pictures show these."""
    return rows[(rows["train_seed"] == rows["train_seed"].min()) & (rows["sample_seed"] == rows["sample_seed"].min())]


def training(run: Run) -> Section | None:
    """The section with the loss curves, if there are any."""
    if not len(run.losses):
        return None
    figure, [[ax]] = figures.panels(1, 1, 2.7)
    figures.loss_curves(run.losses, ax)
    trained = run.rows[run.rows["model_id"].isin(run.losses["model_id"])]
    text = (
        f"Training loss, one line per network, thinned for display. Network: {values(trained, 'network')}, "
        f"{values(trained, 'images_seen')} training images. Data: {values(run.rows, 'data')}. "
        f"Training noise distribution: {values(run.rows, 'train_noise')}. Device: {values(run.rows, 'device')}."
    )
    drawing = Figure("loss", figures.named(figure), "Training loss against images seen.", text)
    return Section("Training", [drawing], folded=True)


Looks = list[tuple[pd.DataFrame, dict[str, Any]]]  # rows of each line of a figure, with its look


def quality_and_cost(run: Run, name: str, panels: dict[str, Looks], height: float, text: str, alt: str) -> Figure:
    """Quality against evaluations: a row of panels per title of `panels`, with its lines; `alt` says what each is."""
    figure, grid = figures.panels(len(panels), len(run.metrics), height)
    rows = pd.concat([mine for lines in panels.values() for mine, _ in lines])
    for axes, (title, lines) in zip(grid, panels.items(), strict=True):
        for ax, metric in zip(axes, run.metrics, strict=True):
            for mine, look in lines:
                figures.quality_line(mine, "nfe", metric, ax, **look)
            cost_axis(ax, rows["nfe"])
            quality_axis(ax, run, metric, rows)
            if title:
                ax.set_title(title if metric == run.judge else " ")
    text = (
        f"Quality against evaluations{text}. Lower is better, and further left is cheaper. Lines: means over networks. "
        "Faint points: single networks. Green: score of real images (floor), if it is on the axis."
    )
    alt = f"Quality, as {spoken(run)}, against network evaluations, one line for each {alt}."
    return Figure(name, figures.named(figure), alt, caption(run, text, rows=rows))


def spoken(run: Run) -> str:
    """The distances of the run, in words."""
    return " and ".join(SPEECH[metric] for metric in run.metrics)


def quality_axis(ax: figures.Axes, run: Run, metric: str, rows: pd.DataFrame) -> None:
    """Finishes an axis of quality, of `rows`: the floor, its scale, its label."""
    figures.floor_band(ax, run.floor(metric, rows.iloc[0]), metric)
    figures.fit_y(ax, rows[metric], metric)
    ax.set_ylabel(metric_name(metric, run.features, long=True))


def cost_axis(ax: figures.Axes, budgets: pd.Series) -> None:
    """Finishes an axis of evaluations, with a tick at each of `budgets`."""
    figures.log_ticks(ax, budgets)
    ax.set_xlabel("network evaluations per image (nfe)")


def untimed(run: Run) -> list[Prose]:
    """A note on runs whose seconds are left out because they shared the device, if there are any."""
    rows = run.ok()
    shared = rows["shared_device"].sum()
    if not shared:
        return []
    text = (
        f"{number(shared, 0)} of {plural(len(rows), 'run')} shared the device with other runs or programs. Their "
        "seconds are left out of every figure and table."
    )
    return [Prose(text, "Speed")]


def glossary(*names: str) -> Section:
    """The section "How to read this": the meaning of these columns and of the floor."""
    terms = {COLUMNS[name].label: MEANINGS[name] for name in names} | {"floor": MEANINGS["floor"]}
    return Section("How to read this", [Terms(terms)], folded=True)
