"""The report on `tune`: which sampler settings are best for a network, at each number of evaluations?"""

import json
import re
from pathlib import Path

import pandas as pd

from reports import best_sets, components, explorer, figures, limits, openings, tables
from reports.document import Code, Figure, Number, Opening, Prose, Section, Table
from reports.formats import cell, interval, listed, metric_name, missing, number, percent, plural
from reports.results import Run, pooled
from reports.schema import BETTER, COLUMNS, NO_VERDICT, NOT_DETECTABLE, WORSE
from reports.sentences import control_failed, head, pairs

KINDS = {
    "tuned": "Each finalist against what is used without tuning, on images that no race saw.",
    "control": "The A/A control.",
    "sampler": "Each sampler against the first, on the best ladder, on the images of the race.",
    "ladder": "Each ladder against the first, with the best sampler, on the images of the race.",
}
RACE = ", race"  # the end of a race's mode
BUDGETS = 3  # how many budgets the first screen shows
SETTINGS = "settings.json"


def opening(run: Run) -> Opening:
    """The first screen: what to use at each budget, against the default, with pictures from the same noise."""
    sets = best_sets.read(run)
    if not sets:
        return Opening("No setting was confirmed.", "No verdict.", status=openings.status(run, None),
                       warnings=openings.warnings(run))  # fmt: skip
    shown = [sets[at] for at in limits.evenly(len(sets), BUDGETS)]
    numbers = [number_of(run, one) for one in shown]
    against = [row for one in shown for row in gains(run, one)[:1]]
    if against:
        found = pooled(run.of_kind("tuned"))
        same = found[(found[["mode", "a", "b"]] == against[0][["mode", "a", "b"]]).all(axis=1)]
        numbers.append(openings.sure(run, same.iloc[0]))  # in FD, as the other numbers
    used = [(one.mode, name) for one in sets if (name := advised(run, one))]
    return Opening(
        verdict(run, sets) + openings.but_grainy(run, used),
        "Not established. Measured:" if control_failed(run) else "", numbers, pictures(run, sets[0]),
        openings.key(run, "fd"), [*((one.where, line(run, one)) for one in shown), *ode_or_sde(run, shown)],
        openings.status(run, against[0] if against else sets[0].settings.iloc[0]),
        [
            *openings.warnings(run, best_sets.closest(run, shown)),
            *openings.grainy(run, [(one.mode, name) for one in sets for name in (one.best, one.simplest)]),
        ],
    )  # fmt: skip


def verdict(run: Run, sets: list[best_sets.BestSet]) -> str:
    """What to use, in a sentence or two: another setting than the default only where that is detectably better."""
    at: dict[str, list[str]] = {}
    for one in sets:
        if one.best:
            at.setdefault(advised(run, one), []).append(number(one.budget, 0))
    if not at:
        return f"No verdict: {sets[0].why_not}."
    keep = at.pop("", [])
    parts = [f"“{setting}” at {listed(budgets)}" for setting, budgets in at.items()]
    texts = [f"Use {listed(parts)} evaluations."] if parts else []
    if keep:
        texts.append(f"Keep your default at {listed(keep)} evaluations: no setting is detectably better.")
    return " ".join(texts)


def advised(run: Run, one: best_sets.BestSet) -> str:
    """The recommended setting if it is detectably better than the default, else ""."""
    better = any(row["a"] == one.best and row["verdict"] == BETTER for row in gains(run, one))
    return one.best if better else ""


def number_of(run: Run, one: best_sets.BestSet) -> Number:
    """The recommended setting of a budget: its score, the simplest of its ties, the default and real images."""
    word = metric_name("fd", run.features)
    if not one.best:
        return Number("none", one.where, [one.why_not])
    notes = [one.best]
    if one.simplest != one.best:
        notes.append(
            f"simplest that cannot be told from it: {one.simplest}, {cell('fd', one.value(one.simplest, 'fd'))}"
        )
    if one.baseline != one.best:
        notes.append(f"without tuning: {one.baseline}, {cell('fd', one.value(one.baseline, 'fd'))}")
    floor = openings.floor(run, run.ok(one.mode).iloc[0], "fd")
    return Number(cell("fd", one.value(one.best, "fd")), f"{word}, {one.where}", [*notes, *floor])


