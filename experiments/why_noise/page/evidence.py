"""The sections below the first screen. A part that the run did not measure is left out."""

import pandas as pd

from experiments.why_noise.page import gains
from experiments.why_noise.page.drawings import against_residual, along_levels, bands, exact_above
from experiments.why_noise.page.inputs import inputs
from experiments.why_noise.page.predictions import outcomes
from experiments.why_noise.page.tables import EXACT_ABOVE
from reports import components, tables
from reports.document import Block, Figure, Prose, Section, Table, table
from reports.formats import cell, listed, metric_name, number, plural
from reports.results import Run
from reports.schema import COLUMNS, FURTHER, METRICS

PREDICTED = {15_000, 45_000}  # training images of predictions 1 to 5
SHARES = {"copies": "copies", "near copies": "near_copies"}

KINDS = {"noise": "With noise against without, for each denoiser.", "control": "The A/A control."}


def sections(run: Run) -> list[Section | None]:
    """All sections, in order."""
    return [
        predictions(run),
        exchanges(run),
        known_errors(run),
        inputs(run),
        where(run),
        steps(run),
        every_exchange(run),
        yardsticks(run),
        components.glossary("eta", run.judge, "fd", *further(run), "precision", "recall"),
        components.training(run),
        tables.section(run, [], KINDS, ("network", "eta", "n_steps", "nfe")),
    ]


def predictions(run: Run) -> Section | None:
    """What was predicted before the run, and what came out."""
    body = [
        {"prediction": f"{one.number}. {one.text}", "outcome": one.outcome, "evidence": one.evidence}
        for one in outcomes(run)
    ]
    text = (
        "The rule of each prediction was fixed before the run, in docs/predictions.md. FD decides. 1 and 2: the gain "
        "minus half of the whole network’s; below 0 (1) or above 0 (2), it holds. 5: the gain minus the exact "
        "denoiser’s."
    )
    if run.rows["data"].str.startswith("mixture:").all() and set(gains.lengths(run)) != PREDICTED:
        text += (
            " They were made for the mixture of the digits, after 15,000 and 45,000 training images. Here their rules "
            "are applied to another run."
        )
    found = table(pd.DataFrame(body), text, words=("prediction", "outcome", "evidence"))
    return Section("Predictions", [found]) if body else None


def exchanges(run: Run) -> Section | None:
    """Where the errors are made that noise repairs: additivity, the sizes of errors, and the gains of exchanges."""
    rows = gains.of(run, "whole", "split")
    blocks: list[Block] = []
    for length in gains.lengths(run):
        summed = gains.claim(run, "sum of the bands − network", length)
        if summed is not None:
            word = "differs from" if summed["clear"] else "does not differ detectably from"
            lead = "Not additive" if summed["clear"] else "Additivity"
            blocks.append(Prose(
                f"the sum of the bands' gains, each beyond that of the exact denoiser, {word} the gain of the whole "
                f"network: difference {gains.shown(run, summed)}{gains.power(summed)}.",
                f"{lead}, {gains.images(length)}",
            ))  # fmt: skip
    blocks += error_sizes(run)
    blocks += [figure for figure in (bands(run), *exact_above(run)) if figure]
    blocks += against_noise_below(run)
    text = "Gains from noise, with denoisers that are exact everywhere, nowhere, at high or at low noise levels."
    return Section("Where the errors are made", [*blocks, gains.gain_table(run, rows, text)]) if len(rows) else None


def error_sizes(run: Run) -> list[Figure]:
    """The error of each network on fresh inputs, by noise level."""
    rows = run.probes[(run.probes["probe"] == "size") & run.probes["images_seen"].notna()]
    if not len(rows):
        return []
    means = rows.groupby(["images_seen", "sigma"], as_index=False)["value"].mean()
    n = number(rows["train_seed"].nunique(), 0)
    drawing = along_levels(
        means, "images_seen", 2.5, "error of F (rms)", lambda row: f"{number(row['value'])}, mean of {n} networks"
    )
    text = (
        "Root mean square difference between network and exact denoiser on fresh inputs, in the network's raw output "
        f"F, whose target has a root mean square of 1. Means of {n} networks, {components.values(rows, 'n_samples')} "
        f"inputs each. {components.place(run)}"
    )
    return [Figure("sizes", drawing, "Size of the networks' errors against the noise level.", text)]


def against_noise_below(run: Run) -> list[Table]:
    """The gain with an exact denoiser above a level, minus that of the network with noise below this level only."""
    rows = run.claims[run.claims["claim"] == EXACT_ABOVE]
    body = [
        {"exact": f"above {number(edge)}"}
        | {
            metric_name(metric, run.features): gains.shown(run, gains.first(same, metric=metric), named=False)
            for metric in run.metrics[::-1]
        }
        for edge, same in rows.groupby("band_low", sort=False)
    ]
    if not body:
        return []
    text = (
        "With an exact denoiser above a level, noise there changes next to nothing. So its gain is compared with that "
        "of the network whose noise is put back below this level only. Above 0, less of the gain remains because the "
        f"errors are missing, not because the noise is. {gains.images(rows['images_seen'].iloc[0])}."
    )
    return [table(pd.DataFrame(body), text, words=("exact",))]


