"""The sections of the report on `why_noise`."""

import pandas as pd

from reports import components, figures, tables
from reports.columns import COLUMNS, FURTHER, METRICS
from reports.document import Figure, Prose, Section, Table, table
from reports.formats import cell, interval, listed, missing, number, plural
from reports.pages.why_noise import opening as first_screen
from reports.pages.why_noise.exchanges import every_exchange, exchanges
from reports.pages.why_noise.gain_table import gain_table, same_but
from reports.pages.why_noise.inputs import inputs
from reports.pages.why_noise.predictions import outcomes
from reports.pages.why_noise.select import claim, gains, images, lengths, shown
from reports.results import Run, pooled

opening = first_screen.opening
PREDICTED = {15_000, 45_000}  # training images of predictions 1 to 5
YARDSTICKS = ("fd", "kd", *FURTHER)


def sections(run: Run) -> list[Section | None]:
    """The sections below the first screen. A part that the run did not measure is left out."""
    return [
        predictions(run),
        exchanges(run),
        known_errors(run),
        inputs(run),
        where(run),
        steps(run),
        every_exchange(run),
        yardsticks(run),
        components.glossary("eta", "fd", "kd", *FURTHER, "precision", "recall"),
        components.training(run),
        numbers(run),
    ]


def predictions(run: Run) -> Section | None:
    """What was predicted before the run, and what came out."""
    found = outcomes(run)
    if not found:
        return None
    body = pd.DataFrame([{"prediction": o.name, "outcome": o.outcome, "evidence": o.evidence} for o in found])
    text = (
        "The rule of each prediction was fixed before the run, in docs/predictions.md. FD decides. 1 and 2: the gain "
        "minus half of the whole network’s; below 0 (1) or above 0 (2), it holds. 5: the gain minus the exact "
        "denoiser’s."
    )
    if run.rows["data"].str.startswith("mixture:").all() and set(lengths(run)) != PREDICTED:
        text += (
            " They were made for the mixture of the digits, after 15,000 and 45,000 training images. Here their rules "
            "are applied to another run."
        )
    return Section("Predictions", [table(body, text, words=("prediction", "outcome", "evidence"))])


def known_errors(run: Run) -> Section | None:
    """Consistent and inconsistent errors, and the gap against the Fokker-Planck residual."""
    rows = pd.concat([gains(run, "consistent"), gains(run, "inconsistent")])
    if not len(rows):
        return None
    text = (
        "A wrong mixture at all levels is the exact denoiser of other data: a consistent error. The same at some "
        "levels only, eps of the wrong size, or a smooth field is inconsistent: it is the denoiser of no data."
    )
    blocks: list[Prose | Figure | Table] = [Prose(text)]
    blocks += against_residual(run)
    blocks.append(gain_table(run, rows, "Gains from noise with errors of known form added to the exact denoiser."))
    return Section("Consistent and inconsistent errors", blocks)


def against_residual(run: Run) -> list[Figure]:
    """The size of the gap between the samplers against the Fokker-Planck residual of the denoiser."""
    probes = run.probes[(run.probes["probe"] == "residual") & run.probes["sigma"].isna()]
    rows = gains(run).merge(probes[["arm", "value"]].rename(columns={"value": "residual"}), on="arm")
    rows = rows[rows["n_steps"].isin(gains(run, "whole")["n_steps"])]
    if len(rows) < 3:
        return []
    figure, [[ax]] = figures.panels(1, 1, 3.2)
    ax.axhline(0, color=figures.INK, linewidth=0.8)
    looks = {"above": figures.BLUE, "below": figures.ORANGE, "everywhere": figures.INK}
    for _, row in rows.iterrows():
        place = "above" if missing(row["band_high"]) and row["band_low"] > 0 else "below"
        place = "everywhere" if missing(row["band_high"]) and row["band_low"] == 0 else place
        x = max(row["residual"], 0) ** 0.5
        ax.errorbar(x, row["difference"], [[row["difference"] - row["low"]], [row["high"] - row["difference"]]],
                    fmt="o", color=looks[place], markersize=5, elinewidth=1.2, label=place)  # fmt: skip
        figures.target(ax, x, row["difference"], f"{row['arm']}: residual {number(x)}, {shown(run, row)}")
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


