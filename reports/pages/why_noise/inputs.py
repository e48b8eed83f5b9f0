"""Do inputs that look like training data explain the gain? Four interventions and measurements."""

import pandas as pd

from reports import components, figures
from reports.columns import COLUMNS
from reports.document import Figure, Prose, Section, Table, table
from reports.formats import cell, interval, listed, metric_name, number, percent
from reports.pages.why_noise.select import EVERYWHERE, LOW, claim, gains, images, lengths, one, shown
from reports.results import Run


def inputs(run: Run) -> Section | None:
    """The section: errors on visited inputs, fresh starts, training on visited inputs, the norm of eps."""
    blocks: list[Prose | Figure | Table] = [
        *visited(run), *starts(run), *further(run), *norms(run)
    ]  # fmt: skip
    if not blocks:
        return None
    text = "The first guess was that fresh noise keeps the inputs of the network as in training."
    return Section("Inputs like training data?", [Prose(text), *blocks])


def visited(run: Run) -> list[Prose | Figure | Table]:
    """Squared errors on the network's own samples over those on fresh inputs, with noise over without noise."""
    found = run.ratios[run.ratios["probe"] == "visited"]
    if not len(found):
        return []
    longest = found[(found["images_seen"] == found["images_seen"].max()) & found["high"].notna()]
    if not len(longest):
        return [Prose("not tested: one network gives no limits.", "(a) Errors on visited inputs")]
    low = longest[longest["sigma"] < LOW]
    smaller = low[low["high"] < 1]
    larger = longest[longest["low"] > 1]
    text = (
        f"below sigma {number(LOW)}, noise lowers the error on visited inputs detectably at {len(smaller)} of "
        f"{len(low)} levels and etas; anywhere, it raises the error at {len(larger)} of {len(longest)}."
    )
    figure, [[ax]] = figures.panels(1, 1, 2.9)
    ax.axhline(1, color=figures.INK, linewidth=0.8)
    colors = figures.shades(longest["eta"])
    for eta, same in longest.groupby("eta"):
        same = same.sort_values("sigma")
        ax.plot(same["sigma"], same["value"], "o-", color=colors[eta], markersize=4, label=f"eta {number(eta)}")
        ax.fill_between(same["sigma"], same["low"], same["high"], color=colors[eta], alpha=0.15, linewidth=0)
        for _, row in same.iterrows():
            text_of = f"eta {number(eta)}, sigma {cell('sigma', row['sigma'])}: ratio {number(row['value'])}"
            limits = f"({number(row['low'])} to {number(row['high'])}), {number(row['n_networks'], 0)} networks"
            figures.target(ax, row["sigma"], row["value"], f"{text_of} {limits}")
    figures.log_ticks(ax)
    ax.set(ylabel="squared error, with noise ÷ without", xlabel=COLUMNS["sigma"].label)
    first = longest.iloc[0]
    caption = (
        f"Squared error of eps on the network's own samples, with noise divided by without noise, "
        f"{images(first['images_seen'])}. Bands: {percent(first['level'])} limits for all levels and etas together "
        f"({first['interval'] or 'none'}). Below 1, noise keeps inputs closer to those of training."
    )
    alt = "Ratio of squared errors on visited inputs with noise to those without, against noise level."
    return [
        Prose(text, "(a) Errors on visited inputs"),
        Figure("visited", figures.named(figure), alt, f"{caption} {components.place(run)}"),
    ]


def starts(run: Run) -> list[Prose | Figure | Table]:
    """Sampling that starts at a lower level from new draws of the data plus noise."""
    rows, body = gains(run, "start"), []
    if not len(rows):
        return []
    for _, row in rows.iterrows():
        full = from_noise(run, row)
        body.append({
            "training images": cell("images_seen", row["images_seen"]),
            "starts at sigma": cell("band_high", row["band_high"]),
            "FD, eta 0": cell("fd", row["value_0"]),
            "FD, eta 1": cell("fd", row["value"]),
            "from noise: eta 0, eta 1":
                "" if full is None else f"{cell('fd', full['value_0'])}, {cell('fd', full['value'])}",
            "change by noise (interval)": interval("fd", row["difference"], row["low"], row["high"]),
        })  # fmt: skip
    text = (
        "The network, started from new draws of the data plus noise of a lower level instead of from noise. The fall "
        "of FD is the cost of the errors above this level."
    )
    return [Prose("what happens if sampling starts from perfect inputs of a lower level?", "(b) Fresh starts"),
            table(pd.DataFrame(body), components.caption(run, text))]  # fmt: skip


