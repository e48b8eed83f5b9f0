"""What a report on any experiment can use: captions, forests, galleries, histograms, loss curves, the glossary.

Functions that may have nothing to show return a list of blocks, empty then.
"""

import pandas as pd

from reports import figures
from reports.columns import COLUMNS, FLOOR, METRICS
from reports.document import Figure, Gallery, Prose, Section, Terms
from reports.formats import cell, listed, metric_name, number, percent, plural
from reports.results import Run, pooled

LINE = ["kind", "mode", "a", "b", "n_steps", "nfe_a", "final_denoise"]  # what makes a contrast a line of its own


def values(frame: pd.DataFrame, name: str) -> str:
    """All values of a column as text, for instance "500" or "250 and 500"."""
    texts = dict.fromkeys(cell(name, value) for value in frame[name])
    return listed([text for text in texts if text] or ["not given"])


def place(run: Run) -> str:
    """The end of every caption: feature space and device."""
    return f"Feature space: {run.features or 'none'}; device: {values(run.rows, 'device')}."


def caption(run: Run, text: str, contrasts: pd.DataFrame | None = None, rows: pd.DataFrame | None = None) -> str:
    """`text`, then n, networks, intervals, feature space and device: from contrasts, or from rows of table.csv."""
    if contrasts is not None:
        whole = pooled(contrasts)
        made = dict.fromkeys(
            f"{percent(row['level'])}, {row['interval']}" for _, row in whole.iterrows() if row["interval"]
        )
        count = f"n = {values(whole, 'n_samples')} a side and network, {plural(whole['n_networks'].max(), 'network')}."
        return f"{text} {count} Intervals: {'; '.join(made) or 'none'}. {place(run)}"
    if rows is not None:
        count = (
            f"n = {values(rows, 'n_samples')} a run, {plural(rows['train_seed'].nunique(), 'network')}, no intervals."
        )
        return f"{text} {count} {place(run)}"
    return f"{text} {place(run)}"


def line_label(row: pd.Series) -> str:
    """A contrast on a line of its own, for instance "16 nfe: eta 1 against eta 0"."""
    text = f"{row['a']} against {row['b']}"
    if row["kind"] == "control":
        text = f"{row['b']} against itself, other seed"
    elif row["verdict"] == "baseline chosen":
        text = f"{row['b']} chosen"
    if row["nfe_a"] != row["nfe_b"]:
        text += f" ({cell('nfe', row['nfe_a'])} : {cell('nfe', row['nfe_b'])} nfe)"
    elif row["kind"] in ("pareto", "best"):
        text = f"{cell('nfe', row['nfe_a'])} nfe: {text}"
    return f"{text}, denoised" if row["final_denoise"] is True else text


def by_contrast(contrasts: pd.DataFrame) -> pd.DataFrame:
    """`contrasts` in the order in which a reader wants them: by kind, contrast and metric, each network before all."""
    order = contrasts.assign(
        kind_order=pd.factorize(contrasts["kind"])[0],
        line_order=contrasts.groupby(LINE, sort=False, dropna=False).ngroup(),
        metric_order=contrasts["metric"].map(METRICS.index),
        whole=contrasts["train_seed"] == "",
    )
    return order.sort_values(["kind_order", "line_order", "metric_order", "whole", "train_seed"]).drop(columns="whole")


def forest(run: Run, name: str, groups: dict[str, pd.DataFrame], text: str) -> list[Figure]:
    """Differences with intervals, one panel a group (title -> contrasts) and metric; each group has its own scale."""
    groups = {title: frame for title, frame in groups.items() if len(pooled(frame))}
    if not groups:
        return []
    lines = {title: pooled(frame).drop_duplicates(LINE) for title, frame in groups.items()}
    heights = [0.24 * len(frame) + 0.62 for frame in lines.values()]
    figure, grid = figures.panels(len(groups), len(METRICS), sum(heights) + 0.4, heights)
    for axes, (title, frame) in zip(grid, groups.items(), strict=True):
        labels = [line_label(row) for _, row in lines[title].iterrows()]
        numbered = frame.merge(lines[title][LINE].assign(line=range(len(labels))), on=LINE)
        for ax, metric in zip(axes, METRICS, strict=True):
            first = metric == METRICS[0]
            figures.forest(numbered[numbered["metric"] == metric], labels if first else [""] * len(labels), metric, ax)
            ax.set_title(title if first else " ")
    for ax, metric in zip(grid[-1], METRICS, strict=True):
        ax.set_xlabel(f"difference in {metric_name(metric, run.features, long=True)}")
    key = (
        "Diamonds: pooled over networks, with the interval; grey points: single networks. Filled: a verdict (blue "
        "better, orange worse); open: no clear difference, or the metrics disagree. Each panel has its own scale."
    )
    alt = f"Differences with intervals in kernel and Fréchet distance. {'; '.join(groups)}."
    return [Figure(name, figure, alt, caption(run, f"{text} {key}", pd.concat(groups.values())))]


