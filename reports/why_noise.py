"""The report on `why_noise`: four explanations of why putting noise back helps, and what was measured of each."""

import math

import pandas as pd

from reports import figures, listings, parts
from reports.blocks import Figure, Prose, Section, Table, table
from reports.columns import METRICS
from reports.formats import interval, listed, metric_name, number, percent
from reports.tables import Run, pooled
from reports.verdicts import Pair, condition, control, control_failed, head, measured, pairs, scope

LOW = 1.0  # the levels below it are where the prediction about inputs is tested
SURE = 2.0  # standard errors


def sections(run: Run) -> list[Section]:
    """The report from top to bottom; a part that the run did not measure is left out."""
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


# Reading contrasts and probes


def main_steps(run: Run) -> int:
    """The length of the ladder on which everything but the length is varied: the control's."""
    return int(run.of_kind("control")["n_steps"].iloc[0])


def contrast(run: Run, mode: str, a: str = "eta 1", kind: str = "noise") -> Pair | None:
    """The pooled contrast of `a` against the first setting of a mode."""
    return next((pair for pair in pairs(run.of_kind(kind)) if (head(pair)["mode"], head(pair)["a"]) == (mode, a)), None)


def said(run: Run, pair: Pair | None) -> str:
    """Verdict and differences of a contrast in a few words."""
    if pair is None:
        return "not measured"
    word = {"better": "helps", "worse": "hurts", "no clear difference": "makes no clear difference"}
    row = head(pair)
    return f"noise (eta 1) {word.get(row['verdict'], 'is undecided')}: {measured(run, pair, values=False)}"


def probe(run: Run, name: str, denoiser: str = "trained") -> pd.DataFrame:
    """The rows of one probe of one kind of denoiser."""
    return run.probes[(run.probes["probe"] == name) & (run.probes["denoiser"] == denoiser)]


def part(run: Run, name: str, metric: str = "kd") -> pd.Series | None:
    """A part of the gap, pooled over networks."""
    rows = pooled(run.split[(run.split["part"] == name) & (run.split["metric"] == metric)])
    return rows.iloc[0] if len(rows) else None


def amount_of(run: Run, row: pd.Series) -> str:
    """A part with its interval."""
    note = f"{percent(row['level'])} interval "
    name = metric_name(row["metric"], run.features)
    return f"{name} {interval(row['metric'], row['difference'], row['low'], row['high'], note)}"


# The answer, and the verdict on each explanation


def answer(run: Run) -> list[Prose]:
    """Three sentences: steps, denoiser, mechanism; then the scope, the control and the failures."""
    if not len(run.of_kind("control")):
        return [Prose("the runs that this report compares failed.", "No verdict"), *parts.failures(run)]
    n = main_steps(run)
    pair = contrast(run, f"trained, {n} steps")
    unsure = "Not established, since the A/A control failed: " if control_failed(run) else ""
    out = [
        Prose(f"{unsure}{verdict_on_steps(run)[1]}", "The steps"),
        Prose(verdict_on_denoiser(run)[1], "The denoiser"),
        Prose(f"{verdict_on_inputs(run)[1]} {verdict_on_contraction(run)[1]}", "How"),
    ]
    if pair:
        out.append(Prose(f"Measured on {scope(pair)}; the law is a mixture fitted to the digits. {condition(pair)}"))
    words = [
        f"{name}: {found[0]}"
        for name, found in (
            ("steps too big", verdict_on_steps(run)),
            ("imperfect denoiser", verdict_on_denoiser(run)),
            ("inputs like training data", verdict_on_inputs(run)),
            ("contraction", verdict_on_contraction(run)),
        )
    ]
    return [*out, Prose(f"{'; '.join(words)}.", "The four explanations"), *control(run), *parts.failures(run)]


def verdict_on_steps(run: Run) -> tuple[str, str]:
    """Does noise help although the denoiser is exact, so that only the steps can be wrong?"""
    n = main_steps(run)
    exact, trained = contrast(run, f"exact, {n} steps"), contrast(run, f"trained, {n} steps")
    if exact is None or trained is None:
        return "undecided (not measured)", "Not measured."
    words = head(exact)["verdict"], head(trained)["verdict"]
    text = (
        f"With the exact denoiser and {n} steps {said(run, exact)}; with a trained one on the same ladder "
        f"{said(run, trained)}."
    )
    if words[0] == "better":
        return "supported: noise helps where only the steps can be wrong", text
    if words[1] == "better":
        return "refuted as the reason: noise helps the trained denoiser and not the exact one", text
    return "undecided: noise does not clearly help here", text


