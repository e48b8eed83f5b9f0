"""Do inputs that look like training data explain the gain? Four interventions and measurements."""

import pandas as pd

from experiments.why_noise.page import gains
from experiments.why_noise.page.drawings import along_levels
from reports import components
from reports.document import Block, Figure, Prose, Section, table
from reports.formats import cell, listed, metric_name, number, percent
from reports.results import Run

CHANGE = "change by noise (interval)"


def inputs(run: Run) -> Section | None:
    """The section: errors on visited inputs, fresh starts, training on visited inputs, the norm of eps."""
    blocks = [*visited(run), *starts(run), *further(run), *norms(run)]
    text = "The first guess was that fresh noise keeps the inputs of the network as in training."
    return Section("Inputs like training data?", [Prose(text), *blocks]) if blocks else None


def visited(run: Run) -> list[Block]:
    """Squared errors on the network's own samples over those on fresh inputs, with noise over without noise."""
    longest, lead = gains.visited(run), "(a) Errors on visited inputs"
    if not len(longest):
        untested = Prose("not tested: one network gives no limits.", lead)
        return [untested] if (run.ratios["probe"] == "visited").any() else []
    low = longest[longest["sigma"] < gains.LOW]
    text = (
        f"below sigma {number(gains.LOW)}, noise lowers the error on visited inputs detectably at "
        f"{(low['high'] < 1).sum()} of {len(low)} levels and etas; anywhere, it raises the error at "
        f"{(longest['low'] > 1).sum()} of {len(longest)}."
    )

    def tip(row: pd.Series) -> str:
        limits = f"({number(row['low'])} to {number(row['high'])}), {number(row['n_networks'], 0)} networks"
        return f"ratio {number(row['value'])} {limits}"

    drawing = along_levels(longest, "eta", 2.9, "squared error, with noise ÷ without", tip)
    row = longest.iloc[0]
    caption = (
        f"Squared error of eps on the network's own samples, with noise divided by without noise, "
        f"{gains.images(row['images_seen'])}. Bands: {percent(row['level'])} limits for all levels and etas together "
        f"({row['interval'] or 'none'}). Below 1, noise keeps inputs closer to those of training."
    )
    alt = "Ratio of squared errors on visited inputs with noise to those without, against noise level."
    return [Prose(text, lead), Figure("visited", drawing, alt, f"{caption} {components.place(run)}")]


def starts(run: Run) -> list[Block]:
    """Sampling that starts at a lower level from new draws of the data plus noise."""
    rows, body = gains.of(run, "start"), []
    from_noise = pd.concat([gains.of(run, "whole"), gains.of(run, "where", setting=gains.EVERYWHERE)])
    for _, row in rows.iterrows():
        # with as many samples, because FD falls with their number
        full = gains.first(from_noise, n_samples=row["n_samples"], images_seen=row["images_seen"])
        body.append({
            "training images": cell("images_seen", row["images_seen"]),
            "starts at sigma": cell("band_high", row["band_high"]),
            **both_fds(row),
            "from noise: eta 0, eta 1": "" if full is None else ", ".join(both_fds(full).values()),
            CHANGE: gains.shown(run, row, named=False),
        })  # fmt: skip
    if not body:
        return []
    text = (
        "The network, started from new draws of the data plus noise of a lower level instead of from noise. The fall "
        "of FD is the cost of the errors above this level."
    )
    lead = Prose("what happens if sampling starts from perfect inputs of a lower level?", "(b) Fresh starts")
    return [lead, table(pd.DataFrame(body), components.caption(run, text))]


def both_fds(row: pd.Series) -> dict[str, str]:
    return {"FD, eta 0": cell("fd", row["value_0"]), "FD, eta 1": cell("fd", row["value"])}


def further(run: Run) -> list[Block]:
    """Networks trained further on visited inputs against networks trained further on fresh inputs."""
    rows = gains.of(run, "further")
    if not len(rows):
        return []
    texts = []
    for length in gains.lengths(run):
        parts = [gains.first(rows, images_seen=length, kind=kind) for kind in ("visited", "fresh")]
        parts.append(gains.claim(run, "visited − fresh inputs", length))
        if all(part is not None for part in parts):
            on_visited, on_fresh, difference = (gains.shown(run, part, named=False) for part in parts)
            texts.append(
                f"{gains.images(length)}: gain {on_visited} after further training on visited inputs, {on_fresh} "
                f"on fresh inputs; difference of the gains {difference}"
            )
    body = [
        {"denoiser": row["arm"], **both_fds(row), CHANGE: gains.shown(run, row, named=False)}
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


def norms(run: Run) -> list[Block]:
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
    n = number(longest["train_seed"].nunique(), 0)
    drawing = along_levels(
        means, "eta", 2.6, "norm of eps, visited ÷ fresh", lambda row: f"{number(row['value'])}, mean of {n} networks"
    )
    caption = f"Norm of eps on the network's own samples, divided by that on fresh inputs. {components.place(run)}"
    alt = "Norm of eps on visited inputs relative to fresh inputs, against noise level."
    return [Prose(text, "(d) Norm of eps"), Figure("norm", drawing, alt, caption)]
