"""Explore, choose, confirm: the rule on made-up sides; the file; runs on 120 digits."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import run_spine
from studies import explored

from diffusion_core.samplers import Euler
from experiments.beta import SHIPPED, Beta
from experiments.noise_levels import NoiseLevels
from experiments.run import choice, choices_file, stages
from experiments.run.comparisons import CHALLENGER, CONFIRM, DEFAULT, EXPLORE, Choices, Side
from experiments.run.experiment import StudyResult, _baselines_first, run_study
from experiments.run.options import Options
from experiments.run.runs import Run
from experiments.run.setting import Point, Schedule, Setting
from experiments.run.study import ExploringStudy
from experiments.schedules import Schedules
from experiments.user.json_io import read_json
from reports.schema import MORE, WITH, WITHOUT

Hooks = list[Callable[[Run], object]]
Values = Mapping[int, Mapping[str, Any]]  # by evaluations and label: MMD and visible noise; None if it failed
EXPLORING = Beta(choices=Path("none"))  # not what ships for these digits
D, A, B, C = (f"linear(sigma_min=0.03, end=0), {sampler}" for sampler in ("eta 0", "eta 1", "dpm++2m", "dpm++2m-sde"))


def make_side(label: str, budget: int, mmd: float, noise: float | None) -> Side:
    """With more visible noise on one network than on the other, unless it has none."""
    row = {
        "mmd": mmd, "data": "mnist5k", "network": "small", "features": "digits",
        "nfe": budget, "n_samples": 40, "images_seen": 50_000, "status": "ok",
    }  # fmt: skip
    rows = {
        seed: row | {"train_seed": seed, "run_id": f"{label}{budget}{seed}", "visible_noise": noise and noise + more}
        for seed, more in ((101, -0.005), (102, 0.005))
    }
    return Side(label, EXPLORE, budget, 2, rows, {})


def choose(study: ExploringStudy, values: Values) -> Any:
    """The rows of choices.csv, what is chosen, and the rows of the runs."""
    places = {(label, budget): value for budget, labels in values.items() for label, value in labels.items()}
    settings = [
        Point(label, *label.rsplit(", ", 1), sigma_max=30.0, sigma_min=0.03).at(budget, 0.5) for label, budget in places
    ]
    sides = {place: make_side(*place, *value) for place, value in places.items() if value}
    runs = dict(enumerate(row for side in sides.values() for row in side.rows.values()))
    return *choice.choose(study, settings, sides)[:2], runs


@pytest.mark.parametrize("seed", range(15))
def test_the_lowest_within_the_limit_of_visible_noise_is_chosen(seed: int):
    """Never the default. Some failed; of some the noise is not measured."""
    study = Schedules()
    rng = np.random.default_rng(seed)
    noise = rng.choice([0.0, 0.04, 0.041, None], 5 + seed // 2)
    mmd = np.where(rng.random(len(noise)) < 0.2, None, rng.integers(1, 5, len(noise)))
    values = {f"karras, eta 0.{at:02}": mmd[at] and (mmd[at], noise[at]) for at in range(len(noise))}
    default, *others = values
    ranked = sorted((label for label in others if values[label]), key=lambda label: values[label][0])
    quiet = [label for label in ranked if (values[label][1] or 0) <= 0.04]
    words = "lowest" if ranked[0] in quiet else "lowest within the limit of visible noise"
    expected = dict.fromkeys(quiet[:1], words)
    rows, picked, _ = choose(study, {8: values})
    challengers = [row for row in rows if row["kind"] == CHALLENGER]
    assert [row["setting"] for row in challengers] == ranked
    reasons = {row["setting"]: row["reason"] for row in challengers if row["chosen"]}
    if not values[default]:
        assert not picked and not reasons
        return
    assert (picked[0].role, picked[0].candidate) == (DEFAULT, default)
    assert {one.candidate: reasons.pop(one.candidate) for one in picked[1:]} == expected
    assert not reasons
    assert [duel.a[0] for duel in study.duels(picked)] == [*expected]


def test_what_alone_ran_is_chosen_as_the_only_one():
    rows, picked, _ = choose(Schedules(), {8: {D: (0.5, 0), A: (0.9, 0), B: None}})
    assert picked[1].candidate == A and rows[1]["reason"] == "the only one"


def test_a_budget_without_a_default_leaves_the_others_their_choice():
    _, picked, _ = choose(Schedules(), {8: {D: None, A: (1, 0), B: (2, 0)}, 16: {D: (1, 0), A: (2, 0), B: (1, 0)}})
    assert [(one.budget, one.candidate) for one in picked] == [(16, D), (16, B)]
    _, picked, _ = choose(Schedules(), {8: {D: (1, 0), A: (0.5, 0.1)}, 16: {D: (1, 0), A: (0.5, 0)}})  # A is noisy at 8
    assert [duel.kind for duel in Schedules().duels(picked)] == [CONFIRM], "A of 8 is barred"


WITHIN = {
    8: {D: (0.2, 0), B: (0.3, 0), A: (0.5, 0), C: (0.6, 0)},
    16: {D: (0.4, 0), B: (0.3, 0), A: (0.4, 0), C: (0.1, 0.1)},
}


def test_within_the_evaluations_fewer_compete_too_and_more_meet_the_fewest():
    """The default, the first setting, competes as any other of its kind."""
    rows, picked, _ = choose(EXPLORING, WITHIN)
    assert [(duel.kind, duel.budget, duel.a, duel.b) for duel in EXPLORING.duels(picked)] == [
        (CONFIRM, 8, (A, 8), (D, 8)), (CONFIRM, 16, (A, 16), (D, 8)),
        (MORE, 16, (A, 16), (D, 8)), (MORE, 16, (A, 16), (A, 8)),
    ]  # fmt: skip
    cheaper = {8: WITHIN[8], 16: WITHIN[16] | {B: (0.15, 0), A: (0.17, 0)}, 32: {D: (0.4, 0), A: (0.4, 0)}}
    _, more, _ = choose(EXPLORING, cheaper)
    duels = [(duel.budget, duel.a, duel.b) for duel in EXPLORING.duels(more) if duel.kind == MORE]
    assert duels == [(16, (B, 16), (D, 8)), (16, (B, 16), (A, 8))], "the lowest of both kinds, once"
    assert [row["setting"] for row in rows if row["barred"]] == [C]
    _, picked, _ = choose(EXPLORING, {8: {D: (0.2, 0), A: (0.5, 0.1)}})
    assert not [*EXPLORING.duels(picked)], "all with noise are barred"


def test_a_setting_that_was_chosen_twice_is_confirmed_once_with_other_noise():
    study = Beta(network="exact", confirm_samples=77)
    settings = choice.confirmed(study, choose(study, WITHIN)[1])
    assert sorted((s.label, s.budget, s.section, s.n, s.draw) for s in settings) == sorted(
        (label, budget, CONFIRM, 77, choice.OTHER_NOISE) for label, budget in ((D, 8), (A, 8), (A, 16))
    )


@pytest.mark.parametrize("weightings, tried", [
    (("karras", "x0"), set()),
    (("karras", "x0", "min-snr-5"), {"log-normal", "log-normal, x0", "log-normal, min-snr-5"}),
])  # fmt: skip
def test_what_is_alone_in_its_kind_is_chosen_without_being_explored(weightings: Any, tried: set[str]):
    study = NoiseLevels(train_noise=("log-normal", "vp"), weightings=weightings)
    settings = [*study.explore()]
    assert {study.candidate_of(setting) for setting in choice.settings_to_explore(study, settings)} == tried
    chosen = choice.choose(study, settings, {}).chosen
    assert ("train_noise", "vp") in {(one.role, one.candidate) for one in chosen}
    assert {one.role for one in chosen} == {DEFAULT, "train_noise", "weighting"}  # an axis without others has no row
    noisy = {(s.label, None): make_side(s.label, 8, 0.5, 0.1 * s.label.startswith("vp")) for s in settings}
    rows, chosen, *_ = choice.choose(study, settings, noisy)
    assert ("train_noise", "vp") in {(one.role, one.candidate) for one in chosen}, "the confirmation decides"
    assert {row["networks"] for row in rows} == {2}
    del noisy[settings[-1].label, None]
    assert not choice.list_candidates(study, settings, noisy)[-1].sides, "one of its settings failed"


# --- the file ---


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The choices.json of beta within 8 and 16 evaluations."""
    assert write(tmp_path, *choose(EXPLORING, WITHIN)) == ""
    return tmp_path / choices_file.FILE