def known_errors(run: Run) -> Section | None:
    """Consistent and inconsistent errors, and the gap against the Fokker-Planck residual."""
    rows = gains.of(run, "consistent", "inconsistent")
    if not len(rows):
        return None
    text = (
        "A wrong mixture at all levels is the exact denoiser of other data: a consistent error. The same at some "
        "levels only, eps of the wrong size, or a smooth field is inconsistent: it is the denoiser of no data."
    )
    made = gains.gain_table(run, rows, "Gains from noise with errors of known form added to the exact denoiser.")
    return Section("Consistent and inconsistent errors", [Prose(text), *against_residual(run), made])


def where(run: Run) -> Section | None:
    """Noise put back at some noise levels only."""
    rows = gains.of(run, "where", setting=None)
    if not len(rows):
        return None
    blocks: list[Block] = []
    for length in gains.lengths(run):
        part = gains.claim(run, "noise below − 0.75 everywhere", length)
        if part is not None:
            text = "gain of noise at low levels only, minus 0.75 of that of noise everywhere: "
            text += f"{gains.shown(run, part)}."
            blocks.append(Prose(text, f"Prediction, {gains.images(length)}"))
    blocks.append(gains.gain_table(run, rows, "Noise put back in one range of levels only, against no noise."))
    if len(run.copies):
        blocks.append(copies(run))
    return Section("Where must noise be put back?", blocks)


def copies(run: Run) -> Table:
    """The share of samples that are copies of training images."""
    body = [
        {"denoiser": arm, "setting": setting}
        | {f"share of {name}": number(same[column].mean(), 3) for name, column in SHARES.items()}
        for (arm, setting), same in run.copies.groupby(["arm", "setting"], sort=False)
    ]
    text = (
        "Samples that are copies of training images: the nearest one is at most a third as far away as the second "
        "nearest; near copies: at most 0.9 as far. Some held-out images meet this rule by chance. Only a larger share "
        f"points to copying. Means over {plural(run.rows['train_seed'].nunique(), 'network')}. Copies have small "
        "distances to the training images, whatever the denoiser is worth."
    )
    return table(pd.DataFrame(body), text, words=("denoiser", "setting"))


def steps(run: Run) -> Section | None:
    """The exact denoiser and the network on shorter and longer ladders."""
    rows, main = gains.of(run, "steps"), gains.of(run, "whole")
    if not len(rows):
        return None
    rows = pd.concat([rows, main[(main["arm"] == "exact") | main["images_seen"].isin(gains.lengths(run)[-1:])]])
    title, exact = "Are the steps too large?", rows[rows["kind"] == "exact"]
    if not len(exact):
        return Section(title, [gains.gain_table(run, rows, "Gains from noise on several ladders.")])
    clear = exact[exact["clear"].fillna(False).astype(bool) & (exact["difference"] < 0)].sort_values("n_steps")
    text = (
        f"with an exact denoiser noise helps at {listed(number(n, 0) for n in clear['n_steps'])} steps, so large steps "
        "are part of the cause."
        if len(clear)
        else "with an exact denoiser no gain from noise is detectable, so large steps are not shown to be a cause."
    )
    ordered = rows.sort_values(["kind", "n_steps"])
    return Section(
        title, [Prose(text, "Steps"), gains.gain_table(run, ordered, "Gains from noise on ladders of several lengths.")]
    )


def every_exchange(run: Run) -> Section | None:
    """The gains of all exchanged denoisers, for reference."""
    rows = gains.of(run, "above", "band", "dose").drop_duplicates(["arm", "setting"])
    if not len(rows):
        return None
    made = gains.gain_table(run, rows, "Gains from noise with denoisers that are exchanged in a band or above a level.")
    return Section("All exchanged denoisers", [made], folded=True)


def further(run: Run) -> list[str]:
    """The yardsticks besides the metrics that this run has."""
    return [name for name in FURTHER if (run.gains["metric"] == name).any()]


def yardsticks(run: Run) -> Section | None:
    """All yardsticks of the main denoisers."""
    rows = gains.of(run, "whole", "split")
    measured = [*run.metrics[::-1], *further(run)]
    if not len(rows) or not set(measured) - set(METRICS):
        return None
    body = []
    for _, row in rows.iterrows():
        by_metric = {metric: gains.in_metric(run, row, metric) for metric in measured}
        body.append({"denoiser": row["arm"]} | {
            COLUMNS[metric].label: f"{cell(metric, gain['value_0'])}: {gains.shown(run, gain, named=False)}"
            for metric, gain in by_metric.items() if gain is not None
        })  # fmt: skip
    text = (
        "Each yardstick without noise, and its change by noise with the interval. Lower is better for each. With a "
        "known mixture, the component mix of true draws is about 1, and their log density gap is near 0."
    )
    return Section("Other yardsticks", [table(pd.DataFrame(body).fillna(""), text, words=("denoiser",))], folded=True)
