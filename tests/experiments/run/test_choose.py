"""Explore, choose, confirm: the rule on made-up tables; the file; runs on 120 digits."""

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
from studies import explored, plan

from diffusion_core.samplers import Euler
from diffusion_core.spelling import spell_value
from experiments import choose as choosing
from experiments.beta import SHIPPED, Beta
from experiments.choose import Exploration, read_choices, read_chosen, write_choices
from experiments.noise_levels import NoiseLevels
from experiments.run import stages
from experiments.run.options import Options
from experiments.run.plan import OTHER_NOISE
from experiments.run.result_folder import StudyResult
from experiments.run.runs import Run
from experiments.run.study import ExploringStudy
from experiments.run.work import baselines_first
from experiments.schedules import Schedules
from experiments.settings import Schedule, Setting
from experiments.sweep import run_study
from experiments.user.json_io import read_json
from reports.schema import CHALLENGER, CHEAPER, CONFIRM, DEFAULT, EXPLORE, RIVAL, WITH, WITHOUT

Hooks = list[Callable[[Run], object]]
Values = Mapping[int, Mapping[str, Any]]  # by evaluations and label: MMD and visible noise; None if it failed
EXPLORING = Beta(choices=Path("none"))  # not what ships for these digits
D, A, B, C = (f"linear(30, 0.03, end=0), {name}" for name in ("euler", "euler(eta=1)", "dpm++2m", "dpm++2m-sde"))


def make_rows(label: str, budget: int | None, mmd: float | None, noise: float | None) -> list[dict[str, Any]]:
    """Two runs, of which one failed without an MMD; with more visible noise on one network, unless there is none."""
    row = {
        "setting": label, "budget": budget, "mmd": mmd, "data": "mnist5k", "network": "small", "features": "digits",
        "nfe": budget, "n_samples": 40, "images_seen": 50_000, "status": "ok",
    }  # fmt: skip
    failed = {} if mmd is not None else {"status": "failed"}
    return [
        row | {"train_seed": seed, "run_id": f"{label}{budget}{seed}", "visible_noise": noise and noise + more} | change
        for seed, more, change in ((101, -0.005, failed), (102, 0.005, {}))
    ]


class Chosen:
    """The rows of choices.csv, what is chosen, and the runs of the explorers; by number and label."""

    def __init__(self, study: ExploringStudy, values: Values):
        places = [(label, budget) for budget, labels in values.items() for label in labels]
        settings = [Setting.parse(f"{label}, {budget}") for label, budget in places]
        rows = [
            row for label, budget in places for row in make_rows(label, budget, *(values[budget][label] or (None, 0)))
        ]
        self.table = pd.DataFrame(rows)
        candidates = choosing.list_candidates(study, settings, self.table)
        self.chosen = choosing.choose(candidates, within=study.within)
        self.rows = choosing.choice_rows(candidates, self.chosen)
        self.pairs = [*study.confirm_pairs(self.chosen)]

    @property
    def names(self) -> list[tuple[int, str]]:
        """Within how many evaluations what is chosen."""
        return [*zip(self.chosen["within"], self.chosen["setting"], strict=True)]

    def sides(self, *b_is: str) -> list[tuple[Any, ...]]:
        """Within, and label and evaluations of both sides, of these pairs."""
        pairs = [pair for pair in self.pairs if pair.b_is in b_is]
        return [(pair.within, *((side[0][2], side[0][1]) for side in pair.sides)) for pair in pairs]


