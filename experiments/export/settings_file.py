"""The settings that `tune` writes: settings.json, read back."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from diffusion_core.validation import check_fields
from experiments.run.setting import Ladder, read_ladder
from experiments.run.study import Study
from experiments.user import parsing

FORMAT = 1


@dataclass(frozen=True)
class SettingRow:
    """A recommended setting, as far as it is read back."""

    budget: int  # network evaluations per image
    ladder: str
    sampler: str
    n_steps: int
    sigma_max: float
    sigma_min: float
    ending_at_0: bool
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        check_fields(self)


def ladder_from(path: Path, budget: int | None, study: Study) -> Ladder:
    """The ladder of a recommended setting, with one step per evaluation of its budget.

    Args:
        path: a settings.json.
        budget: network evaluations per image; None for the largest budget in the file.
        study: what samples on it.

    Raises:
        ValueError: no such file, not one of `tune`, or settings that were changed by hand; no setting for this budget;
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
    names_of_fields = [field.name for field in fields(SettingRow)]
    rows = [SettingRow(**{name: row[name] for name in names_of_fields}) for row in content["settings"]]
    known = sorted(row.budget for row in rows)
    budget = max(known, default=0) if budget is None else budget
    if known.count(budget) != 1:
        several = "no setting" if budget not in known else "more than one setting"
        raise ValueError(f"it has {several} for n_steps={budget}; it has settings for {known} evaluations")
    row = next(row for row in rows if row.budget == budget)
    ladder, _ = read_ladder(row.ladder, row.n_steps, study.data_std, row.sigma_max, row.sigma_min)
    levels = ladder.sigmas()
    if len(levels) != len(row.sigmas) or any(abs(a / b - 1) > 1e-6 for a, b in zip(row.sigmas, levels, strict=True)):
        raise ValueError(f"its sigmas are not the levels of its ladder, {row.ladder}; were they changed?")
    if not row.sampler.startswith("restart("):  # its name cannot be read back
        nfe = parsing.parse_sampler(row.sampler).planned_nfe(levels) + row.ending_at_0
        if nfe != budget:
            raise ValueError(f"its budget is {budget}, but {row.sampler} takes {nfe} evaluations; was it changed?")
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