def write(folder: Path, rows: Any, chosen: Any, runs: Any) -> str:
    """Why choices were chosen anew, if they were."""
    results: Any = SimpleNamespace(rows=runs)
    return choices_file.write_choices(folder, EXPLORING, results, Choices(rows, chosen))


def few(path: Path, **options: Any) -> Beta:
    return Beta(**{"choices": path, "budgets": (8, 16), "train_images": 50_000} | options)


def read(study: Beta) -> Any:
    assert study.choices
    return choices_file.read_choices(study.choices, study, study.network, study.features or "digits")


def test_choices_are_written_and_read(written: Path):
    content = read_json(written)
    assert (content["seeds"], content["n_compared"]) == ([101, 102, 103], 3)
    assert {point["name"] for point in content["points"]} == {D, A}
    assert content.keys() >= {"commit", "dirty", "recipe", "rule", "scores"}
    rows, chosen, *notes = read(few(written))
    assert (rows, chosen) == (content["rows"], choose(EXPLORING, WITHIN)[1])
    assert notes == [["chosen beforehand, on other networks: choices.json"], []]
    assert read(Beta(choices=SHIPPED / "mnist5k.json"))[3] == []
    assert {one.budget for one in read(few(written, budgets=(16,)))[1]} == {16}


def test_another_choice_of_the_same_scores_replaces_the_file(written: Path):
    """As after a change of the rule: the file says what is confirmed."""
    rows, chosen, runs = choose(EXPLORING, WITHIN)
    assert write(written.parent, rows, chosen, runs) == ""
    assert "another rule" in write(written.parent, rows, chosen[:-1], runs)
    assert choices_file.read_chosen(read_json(written)) == chosen[:-1]
    runs.popitem()
    assert "other scores" in write(written.parent, rows, chosen[:-1], runs)


