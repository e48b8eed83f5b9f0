"""`check-sampler` of samplers and of policies: verdict, exit status, names, lists, errors in one line, the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import check_sampler
from experiments.conformance_report import read_list
from experiments.user.json_io import read_json
from reports.formats import capital
from reports.render import read_page

MINE = """
from dataclasses import dataclass
import torch
from experiments import Sampler

def right(denoiser, n_steps, noise, size=1.0):
    x, sigmas = noise * 160.0, [160.0 * (0.004 / 160) ** (i / (n_steps - 1)) for i in range(n_steps)] + [0.0]
    for sigma, after in zip(sigmas, sigmas[1:]):
        x = x + (after - sigma) * size * denoiser.eps(x, sigma)
    return x

@dataclass(frozen=True)
class Mine(Sampler):
    size: float = 1.0

    def run(self, eps, x, sigmas, noise):
        for sigma, after in zip(sigmas, sigmas[1:]):
            x = x + (after - sigma) * self.size * eps(x, sigma)
            yield x

@dataclass(frozen=True)
class Second(Mine):
    order = 2

@dataclass(frozen=True)
class NotCalled(Mine):
    def run(self, eps, x, sigmas, noise):
        yield x + noise

def called(denoiser, n_steps, noise):
    return noise()

def flow(x, t, dt, v):
    return x + dt * v

def empty(denoiser, n_steps, noise):
    return noise * float("nan")

def raises(denoiser, n_steps, noise, *_):
    raise KeyError("sigma")

def interrupted(denoiser, n_steps, noise):
    raise KeyboardInterrupt

def pairs(denoiser, n_steps, noise):
    return right(denoiser, n_steps, noise - noise.mean(0))

def step(x, t, t_next, velocity, generator=None, x_next=None, noise_level=0.3, forgotten=1.0):
    dt = t - t_next
    mean = x - dt * (velocity + noise_level**2 / (2 * t) * (x + (1 - t) * velocity))
    std = noise_level * dt.sqrt()
    if x_next is None:
        x_next = mean + std * torch.randn(x.shape, generator=generator)
    log_prob = -((x_next - mean) ** 2) / (2 * (std / forgotten) ** 2) - (std / forgotten).log() - 0.9189385
    return x_next, log_prob.sum(dim=(1, 2, 3)), mean, std

def no_root(x, t, t_next, velocity, **options):
    return step(x, t, t_next, velocity, forgotten=(t - t_next).sqrt(), **options)

def levels(n):
    return torch.linspace(1, 0, n + 1)

def ode(x, t, t_next, velocity):
    return x + (t_next - t) * velocity, None

def both(x, t, dt, velocity):
    return x + dt * velocity, None

def guided(network, n_steps, noise, scale, prompt, negative, skipped=False):
    x = noise
    for k in range(n_steps):
        level = 1 - k / n_steps
        c = network(x, level, prompt)
        if scale != 1 and 0.1 < level < 0.9 and not (skipped and level < 0.5):
            u = network(x, level, negative)
            c = u + scale * (c - u)
        x = x - c / n_steps
    return x

def middle(levels, scale):
    return [scale if 0.1 < level < 0.9 else 1 for level in levels]

