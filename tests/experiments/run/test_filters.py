"""`--only` takes a part of a plan by the columns of its runs."""

import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest
from studies import explored, plan

from experiments.beta import Beta
from experiments.run.runs import Run, filter_runs

STUDY = replace(Beta(**Beta.presets["smoke"]), seeds=3, curve_etas=(0.0, 1.0, 9.0))
PLANNED = [*plan(STUDY), *explored(STUDY)]
LABEL = next(run.setting.label for run in PLANNED if "," in run.setting.label)


@pytest.mark.parametrize("conditions, holds", [
    ("seed=1 section=primary", lambda run: run.network.seed == 1 and run.setting.section == "primary"),
    ("section=pareto,primary", lambda run: run.setting.section in ("pareto", "primary")),
    ("seed=0,2", lambda run: run.network.seed in (0, 2)),
    (f"'setting={LABEL}'", lambda run: run.setting.label == LABEL),  # one value with a comma
    ("n_steps=4 sampler=euler",
     lambda run: not run.impossible and len(run.sigmas) == 5 and run.row().get("eta") == 0),
])  # fmt: skip
def test_only_takes_the_runs_that_have_these_values(conditions: str, holds: Callable[[Run], bool]):
    chosen = filter_runs(PLANNED, shlex.split(conditions))
    assert chosen and chosen == list(filter(holds, PLANNED))


@pytest.mark.parametrize("conditions, message", [
    ("section=same-lader", "write COLUMN=VALUE, as in --only seed=1 section=primary; section is primary"),
    ("moed=primary", "columns: seed, section"),
    ("seed", "write COLUMN=VALUE"),
    ("seed=1,9", "seed is 0, 1, 2"),
    ("eta=9 section=same-schedule", "it holds for none of"),  # such runs are impossible
])  # fmt: skip
def test_a_condition_that_does_not_do_says_what_would(conditions: str, message: str):
    with pytest.raises(ValueError, match=f"only=.*{message}"):
        filter_runs(PLANNED, conditions.split())