NOISELESS = {"budget": 8, "kind": WITH, "candidate": D, "explored_at": 8, "settings": [D]}
FILES: dict[str, Any] = {  # what is refused of a file -> its edit; None: removed
    "its data are 'mnist', but this run has 'mnist5k'": {"data": "mnist"},
    "its recipe is plain, but this run has fast": {"recipe": "plain"},
    "it is of an earlier version, whose names lack the last level; explore anew": {"points": None},
    "it does not say which networks chose": {"seeds": []},
    "eta 0' is not with fresh": {"chosen": [NOISELESS, NOISELESS | {"kind": WITHOUT}]},
    "it has no kinds without fresh noise and with": {"chosen": [NOISELESS | {"kind": CHALLENGER}]},
    "' is not marked as chosen in its rows": {"chosen": [NOISELESS | {"candidate": B}]},
    "its experiment is schedules, but this run has beta": {"experiment": "schedules"},
    "it must be a choices.json of an earlier run": {"rule": None},
}
RUNS: dict[str, Any] = {  # what does not suit a run -> its options
    "its network is 'small', but this run samples from 'paper'": {"network": "paper"},
    "its features is digits, but this run has natural": {"features": "natural"},
    "no setting for budgets=20; it has 8, 16": {"budgets": (8, 20)},
    "first_seed=100: networks [101] chose the settings; take others": {"first_seed": 100},
}


