"""A sweep of one's own: what the file must have, and what comes of it."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diffusion_core.samplers import Euler, Heun
from experiments import __main__ as command
from experiments.config.comparison import BestSet
from experiments.config.config import Ladder
from experiments.config.denoisers import ForeignConfig
from experiments.config.identity import identity
from experiments.config.source import user_modules
from experiments.config.trial import Trial
from experiments.engine.rehearsal import rehearse
from experiments.run import PRESETS
from experiments.sweep import OwnFile, Setting, contrasts, read, trials

ROOT = Path(__file__).parents[2]
FILE = '''
from dataclasses import dataclass
from diffusion_core.samplers import Euler, Heun
from experiments.config import Ladder
from experiments.sweep import Setting

QUESTION = "Does it run?"

@dataclass(frozen=True)
class Mine:
    """Euler under a name of its own."""
    @property
    def name(self): return "mine"
    def planned_nfe(self, sigmas): return Euler(0.0).planned_nfe(sigmas)
    def run(self, *arguments): return Euler(0.0).run(*arguments)

def runs():
    yield Setting("euler", Ladder(n_steps=2), Euler(0.0))
    yield Setting("mine", Ladder(n_steps=2), Mine())
'''


def written(folder: Path, text: str) -> Path:
    (folder / "mine.py").write_text(text)
    return folder / "mine.py"


def few(folder: Path) -> list[str]:
    where = ["--preset", "smoke", "--out", str(folder / "out"), "--store", str(folder / "store"), "--threads", "1"]
    return [*where, "--train-seeds", "1", "--train-images", "128", "--n-samples", "40"]


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["experiments", "sweep", str(folder / "mine.py"), *few(folder), *arguments])
    return command.main()


def own(tmp_path: Path) -> OwnFile:
    return read(written(tmp_path, FILE))


def test_every_setting_runs_with_every_network_and_the_first_is_also_the_control(tmp_path: Path) -> None:
    planned = list(trials(own(tmp_path), PRESETS["smoke"]))
    names = [(trial.mode, trial.setting) for trial in planned[:3]]
    assert names == [("all", "euler"), ("control", "euler"), ("all", "mine")]
    assert len(planned) == 6 and {trial.model.seed for trial in planned if isinstance(trial, Trial)} == {0, 1}
    setting, best, control = contrasts(planned)
    assert not isinstance(setting, BestSet) and (setting.a, setting.b, len(setting.pairs)) == ("mine", "euler", 2)
    assert isinstance(best, BestSet) and not isinstance(control, BestSet) and control.kind == "control"


def test_evaluations_that_a_sampler_does_not_plan_are_counted(tmp_path: Path) -> None:
    text = FILE.replace("def planned_nfe", "def other").replace(RUN, RUN.replace("Euler(0.0)", "Heun()"))
    planned = trials(read(written(tmp_path, text)), PRESETS["smoke"])
    costs = {trial.setting: trial.samples.planned_nfe for trial in planned if isinstance(trial, Trial)}
    assert costs == {"euler": 2, "mine": 4}


@pytest.mark.slow
def test_a_sampler_of_ones_own_scores_as_the_one_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, FILE)
    assert run(monkeypatch, tmp_path, "--dry-run") == 0
    plan = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert plan["trainings"] == {"unique": 1, "left": 1, "failed": 0} and plan["samplings"]["left"] == 3
    assert plan["evaluations"] == 128 * 3.5 + 3 * 40 * 2 and not (tmp_path / "store").exists()
    assert run(monkeypatch, tmp_path) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    table = pd.read_csv(said["table"])
    assert (said["experiment"], said["rows"], said["failed"]) == ("sweep", 3, 0) == ("sweep", len(table), 0)
    assert said["evaluations"] == plan["evaluations"]
    by_name = table[table["mode"] == "all"].set_index("sampler")
    assert by_name.loc["mine", "kd"] == by_name.loc["euler(eta=0)", "kd"]
    assert "# Does it run?" in Path(said["report"]).with_suffix(".md").read_text()
    assert run(monkeypatch, tmp_path) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["evaluations"] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the warnings of Ray are not ours
@pytest.mark.parametrize("how", ["--workers", "--ray-address"])
def test_on_ray_a_sampler_of_ones_own_travels(how: str, tmp_path: Path, two_nodes: Any) -> None:
    value = "2" if how == "--workers" else two_nodes.cluster.address
    line = [sys.executable, "-m", "experiments", "sweep", str(written(tmp_path, FILE)), *few(tmp_path), how, value]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    table = pd.read_csv(said["table"])
    assert (said["rows"], said["failed"]) == (3, 0) and table["shared_device"].all()
    assert table["sampler"].tolist() == ["euler(eta=0)", "euler(eta=0)", "mine"]


LOOP = """
    def run(self, eps, x, sigmas, noise):
        import torch
        for sigma in sigmas[1:]:
            x = {step}
            yield x
