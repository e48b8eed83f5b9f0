"""Settings and runs: their columns are those of the old engine; what cannot be run says why."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from run_spine import N, data, exact, reference, run, trained

from diffusion_core.samplers import Euler, Heun, Sampler
from experiments.config.config import Ladder as OldLadder
from experiments.config.config import ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import EmpiricalConfig, ModelConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial, described
from experiments.run.identity import identity
from experiments.run.machine import Machine
from experiments.run.networks import Exact
from experiments.run.setting import CONTROL, AlphaBetaLadder, Ladder, Reference, Run, Setting, check_plan


@dataclass(frozen=True)
class Anything(Sampler):
    value: Any = None


@dataclass(frozen=True)
class Unsteady(Ladder):
    def sigmas(self) -> tuple[float, ...]:
        return tuple(sorted(torch.rand(3).tolist(), reverse=True))


IDS = ("model_id", "samples_id", "run_id")


@pytest.mark.parametrize("model", [EmpiricalConfig(data(), seed=1), TrainConfig(data(), images_seen=128, seed=1)])
@pytest.mark.parametrize("control", [False, True])
def test_a_row_has_the_columns_of_the_old_engine(model: ModelConfig, control: bool) -> None:
    network = exact(1) if isinstance(model, EmpiricalConfig) else trained(1)
    own = run(Euler(0.5), network, 4, label="mine", group="any", final_denoise=True, control=control, budget=8)
    seed = 1 + (CONTROL if control else 0)
    samples = SampleConfig(model, OldLadder(n_steps=4), Euler(0.5), N, seed=seed, final_denoise=True)
    real = ReferenceConfig(data(), "digits", reference().features_id)
    old = described(Trial("any", "any", ScoreConfig(samples, real), "mine", 8))
    del old["experiment"]
    row = own.row()
    assert row.keys() == old.keys()
    assert {name: row[name] for name in row if name not in IDS} == {name: old[name] for name in old if name not in IDS}
    assert [row[name] for name in IDS] == [identity(network), own.samples_id, own.score_id]


def test_labels_share_samples_and_what_changes_them_does_not() -> None:
    plain = run()
    assert plain.samples_id == run(label="other", group="b", budget=9, networks=2).samples_id
    others = [run(control=True), run(final_denoise=True), run(n=41), run(n_steps=3), run(Heun()), run(network=exact(1))]
    assert len({one.samples_id for one in (plain, *others)}) == 7
    natural = Run(plain.setting, plain.network, N, Machine(), Reference(data(), "natural", "0"))
    assert natural.samples_id == plain.samples_id and natural.score_id != plain.score_id


@pytest.mark.parametrize(
    ("one", "why"),
    [(run(Euler(9.0)), "eta"), (run(n=39), "n_samples=39: it must be at least 40"),
     (run(Heun(), budget=2), "takes 4 evaluations, above the budget of 2")],
    ids=["eta", "n", "budget"],
)  # fmt: skip
def test_what_is_impossible_says_why(one: Run, why: str) -> None:
    assert why in one.impossible
    row = one.row()
    assert (row["status"], row["error"], row["n_steps"]) == ("infeasible", one.impossible, 2)


def test_a_ladder_within_a_budget_is_the_longest() -> None:
    assert Ladder().within(8, Heun()).n_steps == 4 and Ladder().within(8, Euler(0.0)).n_steps == 8
    assert Ladder(n_steps=7).within(1, Euler(9.0)).n_steps == 7  # none; its run says why


@pytest.mark.parametrize("name", ["ddpm-leading", "flow", "geometric"])
def test_a_ladder_knows_its_ends(name: str) -> None:
    old, new = (kind(name, 5, 20.0, 0.1) for kind in (OldLadder, Ladder))
    assert vars(old) == vars(new) and old.name == new.name and old.sigmas() == new.sigmas()


def test_bad_arguments_are_named() -> None:
    for make, says in (
        (lambda: Ladder("geometrc"), "did you mean geometric"),
        (lambda: Ladder(n_steps=0), "n_steps"),
        (lambda: AlphaBetaLadder(0.1, 0.6), "beta"),
        (lambda: Setting("a", Ladder(), "euler"), "sampler='euler'"),  # type: ignore[arg-type]
        (lambda: Setting("a", "geometric", Euler(0.0)), "ladder='geometric'"),  # type: ignore[arg-type]
        (lambda: Setting("a", Ladder(), Euler(0.0), n=0), "n=0"),
        (lambda: Reference(data(), "digit", ""), "did you mean digits"),
        (lambda: Reference("mnist6k", "digits", ""), "data='mnist6k'"),
        (lambda: Run(Setting("a", Ladder(), Euler(0.0)), Exact(), N, Machine(), reference()), "that of the network"),
        (lambda: Machine("tpu"), "device"),
        (lambda: Machine(precision="fp16"), "precision"),
        (lambda: Machine.resolve("cpu", threads=0), "threads=0"),
        (lambda: Run(Setting("a", Ladder(), Euler(0.0)), exact(), N, Machine(), reference(), batch=-1), "batch"),
    ):
        with pytest.raises(ValueError, match=says):
            make()


def test_a_machine_is_resolved_once() -> None:
    assert Machine.resolve("cpu", threads=3) == Machine(threads=3)
    assert Machine.resolve("cpu", workers=10_000).threads == 1


def test_a_plan_is_checked() -> None:
    check_plan([run(), run(label="b"), run(Heun())])
    bad = Setting("a", Ladder(n_steps=2), Anything([1.0]))
    with pytest.raises(ValueError, match=r"setting.sampler.value=\[1.0\]: its type is list"):
        check_plan([run(), Run(bad, exact(), N, Machine(), reference())])


def test_a_schedule_that_gives_other_levels_each_time_is_refused() -> None:
    with pytest.raises(ValueError, match="called twice, its schedule gave other levels"):
        check_plan([Run(Setting("a", Unsteady(), Euler(0.0)), exact(), N, Machine(), reference())])


@dataclass(frozen=True)
class Planned(Sampler):
    way: str = ""

    def planned_nfe(self, sigmas: tuple[float, ...]) -> Any:
        return {"float": 2.0, "text": "2"}[self.way]


@pytest.mark.parametrize(("way", "says"), [("float", "is 2.0; it must be a whole"), ("text", ""), ("", "KeyError")])
def test_a_sampler_that_cannot_be_planned_is_refused(way: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"planned_nfe of mine.*{says}"):
        check_plan([run(Planned(way), label="mine")])
