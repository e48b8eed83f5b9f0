"""The report on `why_noise`: four explanations of why putting noise back helps, and what was measured of each."""

import pandas as pd

from reports import figures, listings, parts
from reports.blocks import Figure, Prose, Section, Table, table
from reports.columns import METRICS
from reports.explanations import (
    SURE,
    contrast,
    main_steps,
    part,
    paying,
    probe,
    verdict_on_contraction,
    verdict_on_denoiser,
    verdict_on_inputs,
    verdict_on_steps,
)
from reports.formats import interval, metric_name, number
from reports.tables import Run
from reports.verdicts import condition, control, control_failed, head, pairs, scope


def sections(run: Run) -> list[Section]:
    """The report from top to bottom; a part that the run did not measure is left out."""
    if not len(run.of_kind("control")):
        return [Section("Answer", answer(run)), tables(run)]
    found = [
        Section("Answer", answer(run)),
        steps(run),
        denoiser(run),
        amount(run),
        inputs(run),
        contraction(run),
        bookkeeping(run),
        where(run),
        samples(run),
        parts.training(run),
        parts.glossary("eta", "nfe", "fd", "kd"),
        tables(run),
    ]
    return [section for section in found if section and section.blocks]


def answer(run: Run) -> list[Prose]:
    """Three sentences: steps, denoiser, mechanism; then the verdicts, the scope, the control and the failures."""
    if not len(run.of_kind("control")):
        return [Prose("the runs that this report compares failed.", "No verdict"), *parts.failures(run)]
    found = {
        "steps too big": verdict_on_steps(run),
        "imperfect denoiser": verdict_on_denoiser(run),
        "inputs like training data": verdict_on_inputs(run),
        "contraction": verdict_on_contraction(run),
    }
    texts = [text for _, text in found.values()]
    unsure = ", not established, since the A/A control failed" if control_failed(run) else ""
    out = [
        Prose(texts[0], f"The steps{unsure}"),
        Prose(texts[1], f"The denoiser{unsure}"),
        Prose(" ".join([*texts[2:], *paying(run)]), "How"),
        Prose("; ".join(f"{name}: {word}" for name, (word, _) in found.items()) + ".", f"The explanations{unsure}"),
    ]
    if pair := contrast(run, f"trained, {main_steps(run)} steps"):
        out.append(Prose(f"Measured on {scope(pair)}; the law is a fitted mixture. {condition(pair)}"))
    return [*out, *control(run), *parts.failures(run)]


def steps(run: Run) -> Section | None:
    """Discretisation alone: the exact denoiser on ladders from coarse to fine."""
    rows = run.rows[(run.rows["status"] == "ok") & run.rows["mode"].str.startswith("exact, ")]
    if not len(rows):
        return None
    prediction = (
        "If noise helped because the steps are too big, it would help an exact denoiser too, most of all where steps "
        "are coarse."
    )
    blocks: list[Prose | Figure | Table] = [
        Prose(prediction, "Prediction"),
        Prose(f"{verdict_on_steps(run)[0]}. {verdict_on_steps(run)[1]}", "Verdict"),
        against_length(run, "exact"),
        *width(run),
    ]
    return Section("Are the steps too big?", blocks)


def against_length(run: Run, name: str) -> Figure:
    """Quality against the number of steps under one kind of denoiser, a line an eta."""
    rows = run.rows[(run.rows["status"] == "ok") & run.rows["mode"].str.startswith(f"{name}, ")]
    looks = figures.shades(rows["eta"])
    figure, [axes] = figures.panels(1, len(METRICS), 3.3)
    for ax, metric in zip(axes, METRICS, strict=True):
        for eta, same in rows.groupby("eta"):
            line = same.groupby("nfe", as_index=False)[metric].mean().rename(columns={metric: "value"})
            figures.quality_line(line, same, "nfe", metric, ax, color=looks[eta], label=f"eta {number(eta)}")
        figures.log_ticks(ax, rows["nfe"])
        figures.floor_band(ax, run.floor(metric, rows.iloc[0]), metric)
        figures.fit_y(ax, rows[metric], metric)
        ax.set(ylabel=metric_name(metric, run.features, long=True), xlabel="steps = network evaluations")
    text = (
        f"The {name} denoiser: quality against the number of steps, a line an eta; lower is better. Faint points: "
        "single runs; green: what draws of the true law score."
    )
    alt = f"Kernel and Fréchet distance against steps for the {name} denoiser."
    return Figure(f"steps-{name}", figures.under_one_legend(figure), alt, parts.caption(run, text, rows=rows))


def width(run: Run) -> list[Table]:
    """How wide the samples are, over the truth."""
    rows = run.probes[run.probes["probe"] == "spread"]
    if not len(rows):
        return []
    body = [
        {
            "denoiser": row["denoiser"], "seed": row["train_seed"], "eta": number(row["eta"]),
            "width over the truth's": f"{number(row['value'], 3)} ± {number(SURE * row['se'], 3)}",
        }
        for _, row in rows.iterrows()
    ]  # fmt: skip
    text = (
        f"Width of the samples on the ladder of {main_steps(run)} steps: their standard deviation over the truth's "
        f"along the law's 16 widest directions, ± {number(SURE)} s.e. over samples. Below 1 they are too narrow."
    )
    return [table(pd.DataFrame(body), parts.caption(run, text), words=("denoiser", "seed"))]


