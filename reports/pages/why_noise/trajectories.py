"""The sections of `why_noise` on what happens during sampling: inputs, contraction, errors, noise level."""

import pandas as pd

from reports import components, figures, tips
from reports.document import Figure, Prose, Section, Table, table
from reports.formats import listed, number
from reports.pages.why_noise.attribution import main_steps, probe
from reports.pages.why_noise.mechanisms import (
    SURE,
    responses,
    verdict_on_contraction,
    verdict_on_corrections,
    verdict_on_inputs,
    verdict_on_response,
)
from reports.results import Run
from reports.sentences import capital


def inputs(run: Run) -> Section | None:
    """The section on the error at the samples, divided by the error at training-like inputs."""
    rows = probe(run, "visited")
    if not len(rows):
        return None
    figure, [[ax]] = figures.panels(1, 1, 3.4)
    probe_lines(
        rows.assign(name=rows["eta"].map(lambda eta: "control: fresh inputs" if eta < 0 else f"eta {number(eta)}")), ax
    )
    ax.axhline(1, color=figures.INK, linewidth=0.8)
    figures.log_ticks(ax)
    ax.invert_xaxis()
    ax.set(xlabel="sigma", ylabel="error ratio", yscale="log")
    figures.plain_ticks(ax)
    text = (
        "Squared error of the trained denoiser's eps at the samples, divided by that at training-like inputs (fresh "
        "x0 + sigma n) of the same sigma. 1 means: as in training. One line per network; bars: ± 2 s.e. over samples. "
        "Sampling runs from left to right."
    )
    drawing = Figure("inputs", figures.named(figure), "Error ratio against sigma, one line per eta.", text)
    prediction = (
        "If noise keeps the inputs like the training inputs, the error ratio rises during sampling without noise, and "
        "stays near 1 with noise."
    )
    verdict = verdict_on_inputs(run)
    return Section(
        "Do inputs stay like the training inputs?",
        [Prose(prediction, "Prediction"), Prose(f"{capital(verdict[0])}. {verdict[1]}".strip(), "Verdict"), drawing],
    )


def probe_lines(rows: pd.DataFrame, ax: figures.Axes) -> None:
    """Draws values with bars of two standard errors against sigma: one line per name and network."""
    looks = dict(zip(dict.fromkeys(rows["name"]), figures.PALETTE, strict=False))
    for (name, _), same in rows.groupby(["name", "train_seed"], sort=False):
        label = name if same["train_seed"].iloc[0] == rows["train_seed"].iloc[0] else None
        ax.errorbar(
            same["sigma"], same["value"], yerr=SURE * same["se"], color=looks[name], label=label, linewidth=1,
            elinewidth=0.7, marker="o", markersize=2.5,
        )  # fmt: skip
        for _, row in same.iterrows():
            figures.target(ax, row["sigma"], row["value"], tips.of_probe(row, name))


def contraction(run: Run) -> Section | None:
    """The section on contraction: the distance between two samples that share their noise."""
    if not len(run.probes[run.probes["probe"] == "contraction"]):
        return None
    figure, [axes] = figures.panels(1, 2, 3.4)
    for ax, name in zip(axes, ("exact", "trained"), strict=True):
        rows = probe(run, "contraction", name)
        rows = rows[rows["train_seed"] == rows["train_seed"].min()]
        looks = figures.shades(rows["eta"])
        for (eta, start), same in rows.groupby(["eta", "start"]):
            label = f"eta {number(eta)}" if start == rows["start"].max() else None
            ax.plot(same["sigma"], same["value"], color=looks[eta], label=label, marker="o", markersize=2.5)
            for _, row in same.iterrows():
                figures.target(ax, row["sigma"], row["value"], tips.of_probe(row, f"pushed at sigma {number(start)}"))
        figures.log_ticks(ax)
        ax.invert_xaxis()
        ax.set(yscale="log", xlabel="sigma", ylabel="distance divided by the push", title=f"{name} denoiser")
    text = (
        "Distance between two samples that share all noise. One of the two was pushed a little at the first, a middle "
        "or a late level. Network of the first seed. Both axes are logarithmic. Sampling runs from left to right."
    )
    drawing = Figure("contraction", figures.named(figure), "Distance against sigma, one line per eta.", text)
    prediction = "If noise shrinks earlier errors, less of a push is left at the end with noise than without."
    verdict = verdict_on_contraction(run)
    return Section(
        "Does noise contract errors?",
        [Prose(prediction, "Prediction"), Prose(f"{capital(verdict[0])}. {verdict[1]}".strip(), "Verdict"), drawing],
    )