@pytest.mark.parametrize("seed", range(15))
def test_the_lowest_within_the_limit_of_visible_noise_is_chosen(seed: int):
    """Never the default. Some failed; of some the noise is not measured."""
    study = Schedules()
    rng = np.random.default_rng(seed)
    noise = rng.choice([0.0, 0.04, 0.041, None], 5 + seed // 2)
    mmd = np.where(rng.random(len(noise)) < 0.2, None, rng.integers(1, 5, len(noise)))
    values = {
        f"karras(30, 0.03), euler(eta={spell_value((at + 1) / 100)})": mmd[at] and (mmd[at], noise[at])
        for at in range(len(noise))
    }
    default, *others = values
    ranked = sorted((label for label in others if values[label]), key=lambda label: values[label][0])
    quiet = [label for label in ranked if (values[label][1] or 0) <= 0.04]
    words = "lowest" if ranked[0] in quiet else "lowest within the limit of visible noise"
    expected = dict.fromkeys(quiet[:1], words)
    made = Chosen(study, {8: values})
    challengers = [row for row in made.rows if row["kind"] == CHALLENGER]
    assert [row["setting"] for row in challengers] == ranked
    reasons = {row["setting"]: row["reason"] for row in challengers if row["chosen"]}
    if not values[default]:
        assert not made.names and not reasons
        return
    assert (made.chosen["kind"].iloc[0], made.names[0][1]) == (DEFAULT, default)
    assert reasons == expected and [name for _, name in made.names[1:]] == [*expected]
    assert [pair.sides[0][0][2] for pair in made.pairs] == [*expected]


def test_what_alone_ran_is_chosen_as_the_only_one():
    made = Chosen(Schedules(), {8: {D: (0.5, 0), A: (0.9, 0), B: None}})
    assert made.names[1] == (8, A) and made.rows[1]["reason"] == "the only one"


def test_a_budget_without_a_default_leaves_the_others_their_choice():
    made = Chosen(Schedules(), {8: {D: None, A: (1, 0), B: (2, 0)}, 16: {D: (1, 0), A: (2, 0), B: (1, 0)}})
    assert made.names == [(16, D), (16, B)]
    made = Chosen(Schedules(), {8: {D: (1, 0), A: (0.5, 0.1)}, 16: {D: (1, 0), A: (0.5, 0)}})  # A is noisy at 8
    assert [pair.within for pair in made.pairs] == [16], "A of 8 is barred"


WITHIN = {
    8: {D: (0.2, 0), B: (0.3, 0), A: (0.5, 0), C: (0.6, 0)},
    16: {D: (0.4, 0), B: (0.3, 0), A: (0.4, 0), C: (0.1, 0.1)},
}


def test_within_the_evaluations_fewer_compete_too_and_the_lowest_dearer_one_meets_the_lowest_of_the_fewest():
    """The default, the first setting, competes as any other of its kind."""
    made = Chosen(EXPLORING, WITHIN)
    assert made.sides(RIVAL) == [(8, (A, 8), (D, 8)), (16, (A, 16), (D, 8))]
    assert made.sides(CHEAPER) == [(16, (A, 16), (D, 8))] and len(made.pairs) == 3
    cheaper = {8: WITHIN[8], 16: WITHIN[16] | {B: (0.15, 0), A: (0.17, 0)}, 32: {D: (0.4, 0), A: (0.4, 0)}}
    assert Chosen(EXPLORING, cheaper).sides(CHEAPER) == [(16, (B, 16), (D, 8))]
    assert [row["setting"] for row in made.rows if row["barred"]] == [C]
    assert not Chosen(EXPLORING, {8: {D: (0.2, 0), A: (0.5, 0.1)}}).pairs, "all with noise are barred"


def test_a_setting_that_was_chosen_twice_is_confirmed_once_with_other_noise():
    study = Beta(network="exact", confirm_samples=77)
    settings = choosing.confirmed(study, Chosen(study, WITHIN).chosen)
    assert {(s.label, s.budget, s.section) for s in settings} == {
        (label, budget, CONFIRM) for label, budget in ((D, 8), (A, 8), (A, 16))
    }
    assert {(run.n, run.draw) for run in plan(study, *settings)} == {(77, OTHER_NOISE)}


def test_the_plan_of_a_confirmation_counts_the_dearest_choice():
    default, heun, euler = (Setting.parse(f"karras, {name}, 7") for name in ("euler", "heun", "euler(eta=0.1)"))
    chosen = choosing.choose_dearest(Schedules(), [default, heun, euler])
    assert [*chosen["setting"]] == [default.label, euler.label]  # Heun takes six of seven evaluations


@pytest.mark.parametrize("weightings, tried", [
    (("karras", "x0"), set()),
    (("karras", "x0", "min-snr-5"), {"log-normal", "log-normal, x0", "log-normal, min-snr-5"}),
])  # fmt: skip
def test_what_is_alone_in_its_kind_is_chosen_without_being_explored(weightings: Any, tried: set[str]):
    study = NoiseLevels(train_noise=("log-normal", "vp"), weightings=weightings)
    settings = [*study.explore()]
    assert {study.candidate_of(setting) for setting in choosing.settings_to_explore(study, settings)} == tried
    chosen = choosing.choose(choosing.list_candidates(study, settings))
    assert ("train_noise", "vp") in {*zip(chosen["kind"], chosen["setting"], strict=True)}
    assert {*chosen["kind"]} == {DEFAULT, "train_noise", "weighting"}  # an axis without others has no row
    rows = [row for s in settings for row in make_rows(s.label, None, 0.5, 0.1 * s.label.startswith("vp"))]
    candidates = choosing.list_candidates(study, settings, pd.DataFrame(rows))
    chosen = choosing.choose(candidates)
    assert ("train_noise", "vp") in {*zip(chosen["kind"], chosen["setting"], strict=True)}, "the confirmation decides"
    assert {*candidates["networks"]} == {2}
    candidates = choosing.list_candidates(study, settings, pd.DataFrame(rows[:-2]))
    assert candidates["mmd"].isna().to_list()[-1], "one of its settings failed"


# --- the file ---


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The choices.json of beta within 8 and 16 evaluations."""
    assert write(tmp_path, Chosen(EXPLORING, WITHIN)) == ""
    return tmp_path / choosing.FILE


def write(folder: Path, made: Chosen, chosen: pd.DataFrame | None = None) -> str:
    """Why choices were chosen anew, if they were."""
    return write_choices(
        folder, EXPLORING, made.table, Exploration(made.chosen if chosen is None else chosen, made.rows)
    )


def few(path: Path, **options: Any) -> Beta:
    return Beta(**{"choices": path, "budgets": (8, 16), "train_images": 50_000} | options)


def read(study: Beta) -> Exploration:
    assert study.choices
    return read_choices(study.choices, study, study.network, study.features or "digits")


def test_choices_are_written_and_read(written: Path):
    content = read_json(written)
    assert content["seeds"] == [101, 102, 103] and {row["setting"] for row in content["rows"] if row["chosen"]} == {
        D,
        A,
    }
    assert content.keys() >= {"commit", "dirty", "recipe", "rule", "scores"}
    chosen, rows, *notes = read(few(written))
    assert rows == content["rows"]
    pd.testing.assert_frame_equal(
        chosen.drop(columns="reason"), Chosen(EXPLORING, WITHIN).chosen.drop(columns="reason")
    )
    assert notes == [["chosen beforehand, on other networks: choices.json"], []]
    assert not read(Beta(choices=SHIPPED / "mnist5k.json")).caveats
    assert {*read(few(written, budgets=(16,))).chosen["within"]} == {16}


def test_another_choice_of_the_same_scores_replaces_the_file(written: Path):
    """As after a change of the rule: the file says what is confirmed."""
    made = Chosen(EXPLORING, WITHIN)
    assert write(written.parent, made) == ""
    assert "another rule" in write(written.parent, made, made.chosen[:-1])
    assert [*read_chosen(read_json(written))["setting"]] == [*made.chosen["setting"][:-1]]
    made.table = made.table[:-1]
    assert "other scores" in write(written.parent, made, made.chosen[:-1])


NOISELESS = {"budget": 8, "kind": WITH, "candidate": D, "explored_at": 8, "settings": [D]}
FILES: dict[str, Any] = {  # what is refused of a file -> its edit; None: removed
    "its data are 'mnist', but this run has 'mnist5k'": {"data": "mnist"},
    "its recipe is plain, but this run has fast": {"recipe": "plain"},
    "it does not say which networks chose": {"seeds": []},
    "euler' is not with fresh": {"chosen": [NOISELESS, NOISELESS | {"kind": WITHOUT}]},
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


def content(folder: Path, name: str = choosing.FILE) -> Any:
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
    monkeypatch.setattr("experiments.choose.VISIBLE", 1.0)  # networks that are hardly trained leave noise
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
    for where in ("run.runner", "run.work", "sweep"):
        monkeypatch.setattr(f"experiments.{where}.time", now)
    options: dict[str, Any] = {"schedules": ("karras",), "last_levels": (0.03,), "budgets": (2,), "etas": (0.0, 1.0)}
    few: dict[str, Any] = {"samplers": ("dpm++2m",), "time": "4s", "n_samples": 40}
    study = Schedules(data=run_spine.data(), features="digits", network="exact", explore_samples=40, **options, **few)
    done = asked(tmp_path, study)
    order = [run.setting.label for run in baselines_first(explored(study))]
    assert order[0] == "geometric(30, 0.03), euler"
    tried, tested = ({name for name, _ in sections(done)[section]} for section in (EXPLORE, CONFIRM))
    assert tried == set(order[:3]) and tested <= tried and len(tested) == 1
    out = capsys.readouterr().out
    left = out.partition("not chosen from, since it failed or the time was up, 2 evaluations: ")[2].splitlines()[0]
    assert all(f"“{label}”" in left or label in out for label in order[3:])
    assert "the time was up: 1 of 2 runs of the last settings were not begun" in out
