"""The report on `why_noise`: explanations of why putting noise back helps, and what was measured of each."""

import pandas as pd

from reports import components, figures, tables
from reports.columns import METRICS
from reports.document import Figure, Prose, Section, Table, table
from reports.formats import cell, interval, metric_name, number
from reports.pages.why_noise.attribution import (
    contrast,
    main_steps,
    on_main_ladder,
    part,
    verdict_on_denoiser,
    verdict_on_steps,
)
from reports.pages.why_noise.mechanisms import (
    SURE,
    paying,
    verdict_on_contraction,
    verdict_on_corrections,
    verdict_on_inputs,
    verdict_on_response,
)
from reports.pages.why_noise.trajectories import bookkeeping, contraction, inputs, response, where
from reports.results import Run
from reports.sentences import condition, control, control_failed, head, pairs, scope


def sections(run: Run) -> list[Section | None]:
    """The report from top to bottom; a part that the run did not measure is left out."""
    if not len(run.of_kind("control")):
        return [Section("Answer", answer(run)), numbers(run)]
    return [
        Section("Answer", answer(run)),
        steps(run),
        denoiser(run),
        amount(run),
        inputs(run),
        contraction(run),
        response(run),
        bookkeeping(run),
        where(run),
        samples(run),
        components.training(run),
        components.glossary("eta", "nfe", "fd", "kd"),
        numbers(run),
    ]


def answer(run: Run) -> list[Prose]:
    """Three sentences: steps, denoiser, mechanism; then the verdicts, the scope, the control and the failures."""
    if not len(run.of_kind("control")):
        return [Prose("the runs that this report compares failed.", "No verdict"), *components.failures(run)]
    found = {
        "steps too big": verdict_on_steps(run),
        "imperfect denoiser": verdict_on_denoiser(run),
        "inputs like training data": verdict_on_inputs(run),
        "contraction": verdict_on_contraction(run),
        "error times contraction": verdict_on_response(run),
        "bookkeeping": verdict_on_corrections(run),
    }
    text = {name: sentence for name, (_, sentence) in found.items()}
    unsure = ", not established, since the A/A control failed" if control_failed(run) else ""
    how = [text["inputs like training data"], text["error times contraction"], *paying(run)]
    out = [
        Prose(text["steps too big"], f"The steps{unsure}"),
        Prose(text["imperfect denoiser"], f"The denoiser{unsure}"),
        Prose(" ".join(how), f"How{unsure}"),
        Prose("; ".join(f"{name}: {word}" for name, (word, _) in found.items()) + ".", f"The explanations{unsure}"),
    ]
    if pair := contrast(run, f"trained, {main_steps(run)} steps"):
        out.append(Prose(f"Measured on {scope(pair)}; the law is a fitted mixture. {condition(pair)}"))
    return [*out, *control(run), *components.failures(run)]


def steps(run: Run) -> Section | None:
    """Discretisation alone: the exact denoiser on ladders from coarse to fine."""
    if not len(by_length(run, "exact")):
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


def by_length(run: Run, denoiser: str) -> pd.DataFrame:
    """The runs of one kind of denoiser that compare etas on ladders of different lengths."""
    modes = run.of_kind("noise").loc[lambda rows: rows["denoiser"] == denoiser, "mode"]
    return run.rows[(run.rows["status"] == "ok") & run.rows["mode"].isin(modes.unique())]


def against_length(run: Run, name: str) -> Figure:
    """Quality against the number of steps under one kind of denoiser, a line an eta."""
    rows = by_length(run, name)
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
    return Figure(f"steps-{name}", figures.under_one_legend(figure), alt, components.caption(run, text, rows=rows))


