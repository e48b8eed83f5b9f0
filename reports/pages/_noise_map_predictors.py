"""The part of the report on `noise_levels --map` on the gain from noise: do P_mean or error profiles predict it?"""

import pandas as pd

from reports import components, figures
from reports.document import Figure, Prose, Section, Table, table
from reports.formats import cell, interval, missing, number, percent
from reports.results import Run, pooled

HIGH = (2.85, 30.0)  # the band of sigma that the prediction on error profiles speaks of
RANKS = "rank correlation of −gain with the error"
# what docs/predictions.md fixed: P_means, P_std, training images
PREDICTED, P_STD, TRAINED = {-1.7, -1.1, -0.507, 0.1, 0.7}, 1.2, 36_000


def predictions(run: Run) -> Section | None:
    """What error profiles and P_mean say about the gain from noise."""
    if not len(run.claims):
        return None
    rows = run.claims[run.claims["metric"] == "fd"]
    blocks: list[Prose | Figure | Table] = []
    p_means = {round(value, 3) for value in run.rows["p_mean"].dropna()}
    tested = p_means >= PREDICTED and of_default(run)["p_std"] == P_STD
    trend = rows[rows["images_seen"].notna() & (rows["images_seen"] >= TRAINED) & tested]
    for _, row in trend.iterrows():
        held = None if missing(row["low"]) else bool(row["low"] > 0)
        size = interval("fd", row["difference"], row["low"], row["high"], f"{percent(row['level'])} interval ")
        blocks.append(Prose(
            f"{outcome(held)}. Mean gain with higher P_mean minus with lower P_mean, FD: {size}; above 0 was expected.",
            "8. Networks that see more high noise levels gain less from noise"
            + ("" if row["images_seen"] == TRAINED else f", {cell('images_seen', row['images_seen'])} images"),
        ))  # fmt: skip
    correlations = rows[(rows["claim"] == RANKS) & (rows["p_std"] == P_STD) & tested]
    for _, row in correlations[correlations["band_low"] == HIGH[0]].iterrows():
        largest = row["difference"] >= correlations["difference"].max()
        held = None if missing(row["low"]) else bool(row["low"] > 0 and row["difference"] >= 0.5 and largest)
        blocks.append(Prose(
            f"{outcome(held)}. Mean rank correlation over seeds: {correlation(row)}; at least 0.5 was expected."
            + ("" if largest else " The error at other levels ranks them better."),
            "9. The error at high levels ranks networks by their gain",
        ))  # fmt: skip
    if not blocks:
        text = "predictions 8 and 9 are about P_means from −1.7 to 0.7, P_std 1.2 and 36,000 training images."
        blocks.append(Prose(text, "Not tested"))
    body = [
        {
            "comparison": comparison(row),
            "training images": cell("images_seen", row["images_seen"]),
            "FD": correlation(row)
            if missing(row["images_seen"])
            else interval("fd", row["difference"], row["low"], row["high"]),
            "networks per setting": number(row["n_networks"], 0),
        }
        for _, row in rows.iterrows()
    ]
    text = "Means over seeds with t intervals. The rules were fixed before the run, in docs/predictions.md."
    return Section("Predictions", [*blocks, table(pd.DataFrame(body), text, words=("comparison",))])


def comparison(row: pd.Series) -> str:
    """What a claim compares, in words."""
    if row["claim"] != RANKS:
        return str(row["claim"])
    among = "all settings" if missing(row["p_std"]) else f"P_std {number(row['p_std'])}"
    return f"{RANKS} at sigma {number(row['band_low'])} to {number(row['band_high'])}, {among}"


def outcome(held: bool | None) -> str:
    return "Not tested, too few networks" if held is None else "Held" if held else "Failed"


def correlation(row: pd.Series) -> str:
    """A rank correlation with its interval."""
    low, high = max(row["low"], -1), min(row["high"], 1)
    limits = "" if missing(row["low"]) else f" ({number(low, 2)} to {number(high, 2)})"
    return f"{number(row['difference'], 2)}{limits}"


def gains(run: Run) -> Section | None:
    """The gain of each setting against its error at high noise levels."""
    rows = pooled(run.of_kind("noise"))
    rows = rows[rows["metric"] == "fd"]
    if not len(rows) or not len(run.curves) or "images_seen" not in run.curves:
        return None
    inside = run.curves[run.curves["sigma"].between(*HIGH)]
    errors = inside.groupby(["train_noise", "images_seen"])["relative_error"].mean()
    lengths = sorted(rows["images_seen"].unique())
    looks = figures.few(lengths)
    figure, [[ax]] = figures.panels(1, 1, 3.2)
    ax.axhline(0, color=figures.INK, linewidth=0.8)
    for _, row in rows.iterrows():
        x = errors.get((row["train_noise"], row["images_seen"]))
        if x is None:
            continue
        ends = [[row["difference"] - row["low"]], [row["high"] - row["difference"]]]
        label = f"{cell('images_seen', row['images_seen'])} training images"
        ax.errorbar(x, row["difference"], ends, fmt="o", color=looks[row["images_seen"]], markersize=5,
                    elinewidth=1.1, label=label)  # fmt: skip
        size = interval("fd", row["difference"], row["low"], row["high"])
        figures.target(ax, x, row["difference"], f"{row['mode']}: {size}")
    figures.under_one_legend(figure)
    ax.set(
        xlabel=f"held-out error at sigma {number(HIGH[0])} to {number(HIGH[1])} (mean)", ylabel="change of FD by noise"
    )
    text = "Change of FD by noise against the error at high noise levels, one mark per setting. Below 0, noise helps."
    alt = "Change of Fréchet distance by noise against held-out error at high noise levels."
    caption = components.caption(run, text, run.of_kind("noise"))
    return Section("Gain from noise against the error", [Figure("gains", figure, alt, caption)])


def of_default(run: Run) -> pd.Series:
    """The first planned row: one of the default distribution."""
    return run.rows[run.rows["mode"] != "control"].iloc[0]