def gains(run: Run, one: best_sets.BestSet) -> list[pd.Series]:
    """The comparisons with the default of the recommended setting, of the simplest, and of the default with noise."""
    heads = [head(pair) for pair in pairs(run.of_kind("tuned"))]
    rows = {row["a"]: row for row in heads if row["mode"] == one.mode and row["b"] == one.baseline}
    return [rows[name] for name in dict.fromkeys((one.best, one.simplest, noisy(one.baseline))) if name in rows]


def noisy(setting: str) -> str:
    """The same setting with the noise of DDPM."""
    return re.sub(", eta 0(?=,|$)", ", eta 1", setting)


def line(run: Run, one: best_sets.BestSet) -> str:
    """How the recommended and the simplest setting compare with the default, on images that the race never saw."""
    if not one.best:
        return f"no verdict: {one.why_not}"
    rows = gains(run, one)
    roles = {row["a"]: f"“{row['a']}”" for row in rows} | {one.simplest: "simplest", one.best: "recommended"}
    texts = [
        f"{roles[row['a']]} against “{row['b']}”: {outcome(row)}"
        for row in rows
        if row["a"] in (one.best, one.simplest) or not is_flow(one)
    ]
    if not any(row["a"] == one.best for row in rows):
        default = one.best == one.baseline
        texts.insert(0, f"“{one.best}” is {'what is' if default else 'not compared with what is'} used without tuning")
    if at_floor(run, one):
        texts.append(f"“{one.best}” is at the floor already: as close to the data as real images are")
    return f"{metric_name(run.judge, run.features)}: {'. '.join(texts)}."


def ode_or_sde(run: Run, sets: list[best_sets.BestSet]) -> list[tuple[str, str]]:
    """Of a flow: whether its SDE is better than its ODE, the Euler loop, on the same levels, at each budget."""
    answers = {BETTER: "SDE", WORSE: "ODE"}
    texts = []
    for one in filter(is_flow, sets):
        for row in gains(run, one):
            if row["a"] == noisy(one.baseline):
                answer = answers.get(row["verdict"], "not known")
                texts.append(f"{one.where}: {answer}. “{row['a']}” against “{row['b']}”: {outcome(row)}")
    return [("ODE or SDE?", f"{'. '.join(texts)}.")] if texts else []


def is_flow(one: best_sets.BestSet) -> bool:
    """Whether what is used without tuning is the Euler loop of a flow's ODE."""
    return one.baseline.startswith("flow") and noisy(one.baseline) != one.baseline


def outcome(row: pd.Series) -> str:
    """The verdict of a comparison, its size, and what would settle it."""
    size = interval(row["metric"], row["difference"], row["low"], row["high"], f"{percent(row['level'])} ")
    return f"{row['verdict']}{corrected(row)}, {size}{to_settle(row)}"


def corrected(row: pd.Series) -> str:
    """Why a difference is not detectable although its interval, which is not corrected, excludes 0."""
    if missing(row.get("adjusted")) or row["verdict"] != NOT_DETECTABLE or row["low"] <= 0 <= row["high"]:
        return ""
    return f" after correction ({row['adjusted']}; the interval is not corrected)"


def to_settle(row: pd.Series) -> str:
    """How many images would separate the two, if these could not, and whether the data set has enough."""
    if missing(row.get("n_to_settle")) or row["verdict"] == NO_VERDICT:
        return ""
    n, most = cell("n_to_settle", row["n_to_settle"]), (row["n_samples"] + row["n_reference"]) // 3
    if row["n_to_settle"] > most:
        return f"; {n} images would separate them, but the data set allows {cell('n_samples', most)}"
    return f"; --n-samples {n} would separate them, in about {cell('minutes_to_settle', row['minutes_to_settle'])} min"


