"""The report on `run`: how good is one setting?"""

import pandas as pd

from reports import components, explorer, openings, tables
from reports.document import Number, Opening, Section
from reports.formats import cell, metric_name, plural
from reports.results import Run


def sections(run: Run) -> list[Section | None]:
    rows = run.ok()
    return [
        explorer.section(run, [explorer.Choice("All networks", rows, [("setting", "setting")], name)]),
        components.training(run),
        components.glossary("nfe", run.judge, "fd", "precision", "recall"),
        tables.section(run, [], {}, ("schedule", "sampler", "n_steps", "nfe", "final_denoise")),
    ]


def name(row: pd.Series) -> str:
    """The setting in words."""
    return f"{row['sampler']} on the {row['schedule']} ladder, {cell('nfe', row['nfe'])} evaluations"


def opening(run: Run) -> Opening:
    """The scores next to those of real images, in words, numbers and pictures."""
    rows = run.ok()
    if not len(rows):
        return Opening("No run succeeded.", "No score.", status=openings.status(run, None))
    first, numbers = rows.iloc[0], []
    for metric in ("fd", run.judge):
        name = metric_name(metric, run.features)
        notes = [spread(rows, metric), *openings.floor(run, first, metric)]
        numbers.append(Number(cell(metric, rows[metric].mean()), name, notes))
    how = [str(first["sampler"]), f"{first['schedule']} ladder"]
    numbers += [
        Number(cell("recall", rows["recall"].mean()), "recall", openings.floor(run, first, "recall")),
        Number(cell("nfe", first["nfe"]), "network evaluations per image", how),
    ]
    floor = run.floor("fd", first)
    fd = metric_name("fd", run.features)
    text = f"This setting scores {fd} {cell('fd', rows['fd'].mean())}"
    text += "." if floor is None else f"; real images score {cell('mean', floor['mean'], 'fd')}."
    networks = rows["train_seed"].nunique()
    count = f"{plural(networks, 'network')}, {cell('n_samples', first['n_samples'])} samples each"
    failed = [plural(len(run.failed()), "failed run")] if len(run.failed()) else []
    pictures = components.strip(run, {first["samples_id"]: f"samples, {cell('nfe', first['nfe'])} evaluations"})
    return Opening(
        text, "", numbers, pictures, openings.key(run, "fd"),
        status=["one setting, nothing is compared", count, *failed],
        warnings=[
            *openings.warnings(run, [(rows["fd"].mean(), first)]),
            *openings.grainy(run, [(first["mode"], first["setting"])]),
        ],
    )  # fmt: skip


def spread(rows: pd.DataFrame, metric: str) -> str:
    """The lowest and the highest network, if there are several."""
    if rows["train_seed"].nunique() < 2:
        return "one network"
    low, high = (cell(metric, value) for value in (rows[metric].min(), rows[metric].max()))
    return f"networks {low} to {high}"