def gallery(run: Run, rows: pd.DataFrame, labels: dict[str, str], text: str) -> list[Gallery]:
    """Sample grids (samples_id -> label) after the grid of real images; none where no sample grid was kept."""
    folder = run.directory / "images"
    pictures = [(path, label) for name, label in labels.items() if (path := folder / f"{name}.png").is_file()]
    if not pictures:
        return []
    if (real := folder / "real.png").is_file():
        pictures.insert(0, (real, "real images"))
    made = (
        f"The first 16 samples, not selected; network {values(rows, 'network')} of training seed "
        f"{values(rows, 'train_seed')}, {values(rows, 'images_seen')} images seen in training; "
        f"device: {values(rows, 'device')}."
    )
    return [Gallery(pictures, f"{text} {made}".strip())]


def films(run: Run, rows: pd.DataFrame, labels: dict[str, str], text: str) -> list[Gallery]:
    """A few samples of each run (samples_id -> label) on their way from noise to image; none where none were kept."""
    folder = run.directory / "images"
    strips = [(path, label) for name, label in labels.items() if (path := folder / f"{name}-film.png").is_file()]
    if not strips:
        return []
    made = (
        "One row a sample, from the first noise level (left) to the last (right) in about ten equal parts of the "
        f"ladder, each frame scaled to unit variance; network {values(rows, 'network')} of training seed "
        f"{values(rows, 'train_seed')}."
    )
    return [Gallery(strips, f"{text} {made}".strip(), "Film strip", wide=True)]


def first_network(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first training and sampling seed: what pictures are shown of."""
    return rows[(rows["train_seed"] == rows["train_seed"].min()) & (rows["sample_seed"] == rows["sample_seed"].min())]


def histograms(run: Run, name: str, settings: dict[str, pd.DataFrame], text: str) -> list[Figure]:
    """Class histograms of runs (setting -> rows) against what as many real images would show."""
    counts = run.histograms.merge(
        pd.concat([pd.DataFrame({"run_id": [], "setting": []}, dtype=str)]
                  + [rows[["run_id"]].assign(setting=label) for label, rows in settings.items()]), on="run_id"
    )  # fmt: skip
    if not len(counts):
        return []
    real = run.histograms[run.histograms["run_id"] == "real"]
    figure, [[ax]] = figures.panels(1, 1, 2.7)
    figures.class_counts(counts, real, list(settings), ax)
    bars = " Bars: the expectation for as many real images." if len(real) else ""
    made = caption(run, f"{text} One point a network.{bars}", rows=pd.concat(settings.values()))
    return [Figure(name, figures.under_one_legend(figure), f"Samples per class for {listed(settings)}.", made)]


def training(run: Run) -> Section | None:
    """The loss curves."""
    if not len(run.losses):
        return None
    figure, [[ax]] = figures.panels(1, 1, 2.7)
    figures.loss_curves(run.losses, ax)
    text = (
        f"Training loss, one line a network, thinned for display: {values(run.rows, 'network')}, "
        f"data {values(run.rows, 'data')}, noise levels {values(run.rows, 'train_noise')}, "
        f"device {values(run.rows, 'device')}."
    )
    return Section(
        "Training", [Figure("loss", figures.under_one_legend(figure), "Training loss against images seen.", text)]
    )


def failures(run: Run) -> list[Prose]:
    """A warning for the first screen."""
    count = len(run.failed())
    return [Prose(f"{number(count, 0)}; the messages are under Tables.", "Failed runs")] if count else []


def untimed(run: Run) -> list[Prose]:
    """Which runs are left out wherever speed is shown, if any are."""
    rows = run.ok()
    shared = int(rows["shared_device"].fillna(False).sum())
    if not shared:
        return []
    text = (
        f"{number(shared, 0)} of {plural(len(rows), 'run')} shared the device with other runs or programs. Their "
        "seconds are left out wherever speed is shown; speed comes from runs that had the device to themselves."
    )
    return [Prose(text, "Speed")]


def glossary(*names: str) -> Section:
    """How to read this: the meaning of these columns, and of the floor."""
    return Section(
        "How to read this",
        [Terms([*((COLUMNS[name].label, COLUMNS[name].meaning) for name in names), ("floor", FLOOR)])],
    )