def at_floor(run: Run, one: best_sets.BestSet) -> bool:
    """Whether the recommended setting scores within the range of real images, in every metric."""
    floors = {metric: run.floor(metric, run.ok(one.mode).iloc[0]) for metric in run.metrics}
    return bool(one.best) and all(
        floor is not None and one.value(one.best, metric) <= floor["high"] for metric, floor in floors.items()
    )


def pictures(run: Run, one: best_sets.BestSet) -> list[tuple[Path, str]]:
    """Real images, the default and the recommended setting or else that of the lowest score, from the same noise."""
    best = one.best or one.settings["setting"].iloc[0]
    role = "recommended" if one.best else "lowest score, not recommended"
    names = {one.baseline: "default", best: role}
    if best == one.baseline:
        others = [name for name in one.settings["setting"] if name != best]
        names = {best: f"default, {role}"} | dict.fromkeys(others[:1], "another")
    return components.strip_of(run, one.mode, {name: f"{name}, {one.where} ({role})" for name, role in names.items()})


def sections(run: Run) -> list[Section | None]:
    varied = [("evaluations", "budget"), ("setting", "setting")]
    finalists = explorer.Choice("Finalists and defaults", confirmed(run), varied)
    return [
        code(run),
        front(run),
        explorer.section(run, [finalists]),
        best_sets.ties(run, best=True),
        race(run),
        knobs(run),
        best_sets.conditions(run),
        components.training(run),
        components.glossary("nfe", "eta", run.judge, "fd", "precision", "recall"),
        tables.section(run, [], KINDS, ("schedule", "sampler", "n_steps", "nfe")),
    ]


def code(run: Run) -> Section | None:
    """What can be pasted, from settings.json."""
    path = run.directory / SETTINGS
    if not path.is_file():
        return None
    blocks: list[Code | Prose] = []
    try:
        for one in json.loads(path.read_text(encoding="utf-8"))["settings"]:
            for library, file in sorted(one["exports"].items(), key=lambda pair: pair[0] != "torch"):
                title = f"{plural(one['budget'], 'evaluation')}, “{one['setting']}”: {library}"
                inside = run.directory / "export" / Path(file).name  # never a file of another folder
                blocks.append(Code(title, inside.read_text(encoding="utf-8")))
                if library in one.get("not_compared", {}):
                    blocks.append(
                        Prose(f"This code was not compared with our samples: {one['not_compared'][library]}.")
                    )
            for library, why in sorted(one.get("no_exports", {}).items()):
                blocks.append(Prose(f"No code for {library}, “{one['setting']}”: {why}."))
            if not one["exports"]:
                blocks.append(Prose(f"There is no code for “{one['setting']}”; its levels are in {SETTINGS}."))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{SETTINGS}: it is not as the run wrote it: {type(error).__name__}: {error}") from None
    text = (
        "The recommended settings, in the units of the network. Before torch code was written, it was run with this "
        "network and gave the same images as the sampler that was measured, unless a line says that it was not "
        f"compared. {SETTINGS} holds the same settings for programs."
    )
    return Section("Use it", [Prose(text), *blocks])


def confirmed(run: Run) -> pd.DataFrame:
    """The runs on images that the race never saw, without the control."""
    rows = run.ok()
    return rows[~rows["mode"].str.endswith(RACE) & (rows["mode"] != "control")]


