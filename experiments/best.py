"""The best setting without fresh noise and the best with it, for each number of evaluations: best.json.

`ladders` chooses and writes them, `beta` compares them on other networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.run.compare import CONTROL, Contrast, Side
from experiments.run.machine import code_version
from experiments.user.json_io import write_json
from experiments.user.parsing import format_call
from reports.schema import JUDGE

if TYPE_CHECKING:
    from experiments.run.study import Study
    from experiments.run.tables import RunResults

FILE, FORMAT = "best.json", 1
WITHOUT, WITH = "without", "with"  # fresh noise
RULE = (
    "the lowest mean MMD over networks; a setting with more fine noise than the default only if every setting without "
    "is worse (95 % interval of the difference)"
)
Entry = dict[str, Any]
Entries = Mapping[str, Entry]  # by WITHOUT and WITH


def choose(sides: Sequence[Side], most: float) -> Side:
    """The setting of the lowest score; with grain above `most` only if all others are detectably worse."""
    from experiments.run.contrasts import estimate_difference, mean_grain

    lowest, *others = sorted(sides, key=lambda side: side.score)
    quiet = [side for side in others if mean_grain(side) <= most]
    if mean_grain(lowest) <= most or not quiet or estimate_difference(Contrast("", quiet[0], lowest), JUDGE).clear:
        return lowest
    return quiet[0]


def choose_best(results: "RunResults", samplers: Mapping[Any, str]) -> tuple[dict[str, Entries], Entries]:
    """The best setting of either kind by number of evaluations, and at any; only where there are settings of both.

    `samplers`: how samplers are typed whose name cannot be read back.
    """
    from experiments.distances.intervals import GRAINY
    from experiments.run.contrasts import mean_grain

    budgets, chosen, most = dict[str, Entries](), dict[str, list[Side]](), GRAINY
    for (section, budget), sides in results.sides.items():
        ran = [side for side in sides.values() if side.whole]
        if section == CONTROL or not ran:
            continue
        most = max(GRAINY, mean_grain(ran[0]))  # what the default has, others may have
        kinds = {WITHOUT: list[Side](), WITH: list[Side]()}
        for side in ran:
            run = results.find(side)
            kinds[WITH if run.setting.sampler.adds_noise(run.sigmas) else WITHOUT].append(side)
        if all(kinds.values()):
            best = {kind: choose(members, most) for kind, members in kinds.items()}
            budgets[str(budget)] = {kind: _entry(results, side, most, samplers) for kind, side in best.items()}
            for kind, side in best.items():
                chosen.setdefault(kind, []).append(side)
    anywhere = {kind: _entry(results, choose(members, most), most, samplers) for kind, members in chosen.items()}
    return budgets, anywhere


def _entry(results: "RunResults", side: Side, most: float, samplers: Mapping[Any, str]) -> Entry:
    from experiments.run.contrasts import mean_grain

    run = results.find(side)
    ladder: Any = run.setting.ladder
    row, grain = next(iter(side.rows.values())), mean_grain(side)
    options = [*ladder.options, *([("end", 0.0)] if run.setting.final_denoise else [])]
    return {
        "schedule": format_call(ladder.schedule, options),
        "sigma_max": ladder.sigma_max,
        "sigma_min": ladder.sigma_min,
        "sampler": samplers.get(run.setting.sampler, run.setting.sampler.name),
        "budget": side.budget,
        "evaluations": row["nfe"],
        JUDGE: side.score,
        "grain": grain,
        "more_fine_noise_than_the_default": grain > most,
    }


def write_best(folder: Path, study: "Study", results: "RunResults", samplers: Mapping[Any, str]) -> Path | None:
    """The path of best.json, after writing it; None if no budget has settings with and without noise."""
    budgets, anywhere = choose_best(results, samplers)
    if not budgets:
        return None
    rows: Iterable[Any] = results.rows.values()
    ran = [row for row in rows if row["status"] == "ok"]
    about = {name: ran[0].get(name) for name in ("data", "network", "images_seen", "features", "n_samples")}
    about |= {"recipe": study.recipe if study.trains else None, "seeds": sorted({row["train_seed"] for row in ran})}
    content = {"format": FORMAT, "rule": RULE, "metric": JUDGE} | about | code_version()
    write_json(folder / FILE, content | {"budgets": budgets, "any": anywhere})
    return folder / FILE