def response(run: Run) -> Section | None:
    """The section on the error made on each stretch of the ladder, and on whether its sum predicts the winner."""
    found = responses(run)
    if not found:
        return None
    figure, [axes] = figures.panels(1, 2, 3.3)
    for ax, name, title in zip(axes, ("made", "left"), ("error made", "share of it left at the end"), strict=True):
        rows = probe(run, name)
        rows = rows.assign(sigma=rows["start"])
        probe_lines(rows.assign(name=rows["eta"].map(lambda eta: f"eta {number(eta)}")), ax)
        figures.log_ticks(ax)
        ax.invert_xaxis()
        ax.set(yscale="log", xlabel="sigma at the start of the stretch", ylabel=title)
        figures.plain_ticks(ax)
    text = (
        "The trained denoiser. Left: the error made on each stretch of the ladder, that is, the distance to the sample "
        "that takes this stretch with the exact denoiser. Right: the share of this error that is left in the final "
        "sample. One line per network; bars: ± 2 s.e. over samples. Sampling runs from left to right."
    )
    drawing = Figure("response", figures.named(figure), "Error made and left against sigma, by eta.", text)
    body = [
        {
            "denoiser": one.label,
            "sum, eta 1 ÷ eta 0": listed(f"{number(r, 2)} ± {number(SURE * se, 2)}" for r, se in one.ratios),
            "distance, eta 1 ÷ eta 0": listed(number(value, 2) for value in one.real.values()),
            "sum ÷ distance, eta 0": listed(number(value, 2) for value in one.linear.values()),
            "predicted winner": one.predicted,
            "measured": one.winner or "not detectable",
        }
        for one in found
    ]
    shown = (
        "Sum: the parts of the errors of all stretches that are left at the end, added as vectors. Distance: between "
        "the samples of this denoiser and of the exact denoiser, with the same noise. For small errors the sum equals "
        f"the distance. One number per network, ± {number(SURE)} s.e. over samples. Measured: the winner by the "
        "denoiser's part of the difference in KD, if it is detectable and FD has the same sign."
    )
    prediction = (
        "If noise helps because it shrinks earlier errors more than it adds new errors, then the eta with the smaller "
        "error left at the end scores better."
    )
    verdict = verdict_on_response(run)
    blocks: list[Prose | Figure | Table] = [Prose(prediction, "Prediction")]
    blocks += [Prose(f"{capital(verdict[0])}. {verdict[1]}".strip(), "Verdict"), drawing]
    words = ("denoiser", "predicted winner", "measured")
    return Section(
        "Does error times contraction predict the winner?", [*blocks, table(pd.DataFrame(body), shown, words=words)]
    )


def bookkeeping(run: Run) -> Section | None:
    """The section on the actual noise level of samples, divided by the level of the ladder."""
    rows = run.probes[run.probes["probe"] == "level"]
    if not len(rows):
        return None
    figure, [axes] = figures.panels(1, 2, 3.2)
    for ax, name in zip(axes, ("exact", "trained"), strict=True):
        same = rows[rows["denoiser"] == name]
        probe_lines(same.assign(name=same["eta"].map(lambda eta: f"eta {number(eta)}")), ax)
        ax.axhline(1, color=figures.INK, linewidth=0.8)
        figures.log_ticks(ax)
        ax.invert_xaxis()
        ax.set(xlabel="sigma", ylabel="actual ÷ tracked sigma", title=f"{name} denoiser")
    text = (
        "Actual noise level of the samples divided by the level of the ladder. The actual level is the most likely one "
        "under the true distribution. One line per network or seed; bars: ± 2 s.e. over samples. The search covers "
        "ratios from 0.74 to 1.35. Sampling runs from left to right."
    )
    drawing = Figure(
        "bookkeeping", figures.named(figure), "Actual noise level divided by the level of the ladder.", text
    )
    prediction = (
        "If noise helps because it hides a wrong noise level, a correction without noise does as well: another level "
        "for the network, a re-estimated level, or a scaled eps."
    )
    verdict = verdict_on_corrections(run)
    tried = run.of_kind("correction")
    groups = {mode: tried[tried["mode"] == mode] for mode in tried["mode"].unique()}
    shown = (
        f"Corrections without noise against eta 0, on {main_steps(run)} steps. eps × s: the estimated noise is scaled "
        "by s (1 / s is lambda of Ning et al. 2023, arXiv 2308.15321, who take s below 1). sigma × s below 1: below "
        "sigma 1, samples are assumed to have s times the ladder's level (after Li et al. 2023, arXiv 2305.15583). "
        "sigma re-estimated: from the size of the estimated noise at each step (Kadkhodaie & Simoncelli 2020, arXiv "
        "2007.13640, beta 1). This estimate is too small at low sigma for data that fill the space, like this mixture."
    )
    blocks: list[Prose | Figure | Table] = [Prose(prediction, "Prediction")]
    blocks += [Prose(f"{capital(verdict[0])}. {verdict[1]}".strip(), "Verdict"), drawing]
    return Section(
        "Do samples have the noise level of the ladder?",
        [*blocks, *components.forest(run, "corrections", groups, shown)],
    )


def where(run: Run) -> Section | None:
    """The section on noise that is put back in one range of levels only."""
    rows = run.of_kind("where")
    if not len(rows):
        return None
    text = (
        "Noise (eta 1) put back only between two levels, against no noise, with the trained denoiser. Below 0, noise "
        "helps."
    )
    return Section(
        "At which levels does noise help?", components.forest(run, "where", {"noise only at these levels": rows}, text)
    )
