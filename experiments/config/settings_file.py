"""The settings that `tune` writes: settings.json, read back."""

import json
from pathlib import Path

from experiments.config import names
from experiments.config.config import Ladder

FORMAT = 1


def ladder_from(path: Path, budget: int | None, data_std: float) -> Ladder:
    """The ladder of a recommended setting, with one step per evaluation of its budget.

    Args:
        path: a settings.json.
        budget: network evaluations per image; None for the largest budget in the file.
        data_std: as in `names.schedule`.

    Raises:
        ValueError: no such file, not one of `tune`, no setting for this budget, or levels that were changed by hand.
    """
    what = f"setting={str(path)!r}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{what}: it must be a settings.json that tune wrote: {error}") from None
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"{what}: its format is {content['format']}, but this version reads {FORMAT}")
        entries = {int(one["budget"]): one for one in content["settings"]}
        budget = max(entries, default=0) if budget is None else budget
        if budget not in entries:
            known = ", ".join(map(str, sorted(entries)))
            raise ValueError(f"{what}: it has no setting for n_steps={budget}; it has settings for {known} evaluations")
        one = entries[budget]
        ends = float(one["sigma_max"]), float(one["sigma_min"])
        schedule, options = names.schedule(one["ladder"], data_std)
        mine, said = Ladder(schedule, int(one["n_steps"]), *ends, options).sigmas(), tuple(one["sigmas"])
        if len(mine) != len(said) or any(abs(a - b) > 1e-6 * a for a, b in zip(mine, said, strict=True)):
            raise ValueError(
                f"{what}: its sigmas are not the levels of its ladder, {one['ladder']}; were they changed?"
            )
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"{type(error).__name__}: {error}"
        raise ValueError(f"{what}: it is not as tune wrote it: {missing}") from None
    return Ladder(schedule, budget, *ends, options)
