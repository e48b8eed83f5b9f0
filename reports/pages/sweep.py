"""The report on a user's own sweep: which of its settings is best in each mode?"""

from reports import best_setting, components, tables
from reports.document import Section
from reports.results import Run


def sections(run: Run) -> list[Section | None]:
    """The sections of the report from top to bottom. A part that the run did not measure is left out."""
    return [
        Section("Answer", best_setting.answer(run, ("setting",), baseline(run))),
        differences(run),
        Section("The chosen setting against all others", best_setting.against_others(run)),
        samples(run),
        components.training(run),
        components.glossary("nfe", "eta", "fd", "kd", "precision", "recall"),
        numbers(run),
    ]


def baseline(run: Run) -> str:
    """The label of the setting that the A/A control repeats."""
    control = run.of_kind("control")
    return control["b"].iloc[0] if len(control) else ""


def differences(run: Run) -> Section:
    """The main figure: every setting against the first setting of its mode."""
    groups = dict(list(run.of_kind("setting").groupby("mode", sort=False)))
    groups["A/A control"] = run.of_kind("control")
    text = "Every setting against the first setting of its mode. Below 0, it is better than the first."
    return Section("Differences", components.forest(run, "differences", groups, text))


def labels(run: Run) -> dict[str, str]:
    """Run -> label of its setting, for runs that were compared with another."""
    alone = run.contrasts[run.contrasts["train_seed"] != ""]
    return {run_id: label for side in "ab" for run_id, label in zip(alone[f"run_id_{side}"], alone[side], strict=True)}


def samples(run: Run) -> Section | None:
    """The first samples of one network, for all settings of each mode."""
    names, blocks = labels(run) if len(run.contrasts) else {}, []
    for mode in run.rows.loc[run.rows["mode"] != "control", "mode"].unique():
        rows = run.ok(mode)
        if len(rows):
            rows = components.first_network(rows)
            shown = {row["samples_id"]: names.get(row["run_id"], row["sampler"]) for _, row in rows.iterrows()}
            text = f"{mode}. Samples at the same position start from the same noise."
            blocks += [*components.gallery(run, rows, shown, text), *components.films(run, rows, shown, f"{mode}.")]
    return Section("Samples", blocks)


def numbers(run: Run) -> Section:
    """The tables."""
    blocks = []
    for kind, text in (
        ("setting", "Each setting against the first setting of its mode."),
        (
            "best",
            "The setting chosen for each mode against all others, on the images not used for the choice.",
        ),
        ("control", "The A/A control."),
    ):
        if len(found := run.of_kind(kind)):
            blocks.append(tables.contrast_list(run, found, f"{text} Means over networks."))
    columns = ("schedule", "sampler", "n_steps", "nfe", "final_denoise")
    return Section("Tables", [*blocks, tables.setting(run), *tables.floors(run), *tables.runs(run, columns)])