def from_noise(run: Run, start: pd.Series) -> pd.Series | None:
    """The gain of the same network from the first level on, with as many samples: FD falls with their number."""
    rows = pd.concat([gains(run, "whole"), gains(run, "where", setting=EVERYWHERE)])
    return one(rows[rows["n_samples"] == start["n_samples"]], images_seen=start["images_seen"])


def further(run: Run) -> list[Prose | Figure | Table]:
    """Networks trained further on visited inputs against networks trained further on fresh inputs."""
    rows = gains(run, "further")
    if not len(rows):
        return []
    texts = []
    for length in lengths(run):
        here = {row["kind"]: row for _, row in rows[rows["images_seen"] == length].iterrows()}
        difference = claim(run, "visited − fresh inputs", length)
        if {"visited", "fresh"} <= set(here) and difference is not None:
            texts.append(
                f"{images(length)}: gain {shown(run, here['visited'], named=False)} after further training on visited "
                f"inputs, {shown(run, here['fresh'], named=False)} on fresh inputs; difference of the gains "
                f"{shown(run, difference, named=False)}"
            )
    body = [
        {
            "denoiser": row["arm"],
            "FD, eta 0": cell("fd", row["value_0"]),
            "FD, eta 1": cell("fd", row["value"]),
            "change by noise (interval)": interval("fd", row["difference"], row["low"], row["high"]),
        }
        for _, row in rows.iterrows()
    ]
    text = (
        "Networks trained further with the exact eps as the target, on inputs that they visit without noise or on as "
        "many fresh inputs at the same levels."
    )
    return [
        Prose(f"{'; '.join(texts)}.", f"(c) Training on visited inputs, change of {metric_name('fd', run.features)}"),
        table(pd.DataFrame(body), components.caption(run, text), words=("denoiser",)),
    ]


def norms(run: Run) -> list[Prose | Figure | Table]:
    """The norm of eps on the network's own samples over that on fresh inputs."""
    rows = run.probes[(run.probes["probe"] == "norm") & run.probes["sigma"].notna()]
    if not len(rows):
        return []
    longest = rows[rows["images_seen"] == rows["images_seen"].max()]
    means = longest.groupby(["eta", "sigma"], as_index=False)["value"].mean()
    plain = longest[longest["eta"] == 0].groupby("sigma")["value"].agg(["min", "max"])  # over networks
    signs = [f"too large at {(plain['min'] > 1.002).sum()}", f"too small at {(plain['max'] < 0.998).sum()}"]
    text = (
        f"without noise, the norm of eps is {listed(signs)} of {len(plain)} levels (by more than 0.2 % with each "
        "network). Where it is too large, eps should be scaled down, and where it is too small, scaled up."
    )
    figure, [[ax]] = figures.panels(1, 1, 2.6)
    ax.axhline(1, color=figures.INK, linewidth=0.8)
    colors = figures.shades(means["eta"])
    for eta, same in means.groupby("eta"):
        ax.plot(same["sigma"], same["value"], "o-", color=colors[eta], markersize=4, label=f"eta {number(eta)}")
        for _, row in same.iterrows():
            n = number(longest["train_seed"].nunique(), 0)
            tip = (
                f"eta {number(eta)}, sigma {cell('sigma', row['sigma'])}: {number(row['value'])}, mean of {n} networks"
            )
            figures.target(ax, row["sigma"], row["value"], tip)
    figures.log_ticks(ax)
    ax.set(ylabel="norm of eps, visited ÷ fresh", xlabel=COLUMNS["sigma"].label)
    caption = f"Norm of eps on the network's own samples, divided by that on fresh inputs. {components.place(run)}"
    return [Prose(text, "(d) Norm of eps"), Figure("norm", figures.named(figure),
            "Norm of eps on visited inputs relative to fresh inputs, against noise level.", caption)]  # fmt: skip