def where(run: Run) -> Section | None:
    """Noise put back at some noise levels only."""
    rows = pooled(run.gains)
    rows = rows[(rows["part"] == "where") & (rows["metric"] == "fd")]
    if not len(rows):
        return None
    blocks: list[Prose | Figure | Table] = []
    for length in lengths(run):
        found = claim(run, "noise below − 0.75 everywhere", length)
        if found is not None:
            text = f"gain of noise at low levels only, minus 0.75 of that of noise everywhere: {shown(run, found)}."
            blocks.append(Prose(text, f"Prediction, {images(length)}"))
    blocks.append(gain_table(run, rows, "Noise put back in one range of levels only, against no noise."))
    if len(run.copies):
        blocks.append(copied(run))
    return Section("Where must noise be put back?", blocks)


def copied(run: Run) -> Table:
    """The share of samples that are copies of training images."""
    body = [
        {"denoiser": arm, "setting": setting}
        | {COLUMNS[name].label: cell(name, same[name].mean()) for name in ("copies", "near_copies")}
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
    rows = gains(run, "steps")
    if not len(rows):
        return None
    main = gains(run, "whole")
    rows = pd.concat([rows, main[main["arm"].isin(["exact"]) | main["images_seen"].isin(lengths(run)[-1:])]])
    if not (rows["kind"] == "exact").any():
        return Section("Are the steps too large?", [gain_table(run, rows, "Gains from noise on several ladders.")])
    exact = rows[(rows["kind"] == "exact") & rows["clear"].fillna(False).astype(bool)]
    helped = [number(n, 0) for n in exact[exact["difference"] < 0].sort_values("n_steps")["n_steps"]]
    text = (
        f"with an exact denoiser noise helps at {listed(helped)} steps, so large steps are part of the cause."
        if helped
        else "with an exact denoiser no gain from noise is detectable, so large steps are not shown to be a cause."
    )
    shown_rows = rows.sort_values(["kind", "n_steps"])
    blocks: list[Prose | Figure | Table] = [
        Prose(text, "Steps"),
        gain_table(run, shown_rows, "Gains from noise on ladders of several lengths."),
    ]
    return Section("Are the steps too large?", blocks)


def yardsticks(run: Run) -> Section | None:
    """All yardsticks of the main denoisers."""
    rows = pd.concat([gains(run, "whole"), gains(run, "split")])
    measured = [name for name in YARDSTICKS if (run.gains["metric"] == name).any()]
    if not len(rows) or not set(measured) - set(METRICS):
        return None
    body = []
    for _, row in rows.iterrows():
        line = {"denoiser": row["arm"]}
        for metric in measured:
            found = same_but(run, row, metric)
            if found is not None:
                size = interval(metric, found["difference"], found["low"], found["high"])
                line[f"{COLUMNS[metric].label}"] = f"{cell(metric, found['value_0'])}: {size}"
        body.append(line)
    text = (
        "Each yardstick without noise, and its change by noise with the interval. Lower is better for each. With a "
        "known mixture, the component mix of true draws is about 1, and their log density gap is near 0."
    )
    return Section("Other yardsticks", [table(pd.DataFrame(body).fillna(""), text, words=("denoiser",))], folded=True)


def numbers(run: Run) -> Section:
    """The tables."""
    blocks = []
    for kind, text in (("noise", "With noise against without, for each denoiser."), ("control", "The A/A control.")):
        if len(found := run.of_kind(kind)):
            if kind == "noise":
                found = found.assign(a=found["mode"] + ": " + found["a"])
            blocks.append(tables.contrast_list(run, found, f"{text} Means over networks."))
    every = tables.runs(run, ("network", "eta", "n_steps", "nfe"))
    return Section("Tables", [*blocks, tables.setting(run), *tables.floors(run), *every], folded=True)
