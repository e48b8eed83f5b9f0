"""The section on exchanged denoisers: at which noise levels are the errors made that noise repairs?"""

import pandas as pd

from reports import components, figures
from reports.columns import COLUMNS, METRICS
from reports.document import Figure, Prose, Section, Table, table
from reports.formats import cell, metric_name, number
from reports.pages.why_noise import opening as first_screen
from reports.pages.why_noise.exact_above import exact_above
from reports.pages.why_noise.gain_table import gain_table
from reports.pages.why_noise.select import (
    DECIDES,
    FULL,
    claim,
    gains,
    images,
    label,
    lengths,
    one,
    power,
    shown,
)
from reports.results import Run, pooled

BELOW = "exact above − noise below"


def exchanges(run: Run) -> Section | None:
    """Where the errors are made that noise repairs: additivity, the sizes of errors, and the gains of all exchanges."""
    rows = pd.concat([gains(run, "whole"), gains(run, "split")])
    if not len(rows):
        return None
    blocks: list[Prose | Figure | Table] = []
    for length in lengths(run):
        summed = claim(run, "sum of the bands − network", length)
        if summed is not None:
            word = "differs from" if summed["clear"] else "does not differ detectably from"
            lead = "Not additive" if summed["clear"] else "Additivity"
            blocks.append(Prose(
                f"the sum of the bands' gains, each beyond that of the exact denoiser, {word} the gain of the whole "
                f"network: difference {shown(run, summed)}{power(summed)}.", f"{lead}, {images(length)}",
            ))  # fmt: skip
    blocks += error_sizes(run)
    if not first_screen.opens_with_levels(run):
        blocks += exact_above(run)
    blocks += against_noise_below(run)
    blocks.append(
        gain_table(
            run,
            rows,
            "Gains from noise, with denoisers that are exact everywhere, nowhere, at high or at low noise levels.",
        )
    )
    return Section("Where the errors are made", blocks)


def every_exchange(run: Run) -> Section | None:
    """The gains of all exchanged denoisers, for reference."""
    rows = pd.concat([gains(run, part) for part in ("above", "band", "dose")]).drop_duplicates(["arm", "setting"])
    if not len(rows):
        return None
    blocks: list[Prose | Figure | Table] = [*factorial(run)]
    blocks.append(
        gain_table(run, rows, "Gains from noise with denoisers that are exchanged in a band or above a level.")
    )
    return Section("All exchanged denoisers", blocks, folded=True)


def against_noise_below(run: Run) -> list[Table]:
    """The gain with an exact denoiser above a level, minus that of the network with noise below this level only."""
    rows = run.claims[run.claims["claim"] == BELOW]
    body = []
    for edge, same in rows.groupby("band_low", sort=False):
        line = {"exact": f"above {number(edge)}"}
        for metric in METRICS[::-1]:
            found = one(same, metric=metric)
            line[metric_name(metric, run.features)] = "" if found is None else shown(run, found, named=False)
        body.append(line)
    if not body:
        return []
    text = (
        "With an exact denoiser above a level, noise there changes next to nothing. So its gain is compared with that "
        "of the network whose noise is put back below this level only. Above 0, less of the gain is left because the "
        f"errors are missing, not because the noise is. {images(rows['images_seen'].iloc[0])}."
    )
    return [table(pd.DataFrame(body), text, words=("exact",))]


def factorial(run: Run) -> list[Table]:
    """The gains with a denoiser that differs in one band, for each amount of noise and dose of the error."""
    rows = pooled(run.gains)
    rows = rows[rows["part"].isin(["band", "dose"]) & (rows["metric"] == DECIDES)]
    etas = sorted(set(rows["setting"]) - {FULL})
    if not etas:
        return []
    body = []
    keys = ["images_seen", "kind", "dose", "band_low"]
    for _, same in rows.sort_values(keys, ascending=[True, False, False, False]).groupby(keys, sort=False):
        row = same.iloc[0]
        what = "network" if row["dose"] == 1 else f"{number(row['dose'])} of its error"
        line = {"training images": cell("images_seen", row["images_seen"])}
        line["in the band"] = "exact" if row["kind"] == "exact" else what
        line["band of sigma"] = label(row)
        for eta in sorted([*etas, FULL]):
            found = same[same["setting"] == eta]
            line[eta] = "" if not len(found) else shown(run, found.iloc[0], named=False)
        line["samples"] = components.values(same, "n_samples")
        body.append(line)
    text = (
        f"Change of {metric_name(DECIDES, run.features)} by each amount of noise against none, with intervals over "
        "networks. Outside its band the denoiser is exact, or, where it is exact in the band, the network."
    )
    return [table(pd.DataFrame(body), text, words=("in the band", "band of sigma"))]


def error_sizes(run: Run) -> list[Figure]:
    """The error of each network on fresh inputs, by noise level."""
    rows = run.probes[(run.probes["probe"] == "size") & run.probes["images_seen"].notna()]
    if not len(rows):
        return []
    mean = rows.groupby(["images_seen", "sigma"], as_index=False)["value"].mean()
    figure, [[ax]] = figures.panels(1, 1, 2.5)
    colors = figures.few(lengths(run))
    n = number(rows["train_seed"].nunique(), 0)
    for length, same in mean.groupby("images_seen"):
        ax.plot(same["sigma"], same["value"], "o-", color=colors[length], markersize=4, label=images(length))
        for _, row in same.iterrows():
            at = f"{images(length)}, sigma {cell('sigma', row['sigma'])}"
            figures.target(ax, row["sigma"], row["value"], f"{at}: {number(row['value'])}, mean of {n} networks")
    figures.log_ticks(ax)
    ax.set(ylabel="error of F (rms)", xlabel=COLUMNS["sigma"].label)
    ax.set_ylim(bottom=0)
    text = (
        "Root mean square difference between network and exact denoiser on fresh inputs, in the network's raw output "
        f"F, whose target has a root mean square of 1. Means of {n} networks, {components.values(rows, 'n_samples')} "
        f"inputs each. {components.place(run)}"
    )
    alt = "Size of the networks' errors against the noise level."
    return [Figure("sizes", figures.named(figure), alt, text)]
