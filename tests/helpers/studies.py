"""The plan of a study, and its pairs as if every possible run had been made."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments import choose
from experiments.run.cache import Cache
from experiments.run.options import Options
from experiments.run.pairs import Pair
from experiments.run.plan import Planner, list_pairs
from experiments.run.runs import Run
from experiments.run.study import ExploringStudy, Study
from experiments.settings import Key, Setting


def plan(study: Study, *settings: Setting) -> list[Run]:
    """The runs of a study, or of other settings of it, in plain fp32 on one thread."""
    options = Options(device="cpu", precision="fp32", threads=1)
    return Planner.of(study, options, Cache(Path("nowhere")), print).plan(settings or study.settings())


def fixed_pairs(study: Study) -> list[Pair]:
    """The pairs of a study that are known beforehand."""
    return list_pairs(study, plan(study))


def explored(study: ExploringStudy) -> list[Run]:
    """The runs of explorers, those too that are impossible."""
    return plan(study, *choose.explored(study))


def first_choice(study: ExploringStudy) -> pd.DataFrame:
    """What is chosen if explorers choose the first settings."""
    settings = dict.fromkeys(run.setting for run in explored(study) if not run.impossible)
    return choose.choose(choose.list_candidates(study, [*settings]), within=study.within)


def confirmed(study: ExploringStudy, chosen: pd.DataFrame | None = None) -> tuple[list[Pair], dict[Key, list[Run]]]:
    """What confirmers compare, and their runs by the key of their setting."""
    chosen = first_choice(study) if chosen is None else chosen
    runs: dict[Key, list[Run]] = {}
    for run in plan(study, *choose.confirmed(study, chosen)):
        runs.setdefault(run.setting.key, []).append(run)
    return [*study.confirm_pairs(chosen)], runs


def sides(pair: Pair, runs: dict[Key, list[Run]]) -> Sequence[tuple[Run, Run]]:
    """The runs of a pair of two settings, network by network."""
    (a,), (b,) = pair.sides
    return [*zip(runs[a], runs[b], strict=True)]
