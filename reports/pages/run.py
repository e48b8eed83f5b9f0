"""The report on `run`: how good is one setting?"""

from reports import components, tables
from reports.columns import METRICS
from reports.document import Prose, Section
from reports.formats import cell, listed, metric_name, times
from reports.results import Run, multiple
from reports.sentences import training


def sections(run: Run) -> list[Section | None]:
    """The sections of the report from top to bottom. A part that the run did not measure is left out."""
    rows = run.ok()
    labels = {row["samples_id"]: f"seed {row['train_seed']}" for _, row in rows.iterrows()}
    pictures = (
        [*components.gallery(run, rows, labels, ""), *components.films(run, rows, labels, "")] if len(rows) else []
    )
    settings = {f"seed {seed}": same for seed, same in rows.groupby("train_seed")}
    return [
        Section("Answer", [*answer(run), *components.failures(run)]),
        Section("Samples", pictures),
        Section("Classes", components.histograms(run, "classes", settings, "Samples per class.") if settings else []),
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
    """The scores of each network's samples, and those of real images."""
    rows = run.ok()
    if not len(rows):
        return [Prose("no run succeeded.", "No score")]
    first, sentences = rows.iloc[0], []
    for metric in METRICS:
        floor = run.floor(metric, first)
        name = metric_name(metric, run.features, long=True)
        scores = f"{name} is {listed(cell(metric, value) for value in rows[metric])}"
        ratios = [multiple(value, floor) for value in rows[metric]]
        if all(ratios):
            scores += f", {listed(times(ratio) for ratio in ratios if ratio is not None)} times the floor"
        sentences.append(scores)
        if floor is not None and not all(ratios):
            low, high = (cell("mean", floor[name], metric) for name in ("low", "high"))
            sentences.append(f"Real images score {low} to {high} (floor)")
    sentences += [
        "One number per network; nothing is compared",
        f"Sampler: {first['sampler']} on the {first['schedule']} ladder",
        f"Cost: {cell('nfe', first['nfe'])} evaluations per image",
        f"Network: {first['network']}, {training(first)}, data {first['data']}",
        f"{cell('n_samples', first['n_samples'])} samples per network",
    ]
    return [Prose(f"{'. '.join(sentences)}.", "Scores")]
