"""The report on `score`: how far sets of images are from real ones, and whether one is better than another."""

from dataclasses import replace
from typing import Any

import pandas as pd

from reports import components, figures, openings, tables
from reports.document import About, Figure, Gallery, Number, Opening, Section, Table, table
from reports.formats import cell, interval, listed, metric_name, missing, number, percent, plural
from reports.results import Run
from reports.schema import BETTER, GRAINY, JUDGE, LEVEL, METRICS, WORSE
from reports.sentences import ANSWERS, verdict

QUALITY = ("precision", "recall")
SHOWN = 3  # sets that the first screen shows
HOW = (
    f"{percent(LEVEL)} intervals, from what each image adds. They cover the choice of the images of each set and of "
    "the real images, not that of the models: another training may differ."
)


def about(run: Run) -> About:
    """The real images, the feature space, and the date."""
    first = run.rows.iloc[0]
    real = f"{cell('n_reference', first['n_reference'])} real images ({first['data']})"
    subject = [real, f"{cell('n_samples', first['n_samples'])} per set", f"{run.features} features"]
    return About(run.info["question"], subject, first["finished_at"][:10])


def sections(run: Run) -> list[Section | None]:
    return [
        _against_first(run),
        _spaces(run),
        Section("Every distance", [*_values(run), *_floors(run)]),
        _pictures(run),
        components.glossary(JUDGE, "kd", "fd", "precision", "recall", "grain"),
    ]


def opening(run: Run) -> Opening:
    """The verdict with interval, the score of real images, precision and recall, and pictures of all sides."""
    lead, numbers = {1: _one, 2: _two}.get(len(run.rows), _several)(run)
    text = _fact(run, "sentence")
    labels = {row["samples_id"]: row["setting"] for _, row in _pictured(run).iterrows()}
    warnings = [f"{warning}." for warning in _fact(run, "warnings") or ()]  # which begin with names of sets
    return Opening(
        text, lead, [*numbers, _quality(run)], components.strip(run, labels), openings.key(run, JUDGE),
        status=_status(run), warnings=warnings,
    )  # fmt: skip


def _one(run: Run) -> tuple[str, list[Number]]:
    """The numbers of one set: its distances next to those of real images."""
    values, numbers = run.scores[run.scores["features"] == run.features].set_index("metric"), list[Number]()
    for metric in (JUDGE, "fd"):
        value, low, high = (cell(name, values.loc[metric, name], metric) for name in ("value", "low", "high"))
        notes = [f"{percent(LEVEL)} interval {low} to {high}", _real(run, metric)]
        numbers.append(Number(value, metric_name(metric, run.features), notes))
    return "", numbers


def _two(run: Run) -> tuple[str, list[Number]]:
    """The answer for two sets: whether the second is better than the first."""
    row = run.contrasts[run.contrasts["metric"] == JUDGE].iloc[0]
    needed = (_fact(run, "needed") or {}).get(row["a"])
    few = "there are too few real images, or more images would be needed than the 20,000 per set that MMD reads"
    why = "there is no difference" if row["difference"] == 0 else few
    detectable = interval(JUDGE, row["detectable"], -row["detectable"], row["detectable"]).split(" ")[0]
    reach = [f"could have detected {detectable} in {metric_name(JUDGE, run.features)}"]
    numbers = [
        openings.score(run, row, "a", f"of {row['a']}", openings.change(row)),
        openings.score(run, row, "b", f"of {row['b']}", [_real(run, JUDGE)]),
        Number(
            number(needed, 0) if needed else "no number",
            "images per set to detect half of this",
            reach if needed else [why, *reach],
        ),
    ]
    return ANSWERS.get(row["verdict"], ""), numbers


def _several(run: Run) -> tuple[str, list[Number]]:
    """The best of three sets or more."""
    numbers = []
    for _, row in run.best_sets.sort_values("value", kind="stable").head(SHOWN).iterrows():
        difference = interval(JUDGE, row["difference"], row["low"], row["high"])
        numbers.append(Number(cell(JUDGE, row["value"]), row["setting"], [f"from the best other: {difference}"]))
    numbers[0] = replace(numbers[0], notes=[*numbers[0].notes, _real(run, JUDGE)])
    return "", numbers


