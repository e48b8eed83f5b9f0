"""The report on `beta`: is it better to put noise back at each step?"""

from pathlib import Path

import pandas as pd

from reports import components, explorer, figures, openings, sentences, tables
from reports.document import Figure, Number, Opening, Prose, Section
from reports.formats import as_precise, cell, listed, metric_name, number, plural
from reports.pages import _beta_cost as cost
from reports.results import Run
from reports.schema import BETTER, NO_VERDICT, NOT_DETECTABLE, WORSE
from reports.sentences import Pair, head, pairs

PRIMARY = ("primary", "final-denoise", "control")
TITLES = {
    "primary": "The primary contrast",
    "solvers": "Noise against solvers of higher order",
    "same-alpha": "Same alpha: more beta, more evaluations",
    "same-ladder": "Same ladder, same evaluations",
    "pareto": "Ladders of several lengths",
}


def sections(run: Run) -> list[Section | None]:
    return [
        differences(run),
        explorer.section(run, choices(run)),
        quality(run),
        cost.section(run, TITLES),
        conditions(run),
        components.training(run),
        components.glossary("alpha", "beta", "eta", "nfe", run.judge, "fd", "precision", "recall"),
        numbers(run),
    ]


def opening(run: Run) -> Opening:
    """The verdict on the primary contrast, in words, numbers and pictures."""
    primary = pairs(run.of_kind("primary"))
    if not primary:
        runs = run.rows[run.rows["mode"] == "primary"]
        done = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'primary run')} succeeded"
        text = f"eta 1 was not compared with eta 0 on the same ladder: {done}."
        return Opening(text, "No verdict.", status=openings.status(run, None))
    pair = primary[0]
    row = openings.shown_metric(pair)
    without = [*openings.floor(run, row, row["metric"]), *others(run, row["metric"])]
    fixed = "comparison fixed before the run" if run.info.get("fixed_beforehand") else openings.EXPLORATION
    numbers = [
        openings.score(run, row, "b", "without fresh noise", without),
        openings.score(run, row, "a", "with fresh noise", openings.change(row)),
        Number(cell("nfe_a", row["nfe_a"]), "network evaluations per image", ["the same with and without noise"]),
        openings.sure(run, row),
    ]
    return Opening(
        effect(run, pair), lead(run, head(pair)), numbers, strip(run), openings.key(run, row["metric"]),
        status=openings.status(run, head(pair), fixed),
        warnings=[
            *openings.warnings(run, openings.closer(pair)),
            *openings.grainy(run, [*(("primary", row[side]) for side in "ab"), *solvers(run)]),
        ],
    )  # fmt: skip


def primary_rows(run: Run) -> pd.DataFrame:
    """The runs of the primary contrast, without those with a final denoising step."""
    return run.ok("primary")[lambda rows: ~rows["final_denoise"].fillna(False)]


def strip(run: Run) -> list[tuple[Path, str]]:
    """The pictures of the first screen."""
    names = {0.0: "without fresh noise", 1.0: "with fresh noise"}
    labels = {
        row["samples_id"]: f"{names[row['eta']]} (eta {number(row['eta'])}, that is beta {cell('beta', row['beta'])})"
        for _, row in components.first_network(primary_rows(run)).sort_values("eta").iterrows()
        if row["eta"] in names
    }
    return components.strip(run, labels)


def choices(run: Run) -> list[explorer.Choice]:
    """What the explorer varies."""

    def choice(title: str, rows: pd.DataFrame, noise: str, *knobs: tuple[str, str]) -> explorer.Choice:
        def named(row: pd.Series) -> str:
            return f"{noise} {number(row[noise])}, {cell('nfe', row['nfe'])} evaluations"

        return explorer.Choice(title, rows, [*knobs, (f"{noise} (noise)", noise)], named, slider=noise)

    ladder = run.ok("same-ladder") if len(run.ok("same-ladder")) else primary_rows(run)
    return [
        choice("Same ladder, same cost", ladder, "eta"),
        choice("Same alpha, rising cost", run.ok("same-alpha"), "beta"),
        choice("Fewer steps", run.ok("pareto"), "eta", ("evaluations", "budget")),
    ]


def conditions(run: Run) -> Section:
    """Of the primary contrast: where it was measured, precision and recall; then the budgets and the control."""
    blocks = []
    for pair in pairs(run.of_kind("primary"))[:1]:
        reason = ""
        if head(pair)["verdict"] == NOT_DETECTABLE:
            reason = f"Not detectable, because {sentences.doubt(pair)}. "
        elif head(pair)["verdict"] == NO_VERDICT:
            reason = f"No verdict, because {head(pair)['no_verdict']}. "
        blocks.append(Prose(f"{reason}{status(run)} Measured on {sentences.scope(pair)}. {sentences.condition(pair)}"))
    return sentences.conditions(run, *blocks, *variety(run), *sentences.budget(run))


def effect(run: Run, pair: Pair) -> str:
    """What putting noise back does, in one sentence.

    It shows FD where FD alone is enough to see the verdict, and the metric that decides otherwise.
    """
    row = openings.shown_metric(pair)
    if head(pair)["verdict"] == NO_VERDICT:
        return "The samples are no images, with or without noise. Train longer, then ask again."
    before, after = as_precise(row["metric"], [row["value_b"], row["value_a"]], row["low"], row["high"])
    verb = "lowers" if row["difference"] < 0 else "raises"
    verb = verb if head(pair)["verdict"] in (BETTER, WORSE) else "changes"
    change = f"{verb} {metric_name(row['metric'], run.features)} from {before} to {after}"
    return f"Putting noise back {change} at the same cost.{sentences.contradiction(pair)}{beats(run, pair)}"


