"""The report on `run`: how good is one setting?"""

from reports import components, tables
from reports.columns import METRICS
from reports.document import Prose, Section
from reports.formats import cell, listed, metric_name, times
from reports.results import Run, multiple
from reports.sentences import training


def sections(run: Run) -> list[Section | None]:
    """The report from top to bottom; a part that the run did not measure is left out."""
    rows = run.ok()
    labels = {row["samples_id"]: f"seed {row['train_seed']}" for _, row in rows.iterrows()}
    pictures = (
        [*components.gallery(run, rows, labels, ""), *components.films(run, rows, labels, "")] if len(rows) else []
    )
    settings = {f"seed {seed}": same for seed, same in rows.groupby("train_seed")}
    return [
        Section("Answer", [*answer(run), *components.failures(run)]),
        Section("Samples", pictures),
        Section("Classes", components.histograms(run, "classes", settings, "Samples a class.") if settings else []),
        components.training(run),
        components.glossary("nfe", "fd", "kd", "precision", "recall"),
        Section(
            "Tables",
            [
                tables.setting(run),
                *tables.floors(run),
                *tables.runs(run, ("schedule", "sampler", "n_steps", "nfe", "final_denoise")),
            ],
        ),
    ]


def answer(run: Run) -> list[Prose]:
    """What each network's samples score, beside what real images score."""
    rows = run.ok()
    if not len(rows):
        return [Prose("no run succeeded.", "No score")]
    first, phrases = rows.iloc[0], []
    for metric in METRICS:
        floor = run.floor(metric, first)
        ratios = [multiple(value, floor) for value in rows[metric]]
        more = (
            f" ({listed(times(ratio) for ratio in ratios if ratio is not None)} times the floor)" if all(ratios) else ""
        )
        if floor is not None and not all(ratios):
            low, high = (cell("mean", floor[name], metric) for name in ("low", "high"))
            more = f" (real images: {low} to {high})"
        name = metric_name(metric, run.features, long=True)
        phrases.append(f"{name} {listed(cell(metric, value) for value in rows[metric])}{more}")
    how = f"{first['sampler']} down the ladder {first['schedule']}, {cell('nfe', first['nfe'])} evaluations an image"
    who = f"{first['network']}, {training(first)}, data {first['data']}"
    n = f"{cell('n_samples', first['n_samples'])} samples from each network (one number a network, no comparison)"
    return [Prose(f"{'; '.join(phrases)}. {how[0].upper()}{how[1:]}; {who}; {n}.", "Scores")]
