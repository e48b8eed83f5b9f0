"""The first screen of the report on `why_noise`: the answer in a sentence, and the gain against where the error is."""

import pandas as pd

from reports import components, figures, openings
from reports.columns import COLUMNS
from reports.document import Figure, Number, Opening
from reports.formats import as_precise, cell, metric_name, missing, number, percent
from reports.pages.why_noise.exact_above import exact_above
from reports.pages.why_noise.predictions import explained_above, in_general, most_left, necessary, sufficient
from reports.pages.why_noise.select import (
    DECIDES,
    HELD_OUT,
    LOW,
    above,
    below,
    claim,
    copied,
    gains,
    images,
    label,
    lengths,
    near_copies,
    one,
    power,
    shown,
    split_at,
    whole,
)
from reports.results import Run
from reports.sentences import head, pairs

FIXED = "predictions fixed beforehand, all else is exploration"


def opening(run: Run) -> Opening:
    """The answer, the gains as numbers, and the figure of the bands; on real data, pictures."""
    seen = lengths(run)
    if not len(run.of_kind("control")) or not seen:
        text = "The runs that this report compares failed."
        return Opening(text, "No verdict.", status=openings.status(run, None))
    found = [
        head(pair) for pair in pairs(run.of_kind("noise")) if head(pair)["mode"] in set(gains(run, "whole")["arm"])
    ]
    row = next((row for row in found if row["images_seen"] == seen[-1]), None)
    warned = openings.warnings(run, found)
    figure = next(iter(exact_above(run)), None) if opens_with_levels(run) else bands(run)
    return Opening(
        sentence(run), "Not established. Measured:" if warned else "", numbers(run),
        [] if figure else pictures(run), openings.key(run, DECIDES), lines(run), openings.status(run, row, FIXED),
        warned, figure,
    )  # fmt: skip


def opens_with_levels(run: Run) -> bool:
    """Whether the figure of the first screen is the gain against the level above which the denoiser is exact.

    So it is where the network was not made exact in one band after the other. A run on real data opens with pictures.
    """
    bands_tried = (gains(run, "band")["kind"] == "exact").any()
    return not len(run.copies) and not bands_tried and len(gains(run, "above")) > 0


def sentence(run: Run) -> str:
    """The answer to the title."""
    split, needed, enough = split_at(run), necessary(run), sufficient(run)
    level = "" if split is None else f" (sigma above {number(split)})"
    network = whole(run, lengths(run)[-1])
    if needed is None:
        few = network is not None and not in_general(network)
        return f"Not settled: {'too few networks for an interval over networks' if few else 'runs are missing'}."
    if not below(network):
        return "Not settled: this run shows no gain from noise with the network."
    if any(copied(run, arm) for arm in low_errors(run)["arm"]):
        return f"Not settled: with exact high noise levels{level}, many samples are near copies of training images."
    if not needed:
        if most_left(run):
            lower = explained_above(run)
            if lower is not None:
                return (
                    f"Less than half of the gain from noise is left without errors above sigma {number(lower)}, "
                    f"and more than half without those above {number(split or 0)}."
                )
            return f"Most of the gain from noise is left without errors at high noise levels{level}."
        return f"Not settled: half of the gain may be left without errors at high noise levels{level}."
    alone = " These errors alone are not shown to be enough." if enough is False else ""
    if not any(below(row) for _, row in low_errors(run).iterrows()):
        return f"Without errors at high noise levels{level} no gain from noise is detectable.{alone}"
    return f"Without errors at high noise levels{level} noise helps less than half as much.{alone}"


def low_errors(run: Run) -> pd.DataFrame:
    """The gains with denoisers that are exact at high noise levels and the network at low ones."""
    rows = gains(run, "split")
    by_exact = (rows["kind"] == "exact") & rows["band_high"].isna()
    by_network = (rows["kind"] == "network") & rows["band_high"].notna()
    return rows[by_exact | by_network]


def lines(run: Run) -> list[tuple[str, str]]:
    """The other explanations, with a verdict in a few words each."""
    found = []
    exact = whole(run, None)
    if exact is not None:
        helps = "part of the cause" if below(exact) else "not the cause" if above(exact) else "not shown to be a cause"
        what = "gains too" if below(exact) else "even loses" if above(exact) else "gains nothing detectable"
        network = whole(run, lengths(run)[-1])
        of = "" if network is None else f"; the network gains {cell(DECIDES, network['difference'])}"
        found.append(("Large steps", f"{helps}: an exact denoiser {what}, {shown(run, exact)}{power(exact)}{of}."))
    visited = run.ratios[(run.ratios["probe"] == "visited") & (run.ratios["sigma"] < LOW)]
    longest = visited[(visited["images_seen"] == visited["images_seen"].max()) & visited["high"].notna()]
    if len(longest):
        better = int((longest["high"] < 1).sum())
        word = "supported" if better > len(longest) / 2 else "in part" if better else "not detectably"
        found.append((
            "Noise keeps inputs as in training",
            f"{word}: in {better} of {len(longest)} tests (level × eta, below sigma {number(LOW)}) the error falls on "
            "inputs met in sampling.",
        ))  # fmt: skip
    part = claim(run, "noise below − 0.75 everywhere", lengths(run)[-1])
    if part is not None and in_general(part):
        text = "low levels are enough" if below(part) else "low levels alone may do less"
        text = "low levels alone do less" if above(part) else text
        found.append(("Where noise is put back", f"{text}."))
    return found