def _quality(run: Run) -> Number:
    """Precision and recall: of the best set large, or of the second of two."""
    rows = _ranked(run).head(SHOWN)
    texts = [", ".join(number(row[name], 2) for name in QUALITY) for _, row in rows.iterrows()]
    real = ", ".join(number(_floor(run, name)["mean"], 2) for name in QUALITY)
    (name, *names), (text, *others) = list(rows["setting"]), texts
    notes = [f"{other}: {values}" for other, values in zip(names, others, strict=True)]
    word = "precision, recall" + (f" of {name}" if others else "")
    return Number(text, word, [*notes, f"real images: {real}"])


def _ranked(run: Run) -> pd.DataFrame:
    """The rows of the sets: the best first, or the second of two."""
    return run.rows.iloc[::-1] if len(run.rows) == 2 else run.rows.sort_values(JUDGE, kind="stable")


def _pictured(run: Run) -> pd.DataFrame:
    """The rows of which the first screen shows pictures: both of two sets; of more, the first one and the best."""
    return run.rows if len(run.rows) <= 2 else pd.concat([run.rows.head(1), _ranked(run).head(1)]).drop_duplicates()


def _status(run: Run) -> list[str]:
    """Pairs, the guard against fine noise, and what the interval covers."""
    facts = [pairing] if (pairing := _fact(run, "pairing")) else []
    known = run.rows[run.rows["grain"].notna()]
    grainy = [f"{row['setting']} {cell('grain', row['grain'])}" for _, row in known.iterrows() if row["grain"] > GRAINY]
    if grainy:
        facts.append(f"fine noise beyond real images: {listed(grainy)}")
    elif len(known):
        facts.append("no fine noise beyond real images")
    n, dimension = run.rows[["n_samples", "n_reference"]].iloc[0].min(), _fact(run, "dimension")
    if dimension and n <= dimension:
        facts.append(f"{number(n, 0)} images are fewer than the {number(dimension, 0)} features, so FD is too high")
    return [*facts, "holds for these images, not for another training of the models"]


def _against_first(run: Run) -> Section | None:
    """Every set against the first one."""
    if not len(run.contrasts):
        return None
    rows = [
        {"difference": f"{pair.iloc[0]['a']} − {pair.iloc[0]['b']}"}
        | {
            metric_name(row["metric"], run.features): interval(
                row["metric"], row["difference"], row["low"], row["high"]
            )
            for _, row in pair.iterrows()
        }
        | {"verdict": verdict(pair.iloc[0])}
        for _, pair in run.contrasts.groupby("a", sort=False)
    ]
    adjusted = run.contrasts["adjusted"].iloc[0]
    text = f"Below 0, the set is better than the first one. {HOW}"
    if not missing(adjusted):
        text += f" Intervals and verdicts hold for all sets at once ({adjusted})."
    file = run.directory / "contrasts.csv"
    made = table(pd.DataFrame(rows), text, words=("difference", "verdict"), file=file)
    return Section("Against the first set", [_forest(run), made] if len(rows) > 1 else [made])


def _forest(run: Run) -> Figure:
    """The differences with their intervals, one line each."""
    contrasts = run.contrasts[run.contrasts["metric"] == JUDGE].reset_index(drop=True)
    figure, [[ax]] = figures.panels(1, 1, 0.24 * len(contrasts) + 1.0)
    figures.forest(contrasts.assign(line=range(len(contrasts))), list(contrasts["a"]), JUDGE, ax)
    first = contrasts["b"].iloc[0]
    ax.set_xlabel(f"difference in {metric_name(JUDGE, run.features, long=True)} from {first}")
    text = f"Differences from the first set, {first}. Blue: better; orange: worse; open: not detectable. {HOW}"
    return Figure("differences", figure, "Differences from the first set with intervals.", text)


