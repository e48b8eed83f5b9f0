"""The sections of `why_noise` on what happens on the way down the ladder: inputs, contraction, bookkeeping."""

import pandas as pd

from reports import components, figures
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


def inputs(run: Run) -> Section | None:
    """Error where samples are, over the error on training-like inputs."""
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
        "Squared error of the trained denoiser's eps where samples are, over that on fresh x0 + sigma n at the same "
        "sigma; 1 is as in training. A line a network; bars: ± 2 s.e. over samples; time runs to the right."
    )
    drawing = Figure(
        "inputs", figures.under_one_legend(figure), "Error ratio against sigma, a line for each eta.", text
    )
    prediction = (
        "If noise keeps the inputs like the training inputs, the ratio rises as sigma falls at eta 0 and stays near "
        "1 with noise."
    )
    verdict = verdict_on_inputs(run)
    return Section(
        "Do inputs stay like the training inputs?",
        [Prose(prediction, "Prediction"), Prose(f"{verdict[0]}. {verdict[1]}", "Verdict"), drawing],
    )


def probe_lines(rows: pd.DataFrame, ax: figures.Axes) -> None:
    """Values with bars of two standard errors against sigma, one line a name and network."""
    looks = dict(zip(dict.fromkeys(rows["name"]), figures.PALETTE, strict=False))
    for (name, _), same in rows.groupby(["name", "train_seed"], sort=False):
        label = name if same["train_seed"].iloc[0] == rows["train_seed"].iloc[0] else None
        ax.errorbar(
            same["sigma"], same["value"], yerr=SURE * same["se"], color=looks[name], label=label, linewidth=1,
            elinewidth=0.7, marker="o", markersize=2.5,
        )  # fmt: skip


def contraction(run: Run) -> Section | None:
    """How far apart two samples stay that share their noise."""
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
        figures.log_ticks(ax)
        ax.invert_xaxis()
        ax.set(yscale="log", xlabel="sigma", ylabel="distance over the push", title=f"{name} denoiser")
    text = (
        "Distance between two samples that share all noise, one of which was pushed a little at the first, a middle "
        "or a late level; network of the first seed. Both axes are logarithmic; time runs to the right."
    )
    drawing = Figure(
        "contraction", figures.under_one_legend(figure), "Distance against sigma, a line for each eta.", text
    )
    prediction = "If noise makes earlier errors shrink, less of a push is left at the end with noise than without."
    verdict = verdict_on_contraction(run)
    return Section(
        "Does noise contract errors?",
        [Prose(prediction, "Prediction"), Prose(f"{verdict[0]}. {verdict[1]}", "Verdict"), drawing],
    )


def response(run: Run) -> Section | None:
    """Error made on each stretch of the ladder, what is left of it, and whether the sum names the winner."""
    found = responses(run)
    if not found:
        return None
    figure, [axes] = figures.panels(1, 2, 3.3)
    for ax, name, title in zip(
        axes, ("made", "left"), ("error made", "left at the end, over what was made"), strict=True
    ):
        rows = probe(run, name)
        rows = rows.assign(sigma=rows["start"])
        probe_lines(rows.assign(name=rows["eta"].map(lambda eta: f"eta {number(eta)}")), ax)
        figures.log_ticks(ax)
        ax.invert_xaxis()
        ax.set(yscale="log", xlabel="sigma at the start of the stretch", ylabel=title)
        figures.plain_ticks(ax)
    text = (
        "The trained denoiser. Left: the error it makes on each stretch of the ladder, that is, the distance to the "
        "sample that takes this stretch with the exact denoiser. Right: what is left of that error in the final "
        "sample. A line a network; bars: ± 2 s.e. over samples; time runs to the right."
    )
    drawing = Figure("response", figures.under_one_legend(figure), "Error made and left against sigma, by eta.", text)
    body = [
        {
            "denoiser": one.label,
            "sum, eta 1 over eta 0": listed(f"{number(r, 2)} ± {number(SURE * se, 2)}" for r, se in one.ratios),
            "distance, eta 1 over eta 0": listed(number(value, 2) for value in one.real.values()),
            "sum over distance, eta 0": listed(number(value, 2) for value in one.linear.values()),
            "predicted winner": one.predicted,
            "measured": one.winner or "not clear",
        }
        for one in found
    ]
    shown = (
        "Sum: what the errors made on all stretches leave at the end, added up as vectors. Distance: between the "
        "samples of this denoiser and of the exact one, under the same noise. Were errors small, the sum would be the "
        f"distance. One number a network, ± {number(SURE)} s.e. over samples. Measured: by the denoiser's part of the "
        "gap in KD, where it is clear and FD has the same sign."
    )
    prediction = (
        "If noise wins where it shrinks earlier errors more than it adds new ones, the one of eta 0 and 1 at which "
        "errors leave less at the end is the one that scores better."
    )
    verdict = verdict_on_response(run)
    blocks: list[Prose | Figure | Table] = [Prose(prediction, "Prediction")]
    blocks += [Prose(f"{verdict[0]}. {verdict[1]}", "Verdict"), drawing]
    words = ("denoiser", "predicted winner", "measured")
    return Section(
        "Does error times contraction name the winner?", [*blocks, table(pd.DataFrame(body), shown, words=words)]
    )


def bookkeeping(run: Run) -> Section | None:
    """The noise level that samples really have, over the tracked one."""
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
        ax.set(xlabel="sigma", ylabel="actual over tracked sigma", title=f"{name} denoiser")
    text = (
        "The noise level that samples really have (the one under which the true law makes them likeliest) over the "
        "one the ladder says. A line a network or seed; bars: ± 2 s.e. over samples. Values of 0.74 and 1.35 are the "
        "ends of the search. Time runs to the right."
    )
    drawing = Figure("bookkeeping", figures.under_one_legend(figure), "Actual over tracked noise level.", text)
    prediction = (
        "If noise helped because it hides a wrong noise level, telling the network a better one, re-estimating it or "
        "scaling the correction would do as well without noise."
    )
    verdict = verdict_on_corrections(run)
    tried = run.of_kind("correction")
    groups = {mode: tried[tried["mode"] == mode] for mode in tried["mode"].unique()}
    shown = (
        f"Corrections without noise against eta 0, on {main_steps(run)} steps. eps × s: the estimated noise is scaled "
        "by s (1 / s is lambda of Ning et al. 2023, arXiv 2308.15321, who take s below 1). sigma × s below 1: below "
        "sigma 1 samples are taken to be s times as noisy as the ladder says (after Li et al. 2023, arXiv 2305.15583). "
        "sigma re-estimated: from the size of the estimated noise at each step (Kadkhodaie & Simoncelli 2020, arXiv "
        "2007.13640, beta 1), which is too small at low sigma on a law that fills the space, as this mixture does."
    )
    blocks: list[Prose | Figure | Table] = [Prose(prediction, "Prediction")]
    blocks += [Prose(f"{verdict[0]}. {verdict[1]}", "Verdict"), drawing]
    return Section(
        "Is the noise level what the ladder says?", [*blocks, *components.forest(run, "corrections", groups, shown)]
    )


def where(run: Run) -> Section | None:
    """Noise put back in one range of levels only."""
    rows = run.of_kind("where")
    if not len(rows):
        return None
    text = "Noise (eta 1) put back only between two levels, against none; the trained denoiser; below 0 noise helps."
    return Section("Where does noise pay?", components.forest(run, "where", {"noise only where": rows}, text))