@pytest.mark.parametrize("message", [*FILES, *RUNS])
def test_choices_that_do_not_suit_the_run_are_refused(written: Path, message: str):
    edited = read_json(written) | FILES.get(message, {})
    written.write_text(json.dumps({name: value for name, value in edited.items() if value is not None}))
    with pytest.raises(ValueError, match=re.escape(message)):
        read(few(written, **{"seeds": 2, "budgets": (8,)} | RUNS.get(message, {})))


# --- runs ---


@dataclass(frozen=True)
class Tiny(ExploringStudy):
    """Four settings of two steps; the first is the default."""

    question: ClassVar[str] = "Which?"
    page: ClassVar[str] = "schedules"

    def explore(self) -> Iterator[Setting]:
        for eta in (0.0, 0.3, 0.6, 0.9):
            yield Setting(f"eta {eta:g}", Schedule(n_steps=2), Euler(eta))


def tiny(**options: Any) -> Tiny:
    sizes = {"n_samples": 40, "explore_samples": 40, "explore_networks": 1, "train_images": 64, "warmup_images": 32}
    return Tiny(**{"data": run_spine.data(), "features": "digits"} | sizes | options)


def asked(folder: Path, study: ExploringStudy, **how: Any) -> StudyResult:
    places: dict[str, Any] = {"store": folder / "store", "out": folder / "out", "precision": "fp32", "threads": 1}
    return run_study(study, Options(**places | how))


def sections(done: StudyResult) -> dict[str, set[tuple[str, int]]]:
    """By section the settings with their training seeds."""
    rows = pd.DataFrame(done.rows)
    return {name: {*zip(of["setting"], of["train_seed"], strict=True)} for name, of in rows.groupby("section")}


def content(folder: Path, name: str = choices_file.FILE) -> Any:
    return read_json(folder / "out" / name)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """What is called before each sampling."""
    calls: Hooks = []
    honest = stages._sample
    monkeypatch.setattr(stages, "_sample", lambda run, *more: ([call(run) for call in calls], honest(run, *more))[1])
    return calls


@pytest.fixture
def begun(hooks: Hooks) -> list[str]:
    """The section of each sampling."""
    sections = list[str]()
    hooks.append(lambda run: sections.append(run.setting.section))
    return sections


pytestmark = pytest.mark.usefixtures("drawn")