def numbers(run: Run) -> list[Number]:
    """The gains of the longest trained network, of its errors at high or low levels, and of the exact denoiser.

    A denoiser whose samples are near copies of training images shows the share of copies instead.
    """
    seen, split = lengths(run)[-1], split_at(run)
    rows = gains(run, "split")
    rows = rows[(rows["images_seen"] == seen) & (rows["dose"] == 1)]
    exact = len(rows) > 0 and rows.iloc[0]["kind"] == "exact"  # then the band is where the network is missing
    above_it, below_it = f"above sigma {number(split or 0)}", f"below sigma {number(split or 0)}"
    parts = {
        f"its errors {below_it if exact else above_it} only": one(rows, band_low=split),
        f"its errors {above_it if exact else below_it} only": one(rows, band_low=0.0),
    }
    found = {f"network, {images(seen)}": whole(run, seen), **parts, "exact denoiser": whole(run, None)}
    known = {words: row for words, row in found.items() if row is not None}
    hidden = [row for row in known.values() if copied(run, row["arm"])]
    return [
        *(number_of(run, row, words) for words, row in known.items() if not copied(run, row["arm"])),
        *(copies_of(run, row) for row in hidden[:1]),
    ]


def copies_of(run: Run, row: pd.Series) -> Number:
    """The near copies of a denoiser, in place of a gain that they make meaningless."""
    share, held_out = (percent(near_copies(run, arm) or 0.0) for arm in (row["arm"], HELD_OUT))
    label_of = f"near copies if exact {'above' if missing(row['band_high']) else 'below'} sigma"
    edge = row["band_low"] if missing(row["band_high"]) else row["band_high"]
    return Number(share, f"{label_of} {number(edge)}", [
        f"of all samples; {held_out} of held-out images", "so its change of FD by noise means little",
    ])  # fmt: skip


def number_of(run: Run, row: pd.Series, words: str) -> Number:
    size, low, high = as_precise(row["metric"], [row["difference"], row["low"], row["high"]], row["low"], row["high"])
    notes = [f"change of {metric_name(row['metric'], run.features)} by noise"]
    if not missing(row["low"]):
        notes.append(f"{percent(row['level'])} interval {low} to {high}")
    return Number(f"+{size}" if row["difference"] > 0 else size, words, notes)


def pictures(run: Run) -> list:
    """The network without and with noise."""
    labels = {}
    arms = dict.fromkeys(gains(run, "whole").sort_values("images_seen")["arm"])
    for arm in list(arms)[-1:]:
        rows = components.first_network(run.ok(arm))
        names = {"eta 0": "without noise (eta 0)", "eta 1": "with noise (eta 1)"}
        labels = {row["samples_id"]: names[row["setting"]] for _, row in rows.iterrows() if row["setting"] in names}
    return components.strip(run, labels)


def bands(run: Run) -> Figure | None:
    """The gain against the band of noise levels in which the denoiser is the network, or is exact."""
    rows = gains(run, "band")
    if not len(rows):
        return None
    titles = {
        "network": "the network in one band of sigma, exact elsewhere",
        "exact": "exact in one band of sigma, the network elsewhere",
    }
    figure, [axes] = figures.panels(1, 2, 3.3)
    seen = lengths(run)
    colors = figures.few(seen)
    bands = rows.sort_values("band_low", ascending=False).drop_duplicates("band_low")
    places = {low: place for place, low in enumerate(bands["band_low"])}
    scale, exact = COLUMNS[DECIDES].scale, whole(run, None)
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        ax.axhline(0, color=figures.INK, linewidth=0.8)
        if exact is not None:
            ax.axhline(exact["difference"] * scale, color=figures.INK, linestyle=":", linewidth=1.1)
        for place, length in enumerate(seen):
            here = rows[(rows["kind"] == kind) & (rows["images_seen"] == length)]
            at = here["band_low"].map(places) + 0.16 * (place - (len(seen) - 1) / 2)
            low, high = ((here["difference"] - here["low"]) * scale, (here["high"] - here["difference"]) * scale)
            ax.errorbar(at, here["difference"] * scale, [low, high], fmt="o", markersize=5, color=colors[length],
                        elinewidth=1.6, label=images(length), zorder=3)  # fmt: skip
            for x, (_, row) in zip(at, here.iterrows(), strict=True):
                figures.target(ax, x, row["difference"] * scale, f"{row['arm']}: {shown(run, row)}")
            full = whole(run, length)
            if full is not None:
                ax.axhline(full["difference"] * scale, color=colors[length], linestyle="--", linewidth=1.1)
        ax.set_xticks(range(len(bands)), [label(row) for _, row in bands.iterrows()])
        ax.set_xlabel("sigma of the band, from the first steps (left) to the last (right)")
        ax.set_title(title)
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel(f"change of {metric_name(DECIDES, run.features)} by noise")
    figures.under_one_legend(figure)
    n = {kind: components.values(rows[rows["kind"] == kind], "n_samples") for kind in titles}
    text = (
        "Change of FD by noise (eta 1 minus eta 0); below 0, noise helps. Dashed: with the network everywhere. "
        "Dotted: with the exact denoiser. Left: "
        f"the network's errors are made in one band only ({n['network']} samples). Right: they are missing in one band "
        f"only ({n['exact']} samples)."
    )
    alt = "The change of Fréchet distance by noise, against the band of noise levels with the network's errors."
    return Figure("bands", figure, alt, components.caption(run, text, run.of_kind("noise")))
