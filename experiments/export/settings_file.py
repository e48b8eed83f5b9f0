"""The settings that `tune` writes: settings.json, read back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.run.setting import Ladder, read_ladder
from experiments.run.study import Study

FORMAT = 1


def ladder_from(path: Path, budget: int | None, study: Study) -> Ladder:
    """The ladder of a recommended setting, with one step per evaluation of its budget.

    Args:
        path: a settings.json.
        budget: network evaluations per image; None for the largest budget in the file.
        study: what samples on it.

    Raises:
        ValueError: no such file, not one of `tune`, or levels that were changed by hand; no setting for this budget;
            settings of another network or other data.
    """
    try:
        return _read(json.loads(path.read_text(encoding="utf-8")), budget, study)
    except (KeyError, TypeError, AttributeError, ValueError, OSError, RecursionError) as error:
        ours = type(error) is ValueError  # errors of json are of subclasses
        why = str(error) if ours else f"it must be a settings.json that tune wrote: {type(error).__name__}: {error}"
        raise ValueError(f"setting={str(path)!r}: {why}") from None


def _read(content: dict[str, Any], budget: int | None, study: Study) -> Ladder:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, but this version reads {FORMAT}")
    rows = {row["budget"]: row for row in content["settings"]}
    budget = max(rows, default=0) if budget is None else budget
    if budget not in rows:
        raise ValueError(f"it has no setting for n_steps={budget}; it has settings for {sorted(rows)} evaluations")
    row = rows[budget]
    ladder, _ = read_ladder(row["ladder"], row["n_steps"], study.data_std, row["sigma_max"], row["sigma_min"])
    levels, listed = ladder.sigmas(), row["sigmas"]
    if len(levels) != len(listed) or not all(abs(a / b - 1) < 1e-6 for a, b in zip(listed, levels, strict=True)):
        raise ValueError(f"its sigmas are not the levels of its ladder, {row['ladder']}; were they changed?")
    network, data = network_and_data(study)
    if content["network"] != network:
        raise ValueError(f"its network is {content['network']!r}, but this run samples from {network!r}")
    if content["data"].rpartition("@")[2] != data.rpartition("@")[2]:  # the fingerprint of a user's data
        raise ValueError(f"its data are {content['data']!r}, but this run has {data!r}")
    return replace(ladder, n_steps=budget)


def network_and_data(study: Study) -> tuple[str, str]:
    """The network of a study, as tables call it, and its data set with its fingerprint."""
    from diffusion_core.data.load import resolve  # these need torch
    from experiments.user import external

    foreign = ":" in study.network
    return external.describe(study.network, study.label) if foreign else study.network, resolve(study.data)