def denoiser(run: Run) -> Section | None:
    """The trained denoiser on the same ladders, and the gap in parts."""
    if not len(run.split):
        return None
    prediction = (
        "If it helped because the denoiser is imperfect, the gain would be there with the trained denoiser beyond "
        "what the exact one shows, and would stay when the steps get finer."
    )
    body = []
    for name in dict.fromkeys(run.split["part"]):
        line = {"part": name}
        for metric in METRICS:
            row = part(run, name, metric)
            if row is not None:
                shown = interval(metric, row["difference"], row["low"], row["high"])
                line[f"{metric_name(metric, run.features)}: eta 1 − eta 0 (interval)"] = shown
        body.append(line)
    text = (
        f"The gap between eta 1 and eta 0 on {main_steps(run)} steps as a sum: total (trained) = steps (exact) + "
        f"denoiser (the rest). Intervals: {parts.values(run.split[run.split['train_seed'] == ''], 'interval')}."
    )
    blocks: list[Prose | Figure | Table] = [
        Prose(prediction, "Prediction"),
        Prose(f"{verdict_on_denoiser(run)[0]}. {verdict_on_denoiser(run)[1]}", "Verdict"),
        table(pd.DataFrame(body), text, words=("part",)),
        against_length(run, "trained"),
    ]
    return Section("Is the denoiser imperfect?", blocks)


def amount(run: Run) -> Section | None:
    """Noise against none under denoisers of different quality."""
    rows = run.of_kind("noise")
    n = main_steps(run)
    modes = [
        mode
        for mode in rows["mode"].unique()
        if mode.startswith(("trained on", "exact +")) or mode.endswith(f", {n} steps")
    ]
    groups = {mode: rows[rows["mode"] == mode] for mode in modes}
    if not groups:
        return None
    best = run.of_kind("best")
    chosen = [f"{head(pair)['a']} for “{head(pair)['mode']}”" for pair in pairs(best[best["mode"].isin(modes)])]
    text = f"Differences to eta 0 on {n} steps under denoisers of different quality; below 0 noise helps."
    prose = Prose(
        f"{'; '.join(chosen)}. Chosen on one half of the images; the other half's verdicts are under Tables.",
        "Best eta under each denoiser",
    )
    return Section("The more error, the more noise?", [prose, *parts.forest(run, "amount", groups, text)])


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
    ax.set(xlabel="sigma", ylabel="error ratio", yscale="log")
    figures.plain_ticks(ax)
    text = (
        "Squared error of the trained denoiser's eps where samples are, over that on fresh x0 + sigma n at the same "
        "sigma; 1 is as in training. A line a network; bars: ± 2 s.e. over samples."
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
        ax.set(xlabel="sigma", ylabel="actual over tracked sigma", title=f"{name} denoiser")
    text = (
        "The noise level that samples really have (the one under which the true law makes them likeliest) over the "
        "one the ladder says. A line a network or seed; bars: ± 2 s.e. over samples. Values of 0.74 and 1.35 are the "
        "ends of the search."
    )
    drawing = Figure("bookkeeping", figures.under_one_legend(figure), "Actual over tracked noise level.", text)
    return Section("Is the noise level what the ladder says?", [drawing])


def where(run: Run) -> Section | None:
    """Noise put back in one range of levels only."""
    rows = run.of_kind("where")
    if not len(rows):
        return None
    text = "Noise (eta 1) put back only between two levels, against none; the trained denoiser; below 0 noise helps."
    return Section("Where does noise pay?", parts.forest(run, "where", {"noise only where": rows}, text))


def samples(run: Run) -> Section | None:
    """The first samples of the exact and the trained denoiser, without and with noise."""
    n = main_steps(run)
    rows = run.rows[(run.rows["status"] == "ok") & run.rows["mode"].isin([f"exact, {n} steps", f"trained, {n} steps"])]
    if not len(rows):
        return None
    rows = parts.first_network(rows[rows["eta"].isin([0.0, 1.0])])
    labels = {row["samples_id"]: f"{row['mode']}, eta {number(row['eta'])}" for _, row in rows.iterrows()}
    blocks = [
        *parts.gallery(run, rows, labels, "All from the same initial noise."),
        *parts.films(run, rows, labels, ""),
    ]
    return Section("Samples", blocks)


def tables(run: Run) -> Section:
    """The numbers."""
    blocks = []
    for kind, text in (
        ("noise", "Each eta against none, under each denoiser and ladder."),
        ("where", "Noise in one range of levels against none."),
        ("best", "The eta chosen on one half of the images against eta 0, on the other half."),
        ("control", "The A/A control."),
    ):
        if len(found := run.of_kind(kind)):
            if kind != "control":
                found = found.assign(a=found["mode"] + ": " + found["a"])
                chosen = found["verdict"] == "baseline chosen"
                found.loc[chosen, "b"] = found.loc[chosen, "mode"] + ": " + found.loc[chosen, "b"]
            blocks.append(listings.contrast_list(run, found, f"{text} Pooled over networks."))
    every = listings.runs(run, ("network", "eta", "n_steps", "nfe"))
    return Section("Tables", [*blocks, listings.setting(run), *listings.floors(run), *every])
