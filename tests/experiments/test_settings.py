"""Settings and runs: what is part of their identity, their columns, and why what cannot be run is not."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_spine import N, data, exact, run
from studies import plan

from diffusion_core.noise import LogNormal, LogUniform
from diffusion_core.samplers import DPMpp2M, DPMpp2MSDE, Euler, Heun, Interval, Restart, Sampler
from experiments.run.identity import SCHEMA, identity
from experiments.run.machine import Machine
from experiments.run.networks import Exact, Pretrained, Trained
from experiments.run.plan import _check_runs as check_plan
from experiments.run.runs import Reference, Run
from experiments.run.study import Study
from experiments.settings import Schedule, Setting


@dataclass(frozen=True)
class Anything(Sampler):
    value: Any = None


@dataclass(frozen=True)
class Unsteady(Schedule):
    def sigmas(self) -> tuple[float, ...]:
        return tuple(sorted(torch.rand(3).tolist(), reverse=True))


OTHERS: dict[str, Any] = {  # of fields that are no number, text or truth, or must have certain ones
    "network": "paper", "parameterisation": "x0", "noise": LogUniform(), "stable_above": 2.0, "weighting": "unit-eps",
    "ema_decay": 0.5, "machine": Machine(threads=7), "device": "cuda", "precision": "bf16", "source": "python:a:b",
    "sigma_min": 0.7, "options": (("offset", 0.1),), "schedule": Schedule("cosine", data_std=0.4),
    "sampler": Heun(), "distances": ("md",), "values": {"lr": "7"}, "training": {"lr": 7.0}, "features": "natural",
    "weights": Path("x"), "data": "mnist", "decoder": Pretrained(source="python:module:function"),
}  # fmt: skip
OF_TYPES = {bool: True, str: "x"}  # of other fields, else 7
CONFIGS = [
    Trained(), Exact(), Pretrained(source="python:module:function"), Machine(), Schedule("cosine", data_std=0.4),
    Reference("mnist5k", "digits", "0"), LogNormal(), Setting("a", Schedule(), Euler(1.0)),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_identity_changes_with_every_field_that_changes_a_result(config: Any):
    for field in (field for field in fields(config) if field.init):  # others follow from these
        before = getattr(config, field.name)
        other = "vp" if field.name == "rule" else OTHERS.get(field.name, OF_TYPES.get(type(before), 7))
        is_same = identity(replace(config, **{field.name: other})) == identity(config)
        assert other != before and is_same == (field.metadata.get("identity") is False), field.name


def test_a_run_is_told_apart_by_all_that_changes_its_samples():
    plain = run()
    assert plain.samples_id == run(label="other", section="b", budget=9).samples_id
    others = [run(draw=1), run(final_denoise=True), run(n=41), run(n_steps=3), run(Heun()), run(network=exact(1))]
    assert len({other.samples_id for other in (plain, replace(plain, batch=7), *others)}) == 8
    natural = replace(plain, reference=Reference(data(), "natural", "0"))
    assert natural.samples_id == plain.samples_id and natural.score_id != plain.score_id


def test_identity_is_known():
    """A change of these means that finished results would be computed again: raise SCHEMA on purpose only."""
    assert SCHEMA == 6
    assert identity(Schedule(n_steps=66)) == "269145bd6cac"
    assert identity(Machine("cpu", "fp32", False, 1, "2.6")) == "8e2198fa547e"
    assert identity(Setting("a", Schedule(), Euler(1.0))) == "043ec7f5c783"
    assert identity(Reference("mnist5k", "digits", "0")) == "2e90b6aba02a"  # fields that came later are left out


@pytest.mark.parametrize("one, reason", [
    (run(Euler(9.0)), "eta=9.0: at sigma'/sigma = 0.0316228 it must be between 0 and 1/sqrt(1 - r^2) = 1.0005, else"),
    (run(Heun(), budget=2), "takes 4 evaluations, above the budget of 2"),
    (run(Restart((Interval(0.1, 40.0),))), "sigma_max=40.0: an interval"),
])  # fmt: skip
def test_what_is_impossible_says_why(one: Run, reason: str):
    row = one.row()
    assert reason in one.impossible
    assert (row["status"], row["error"], row["n_steps"]) == ("infeasible", one.impossible, 2)


def test_a_schedule_within_a_budget_is_the_longest():
    assert Schedule().fit(8, Heun()).n_steps == 4 and Schedule().fit(8, Euler(0.0)).n_steps == 8
    assert Schedule().fit(1, Euler(0.0)).n_steps == 1
    assert Schedule(n_steps=7).fit(1, Euler(9.0)).n_steps == 7  # none; its run says why

    @dataclass(frozen=True)
    class Repeats(Schedule):  # a level, from 4 steps on
        def sigmas(self):
            return tuple(max(30 * 0.1**step, 0.03) for step in range(self.n_steps + 1))

    assert Repeats(n_steps=8).fit(8, Euler(0.0)).n_steps == 8  # not silently 3; its run says why


def test_a_schedule_of_a_table_has_its_ends_whatever_is_asked_for():
    schedule = Schedule("ddpm-linspace", 10, options=(("data_std", 0.5),))
    assert (schedule.sigma_max, schedule.sigma_min) == (schedule.sigmas()[0], schedule.sigmas()[-1])
    assert schedule.sigma_max > 300 and identity(schedule) == identity(replace(schedule, sigma_max=99.0))


@dataclass(frozen=True)
class Levels(Schedule):
    levels: Any = (9.0, 1.0, 0.5)

    def sigmas(self) -> Any:
        return self.levels


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: Schedule("spiral"), "schedule='spiral': it must be one of geometric, karras"),
        (lambda: Schedule(sigma_max=0.01), "sigma_min=0.03"),
        (lambda: Setting("a", Schedule(), "euler"), "sampler='euler'"),  # type: ignore[arg-type]
        (lambda: Setting("a", Schedule(), Euler(0.0), budget=0), "budget=0"),
        (lambda: Setting("a", LogNormal(), Euler(0.0)), "schedule LogNormal: it must be a subclass"),  # type: ignore[arg-type]
        (
            lambda: Levels(levels=[9.0, 1.0]),
            "schedule .*Levels.*: it must .* returns a tuple of floats",
        ),
        (lambda: Machine("tpu"), "device='tpu'"),
        (lambda: replace(run(), batch=-1), "batch=-1"),
        (lambda: Trained(parameterisation="score"), "parameterisation='score'.*preconditioned, eps, x0"),
        (lambda: Trained(lr=0.0), "lr=0.0: it must be above 0"),
        (lambda: Trained(images_seen=0), "images_seen=0: it must be at least 1"),
        (lambda: Trained(ema_decay=1.0), "ema_decay=1.0"),
    ],
)
def test_bad_values_are_named(make: Any, says: str):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_plan_is_checked():
    check_plan([run(), run(label="b"), run(Heun())])
    with pytest.raises(ValueError, match=r"setting.sampler.value=\[1.0\]: its type is list"):
        check_plan([run(), run(Anything([1.0]))])
    unsteady = replace(run(), setting=Setting("a", Unsteady(), Euler(0.0)))
    with pytest.raises(ValueError, match="called twice, its schedule gave other levels"):
        check_plan([unsteady])


def test_a_setting_keeps_its_training_when_the_dict_changes():
    training = {"lr": 0.1}
    one = Setting("a", Schedule(n_steps=2), Euler(0.0), training=training)
    training["lr"] = 0.2
    assert one.training == {"lr": 0.1}


def test_whether_a_sampler_adds_noise_is_tried():
    sigmas = Schedule("karras", 4).sigmas()
    samplers = (Euler(), Euler(1.0), DPMpp2M(), DPMpp2MSDE(), *(Heun(s_churn=2.0, s_min=low) for low in (20.0, 50.0)))
    assert [sampler.adds_noise(sigmas) for sampler in samplers] == [False, True, False, True, True, False]


def test_a_setting_within_evaluations_is_on_the_longest_schedule():
    setting = Setting.parse("karras(30, 0.003, rho=5, end=0), euler(eta=0.5), 8")
    assert setting.schedule == Schedule("karras", 7, 30.0, 0.003, (("rho", 5.0),))
    assert (setting.sampler, setting.final_denoise, setting.budget) == (Euler(0.5), True, 8)
    shorter = Setting.parse("linear(30, 0.03), res-2s, 4 steps")
    assert shorter.schedule == Schedule("linear", 4) and shorter.budget is None
    assert Setting.parse("linear(30, 0.03), res-2s, 9") == shorter.at(9)


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 9.0), (float("inf"), 1.0)])
def test_a_users_schedule_is_one_or_its_run_is_impossible(levels: tuple[float, ...]):
    one = replace(run(), setting=Setting("a", Levels(levels=levels), Euler(0.0)))
    assert one.impossible.startswith("sigmas") and one.row()["status"] == "infeasible"
    row = replace(one, setting=replace(one.setting, schedule=Levels())).row()
    assert (row["sigma_max"], row["sigma_min"], row["schedule"]) == (9.0, 0.5, f"{__name__}:Levels")


def test_a_machine_multiplies_in_full_precision():
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    Machine().pin()
    assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.benchmark
    assert Machine().torch_minor.count(".") == 1


# --- the runs of a study ---


@dataclass(frozen=True)
class Sized(Study):
    def sizes(self, section: str) -> tuple[int, int | None]:
        return (40, 1) if section == "few" else super().sizes(section)


def plans(*settings: Setting, **options: Any) -> list[Run]:
    return plan(Sized(**{"data": data(), "n_samples": N, "recipe": "plain"} | options), *settings)


A = Setting("a", Schedule(n_steps=2), Euler(0.0))
B = Setting("b", Schedule(n_steps=2), Euler(0.0))


def test_each_setting_is_run_with_each_of_its_networks():
    runs = plans(A, replace(B, section="few", training={"lr": 0.1}), replace(B, label="c"))
    made = [(planned.setting.label, planned.network.seed, planned.n) for planned in runs]
    assert made == [("a", 1, N), ("b", 1, 40), ("c", 1, N), ("a", 2, N), ("c", 2, N)]
    assert [getattr(planned.network, "lr", None) for planned in runs[:2]] == [3e-3, 0.1]
    assert [planned.seed for planned in plans(A, network="exact")] == [0]


@pytest.mark.parametrize(
    "settings, options, says",
    [
        ([A], {"n_samples": 41}, "n_samples=41: it must be between 40 and 40 for .* a third of its images"),
        ([A, A], {}, "'a' of 'all' more than once"),
        ([replace(A, training={"seed": 1})], {}, "training='seed' of 'a': all settings of a study share it"),
        ([replace(A, network="python:m:f")], {}, "network='python:m:f' of 'a': it must be a ready one"),
        ([replace(A, training={"lr": 0.1})], {"network": "exact"}, "--network brings a trained network"),
    ],
)
def test_what_cannot_be_planned_says_why(settings: list[Any], options: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        plans(*settings, **options)