"""
RUN = "    def run(self, *arguments): return Euler(0.0).run(*arguments)\n"


def stepping(step: str) -> str:
    """The file with a sampler whose steps are this expression of x."""
    return FILE.replace(RUN, LOOP.format(step=step))


NOISE = """
import torch
@dataclass(frozen=True)
class Noise:
    name = "mine"
    def sample(self, n, generator, stratified=False): return {levels}
    def log_density(self, log_sigma): return {density}
"""


def noisy(levels: str = "torch.rand(n, generator=generator)", density: str = "-log_sigma**2", *names: str) -> str:
    """The file with a noise distribution that gives these levels and densities."""
    law = NOISE.format(levels=levels, density=density).replace(*(names or ("", "")))
    return FILE.replace("\ndef runs", law + "\ndef runs").replace("Mine())", 'Mine(), training={"noise": Noise()})')


NAME = 'name(self): return "mine"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace(NAME, "name(self): return 1 / 0"), "name of the sampler of 'mine': ZeroDivisionError: division"),
        (FILE.replace(NAME, 'name(self): raise ValueError("x")'), "name of the sampler of 'mine': ValueError: x"),
        (FILE.replace(NAME, "name(self): return 3"), "name of the sampler of 'mine': 3: it must be a text that is not"),
        (FILE.replace(NAME, "name(self): raise SystemExit(0)"), "name of the sampler of 'mine': SystemExit: 0"),
        (FILE.replace("return Euler(0.0).planned_nfe(sigmas)", "return 1 / 0"), "planned_nfe of the sampler of 'mine'"),
        (
            FILE.replace("    @prop", "    size: object = len\n    @prop"),
            "sampler of 'mine': it has no identity: TypeError: Object of type builtin",
        ),
        (
            FILE.replace("    @prop", "    def __hash__(self): raise KeyError('h')\n    @prop"),
            "runs(): number 2: KeyError: 'h'",
        ),
        (noisy("..."), "noise mine: sample gave ellipsis; it must give a tensor (64,) torch.float32"),
        (noisy("torch.ones(n, 1)"), "noise mine: sample gave (64, 1) torch.float32; it must give"),
        (noisy("torch.rand(n)"), "noise mine: it must draw all random numbers from the generator"),
        (noisy("-torch.ones(n)"), "noise mine: its levels must be finite and above 0"),
        (noisy(density="1 / 0"), "noise mine: ZeroDivisionError: division by zero; it needs sample(n, generator,"),
        (noisy(density="log_sigma * torch.nan"), "noise mine: its levels must be finite and above 0, and its log"),
        (noisy("1", "1", 'name = "mine"', "pass"), "it must be a NoiseDistribution, such as LogNormal()"),
        (
            noisy("1", "1", 'name = "mine"', "name = property(lambda self: {}[0])"),
            "name of the noise of 'mine': KeyError: 0",
        ),
        (stepping("torch.randn_like(x)"), "sampler mine: run twice with the same noise, it gave different samples"),
        (stepping("x - x.mean()"), "sampler mine: a sample depends on the others of its batch"),
        (
            stepping('x + 0 * (object.__setattr__(self, "k", self.k + 1) or 0)').replace(
                "    @prop", "    k: int = 1\n    @prop"
            ),
            "sampler mine: it changes its own fields while it runs",
        ),
        (
            FILE.replace("    @prop", "    log: list = None\n    @prop").replace("Mine())", "Mine([]))"),
            "unhashable type: 'list': its fields must not change, so use a tuple",
        ),
        (
            FILE.replace("2), Euler(0.0))", "2), Euler(99.0))"),
            "'euler' is the first setting of mode 'all', so all others are compared with it, but it cannot be run",
        ),
        (FILE.replace("Mine())", "Mine(), training={'nope': 1})"), "training of 'mine': a TrainConfig has no nope"),
        (FILE.replace("Mine())", "Mine(), training={'stratified': 'no'})"), "stratified='no': it must be True or"),
        (FILE.replace("Mine())", "Mine(), training=[1])"), "training=[1] of 'mine': it must be a dict"),
        (FILE.replace("Mine())", "Mine(), mode='')"), "mode='', label='mine': both must be texts"),
        (FILE.replace("Mine())", "Mine)"), "they must look like Ladder(n_steps=66) and Euler(0.5)"),
        (FILE.replace("return Euler(0.0).planned_nfe(sigmas)", "return 1.5"), "planned_nfe is 1.5; it must be a whole"),
        (FILE + "PRESETS = 5\n", "PRESETS must be a dict of names and experiments.config.Study"),
        (None, "there is no such Python file"),
        (FILE.replace("QUESTION", "TITLE"), "it needs QUESTION, a text; see `python -m experiments sweep --help`"),
        (FILE.replace("def runs", "def run"), "it needs runs(), which yields what to try"),
        (FILE.replace('"mine", L', '"euler", L'), "runs(): [('all', 'euler')] more than once"),
        ("QUESTION = ''\ndef runs(): yield 1", "runs(): number 1 is 1; it must yield experiments.sweep.Setting"),
        ("QUESTION = ''\ndef runs(): return []", "nothing to run"),
        ("QUESTION = ''\ndef runs(:", "line 2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("QUESTION = ''\ndef runs():\n    raise KeyError('x')\n    yield", "runs(): line 3: KeyError: 'x'"),
        (
            "QUESTION = ''\ndef runs():\n    while True:\n        yield 1",
            "runs(): it yields more than 100,000 settings",
        ),
        (FILE.replace("@dataclass(frozen=True)", "@dataclass"), "Mine: it is not frozen, so it may change"),
        (FILE.replace("@dataclass(frozen=True)", ""), "Mine: it is no dataclass itself"),
        (
            FILE.replace("    def name", "    def other"),
            "sampler of 'mine': it lacks name; make it a subclass of",
        ),
        (FILE.replace("Mine())", "type('X', (Euler,), {})())"), "X: it is no dataclass itself"),
        (
            FILE.replace("Mine())", "Mine(), training={'data': 'mnist'})"),
            "training='data' of 'mine': all settings of a sweep share it",
        ),
    ],
)
def test_a_file_that_does_not_do_says_what_is_missing(
    text: str | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if text is not None:
        written(tmp_path, text)
    assert run(monkeypatch, tmp_path) == 2
    assert message in capsys.readouterr().err


def test_a_network_that_was_trained_elsewhere_cannot_be_trained_otherwise(tmp_path: Path) -> None:
    study = replace(PRESETS["smoke"], foreign=ForeignConfig("python:a:b", "0"))
    one = Setting("a", Ladder(n_steps=2), Euler(0.0), training={"lr": 1.0})
    with pytest.raises(ValueError, match=r"training=\{'lr': 1.0\} of 'a': --model brings a trained network"):
        list(trials(OwnFile("a", Path("a.py"), "b", lambda: [one], {}), study))


def test_a_class_of_ones_own_is_not_taken_for_one_of_ours_nor_for_what_it_was_before(tmp_path: Path) -> None:
    text = FILE.replace("from diffusion_core.samplers import Euler\n", "", 1)
    text = text.replace("class Mine:", "class Euler:\n    eta: float = 0.0").replace("Mine()", "Euler(0.0)")
    found = []
    for edited in (text, text.replace('return "mine"', 'return "yours"')):
        *_, last = read(written(tmp_path, edited)).runs()
        found.append(identity(last.sampler))
    assert len({*found, identity(Euler(0.0))}) == 3


def test_a_class_of_a_helper_module_is_known_by_its_source_and_by_what_it_imports(tmp_path: Path) -> None:
    """Today's helper and what it was yesterday are two classes; installed packages and ours are no part of it."""
    (tmp_path / "constants_xyz.py").write_text("import torch, numpy\nFACTOR = 1.0\n")
    (tmp_path / "helper_xyz.py").write_text(
        "from dataclasses import dataclass\nfrom diffusion_core.samplers import Euler\nimport constants_xyz\n"
        "@dataclass(frozen=True)\nclass Helped(Euler):\n    pass\n"
    )
    text = FILE.replace("from experiments.sweep", "from helper_xyz import Helped\nfrom experiments.sweep")
    text = text.replace("Mine())", "Helped())")
    found = []
    for content in ("FACTOR = 1.0\n", "FACTOR = 2.0\n", "FACTOR = 1.0\n"):
        (tmp_path / "constants_xyz.py").write_text(f"import torch, numpy\n{content}")
        for name in ("helper_xyz", "constants_xyz"):
            sys.modules.pop(name, None)
        *_, last = read(written(tmp_path, text)).runs()
        found.append(identity(last.sampler))
        assert set(user_modules("helper_xyz")) == {"helper_xyz", "constants_xyz"}
    assert found[0] == found[2] != found[1]


