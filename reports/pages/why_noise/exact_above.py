"""The figure of the gain that is left when the denoiser is exact above a noise level."""

import pandas as pd

from reports import components, figures
from reports.document import Figure
from reports.formats import metric_name, percent
from reports.pages.why_noise.select import (
    DECIDES,
    MANY_COPIES,
    copied,
    gains,
    images,
    label,
    near_copies,
    one,
    shown,
    whole,
)
from reports.results import Run


def exact_above(run: Run) -> list[Figure]:
    """The gain that is left when the denoiser is exact above a level, against that level."""
    rows = gains(run, "above")
    if not len(rows):
        return []
    edges = rows.sort_values("band_low", ascending=False).drop_duplicates("band_low")
    seen = sorted(rows["images_seen"].unique())
    figure, [[ax]] = figures.panels(1, 1, 3.0)
    ax.axhline(0, color=figures.INK, linewidth=0.8)
    for place, length in enumerate(seen):
        network = whole(run, length)
        points = {} if network is None else {0: network}
        points |= {at: one(rows, images_seen=length, band_low=low) for at, low in enumerate(edges["band_low"], start=1)}
        shift = 0.12 * (place - (len(seen) - 1) / 2)
        for at, row in points.items():
            if row is not None:
                _mark(run, ax, at + shift, row, figures.few(seen)[length], at == 1)
    ax.set_xticks(range(len(edges) + 1), ["nowhere", *(label(row) for _, row in edges.iterrows())])
    ax.set(xlabel="sigma where the denoiser is exact; the network elsewhere")
    ax.set_ylabel(f"change of {metric_name(DECIDES, run.features)} by noise")
    ax.grid(axis="x", visible=False)
    if len(seen) > 1:
        ax.legend()
    text = (
        "Change of FD by noise (eta 1 minus eta 0) with a denoiser that is exact above a noise level; below 0, noise "
        "helps."
    )
    if len(run.copies):
        text += (
            " Hollow: near copies of training images are more frequent than among held-out images by "
            f"{percent(MANY_COPIES)} or more, with noise or without. Then the change may show that noise blurs copies."
        )
    alt = "The change of Fréchet distance by noise against the level above which the denoiser is exact."
    return [Figure("above", figure, alt, components.caption(run, text, run.of_kind("noise")))]


def _mark(run: Run, ax: figures.Axes, x: float, row: pd.Series, color: str, named: bool) -> None:
    """A gain with its interval; hollow if many samples are near copies."""
    size, face = row["difference"], "white" if copied(run, row["arm"]) else color
    ends = [[size - row["low"]], [row["high"] - size]]
    label = images(row["images_seen"]) if named else None
    ax.errorbar(x, size, ends, fmt="o", color=color, markersize=6, elinewidth=1.6, markerfacecolor=face, label=label)
    near = near_copies(run, row["arm"])
    told = "" if near is None else f", near copies {percent(near)}"
    figures.target(ax, x, size, f"{row['arm']}: {shown(run, row)}{told}")