def width(run: Run) -> list[Table]:
    """Mean and width of the samples, over the truth's, against the number of steps."""
    rows = run.probes[run.probes["probe"].isin(["spread", "mean"])]
    if not len(rows):
        return []
    body = []
    for (denoiser, n_steps, eta), same in rows.groupby(["denoiser", "n_steps", "eta"], sort=False):
        line = {"denoiser": denoiser, "steps": cell("n_steps", n_steps), "eta": number(eta)}
        for name, title in (("spread", "width"), ("mean", "shift of the mean")):
            found = same[same["probe"] == name]
            se = SURE * float(found["se"].pow(2).sum()) ** 0.5 / len(found)
            line[title] = f"{number(found['value'].mean(), 3)} ± {number(se, 3)}"
        body.append(line)
    n = components.values(rows, "n_samples")
    text = (
        "Width: the samples' standard deviation over the truth's along the law's 16 widest directions (geometric "
        "mean); below 1 they are too narrow. Shift: the distance of the means there, in the truth's standard deviations"
        f" (root mean square); {n} draws of the truth show {number(float(rows['n_samples'].iloc[0]) ** -0.5, 3)}. Mean "
        f"over seeds ± {number(SURE)} s.e. over samples."
    )
    return [table(pd.DataFrame(body), components.caption(run, text), words=("denoiser",))]


def denoiser(run: Run) -> Section | None:
    """The trained denoiser on the same ladders, and the gap in parts."""
    if not len(run.split):
        return None
    prediction = (
        "If it helped because the denoiser is imperfect, the gain would be there with the trained denoiser beyond "
        "what the exact one shows, and would stay when the steps get finer."
    )
    body = []
    for name, mode in dict.fromkeys(zip(run.split["part"], run.split["mode"], strict=True)):
        line = {"part": f"{name}, {mode}"}
        for metric in METRICS:
            row = part(run, name, mode, metric)
            if row is not None:
                shown = interval(metric, row["difference"], row["low"], row["high"])
                line[f"{metric_name(metric, run.features)}: eta 1 − eta 0 (interval)"] = shown
        body.append(line)
    text = (
        f"The gap between eta 1 and eta 0 on {main_steps(run)} steps as a sum: total (trained) = steps (exact) + "
        f"denoiser (the rest). Intervals: {components.values(run.split[run.split['train_seed'] == ''], 'interval')}."
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
    n = main_steps(run)
    rows = on_main_ladder(run, "exact", "trained", "undertrained", "exact + error")
    modes = list(rows["mode"].unique())
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
    return Section("The more error, the more noise?", [prose, *components.forest(run, "amount", groups, text)])


def samples(run: Run) -> Section | None:
    """The first samples of the exact and the trained denoiser, without and with noise."""
    n = main_steps(run)
    rows = run.rows[(run.rows["status"] == "ok") & run.rows["mode"].isin([f"exact, {n} steps", f"trained, {n} steps"])]
    if not len(rows):
        return None
    rows = components.first_network(rows[rows["eta"].isin([0.0, 1.0])])
    labels = {row["samples_id"]: f"{row['mode']}, eta {number(row['eta'])}" for _, row in rows.iterrows()}
    blocks = [
        *components.gallery(run, rows, labels, "All from the same initial noise."),
        *components.films(run, rows, labels, ""),
    ]
    return Section("Samples", blocks)


def numbers(run: Run) -> Section:
    """The numbers."""
    blocks = []
    for kind, text in (
        ("noise", "Each eta against none, under each denoiser and ladder."),
        ("where", "Noise in one range of levels against none."),
        ("correction", "Corrections without noise against none."),
        ("rival", "The correction chosen on one half of the images against eta 1, on the other half."),
        (
            "best",
            "The setting chosen on one half of the images (eta, range or correction), on the other half.",
        ),
        ("control", "The A/A control."),
    ):
        if len(found := run.of_kind(kind)):
            if kind != "control":
                found = found.assign(a=found["mode"] + ": " + found["a"])
                chosen = found["verdict"] == "baseline chosen"
                found.loc[chosen, "b"] = found.loc[chosen, "mode"] + ": " + found.loc[chosen, "b"]
            blocks.append(tables.contrast_list(run, found, f"{text} Pooled over networks."))
    every = tables.runs(run, ("network", "eta", "n_steps", "nfe"))
    return Section("Tables", [*blocks, tables.setting(run), *tables.floors(run), *every])