def test_a_parameter_that_is_no_field_is_refused(tmp_path: Path) -> None:
    """Else a sampler with another strength would be answered with the results of this one."""
    text = FILE.replace(
        '    """Euler under', '    def __init__(self, s): object.__setattr__(self, \'strength\', s)\n    """Euler under'
    )
    planned = read(written(tmp_path, text.replace("Mine()", "Mine(2.0)")))
    with pytest.raises(ValueError, match="Mine: strength: set, but no field, so not part of its identity"):
        list(trials(planned, PRESETS["smoke"]))


def test_a_class_that_is_made_in_a_function_is_refused() -> None:
    @dataclass(frozen=True)
    class Local(Euler):
        pass

    with pytest.raises(ValueError, match=r"Local: a class that is made in a function has no identity; write it"):
        identity(Local())


def test_a_noise_distribution_of_ones_own_is_accepted_and_known_by_its_source(tmp_path: Path) -> None:
    found = []
    for text in (noisy(), noisy("torch.rand(n, generator=generator) + 1")):
        planned = list(trials(read(written(tmp_path, text)), PRESETS["smoke"]))
        rehearse([trial for trial in planned if isinstance(trial, Trial)], None)
        found.append({identity(trial.model) for trial in planned if isinstance(trial, Trial)})
    assert [len(models) for models in found] == [4, 4] and len(found[0] & found[1]) == 2  # the other setting's networks


def test_a_built_in_sampler_that_was_replaced_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Setting("a", Ladder(n_steps=2), Heun())
    planned = list(trials(OwnFile("a", Path("a.py"), "b", lambda: [one], {}), PRESETS["smoke"]))
    rehearse([trial for trial in planned if isinstance(trial, Trial)], None)
    monkeypatch.setattr(Heun, "run", lambda *arguments: Euler(0.0).run(*arguments[1:]))
    with pytest.raises(ValueError, match=r"^Heun\.run was replaced by .*test_sweep\."):
        rehearse([trial for trial in planned if isinstance(trial, Trial)], None)


def test_the_name_of_the_control_is_taken(tmp_path: Path) -> None:
    taken = written(tmp_path, FILE.replace("Mine())", 'Mine(), "control")'))
    with pytest.raises(ValueError, match="mode='control' of 'mine': the A/A control of the first setting is called so"):
        list(trials(read(taken), PRESETS["smoke"]))
