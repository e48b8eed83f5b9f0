"""The best setting without fresh noise and the best with it, for each number of evaluations: best.json.

`ladders` chooses and writes them, `beta` compares them on other networks. A setting is named as tables name it, such as
"karras(end=0), eta 1".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_core.samplers.euler import Euler
from experiments.run.compare import Contrast, Side, SidesBySection
from experiments.run.machine import code_version
from experiments.run.setting import Ladder, Setting, read_ladder, read_setting
from experiments.user.json_io import read_json, write_json
from experiments.user.parsing import parse_sampler
from reports.schema import JUDGE

if TYPE_CHECKING:
    from experiments.run.study import Study
    from experiments.run.tables import RunResults

FILE, FORMAT = "best.json", 1
KINDS = ("without", "with")  # fresh noise
RULE = (
    "the lowest mean MMD over networks; a setting with more fine noise than the default only if every setting without "
    "is worse (95 % interval of the difference)"
)
Pair = tuple[str, str]  # the setting without fresh noise and that with it


@dataclass(frozen=True)
class Choice:
    """The best settings: `pairs` by number of evaluations, and the numbers with which either kind is best."""

    pairs: Mapping[int, Pair]
    anywhere: tuple[int, int]
    seeds: tuple[int, ...] = ()  # of the networks that chose, where networks are trained

    @property
    def best(self) -> tuple[tuple[str, int], ...]:
        """Setting and number of evaluations of the best of either kind."""
        return tuple((self.pairs[budget][kind], budget) for kind, budget in enumerate(self.anywhere))


def make_setting(text: str, budget: int, ends: Ladder, data_std: float) -> Setting:
    """The setting that a text names, on the longest schedule that `budget` evaluations allow, from and to `ends`."""
    schedule, label = read_setting("best", text)
    solver = Euler(float(label[4:])) if label.startswith("eta ") else parse_sampler(label)
    longest, final = read_ladder(schedule, budget, data_std, ends.sigma_max, ends.sigma_min)
    return Setting(text, longest.within(budget - final, solver), solver, final_denoise=final, budget=budget)


def choose(sides: Sequence[Side], most: float) -> Side:
    """The setting of the lowest score; with grain above `most` only if all others are detectably worse."""
    from experiments.run.contrasts import estimate_difference, mean_grain

    lowest, *others = sorted(sides, key=lambda side: side.score)
    quiet = [side for side in others if mean_grain(side) <= most]
    if mean_grain(lowest) <= most or not quiet or estimate_difference(Contrast("", quiet[0], lowest), JUDGE).clear:
        return lowest
    return quiet[0]


def choose_best(results: "RunResults", sections: SidesBySection) -> dict[int, tuple[Side, Side]]:
    """The best setting without and with fresh noise by number of evaluations, where there are settings of both."""
    chosen = dict[int, tuple[Side, Side]]()
    for (_, budget), sides in sections.items():
        ran = [side for side in sides.values() if side.whole]
        runs = [results.find(side) for side in ran]
        noisy = [run.setting.sampler.adds_noise(run.sigmas) for run in runs]
        if budget is not None and len({*noisy}) == 2:
            most = largest_grain(ran)
            without, best_with = (
                choose([side for side, is_noisy in zip(ran, noisy, strict=True) if is_noisy == kind], most)
                for kind in (False, True)
            )
            chosen[budget] = without, best_with
    return chosen


def largest_grain(sides: Sequence[Side]) -> float:
    """The fine noise that settings may have: what is visible, or what the first of them, the default, has."""
    from experiments.distances.intervals import GRAINY
    from experiments.run.contrasts import mean_grain

    return max(GRAINY, mean_grain(sides[0]))


def as_choice(chosen: Mapping[int, tuple[Side, Side]], most: float) -> Choice:
    pairs = {budget: (without.label, best_with.label) for budget, (without, best_with) in chosen.items()}
    first, second = (choose([pair[kind] for pair in chosen.values()], most).budget or 0 for kind in (0, 1))
    return Choice(pairs, (first, second))


def write_best(folder: Path, study: "Study", results: "RunResults", ends: tuple[float, float]) -> Path | None:
    """The path of best.json, after writing it; None if no budget has settings with and without noise."""
    from experiments.run.contrasts import mean_grain

    sections = {key: sides for key, sides in results.sides.items() if key[1] is not None}
    chosen = choose_best(results, sections)
    if not chosen:
        return None
    rows: Iterable[Any] = results.rows.values()
    ran = [row for row in rows if row["status"] == "ok"]
    about = {name: ran[0].get(name) for name in ("data", "network", "images_seen", "features", "n_samples")}
    about |= {"recipe": study.recipe if study.trains else None, "seeds": sorted({row["train_seed"] for row in ran})}
    budgets = dict[int, Any]()
    for (_, budget), sides in sections.items():
        if budget in chosen:
            most = largest_grain([side for side in sides.values() if side.whole])
            budgets[budget] = {
                kind: {"setting": side.label, JUDGE: side.score, "grain": mean_grain(side)}
                | {"more_fine_noise_than_the_default": mean_grain(side) > most}
                for kind, side in zip(KINDS, chosen[budget], strict=True)
            }
    anywhere = dict(zip(KINDS, as_choice(chosen, most).anywhere, strict=True))
    content = {"format": FORMAT, "rule": RULE, "sigma_max": ends[0], "sigma_min": ends[1]} | about | code_version()
    write_json(folder / FILE, content | {"budgets": budgets, "any": anywhere})
    return folder / FILE


def read_best(path: Path, budgets: Sequence[int], study: "Study") -> tuple[Choice, Ladder]:
    """The choice in a best.json, and a ladder with the ends of its schedules.

    ValueError for a file of something else, other data or another network, or budgets that it lacks.
    """
    from diffusion_core.data.load import resolve  # these need torch
    from experiments.user import pretrained

    name = f"best={str(path)!r}"
    if not path.is_file() or (content := read_json(path)).get("format") != FORMAT or "budgets" not in content:
        raise ValueError(f"{name}: it must be a best.json that ladders wrote")
    network = pretrained.describe(study.network, study.label) if ":" in study.network else study.network
    for what, chosen_on, here in (
        ("data", content["data"], resolve(study.data)),
        ("network", content["network"], network),
    ):
        if chosen_on.rpartition("@")[2] != here.rpartition("@")[2]:  # a user's fingerprint
            raise ValueError(f"{name}: it was chosen on {what}={chosen_on!r}, but this run has {here!r}")
    pairs = {
        int(budget): (row["without"]["setting"], row["with"]["setting"]) for budget, row in content["budgets"].items()
    }
    if lacking := [budget for budget in budgets if budget not in pairs]:
        raise ValueError(f"{name}: no setting for budgets={lacking[0]}; it has {', '.join(map(str, sorted(pairs)))}")
    ends = Ladder(sigma_max=content["sigma_max"], sigma_min=content["sigma_min"])
    seeds = tuple(content["seeds"]) if study.trains else ()
    return Choice(pairs, (content["any"]["without"], content["any"]["with"]), seeds), ends
