"""The settings that `tune` writes: settings.json, read back."""

from dataclasses import replace
from pathlib import Path

from experiments.run.setting import Schedule, read_schedule
from experiments.run.study import Study
from experiments.user.imports import is_pretrained
from experiments.user.json_io import read_json

FORMAT = 1


def schedule_from(path: Path, budget: int | None, study: Study) -> tuple[Schedule, bool]:
    """The schedule of a recommended setting, and whether a last step goes to 0, with one step per evaluation.

    Args:
        path: a settings.json.
        budget: network evaluations per image; None for the largest budget in the file.
        study: what samples on it.

    ValueError for a file of something else, no setting for this budget, or settings of another network or other data.
    """
    from diffusion_core.data.load import resolve  # these need torch
    from experiments.run.choices_file import check_origin
    from experiments.run.machine import Machine
    from experiments.run.plan import make_network
    from experiments.user import pretrained

    name = f"setting={str(path)!r}"
    if not path.is_file() or (content := read_json(path)).get("format") != FORMAT:
        raise ValueError(
            f"{name}: it must be a settings.json that tune wrote, which it does if its samples look like images"
        )
    rows = {row["budget"]: row for row in content["settings"]}
    budget = max(rows) if budget is None else budget
    if budget not in rows:
        raise ValueError(f"{name}: no setting for n_steps={budget}; it has settings for {sorted(rows)} evaluations")
    data = resolve(study.data)
    if is_pretrained(study.network):
        network = pretrained.describe(study.network, study.label)
    else:
        network = make_network(study, data, Machine("cpu")).row()["network"]
    check_origin(name, content, network, data)
    row = rows[budget]
    schedule, _ = read_schedule(row["schedule"], row["n_steps"], study.data_std, row["sigma_max"], row["sigma_min"])
    if [f"{level:.5g}" for level in schedule.sigmas()] != [f"{level:.5g}" for level in row["sigmas"]]:
        raise ValueError(
            f"{name}: its sigmas are not the levels of its schedule, {row['schedule']}; were they changed?"
        )
    final = row["ending_at_0"]
    return replace(schedule, n_steps=budget - final), final