number = 3
"""
FEW = " --budgets 50 100 200"
ROOT = Path(__file__).parents[2]


OUT = Path("runs/check-sampler")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The current folder, with a file of samplers and steps in it."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def run(arguments: str) -> int:
    return check_sampler.command(arguments.split(), "check-sampler")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capsys.readouterr().out.splitlines()


def write_list(subject: str, *tables: dict[str, Any]):
    parts = [(f"[[{subject}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())) for table in tables]
    Path("list.toml").write_text("\n".join(line for part in parts for line in part))


def test_one_sampler_gets_a_verdict_a_table_and_a_report(printed):
    assert run("flow-step:mine:flow --order 1" + FEW) == 0
    out = printed()
    assert "verdict: Right: it converges with order 1.0; with 50 steps it is still 5 % too narrow." in out
    assert "  Evaluations with 28 steps: 28 (flow(shift=1, end=1/n))" in out
    assert out[:2] == [
        "Standard deviation of the samples ÷ that of the data, by direction",
        "       std 2  std 1  std 0.5  std 0.2  std 0.01",
    ]
    assert any(line.startswith("  100  ") for line in out), "a row per number of steps"
    assert json.loads(out[-1]) == {"check-sampler": {"flow-step:mine:flow": "right"}, "out": "runs/check-sampler"}
    assert out[-2] == "report: runs/check-sampler/report.html"
    assert (OUT / "report.html").is_file()
    info = read_json(OUT / "run.json")
    assert (info["experiment"], info["preset"]) == ("check_sampler", "")
    assert info["question"] == "Is flow-step:mine:flow right?" and info["wall_seconds"] > 0 and info["finished_at"]
    assert {*info["versions"]} == {"python", "sigmabench", "torch", "numpy"}
    assert {path.name for path in OUT.glob("*.csv")} == {"verdicts.csv", "budgets.csv"}
    rows = pd.read_csv(OUT / "budgets.csv")
    assert len(rows) == 15 and rows.loc[rows["data_std"] > 0.1, "ratio"].between(0.9, 1).all()
    assert (rows["ratio_se"] == 0).all()
    verdict = pd.read_csv(OUT / "verdicts.csv").iloc[0]
    assert (verdict["kind"], verdict["declared"]) == ("right", 1)
    first, _, more = verdict["sentence"].partition(". ")
    assert f"verdict: {capital(first)}." in out and f"also: {more}" in out


@pytest.mark.slow
def test_a_class_declares_its_order(printed):
    assert run("mine:Mine" + FEW) == 0 and run("mine:Second" + FEW) == 1
    out = [line for line in printed() if line.startswith("verdict: ")]
    assert "it converges with order 1.0; with 50 steps" in out[0]
    assert out[1] == "verdict: Order lost: its limit is right, but its order is 1.0 instead of 2."
    assert pd.read_csv(OUT / "verdicts.csv")["declared"].item() == 2


@pytest.mark.parametrize("name", ["called", "NotCalled"])
def test_noise_that_is_taken_for_the_other_one_is_explained(name: str):
    with pytest.raises(ValueError, match=r"TypeError: .*; in a function noise is a tensor, in a class it is called"):
        run(f"mine:{name}" + FEW)


def test_one_step_gets_a_verdict_its_checks_and_a_report(printed):
    assert run("--policy mine:step(forgotten=0.5) --noise noise_level --levels mine:levels") == 1
    out = printed()
    assert "verdict: No. log_prob: wrong std: its std is 2 times that of the noise drawn." in out
    assert any(line.startswith("  log_prob ") and "  wrong  " in line for line in out)
    assert json.loads(out[-1])["check-sampler"] == {"mine:step(forgotten=0.5), levels": "log_prob: wrong std"}
    assert {path.name for path in OUT.glob("*.csv")} == {"policies.csv", "policy_steps.csv", "policy_checks.csv"}
    assert f"verdict: No. {pd.read_csv(OUT / 'policies.csv')['sentence'].item()}" in out
    checks = pd.read_csv(OUT / "policy_checks.csv", index_col="check")["verdict"]
    assert checks["log_prob"] == "wrong" and checks["ODE"] == "right"
    page = read_page(OUT)
    assert page.headline == "No. log_prob: wrong std: its std is 2 times that of the noise drawn."
    values = {figure.label: figure.value for figure in page.key_figures}
    assert values["log_prob ÷ log density"] == "1" and values["Noise of the last step"].startswith("0.0")


def test_a_pipeline_gets_a_verdict_its_checks_and_a_report(printed):
    assert run("--guided mine:guided(skipped=True) --scales mine:middle") == 1
    said = (
        "guidance at other evaluations: it guides at evaluations 3 to 6 of 10; declared: at evaluations 3 to 9 of 10."
    )
    out = printed()
    assert f"verdict: No. {said}" in out
    assert json.loads(out[-1])["check-sampler"] == {
        "mine:guided(skipped=True), middle": "guidance at other evaluations"
    }
    assert read_json(OUT / "run.json")["experiment"] == "check_guided"
    checks = pd.read_csv(OUT / "policy_checks.csv", index_col="check")["verdict"]
    assert dict(checks) == {"condition": "right", "input": "right", "weights": "wrong", "embedded": "not checked"}
    assert read_page(OUT).headline == f"No. {said}"
    write_list("guided", {"name": "mine:guided"}, {"name": "mine:guided", "scales": "mine:middle"})
    assert run("--guided list.toml") == 1
    assert list(pd.read_csv(OUT / "policies.csv")["kind"]) == ["negative missing", "right"]
    page = read_page(OUT)
    assert page.headline.startswith("1 of 2 pipelines follows u + w (c - u) (u: negative prompt, c: prompt")
    assert page.folded[0].rows[0].cells[1].startswith("u + w (c - u) at every evaluation")


@pytest.mark.slow
def test_a_list_of_right_samplers_has_none_that_is_wrong(printed):
    assert run("euler mine:right mine:Mine(size=1)" + FEW) == 0
    assert "verdict: None of 3 samplers has a fault." in printed()


def test_a_fault_of_the_levels_is_said_where_the_limit_is_right():
    pytest.importorskip("diffusers")
    assert run("diffusers:FlowMatchEulerDiscreteScheduler(shift=3) euler" + FEW) == 0
    page = (OUT / "report.md").read_text()
    assert "Right in the limit, with a fault in the noise levels (1): With few steps" in page
    assert "shift 3 is applied twice" in page


def test_a_list_of_samplers_is_a_table_and_one_wrong_sampler_is_exit_status_1(printed):
    mine = {"name": "mine:right", "group": "Mine", "note": "Euler"}
    small = {"name": "mine:right(size=0.9)", "group": "Mine", "link": "https://example.org"}
    write_list("sampler", mine, small)
    assert run("list.toml --out many" + FEW) == 1
    out = printed()
    assert "verdict: 1 of 2 samplers has a fault." in out
    assert any("right(size=0.9): wrong limit: with more steps" in line for line in out)
    assert read_json(Path("many/run.json"))["question"] == "Do these 2 samplers converge to the data?"
    table = pd.read_csv("many/verdicts.csv", keep_default_na=False)
    assert table[["sampler", "group", "kind", "note", "link"]].to_numpy().tolist() == [
        ["mine:right", "Mine", "right", "Euler", ""],
        ["mine:right(size=0.9)", "Mine", "wrong limit", "", "https://example.org"],
    ]
    assert Path("many/report.html").is_file()


@pytest.mark.slow
def test_a_list_of_steps_is_a_table_and_a_step_may_be_listed_again_with_another_replay(printed):
    again = {"name": "mine:step", "replay": "mine:step(forgotten=0.5)", "group": "As run", "note": "in X",
             "link": "https://example.org"}  # fmt: skip
    write_list("policy", {"name": "mine:step", "noise": "noise_level"}, {"name": "mine:no_root"}, again)
    assert run("--policy list.toml") == 1
    out = "\n".join(printed())
    verdict = "1 of 2 steps has a fault. As run: 1 of 1 steps has a fault."
    assert f"verdict: {capital(verdict)}\n" in out and "It lacks sqrt(t - t_next)." in out
    assert out.startswith("mine:step: right: ")
    assert "mine:step, step(forgotten=0.5): replay: " in out
    page = read_page(OUT)
    sections = {section.title: section.lines for section in page.figures[0].sections}
    assert [*sections] == ["Fault", "Right", "As run: fault"] and sections["As run: fault"][0].note == "in X"
    assert page.key_figures[0].value == "2 of 3" and ("Sources", ["https://example.org"]) in page.details
    assert [table.title for table in page.tables] == ["What was found", "As run"]
    assert page.tables[1].rows[0].cells[-1].startswith("replay: "), "what was found, in full"


@pytest.mark.parametrize(
    "names, error, message",
    [
        ("pairs right interrupted flow", SystemExit, "130"),
        ("absent pairs raises right", ValueError, "'absent'; mine:raises: KeyError: 'sigma'"),
    ],
)
def test_a_list_keeps_what_can_be_run_and_ends_at_an_interrupt(names: str, error: Any, message: str, capsys):
    write_list("sampler", *({"name": f"mine:{name}"} for name in names.split()))
    with pytest.raises(error, match=message):
        run("list.toml" + FEW)
    captured = capsys.readouterr()
    assert "1 of 2 samplers has" in captured.out and "has only 2 of these 4 samplers" in captured.err
    info = read_json(OUT / "run.json")
    assert "2 of these 4" in info["question"]
    assert [note.partition(": mine:raises")[0] for note in info["notes"]][-1:] == ["not run"] * (error is ValueError)
    assert [*pd.read_csv(OUT / "verdicts.csv")["sampler"]] == ["mine:pairs", "mine:right"]


@pytest.mark.parametrize("name", ["interrupted", "raises"])
def test_without_a_verdict_nothing_is_written(name: str):
    with pytest.raises((KeyboardInterrupt, ValueError)):
        run(f"mine:{name}" + FEW)
    assert not OUT.exists()


@pytest.mark.slow
def test_what_is_not_measured_gets_a_verdict_and_a_page_without_a_table(printed):
    assert run("mine:pairs") == 1 and "0.1" not in "\n".join(printed())
    assert "Depends on its batch: " in (OUT / "report.md").read_text()
    assert run("mine:empty" + FEW) == 1
    assert "verdict: Wrong limit: with 50 steps its samples are not finite." in printed()
    rows = (OUT / "budgets.csv").read_text().splitlines()
    assert rows[1:] and all(",,," in row and "nan" not in row for row in rows[1:])
    assert run("--policy mine:ode") == 0
    assert read_page(OUT).headline == "Yes. Nothing is wrong in what was checked, but log_prob was not."


def test_a_folder_of_others_is_left_alone_and_an_earlier_result_is_replaced():
    theirs = Path("theirs/verdicts.csv")
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(ValueError, match=r"it contains verdicts\.csv, which Sigmabench did not write; choose another"):
        run("mine:raises --out theirs" + FEW)  # before any work
    assert theirs.read_text() == "mine"
    run("mine:right" + FEW)
    left_over = OUT / "best_sets.csv"
    left_over.touch()
    run("flow-step:mine:flow" + FEW)
    assert list(pd.read_csv(OUT / "verdicts.csv")["sampler"]) == ["flow-step:mine:flow"]
    assert not left_over.exists()


@pytest.mark.slow
def test_a_reference_finds_what_vanishes_with_more_steps():
    assert run("flow-step:mine:flow --reference mine:right" + FEW) == 1
    assert run("mine:right --reference mine:right(size=1.0)" + FEW) == 0


@pytest.mark.parametrize(
    "subject, argument, tables, message",
    [
        ("policy", "--policy", [{"name": "mine:step"}] * 2, "mine:step is listed twice"),
        ("sampler", "", [{"name": "mine:right", "noise": "x"}], "unexpected keyword argument 'noise'"),
    ],
)
def test_a_list_with_a_wrong_field_is_refused_before_the_work(subject: str, argument: str, tables: Any, message: str):
    write_list(subject, *tables)
    with pytest.raises(ValueError, match=f"list.toml: .*{message}"):
        run(f"{argument} list.toml")


REFUSED = {  # arguments, and what the error says
    "": "samplers: none is given",
    "hoin": r"sampler='hoin': it must be one of .*module:function",
    "mine:absent": "mine:absent: mine defines no 'absent'",
    "mine:number": "mine:number: number is a int, but it must be a function",
    "mine:right(1)": r"mine:right\(1\): its options must read like mine:right\(option",
    "mine:raises --budgets 50 100 200": "mine:raises: KeyError: 'sigma'",
    "absent.toml": "absent.toml: no list of ",
    "mine:step": "mine:step: its argument t_next is that of .*; use check-sampler --policy mine:step",
    "flow-step:mine:both": "it returned tuple .* a step with a log-probability is checked by --policy",
    "smalldiffusion:Absent": "smalldiffusion has no schedule Absent",
    "mine:right --order 0": "mine:right: order=0: it must be at least 1",
    "mine:right --budgets 50 -1": "mine:right: budgets=-1: it must be at least 1",
    "--policy mine:raises": "mine:raises: KeyError: 'sigma'",
    "--policy mine:step --levels mine:raises": "mine:step, raises: TypeError",
    "euler --policy mine:step": "samplers: it cannot be combined with --policy",
    "euler --noise noise_level": "noise: it needs --policy",
    "euler --scales mine:levels": "scales: it needs --guided",
    "euler --accept rescale": "accept: it needs --policy or --guided",
    "--guided mine:guided --policy mine:step": "guided: it cannot be combined with --policy",
    "--guided mine:guided --accept mean": "accept='mean': it must be one of rescale, cfg-zero",
    "--guided mine:step": "mine:step: ",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_checked_is_one_line(arguments: str):
    if "smalldiffusion" in arguments:
        pytest.importorskip("smalldiffusion", reason="smalldiffusion is not installed (extra `peers`)")
    with pytest.raises(ValueError, match=REFUSED[arguments]) as error:
        run(arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "subject, published, fewest",
    [
        ("sampler", "samplers/verdicts", 60),
        ("policy", "policies/policies", 10),
        ("guided", "guidance/policies", 50),
    ],
)
def test_every_entry_of_a_published_list_can_be_named_and_is_in_its_table(
    subject: str, published: str, fewest: int, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("diffusers", "0.42", reason="the lists name schedulers of diffusers 0.42 (extra `peers`)")
    pytest.importorskip("smalldiffusion", reason="smalldiffusion is not installed (extra `peers`)")
    monkeypatch.chdir(ROOT)
    place, _, file = published.partition("/")
    entries = read_list(Path(f"bench/published_{place}.toml"), subject)
    for entry in entries:
        entry.prepare()
    (path,) = Path("reports/published", place).glob(f"{file}.csv*")  # it may be compressed
    assert list(pd.read_csv(path)["sampler"]) == [entry.title for entry in entries]
    assert len(entries) >= fewest