def verdict_on_denoiser(run: Run) -> tuple[str, str]:
    """Is there a gain with the trained denoiser beyond the exact one's, and does it outlast finer steps?"""
    found = part(run, "denoiser")
    last = part(run, "total, longest ladder")
    if found is None or last is None:
        return "undecided (not measured)", "Not measured."
    longest = int(run.rows["n_steps"].max())
    text = (
        f"What noise changes with the trained denoiser beyond what it changes with the exact one is "
        f"{amount_of(run, found)}; with {longest} steps the trained denoiser's whole change is {amount_of(run, last)}."
    )
    if found["high"] < 0:
        outlasts = " and outlasts finer steps" if last["high"] < 0 else ""
        return f"supported: the gain is the denoiser's part{outlasts}", text
    if found["low"] > 0:
        return "refuted: with the trained denoiser noise gains less than with the exact one", text
    return "undecided: the denoiser's part contains 0", text


def low_ratio(run: Run, eta: float) -> dict[str, tuple[float, float]]:
    """Geometric mean of the error ratio over the levels below LOW, and its s.e. at most, for each network."""
    rows = probe(run, "visited")
    rows = rows[(rows["eta"] == eta) & (rows["sigma"] < LOW)]
    out = {}
    for seed, same in rows.groupby("train_seed"):
        ratio = math.exp(sum(math.log(value) for value in same["value"]) / len(same))
        out[str(seed)] = (ratio, ratio * float((same["se"] / same["value"]).mean()))  # as if all levels erred together
    return out


def verdict_on_inputs(run: Run) -> tuple[str, str]:
    """Is the error where samples are larger than on training-like inputs, and less so with noise?"""
    quiet, noisy, fresh = (low_ratio(run, eta) for eta in (0.0, 1.0, -1.0))
    if not quiet or not noisy:
        return "undecided (not measured)", "Not measured."
    shown = [
        listed(f"{number(ratio, 2)} ± {number(SURE * se, 2)}" for ratio, se in found.values())
        for found in (quiet, noisy)
    ]
    again = listed(number(ratio, 2) for ratio, _ in fresh.values()) if fresh else "not measured"
    text = (
        f"Below sigma {number(LOW)} the squared error where samples are is {shown[0]} times that on training-like "
        f"inputs at eta 0 and {shown[1]} times at eta 1 (one number a network, ± {number(SURE)} s.e.; control {again})."
    )
    above = [ratio - SURE * se > 1 for ratio, se in quiet.values()]
    closer = [noisy[seed][0] < quiet[seed][0] for seed in quiet if seed in noisy]
    if all(above) and all(closer):
        return "supported: without noise samples leave the training inputs, with noise less", text
    if not any(above):
        return "refuted: samples stay where the error is that of training inputs, with or without noise", text
    return "undecided: the networks disagree, or noise does not bring samples closer", text


def ends(run: Run, eta: float, denoiser: str = "trained") -> dict[tuple[str, float], tuple[float, float]]:
    """(network, sigma of the push) -> distance at the last level over the push, and its s.e."""
    rows = probe(run, "contraction", denoiser)
    rows = rows[rows["eta"] == eta]
    last = rows[rows["sigma"] == rows["sigma"].min()]
    return {(row["train_seed"], row["start"]): (row["value"], row["se"]) for _, row in last.iterrows()}


def verdict_on_contraction(run: Run) -> tuple[str, str]:
    """Does noise make earlier errors shrink more?"""
    quiet, noisy = ends(run, 0.0), ends(run, 1.0)
    if not quiet or not noisy:
        return "undecided (not measured)", "Not measured."
    phrases, surer, weaker = [], [], []
    for start in sorted({start for _, start in quiet}, reverse=True):
        both = [[found[key] for key in quiet if key[1] == start and key in found] for found in (quiet, noisy)]
        shown = [listed(number(value) for value, _ in side) for side in both]
        phrases.append(f"at sigma {number(start)} {shown[0]} of it is left at eta 0 and {shown[1]} at eta 1")
        for (a, a_se), (b, b_se) in zip(*both, strict=True):
            surer.append(b + SURE * b_se < a - SURE * a_se)
            weaker.append(b - SURE * b_se > a + SURE * a_se)
    text = f"Of a small push {'; '.join(phrases)}."
    if all(surer):
        return "supported: noise shrinks earlier errors more, wherever they are made", text
    if all(weaker):
        return "refuted: noise shrinks earlier errors less", text
    return "partly: it depends on where the error is made", text


# One section an explanation


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
        rows = rows[rows["train_seed"] == rows["train_seed"].iloc[0]]
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
            named = found.assign(a=found["mode"] + ": " + found["a"]) if kind != "control" else found
            blocks.append(listings.contrast_list(run, named, f"{text} Pooled over networks."))
    every = listings.runs(run, ("network", "eta", "n_steps", "nfe"))
    return Section("Tables", [*blocks, listings.setting(run), *listings.floors(run), *every])
