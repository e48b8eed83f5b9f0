"""The best setting without fresh noise and the best with it, for each number of evaluations: best.json.

`schedules` chooses and writes them, `beta` compares them on other networks. A setting is named as tables name it, such
as "karras(end=0), eta 1".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_core.samplers.euler import Euler
from experiments.export.settings_file import check_origin
from experiments.run.compare import Contrast, Row, Side, SidesBySection
from experiments.run.setting import Schedule, Setting, read_schedule, read_setting
from experiments.user.json_io import read_json, write_json
from experiments.user.parsing import parse_sampler
from reports.schema import JUDGE

if TYPE_CHECKING:
    from experiments.run.study import Study
    from experiments.run.tables import RunResults

KINDS = ("without", "with")  # fresh noise
RULE = (
    "the lowest mean MMD over networks; a setting with more fine noise than the default only if every setting without "
    "is worse (95 % interval of the difference)"
)
Entry = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """The best settings without and with fresh noise by number of evaluations, and where each kind is best."""

    pairs: Mapping[int, tuple[str, str]]
    anywhere: tuple[int, int]
    seeds: tuple[int, ...] = ()  # of the networks that chose, where networks are trained

    @property
    def best(self) -> tuple[tuple[str, int], ...]:
        """Setting and number of evaluations of the best of either kind."""
        return tuple((self.pairs[budget][kind], budget) for kind, budget in enumerate(self.anywhere))


def make_setting(text: str, budget: int, ends: Schedule, data_std: float) -> Setting:
    """The setting that a text names, on the longest schedule that `budget` evaluations allow, from and to `ends`."""
    schedule, label = read_setting("best", text)
    solver = Euler(float(label[4:])) if label.startswith("eta ") else parse_sampler(label)
    longest, final = read_schedule(schedule, budget, data_std, ends.sigma_max, ends.sigma_min)
    return Setting(text, longest.within(budget - final, solver), solver, final_denoise=final, budget=budget)


def choose(sides: Sequence[Side], most: float) -> Entry:
    """The setting of the lowest score; with grain above `most` only if all without it are detectably worse."""
    from experiments.run.contrasts import estimate_difference, mean_grain

    best, *others = sorted(sides, key=lambda side: side.score)
    if mean_grain(best) > most:
        quiet = (side for side in others if mean_grain(side) <= most)
        tied = (side for side in quiet if not estimate_difference(Contrast("", side, best), JUDGE).clear)
        best = next(tied, best)
    grain = mean_grain(best)
    return {"setting": best.label, JUDGE: best.score, "grain": grain, "more_fine_noise_than_the_default": grain > most}


def choose_best(results: "RunResults", sections: SidesBySection) -> dict[int, dict[str, Entry]]:
    """The best setting without and with fresh noise by number of evaluations, where there are settings of both."""
    from experiments.distances.intervals import GRAINY
    from experiments.run.contrasts import mean_grain

    best = dict[int, dict[str, Entry]]()
    for (_, budget), sides in sections.items():
        kinds: dict[str, list[Side]] = {kind: [] for kind in KINDS}
        for side in (side for side in sides.values() if side.whole):
            run = results.find(side)
            kinds[KINDS[run.setting.sampler.adds_noise(run.sigmas)]].append(side)
        if budget is not None and all(kinds.values()):
            default = next(iter(sides.values()))
            most = (
                max(GRAINY, mean_grain(default)) if default.whole else GRAINY
            )  # what the default has, others may have
            best[budget] = {kind: choose(members, most) for kind, members in kinds.items()}
    return best


def as_choice(best: Mapping[int, Mapping[str, Entry]], seeds: tuple[int, ...] = ()) -> Choice:
    pairs = {budget: (row["without"]["setting"], row["with"]["setting"]) for budget, row in best.items()}
    first, second = (min(best, key=lambda budget: best[budget][kind][JUDGE]) for kind in KINDS)
    return Choice(pairs, (first, second), seeds)


def write_best(folder: Path, study: "Study", results: "RunResults", ends: tuple[float, float]) -> Path | None:
    """The path of best.json, after writing it. None, and no such file, if no budget has settings of both kinds."""
    from experiments.run.machine import code_version

    path = folder / "best.json"
    path.unlink(missing_ok=True)
    best = choose_best(results, results.sides)
    if not best:
        return None
    rows: Iterable[Row] = results.rows.values()
    ran = [row for row in rows if row["status"] == "ok"]
    content: Entry = {name: ran[0].get(name) for name in ("data", "network", "images_seen", "features", "n_samples")}
    content |= {"recipe": study.recipe if study.trains else None, "seeds": sorted({row["train_seed"] for row in ran})}
    content |= {"rule": RULE, "sigma_max": ends[0], "sigma_min": ends[1]} | code_version()
    anywhere = dict(zip(KINDS, as_choice(best).anywhere, strict=True))
    write_json(path, content | {"budgets": best, "any": anywhere})
    return path


def read_best(path: Path, budgets: Sequence[int], study: "Study") -> tuple[Choice, Schedule]:
    """The choice in a best.json, and the ends of its schedules.

    ValueError for a file of something else, other data or another network, or budgets that it lacks.
    """
    name = f"best={str(path)!r}"
    if not path.is_file() or "any" not in (content := read_json(path)):
        raise ValueError(f"{name}: it must be a best.json that schedules wrote")
    check_origin(name, content, study)
    best = {int(budget): row for budget, row in content["budgets"].items()}
    if lacking := [budget for budget in budgets if budget not in best]:
        raise ValueError(f"{name}: no setting for budgets={lacking[0]}; it has {', '.join(map(str, sorted(best)))}")
    ends = Schedule(sigma_max=content["sigma_max"], sigma_min=content["sigma_min"])
    return as_choice(best, tuple(content["seeds"]) if study.trains else ()), ends
