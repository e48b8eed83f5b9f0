"""The figures: gains by band of noise levels and by residual, and measurements along the levels."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from experiments.why_noise.page import gains
from reports import components, figures
from reports.document import Figure
from reports.formats import cell, metric_name, missing, number, percent
from reports.results import Run
from reports.schema import COLUMNS
from reports.sentences import capital

TITLES = {
    "network": "the network in one band of sigma, exact elsewhere",
    "exact": "exact in one band of sigma, the network elsewhere",
}


def bands(run: Run) -> Figure | None:
    """The gain against the band of noise levels in which the denoiser is the network, or is exact."""
    rows = gains.of(run, "band")
    if rows["band_low"].nunique() < 2:
        return None
    measured = {kind: rows[rows["kind"] == kind] for kind in TITLES if (rows["kind"] == kind).any()}
    figure, [axes] = figures.panels(1, len(measured), 3.3)
    ends = rows.sort_values("band_low", ascending=False).drop_duplicates("band_low")
    exact = gains.whole(run, None)
    for ax, (kind, of_kind) in zip(axes, measured.items(), strict=True):
        colors = _by_band(run, ax, of_kind, ends, gains.lengths(run), 0.16)
        if exact is not None:
            ax.axhline(exact["difference"], color=figures.INK, linestyle=":", linewidth=1.1)
        for length, color in colors.items():
            network = gains.whole(run, length)
            if network is not None:
                ax.axhline(network["difference"], color=color, linestyle="--", linewidth=1.1)
        ax.set_xlabel("sigma of the band, from the first steps (left) to the last (right)")
        ax.set_title(TITLES[kind])
    axes[0].set_ylabel(f"change of {metric_name(gains.DECIDES, run.features)} by noise")
    figures.under_one_legend(figure)
    numbers = (
        f"{TITLES[kind]}: {components.values(of_kind, 'n_samples')} samples" for kind, of_kind in measured.items()
    )
    text = (
        "Change of FD by noise (eta 1 minus eta 0); below 0, noise helps. Dashed: with the network everywhere. "
        f"Dotted: with the exact denoiser. {capital('; '.join(numbers))}."
    )
    alt = "The change of Fréchet distance by noise, against the band of noise levels with the network's errors."
    return Figure("bands", figure, alt, components.caption(run, text, run.of_kind("noise")))


def exact_above(run: Run) -> list[Figure]:
    """The gain that remains when the denoiser is exact above a level, against that level."""
    rows = gains.of(run, "above")
    if not len(rows):
        return []
    figure, [[ax]] = figures.panels(1, 1, 3.0)
    seen = sorted(rows["images_seen"].unique())
    networks = [network for length in seen if (network := gains.whole(run, length)) is not None]
    nowhere = [network.to_frame().T.assign(band_low=float("inf")) for network in networks]
    ends = rows.sort_values("band_low", ascending=False).drop_duplicates("band_low")
    ends = pd.concat([ends.head(1).assign(band_low=float("inf")), ends])
    _by_band(run, ax, pd.concat([*nowhere, rows]).drop_duplicates(["images_seen", "band_low"]), ends, seen, 0.12)
    ax.set_xticks(ax.get_xticks(), ["nowhere", *(text.get_text() for text in ax.get_xticklabels()[1:])])
    ax.set(xlabel="sigma where the denoiser is exact; the network elsewhere")
    ax.set_ylabel(f"change of {metric_name(gains.DECIDES, run.features)} by noise")
    if len(seen) > 1:
        ax.legend()
    text = (
        "Change of FD by noise (eta 1 minus eta 0) with a denoiser that is exact above a noise level; below 0, noise "
        "helps."
    )
    if len(run.copies):
        text += (
            " Hollow: near copies of training images are more frequent than among held-out images by "
            f"{percent(gains.MANY_COPIES)} or more, with noise or without. Then the change may show that noise blurs "
            "copies."
        )
    alt = "The change of Fréchet distance by noise against the level above which the denoiser is exact."
    return [Figure("above", figure, alt, components.caption(run, text, run.of_kind("noise")))]


def _by_band(
    run: Run, ax: figures.Axes, rows: pd.DataFrame, ends: pd.DataFrame, seen: list[float], shift: float
) -> dict[float, str]:
    """Draws the gains, one place for each of the bands `ends`, in one colour per length of training.

    Returns:
        length of training -> its colour.
    """
    colors, places = figures.few(seen), {low: place for place, low in enumerate(ends["band_low"])}
    ax.axhline(0, color=figures.INK, linewidth=0.8)
    for index, (length, color) in enumerate(colors.items()):
        name: str | None = gains.images(length)
        for _, row in rows[rows["images_seen"] == length].iterrows():
            x = places[row["band_low"]] + shift * (index - (len(seen) - 1) / 2)
            _mark(run, ax, x, row, color, name)
            name = None  # one entry in the legend
    ax.set_xticks(range(len(ends)), [gains.label(row) for _, row in ends.iterrows()])
    ax.grid(axis="x", visible=False)
    return colors


def _mark(run: Run, ax: figures.Axes, x: float, row: pd.Series, color: str, name: str | None, more: str = "") -> None:
    """A gain with its interval; hollow if many samples are near copies of training images."""
    size, near = row["difference"], gains.near_copies(run, row["arm"])
    ax.errorbar(x, size, [[size - row["low"]], [row["high"] - size]], fmt="o", color=color, markersize=5,
                elinewidth=1.6, markerfacecolor="white" if gains.copied(run, row["arm"]) else color, label=name,
                zorder=3)  # fmt: skip
    copies = "" if near is None else f", near copies {percent(near)}"
    figures.target(ax, x, size, f"{row['arm']}: {more}{gains.shown(run, row)}{copies}")


def against_residual(run: Run) -> list[Figure]:
    """The size of the gap between the samplers against the Fokker-Planck residual of the denoiser."""
    probes = run.probes[(run.probes["probe"] == "residual") & run.probes["sigma"].isna()]
    rows = gains.of(run).merge(probes[["arm", "value"]].rename(columns={"value": "residual"}), on="arm")
    rows = rows[rows["n_steps"].isin(gains.of(run, "whole")["n_steps"])]
    if len(rows) < 3:
        return []
    figure, [[ax]] = figures.panels(1, 1, 3.2)
    ax.axhline(0, color=figures.INK, linewidth=0.8)
    colors = {"above": figures.BLUE, "below": figures.ORANGE, "everywhere": figures.INK}
    for _, row in rows.iterrows():
        place = "below" if not missing(row["band_high"]) else "above" if row["band_low"] > 0 else "everywhere"
        x = max(row["residual"], 0) ** 0.5
        _mark(run, ax, x, row, colors[place], place, f"residual {number(x)}, ")
    ax.set(xlabel="residual per step, root mean square, units of eps", ylabel="change of FD by noise")
    ax.set_xlim(left=0)
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(handles.values(), handles.keys(), title="error made")
    text = (
        "Gap between the stochastic and the deterministic sampler against the Fokker–Planck residual, which is 0 if "
        "the scores at all levels belong to one distribution. Point at a mark for its name."
    )
    alt = "The change of Fréchet distance by noise against the Fokker-Planck residual of each denoiser."
    return [Figure("residual", figure, alt, f"{text} Residuals: first seed. {components.place(run)}")]


def along_levels(frame: pd.DataFrame, group: str, height: float, y_label: str, tip: Callable[[pd.Series], str]) -> Any:
    """A drawing of `value` against sigma, one line per value of `group`, with limits where the frame has them.

    Args:
        group: images_seen, from 0 on the y axis; or eta, of ratios whose neutral value is 1.
        tip: the value of a row in words.
    """
    figure, [[ax]] = figures.panels(1, 1, height)
    by_length = group == "images_seen"
    colors: Mapping[float, str] = (
        figures.few(sorted(frame[group].unique())) if by_length else figures.shades(frame[group])
    )
    if not by_length:
        ax.axhline(1, color=figures.INK, linewidth=0.8)
    for value, same in frame.sort_values("sigma").groupby(group):
        name = gains.images(value) if by_length else f"eta {number(value)}"
        ax.plot(same["sigma"], same["value"], "o-", color=colors[value], markersize=4, label=name)
        if "low" in same:
            ax.fill_between(same["sigma"], same["low"], same["high"], color=colors[value], alpha=0.15, linewidth=0)
        for _, row in same.iterrows():
            at = f"{name}, sigma {cell('sigma', row['sigma'])}"
            figures.target(ax, row["sigma"], row["value"], f"{at}: {tip(row)}")
    figures.log_ticks(ax)
    ax.set(ylabel=y_label, xlabel=COLUMNS["sigma"].label)
    if by_length:
        ax.set_ylim(bottom=0)
    return figures.named(figure)
