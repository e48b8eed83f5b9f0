"""A race: the settings with the lowest KD meet on other images."""

import math
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from short_sweep import REFERENCE, TRAIN, known_images

from diffusion_core.samplers import Euler, Heun
from experiments.config.comparison import BestSet, Comparison, Field, Left, Race, by_setting
from experiments.config.config import Ladder, SampleConfig, ScoreConfig
from experiments.config.trial import Trial
from experiments.engine import tasks
from experiments.engine.executor import SweepResult, execute
from experiments.engine.plan import Plan
from experiments.engine.race import Raced, raced
from experiments.engine.tasks import RunContext
from experiments.store.store import Store

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
shares: list[float] = []  # of the images, as `then` was told
# KD of this untrained network: 29 with noise left in x, 35 without
LADDERS = {"same": Ladder(n_steps=1, sigma_min=10.0), "worse": Ladder(n_steps=2)}


def trial(setting: str, seed: int = 0) -> Trial:
    name, _, sampler = setting.partition(", ")
    samples = SampleConfig(
        TRAIN, LADDERS[name], Heun() if sampler == "heun" else Euler(float(sampler)), n_samples=40, seed=seed
    )
    return Trial("test", "2 steps", ScoreConfig(samples, REFERENCE), setting)


def race(settings: Sequence[str], seen: list[Left], deadline: float = math.inf) -> Race:
    def then(left: Left, field: Field, share: float) -> tuple[list[Trial], list[Comparison]]:
        seen.append(left)
        shares.append(share)
        assert set(left["2 steps"]) <= set(field["2 steps"])
        finals = [replace(trial(name, seed=5), mode="final") for name in left["2 steps"]]
        return finals, [BestSet("final", by_setting(finals)["final"])]

    return Race(by_setting([trial(name) for name in settings]), 2, then, deadline)


def run(planned: Race, store: Store, trials: Sequence[Trial] | None = None, said: StringIO | None = None) -> Raced:
    plan = Plan.of(planned.trials if trials is None else trials)
    console = Console(file=said, width=300, quiet=said is None)
    return raced(plan, planned, lambda plan: execute(plan, RunContext(store), QUIET), store, console)


def test_the_lowest_kd_go_on_to_other_images(store: Store) -> None:
    seen: list[Left] = []
    outcome = run(race(["same, 0", "same, 1e-9", "worse, 0"], seen), store)
    left = [(row["setting"], row["left"]) for row in outcome.rows]
    assert left == [("same, 0", True), ("same, 1e-9", True), ("worse, 0", False)]
    assert set(seen[0]["2 steps"]) == {"same, 0", "same, 1e-9"}
    finals = [row for row in outcome.result.rows if row["mode"] == "final"]
    assert len(finals) == 2 and {row["sample_seed"] for row in finals} == {5}
    assert isinstance(outcome.comparisons[0], BestSet)
    assert all(row["status"] == "ok" for row in outcome.result.rows)


def test_a_race_without_images_is_warned_of(store: Store) -> None:
    said = StringIO()
    run(race(["same, 0", "worse, 0"], []), store, said=said)
    lines = [line for line in said.getvalue().splitlines() if "no setting gives images" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: 2 steps: no setting gives images; train longer, try more evaluations")


def test_a_race_that_was_run_costs_nothing_again(store: Store) -> None:
    planned = race(["same, 0", "same, 1e-9", "worse, 0"], [])
    first = run(planned, store)
    again = run(planned, store)
    assert again.result.evaluations == 0 and again.rows == first.rows


def test_a_failed_setting_leaves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = tasks.sample.sample_stage

    def fails(config: SampleConfig, *arguments: object, **more: object) -> str:
        if isinstance(config.sampler, Heun):
            raise RuntimeError("no")
        return stage(config, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.sample, "sample_stage", fails)
    seen: list[Left] = []
    outcome = run(race(["same, 0", "same, heun"], seen), store)
    assert seen == [{"2 steps": ("same, 0",)}]
    assert [row["status"] for row in outcome.result.rows if row["setting"] == "same, heun"] == ["failed"]


def test_a_part_of_the_race_is_run_alone(store: Store) -> None:
    seen: list[Left] = []
    outcome = run(race(["same, 0", "worse, 0"], seen), store, [trial("same, 0")])
    assert seen == [] and outcome.rows == [] and len(outcome.result.rows) == 1


def test_when_the_time_is_up_fewer_are_confirmed(tmp_path: Path) -> None:
    seen = list[Left]()
    run(race(["same, 0", "same, 1e-9", "worse, 0"], seen, deadline=0.0), known_images(tmp_path))
    assert [len(left["2 steps"]) for left in seen[-3:]] == [2, 1, 1]
    assert shares[-3:] == [1.0, 1.0, 0.0]  # and on fewer images


def test_a_short_time_leaves_out_the_last_settings_of_the_race(store: Store) -> None:
    said, settings = StringIO(), ["same, 0", "same, 1e-9", "worse, 0", "worse, 1e-9"]
    outcome = run(race(settings, [], deadline=0.0), store, said=said)
    assert {row["setting"] for row in outcome.rows} == set(settings[:3])
    assert "the time is short, 2 steps: 3 of 4 settings run; left out: “worse, 1e-9”" in said.getvalue()
    assert any(row["mode"] == "final" for row in outcome.result.rows)


def test_a_race_that_goes_on_from_the_store_keeps_to_its_time_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, names = (
        known_images(tmp_path),
        ["same, 0", "same, 1e-9", "same, 2e-9", *(f"worse, {n}e-9" for n in range(4))],
    )
    run(race(names[:3], []), store)
    ran, clock = list[int](), [0.0]  # trials of each run; a clock that only computing moves on

    def timed(plan: Plan) -> SweepResult:
        result = execute(plan, RunContext(store), QUIET)
        ran.append(len(plan.trials))
        clock[0] += 10.0 * bool(result.evaluations)
        return replace(result, seconds=10.0 * bool(result.evaluations))

    monkeypatch.setattr("experiments.engine.race.time.monotonic", lambda: clock[0])
    planned = race(names, [], deadline=30.0)
    outcome = raced(Plan.of(planned.trials), planned, timed, store, QUIET)
    assert ran[:2] == [3, 1] and {row["setting"] for row in outcome.rows} < set(names)