def _spaces(run: Run) -> Section | None:
    """The deciding distance in each feature space, and whether they agree."""
    spaces = list(dict.fromkeys(run.scores["features"]))
    if len(spaces) < 2:
        return None
    judged = run.scores[run.scores["metric"] == JUDGE]
    values = judged.pivot(index="features", columns="setting", values="value").loc[spaces, list(run.rows["setting"])]
    text = f"{metric_name(JUDGE, '')} in each feature space. One network alone may misrank."
    shown = values.map(lambda value: cell(JUDGE, value))
    if len(run.rows) > 1:
        ranks = values.rank(axis=1)
        shown += ranks.map(lambda rank: f" (rank {number(rank)})")
        shown.loc["mean of ranks"] = [number(rank) for rank in ranks.mean()]
        text += f" {_agreement(run, ranks)}"
    shown = shown.rename_axis("feature space").reset_index()
    return Section("Feature spaces", [table(shown, text, words=list(shown))])


def _agreement(run: Run, ranks: pd.DataFrame) -> str:
    """Whether all spaces give one order and one verdict."""
    verdicts = run.spaces.groupby("a")["verdict"].nunique()
    if (verdicts == 1).all() and (ranks == ranks.iloc[0]).all(axis=None):
        return f"All {number(len(ranks), 0)} spaces agree."
    opposed = run.spaces.groupby("a")["verdict"].agg(lambda verdicts: {BETTER, WORSE} <= set(verdicts))
    return "The spaces contradict each other." if opposed.any() else "The spaces agree only in part."


def _values(run: Run) -> list[Table]:
    """Every distance of every set with its interval."""
    known = run.scores[run.scores["features"] == run.features]
    rows = []
    for _, row in run.rows.iterrows():
        own = known[known["setting"] == row["setting"]].set_index("metric")
        rows.append(
            {"set": row["setting"]}
            | {
                metric_name(m, run.features): interval(m, *own.loc[m, ["value", "low", "high"]])
                for m in METRICS
                if m in own.index
            }
            | {name: row[name] for name in ("precision", "recall", "grain")}
        )
    text = f"Distances to the real images. Lower is better. {HOW}"
    return [table(pd.DataFrame(rows), text, words=("set",), file=run.directory / "table.csv")]


def _floors(run: Run) -> list[Table]:
    """The scores of real images."""
    text = "The floor: real images against other real images, mean, lowest and highest of the repeats."
    if _fewer(run):
        text += (
            f" There are too few real images for as many as in each set, so FD of real images is higher here than it "
            f"would be with {cell('n_samples', run.rows['n_samples'].iloc[0])}."
        )
    return tables.floors(run, text, ())


def _pictures(run: Run) -> Section | None:
    """Pictures of the sets that the first screen leaves out."""
    others = run.rows.drop(_pictured(run).index)
    labels = {row["samples_id"]: row["setting"] for _, row in others.iterrows()}
    shown, note = components.pictures(run, labels, ".png", "grids")
    if not shown:
        return None
    return Section("Images", [Gallery(f"{plural(len(shown), 'more set')}", shown, f"16 images of each set.{note}")])


def _floor(run: Run, metric: str) -> pd.Series:
    return run.floors[run.floors["metric"] == metric].iloc[0]


def _real(run: Run, metric: str) -> str:
    """ "real images score 1.38 (0.83 to 2.12)", with their number if it is another."""
    floor = _floor(run, metric)
    count = f"{cell('n_samples', floor['n_samples'])} " if _fewer(run) else ""
    apart = ": not comparable, since FD falls with their number" if _fewer(run) and metric == "fd" else ""
    return count + openings.floor(run, floor, metric)[0] + apart


def _fewer(run: Run) -> bool:
    """Whether there were too few real images for a floor of as many as in each set."""
    return float(run.floors["n_samples"].iloc[0]) < float(run.rows["n_samples"].iloc[0])


def _fact(run: Run, name: str) -> Any:
    """What run.json says besides the tables."""
    return run.info.get("score", {}).get(name)