@pytest.mark.slow
def test_other_networks_confirm_what_explorers_chose(
    tmp_path: Path, begun: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("experiments.distances.intervals.VISIBLE", 1.0)  # networks that are hardly trained leave noise
    with pytest.raises(ValueError, match="nothing was chosen yet; run it without --only, or give --choices FILE"):
        asked(tmp_path, tiny(), only=("section=confirm",))
    done = asked(tmp_path, tiny())
    chosen = content(tmp_path)
    names = ["eta 0", chosen["chosen"][1]["candidate"]]
    expected = {(name, seed) for name in names for seed in (1, 2)}
    assert sections(done) == {
        EXPLORE: {(f"eta {eta:g}", 101) for eta in (0, 0.3, 0.6, 0.9)},
        CONFIRM: expected,
    }
    others = pd.DataFrame(done.rows).query("section == 'explore' and setting != 'eta 0'")
    rows = pd.read_csv(tmp_path / "out" / "choices.csv")
    assert list(rows["rank"]) == [1, 1, 2, 3] and rows.loc[1, "mmd"] == others["mmd"].min()
    assert chosen["seeds"] == [101] and len(chosen["scores"]) == 4
    assert f"chosen: challenger: {names[1]} (" in capsys.readouterr().out
    begun.clear()

    asked(tmp_path, tiny())  # nothing is made, or chosen, again
    assert not begun and content(tmp_path) == chosen and not (tmp_path / "out" / "choices-1.json").exists()
    assert sections(asked(tmp_path, tiny(), only=("section=confirm",))) == {CONFIRM: expected}
    (tmp_path / "old.json").write_text(json.dumps(chosen | {"rule": "by taste"}))
    study = tiny(explore_networks=0, choices=tmp_path / "old.json")
    given = asked(tmp_path, study, out=tmp_path / "given")
    assert sections(given) == {CONFIRM: expected} and not begun
    assert given.page and "Chosen by another rule than today's: by taste." in given.page.caveats
    capsys.readouterr()
    asked(tmp_path, replace(study, train_images=65), dry_run=True)
    out = capsys.readouterr().out
    assert "by taste" in out and "chosen on networks of 64 training images, not 65" in out
    asked(tmp_path, tiny(explore_networks=2))
    assert "chosen anew, since other scores or another rule are there; before: " in capsys.readouterr().out
    assert content(tmp_path, "choices-1.json") == chosen and len(content(tmp_path)["scores"]) == 8


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_does_not_choose_anew(
    tmp_path: Path, begun: list[str], hooks: Hooks, capsys: pytest.CaptureFixture[str]
):
    def interrupt(run: Run):
        if run.setting.section == CONFIRM:
            raise KeyboardInterrupt

    hooks.insert(0, interrupt)
    with pytest.raises(KeyboardInterrupt):
        asked(tmp_path, tiny(network="exact"))
    before = content(tmp_path)
    assert set(begun) == {EXPLORE}  # it is written before a confirmer begins
    begun.clear()
    hooks.remove(interrupt)
    asked(tmp_path, tiny(network="exact"))
    assert content(tmp_path) == before
    assert set(begun) == {CONFIRM} and "chosen anew" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_two_workers_choose_the_same(tmp_path: Path):
    asked(tmp_path / "one", tiny(network="exact"))
    asked(tmp_path / "two", tiny(network="exact"), workers=2)
    one, two = (content(tmp_path / name) for name in ("one", "two"))
    assert (one["rows"], one["chosen"]) == (two["rows"], two["chosen"])


@pytest.mark.slow
@pytest.mark.parametrize("default", [False, True], ids=["a challenger", "the default"])
def test_a_setting_that_fails_is_not_chosen_and_without_the_default_nothing_is(
    default: bool, tmp_path: Path, hooks: Hooks, capsys: pytest.CaptureFixture[str]
):
    label = "eta 0" if default else "eta 0.9"

    def fail(run: Run):
        if run.setting.label == label:
            raise RuntimeError("no")

    hooks.append(fail)
    done = asked(tmp_path, tiny(network="exact"))
    assert f"not chosen from, since it failed or the time was up: “{label}”" in capsys.readouterr().out
    assert {row["section"] for row in done.rows if row["setting"] == label and row["status"] == "failed"} == {EXPLORE}
    assert (CONFIRM in sections(done)) != default and done.status == 1


@pytest.mark.slow
def test_after_the_time_nothing_begins_and_what_was_left_out_is_named(
    tmp_path: Path, begun: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exploration has 60 % of it, by a clock that each sampling moves on by a second. The default comes first."""
    now = SimpleNamespace(time=lambda: float(len(begun)), monotonic=lambda: len(begun), sleep=lambda n: None)
    for where in ("runner", "experiment"):
        monkeypatch.setattr(f"experiments.run.{where}.time", now)
    options: dict[str, Any] = {"schedules": ("karras",), "last_levels": (0.03,), "budgets": (2,), "etas": (0.0, 1.0)}
    few: dict[str, Any] = {"samplers": ("dpm++2m",), "time": "4s", "n_samples": 40}
    study = Schedules(data=run_spine.data(), features="digits", network="exact", explore_samples=40, **options, **few)
    done = asked(tmp_path, study)
    order = [run.setting.label for run in _baselines_first(explored(study))]
    assert order[0] == "geometric, eta 0"
    tried, tested = ({name for name, _ in sections(done)[section]} for section in (EXPLORE, CONFIRM))
    assert tried == set(order[:3]) and tested <= tried and len(tested) == 1
    out = capsys.readouterr().out
    left = out.partition("not chosen from, since it failed or the time was up, 2 evaluations: ")[2].splitlines()[0]
    assert all(f"“{label}”" in left or label in out for label in order[3:])
    assert "the time was up: 1 of 2 runs of the last settings were not begun" in out
