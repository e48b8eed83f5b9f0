"""The figure of samples per class: DataFrame -> axes."""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from reports.figures.canvas import PALETTE, new, target
from reports.formats import plural


def class_counts(counts: pd.DataFrame, real: pd.DataFrame, settings: list[str], ax: Axes | None = None) -> Axes:
    """The axes with samples per class: grey bars for the expected count, one point per run."""
    ax = new(ax)
    order = sorted(set(counts["label"]) | set(real["label"]))
    sns.barplot(real, x="label", y="count", order=order, color="#dddddd", width=0.9, errorbar=None, ax=ax)
    sns.stripplot(
        counts, x="label", y="count", order=order, hue="setting", hue_order=settings, palette=PALETTE[: len(settings)],
        dodge=len(settings) > 1,
        jitter=False, size=4.5, ax=ax,
    )  # fmt: skip
    side = 0.8 / len(settings)  # seaborn's room for one setting next to the others
    for _, row in counts.iterrows():
        x = order.index(row["label"]) + (settings.index(row["setting"]) - (len(settings) - 1) / 2) * side
        text = f"{row['setting']}, class {row['label']}: {plural(row['count'], 'sample')}"
        target(ax, x, row["count"], text)
    ax.set(xlabel="class, by the feature network", ylabel="samples")
    ax.grid(axis="x", visible=False)
    return ax