def front(run: Run) -> Section | None:
    """Two distances against evaluations: recommended and default settings, and the whole field of the race in grey."""
    sets, rows = [one for one in best_sets.read(run) if one.simplest], confirmed(run)
    if not sets:
        return None
    field = run.rows[(run.rows["status"] == "ok") & run.rows["mode"].str.endswith(RACE)]
    field = field[field["n_samples"] == field["n_samples"].min()]
    figure, [axes] = figures.panels(1, len(run.metrics), 3.4)
    for ax, metric in zip(axes, run.metrics, strict=True):
        means = field.groupby(["mode", "setting", "budget"], as_index=False)[metric].mean()
        name = f"all settings, {cell('n_samples', field['n_samples'].min())} images"
        ax.scatter(means["budget"], means[metric] * COLUMNS[metric].scale, s=12, color=figures.FAINT, alpha=0.6,
                   linewidth=0, zorder=1, label=name)  # fmt: skip
        for name, color, marker in (("default", figures.ORANGE, "s"), ("recommended", figures.BLUE, "o")):
            settings = {one.mode: one.baseline if name == "default" else one.best for one in sets}
            mine = rows[rows["mode"].map(settings) == rows["setting"]]
            mine = mine.assign(nfe=mine["budget"])
            figures.quality_line(mine, "nfe", metric, ax, label=name, marker=marker, color=color)
        components.cost_axis(ax, rows["budget"])
        components.quality_axis(ax, run, metric, pd.concat([rows, field]))
    text = (
        "Quality against evaluations. Lower is better. Grey: every setting in the race; scores of "
        f"fewer images are noisier, and FD is higher with fewer images. Blue and orange: images that the race never "
        f"saw. Orange: “{sets[0].baseline}”. Green: score of real images (floor), if it is on the axis."
    )
    alt = f"Quality, as {components.spoken(run)}, against network evaluations: recommended, default and all settings."
    drawing = Figure("front", figures.under_one_legend(figure), alt, components.caption(run, text, rows=rows))
    return Section("Quality against cost", [drawing])


def race(run: Run) -> Section | None:
    """How many settings took part, and how many of them were confirmed."""
    if not len(run.race):
        return None
    modes = list(run.race["mode"].unique())
    body = []
    for n, rows in run.race.groupby("n_samples"):
        counts = [rows[rows["mode"] == mode] for mode in modes]
        left = [f"{number(mine['left'].sum(), 0)} of {number(len(mine), 0)}" if len(mine) else "" for mine in counts]
        body.append([cell("n_samples", n), *left])
    heads = ["images per network", *(mode.removesuffix(RACE) for mode in modes)]
    text = (
        "Settings kept, of all in the race: the best on paired images. The race only chooses whom to confirm "
        "on other images."
    )
    return Section("The race", [Table(heads, body, [True] * len(heads), text), *not_run(run)])


def not_run(run: Run) -> list[Prose]:
    """The settings that could not take part, and why."""
    rows = run.rows[run.rows["status"] == "infeasible"].drop_duplicates(["mode", "setting"])
    if not len(rows):
        return []
    shown = rows.iloc[limits.evenly(len(rows), limits.ROWS)]
    texts = [
        f"{listed(f'“{name}”' for name in here['setting'])}, {mode.removesuffix(RACE)}: {why}"
        for (mode, why), here in shown.groupby(["mode", "error"], sort=False)
    ]
    more = limits.note(len(shown), len(rows), "settings", "table.csv")
    return [Prose(f"{'. '.join(texts)}.{more}", "Not run")]


def knobs(run: Run) -> Section | None:
    """What each choice is worth: samplers on the winner's ladder, ladders with its sampler, in the race."""
    titles = {"sampler": "sampler and noise, on the best ladder", "ladder": "ladder, with the best sampler"}
    groups = {
        f"{mode.removesuffix(RACE)}: {title}": rows
        for kind, title in titles.items()
        for mode, rows in run.of_kind(kind).groupby("mode", sort=False)
    }
    text = (
        "What each choice is worth, in the race, where every setting takes part. Each line changes "
        "one thing of the best named setting. That one was chosen on these images too, so it scores too well by a "
        "little. Below 0, the first setting of a line is better."
    )
    return Section("What each choice is worth", components.forest(run, "knobs", groups, text), folded=True)
