"""A plan holds each artifact once and before what needs it; --only takes a part of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler
from experiments.beta import trials
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.identity import identity
from experiments.config.trained import TrainConfig
from experiments.config.trial import Infeasible, Trial, described
from experiments.engine.plan import Plan
from experiments.engine.selection import only
from experiments.engine.tasks import TRAIN_COST
from experiments.store.store import Store
from experiments.studies.beta import PRESETS

PLANNED = list(trials(replace(PRESETS["smoke"], train_seeds=3, etas=(0.0, 1.0, 9.0))))
TRIALS = [trial for trial in PLANNED if isinstance(trial, Trial)]


def test_each_artifact_is_made_once_and_after_what_it_needs() -> None:
    tasks = Plan.of(PLANNED).tasks
    names = [task.name for task in tasks]
    assert len(names) == len(set(names))
    kinds = [task.kind for task in tasks]
    assert kinds[:4] == ["models", "models", "models", "references"]
    assert kinds.count("samples") == kinds.count("scores") == len({identity(trial.score) for trial in TRIALS})
    for number, task in enumerate(tasks):
        assert set(task.needs) <= set(names[:number])
    scores = [task for task in tasks if task.kind == "scores"]
    assert all(identity(task.config.samples) in task.needs and len(task.needs) == 2 for task in scores)


def test_equal_numbers_are_one_run() -> None:
    """Plan and store mean the same by equal, whether a number was written as 1 or as 1.0."""
    numbers: list[tuple[Any, ...]] = [(1, 20, 0, 1, 64), (1.0, 20.0, -0.0, 1.0, 64.0)]
    scores = [
        ScoreConfig(
            SampleConfig(
                TrainConfig(noise=LogNormal(mean, std), images_seen=n), Ladder(n_steps=steps), Euler(eta), n_samples=40
            ),
            ReferenceConfig("mnist5k", "digits", ""),
        )
        for eta, steps, mean, std, n in numbers
    ]
    tasks = Plan.of([Trial("test", "any", score) for score in scores]).tasks
    assert [task.kind for task in tasks] == ["models", "references", "samples", "scores"]
    assert len({identity(score) for score in scores}) == 1


def test_cost_counts_unique_samplings_and_trainings() -> None:
    train = TrainConfig(images_seen=100)
    score = ScoreConfig(SampleConfig(train, Ladder(n_steps=3), Euler(0.0), 40), PRESETS["smoke"].reference)
    plan = Plan.of([Trial("test", mode, score) for mode in ("a", "b")])
    assert sum(task.cost for task in plan.tasks) == 100 * TRAIN_COST + 40 * 3
    assert len(plan.trials) == 2


def test_what_the_store_holds_or_what_failed_is_not_left(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), Plan.of(TRIALS[:2])
    assert plan.remaining(store).tasks == plan.tasks
    model, _, *_, sampling, last = plan.tasks
    with store.writing(last.kind, last.name):
        pass
    left = plan.remaining(store, {model.name})
    assert [task for task in plan.tasks if task not in left.tasks] == [model, sampling, last]  # its samples are scored
    assert left.counts("models") == (1, 0) and left.counts("scores") == (2, 1)
    assert plan.remaining(store).tasks == plan.tasks[:-2]


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ('mode == "same-ladder" and seed == 0', lambda c: c.mode == "same-ladder" and c.model.seed == 0),
        ("mode==same-ladder and seed==0", lambda c: c.mode == "same-ladder" and c.model.seed == 0),
        ("mode!=same-ladder", lambda c: c.mode != "same-ladder"),
        ("mode in ['pareto', 'control']", lambda c: c.mode in ("pareto", "control")),
        ("sampler==euler(eta=0)", lambda c: c.samples.sampler == Euler(0.0)),
        ("n_steps < 4 or final_denoise", lambda c: len(c.samples.ladder.sigmas()) <= 4 or c.samples.final_denoise),
        ("parameterisation == 'mixture-input'", lambda c: True),
        ("not (mode == 'pareto' or seed in (1, 2))", lambda c: c.mode != "pareto" and c.model.seed == 0),
        ("0 <= seed < 2 and mode not in ['pareto']", lambda c: c.model.seed < 2 and c.mode != "pareto"),
        ("seed > -1 and final_denoise == True", lambda c: c.samples.final_denoise),
        ("eta != 0", lambda c: getattr(c.samples.sampler, "eta", None) != 0 and described(c).get("eta") != 0),
    ],
)
def test_only_takes_the_cells_for_which_the_query_holds(query: str, holds: object) -> None:
    found = [trial for trial in only(PLANNED, query) if isinstance(trial, Trial)]
    wanted = [trial for trial in TRIALS if holds(trial)]  # type: ignore[operator]
    assert found == wanted and found


def test_infeasible_cells_are_chosen_like_others() -> None:
    assert any(isinstance(trial, Infeasible) for trial in only(PLANNED, "mode==same-ladder"))
    assert not any(isinstance(trial, Infeasible) for trial in only(PLANNED, "eta < 2"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("mode==same-lader", "same - lader is neither a column nor a value; it may have columns, numbers, texts"),
        ("moed == 'control'", "there is no column 'moed'; it may have"),
        ("mode ==", "invalid syntax; it may have"),
        ("", "invalid syntax; it may have"),
        ("seed == 99", "it holds for none of"),
        ("seed", "seed is no condition"),
        ("seed + 1", "seed + 1 is no condition"),
        ("True", "True is no condition"),
        ("eta == 9 and mode == 'same-ladder'", "it holds for none of"),  # such trials are infeasible
        ("seed != '0'", "0 cannot be compared with '0'"),
        ("mode < 3", "'primary' cannot be compared with 3"),
        ("seed in 3", "a list stands after in or not in, and nowhere else"),
        ("mode in 'primary'", "a list stands after in or not in"),
        ("[1] == [1]", "a list stands after in or not in"),
        ("seed is 0", "two values are compared with"),
        ("@pd.io.common.os.system('touch hit') == 0", "invalid syntax"),
        ("__import__('os').system('touch hit') == 0", "is neither a column nor a value"),
        ("mode.str.len() == 7", "mode.str.len() is neither a column nor a value"),
        ("(lambda: 1)() == 1", "is neither a column nor a value"),
        ("[seed for seed in [1]] == 1", "is neither a column nor a value"),
        ("seed == 9 ** 9 ** 9", "9 ** 9 ** 9 is neither a column nor a value"),
        ("(" * 900 + "seed" + ")" * 900, "it may have columns"),
        ("not " * 450 + "seed", "it may have columns"),
        ("seed == 0 or " * 300 + "seed == 0", "it has over 2,000 characters"),
        ("f'{seed}' == '0'", "is neither a column nor a value"),
        ("(x := seed) == 0", "is neither a column nor a value"),
    ],
)  # fmt: skip
def test_a_query_that_does_not_do_says_what_would(query: str, message: str) -> None:
    with pytest.raises(ValueError, match="only=") as caught:
        only(PLANNED, query)
    assert message in str(caught.value) and "\n" not in str(caught.value) and not Path("hit").exists()