def beats(run: Run, primary: Pair) -> str:
    """Whether eta 1 is better than the other samplers too: a sentence for each verdict."""
    against = pairs(run.of_kind("solvers"))
    words = {BETTER: "beats", NOT_DETECTABLE: "is not detectably better than", WORSE: "is worse than"}
    if head(primary)["verdict"] == BETTER:
        words[BETTER] = "also beats"
    texts: list[str] = []
    for verdict, word in words.items():
        if names := [head(pair)["b"] for pair in against if head(pair)["verdict"] == verdict]:
            texts.append(f" {'It' if texts else 'On this ladder it'} {word} {listed(names)}.")
    return "".join([*texts, *sorted({sentences.contradiction(pair) for pair in against} - {""})])


def solvers(run: Run) -> list[tuple[str, str]]:
    """Mode and setting of the other samplers."""
    return [("solvers", name) for name in run.ok("solvers")["setting"].unique()]


def others(run: Run, metric: str) -> list[str]:
    """The scores of the other samplers, for instance "heun 7.12, dpm++2m 7.03", if they were measured."""
    values = [pair[metric] for pair in pairs(run.of_kind("solvers")) if metric in pair]
    shown = [(row["b"], as_precise(metric, [row["value_b"]], row["low"], row["high"])[0]) for row in values]
    return [", ".join(f"{name} {value}" for name, value in shown)] if shown else []


def lead(run: Run, row: pd.Series) -> str:
    """The first words: the verdict, or that the control failed."""
    return "Not established." if sentences.control_failed(run) else sentences.ANSWERS[row["verdict"]]


def status(run: Run) -> str:
    """A sentence that says whether this contrast was fixed before any result was seen."""
    if run.info.get("fixed_beforehand"):
        return "This contrast was fixed before the run. All other comparisons are exploration."
    return (
        "This contrast has the form of the primary contrast, but not the data, networks, ladder and numbers of a "
        "preset. It is exploration, like all comparisons here."
    )


def variety(run: Run) -> list[Prose]:
    """Precision and recall of the runs behind the primary contrast, one number per network."""
    rows = primary_rows(run).sort_values(["eta", "train_seed"])
    texts = [
        f"eta {number(eta)} has precision {listed(cell('precision', value) for value in same['precision'])}, "
        f"recall {listed(cell('recall', value) for value in same['recall'])}"
        for eta, same in rows.dropna(subset=["precision", "recall"]).groupby("eta")
    ]
    if not texts:
        return []
    floors = {metric: run.floor(metric, rows.iloc[0]) for metric in ("precision", "recall")}
    real = [f"{metric} {cell(metric, floor['mean'])}" for metric, floor in floors.items() if floor is not None]
    texts += [f"Real images have {', '.join(real)}"] if real else []
    return [Prose(f"{'. '.join(texts)}.", "Precision and recall, one number per network")]


def differences(run: Run) -> Section:
    """The main figure: the effect of putting noise back, as differences."""
    first = TITLES["primary"] + (", fixed before the run" if run.info.get("fixed_beforehand") else "")
    groups = {first: run.of_kind(*PRIMARY)}
    groups |= {TITLES[kind]: run.of_kind(kind) for kind in ("solvers", "same-alpha", "same-ladder")}
    text = "Effect of putting noise back. Below 0, noise helps."
    return Section("Differences", components.forest(run, "differences", groups, text))


def quality(run: Run) -> Section | None:
    """Two distances against beta."""
    modes = {mode: rows for mode in ("same-alpha", "same-ladder") if len(rows := run.ok(mode))}
    if not modes:
        return None
    figure, grid = figures.panels(len(modes), len(run.metrics), 2.9 * len(modes))
    above = {"same-alpha": ("nfe", "network evaluations"), "same-ladder": ("eta", "eta")}
    for axes, (mode, rows) in zip(grid, modes.items(), strict=True):
        for ax, metric in zip(axes, run.metrics, strict=True):
            figures.quality_line(rows, "beta", metric, ax)
            components.quality_axis(ax, run, metric, rows)
            quantity, name = above[mode]
            ticks = rows.drop_duplicates("beta").sort_values("beta")
            top = ax.secondary_xaxis("top")
            top.set_xticks(list(ticks["beta"]), [number(value) for value in ticks[quantity]])
            top.set_xlabel(name, fontsize=8)
            top.tick_params(labelsize=8)
            ax.set_title(TITLES[mode] if metric == run.judge else " ")
    figures.named(figure)
    text = (
        "Quality against beta; lower is better. Blue: mean over networks. Faint: single networks. Green: score of real "
        "images (floor), as a band over the repeats."
    )
    rows = pd.concat(modes.values())
    alt = f"Quality, as {components.spoken(run)}, against beta for {listed(modes)}."
    return Section("Quality against beta", [Figure("beta", figure, alt, components.caption(run, text, rows=rows))])


def numbers(run: Run) -> Section:
    """The tables."""
    primary, settings = run.of_kind(*PRIMARY), run.ok("primary", "same-alpha", "same-ladder")
    text = "The primary contrast, the same contrast with a final denoising step, and the control, for each network."
    first = [tables.contrast_by_network(run, primary, text)] if len(primary) else []
    kinds = {"solvers same-alpha same-ladder pareto": "All other contrasts (exploration)."}
    return tables.section(run, [*first, *([tables.dialects(settings)] if len(settings) else [])], kinds)
