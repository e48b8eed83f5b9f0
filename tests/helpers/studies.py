"""The plan of a study, and its comparisons as if every possible run had been made."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.run import choice
from experiments.run.cache import Cache
from experiments.run.comparisons import Choice, Contrast, SidesBySection
from experiments.run.options import Options
from experiments.run.plan import Planner
from experiments.run.runs import Run
from experiments.run.setting import Setting
from experiments.run.study import ExploringStudy, Study
from experiments.run.tables import make_sides


def plan(study: Study, *settings: Setting) -> list[Run]:
    """The runs of a study, or of other settings of it, in plain fp32 on one thread."""
    options = Options(device="cpu", precision="fp32", threads=1)
    return Planner.of(study, options, Cache(Path("nowhere")), print).plan(settings or study.settings())


def sides(runs: Iterable[Run]) -> SidesBySection:
    """The settings as they would be measured, each row with its run."""
    rows = {run: run.row() | {"run": run} for run in runs}
    return make_sides(rows, rows, {run: {} for run in rows})


def contrasts(study: Study, chosen: Sequence[Choice] = (), runs: Iterable[Run] = ()) -> list[Contrast]:
    """The contrasts of a study, or of these runs of it."""
    compared = choice.compare_all(study, chosen, sides(runs or plan(study)))
    return [comparison for comparison in compared if isinstance(comparison, Contrast)]


def explored(study: ExploringStudy) -> list[Run]:
    """The runs of explorers, those too that are impossible."""
    return plan(study, *choice.explored(study))


def confirmed(study: ExploringStudy) -> list[Contrast]:
    """What confirmers compare if explorers choose the first settings."""
    settings = dict.fromkeys(run.setting for run in explored(study) if not run.impossible)
    chosen = choice.choose(study, [*settings], {}).chosen
    return contrasts(study, chosen, plan(study, *choice.confirmed(study, chosen)))


def pairs(contrast: Contrast) -> list[tuple[Run, Run]]:
    """The runs of a contrast, network by network."""
    return [(contrast.a.rows[seed]["run"], contrast.b.rows[seed]["run"]) for seed in contrast.seeds]
