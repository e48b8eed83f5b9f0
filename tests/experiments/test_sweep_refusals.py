"""What a file with a sweep of one's own must not be, and what is said about it."""

import itertools
import os
import sys
import types
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from own_sweep import FILE, RUN, noisy, run, written

from diffusion_core.samplers import Euler
from diffusion_core.schedules import SCHEDULES, geometric, karras
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import EmpiricalConfig, ForeignConfig
from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.engine.rehearsal import rehearse
from experiments.own.source import OWN, import_own, source_of
from experiments.studies.sweep import PRESETS
from experiments.sweep import OwnFile, Setting, trials

LOOP = """
    def run(self, eps, x, sigmas, noise):
        import torch
        for sigma in sigmas[1:]:
            x = {step}
            yield x
"""


def stepping(step: str) -> str:
    """The file with a sampler whose steps are this expression of x."""
    return FILE.replace(RUN, LOOP.format(step=step))


NAME = 'name(self): return "mine"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace(NAME, "name(self): return 1 / 0"), "name of the sampler of 'mine': ZeroDivisionError: division"),
        (FILE.replace(NAME, 'name(self): raise ValueError("x")'), "name of the sampler of 'mine': ValueError: x"),
        (FILE.replace(NAME, "name(self): return 3"), "name of the sampler of 'mine': 3: it must be a text that is not"),
        (FILE.replace(NAME, "name(self): raise SystemExit(0)"), "name of the sampler of 'mine': SystemExit: 0"),
        (FILE.replace("return Euler(0.0).planned_nfe(sigmas)", "return 1 / 0"), "planned_nfe of the sampler of 'mine'"),
        (FILE.replace("    @prop", "    size: object = len\n    @prop"),
         "sampler of 'mine': it has no identity: TypeError: Object of type builtin"),
        (FILE.replace("    @prop", "    def __hash__(self): raise KeyError('h')\n    @prop"),
         "runs(): number 2: KeyError: 'h'"),
        (noisy("..."), "noise mine: sample gave ellipsis; it must give a tensor (64,) torch.float32"),
        (noisy("torch.ones(n, 1)"), "noise mine: sample gave (64, 1) torch.float32; it must give"),
        (noisy("torch.rand(n)"), "noise mine: it must draw all random numbers from the generator"),
        (noisy("-torch.ones(n)"), "noise mine: its levels must be finite, above 1e-18 and below 1e+18"),
        (noisy(density="1 / 0"),
         "the levels, and log_density(log_sigma), of ln sigma: ZeroDivisionError: division by zero"),
        (noisy(density="log_sigma * torch.nan"), "and below 1e+18, and its log density no NaN"),
        (noisy("1", "1", 'name = "mine"', "pass"), "it must be a NoiseDistribution, such as LogNormal()"),
        (noisy("1", "1", 'name = "mine"', "name = property(lambda self: {}[0])"),
         "name of the noise of 'mine': KeyError: 0"),
        (stepping("torch.randn_like(x)"), "sampler mine: run twice with the same noise, it gave different samples"),
        (stepping("x + torch.stack([torch.randn(x[0].shape, generator=torch.manual_seed(i)) for i in range(len(x))])"),
         "sampler mine: a sample depends on the others of its batch"),
        (stepping("x + (torch.set_default_dtype(torch.float64) or 0)"),
         "sampler mine: it changes torch's default dtype"),
        (f"import torch\ntorch.set_default_dtype(torch.float64)\n{FILE}",
         "mine.py': it changes torch's default dtype or device, on which all results here depend"),
        (stepping("x - x.mean()"), "sampler mine: a sample depends on the others of its batch"),
        (
            stepping('x + 0 * (object.__setattr__(self, "k", self.k + 1) or 0)').replace(
                "    @prop", "    k: int = 1\n    @prop"
            ),
            "sampler mine: it changes its own fields while it runs",
        ),
        (FILE.replace("    @prop", "    def __eq__(self, other): return True\n    @prop"),
         "Mine: it compares its values in its own way, so two could be taken for one"),
        (
            FILE.replace("    @prop", "    k: int = field(default=1, compare=False)\n    @prop").replace(
                "import dataclass", "import dataclass, field"
            ),
            "Mine: it compares its values in its own way",
        ),
        (FILE.replace("    @prop", "    log: list = None\n    @prop").replace("Mine())", "Mine([]))"),
         "unhashable type: 'list': its fields must not change, so use a tuple"),
        (FILE.replace("2), Euler(0.0))", "2), Euler(99.0))"),
         "'euler' is the first setting of mode 'all', so all others are compared with it, but it cannot be run"),
        (FILE.replace("Mine())", "Mine(), training={'nope': 1})"), "training of 'mine': a TrainConfig has no nope"),
        (FILE.replace("Mine())", "Mine(), training={1: 2, 'nope': 1})"), "a TrainConfig has no 1, nope"),
        (FILE.replace("Mine())", "Mine(), training={'stratified': 'no'})"), "stratified='no': it must be True or"),
        (FILE.replace("Mine())", "Mine(), training=[1])"), "training=[1] of 'mine': it must be a dict"),
        (FILE.replace("Mine())", "Mine(), mode='')"), "mode='', label='mine': both must be texts"),
        (FILE.replace('"mine", L', r'"a\x1b[2J", L'), r"label='a\x1b[2J': both must be texts that can be printed in a"),
        (FILE.replace("Mine())", "Mine)"), "they must look like Ladder(n_steps=66) and Euler(0.5)"),
        (
            FILE.replace('"mine", Ladder(', '"mine", type("L", (Ladder,), {"sigmas": lambda self: (9.0, 1.0)})('),
            "they must look like Ladder(n_steps=66)",  # else a row would name a schedule that it does not have
        ),
        (FILE.replace("return Euler(0.0).planned_nfe(sigmas)", "return 1.5"), "planned_nfe is 1.5; it must be a whole"),
        (FILE + "from experiments.config import Study\nPRESETS = {'smok': Study()}\n",
         "PRESETS has 'smok'; its names are smoke, laptop, gpu"),
        (FILE + "from experiments.config import Study\nPRESETS = {'smoke': Study(data=5)}\n",
         "data=5: it must be a text"),
        (FILE + "from experiments.config import Study\nPRESETS = {'smoke': Study(batch_size=64.5)}\n",
         "batch_size=64.5: it must be a whole number or None"),
        (FILE + "from experiments.config import Study\nPRESETS = {'smoke': Study(reference='x')}\n",
         "foreign, reference, training: a study has none"),
        (FILE + "PRESETS = 5\n", "PRESETS must be a dict of names and experiments.config.Study"),
        (None, "there is no such Python file"),
        (FILE.replace("QUESTION", "TITLE"), "it needs QUESTION, a text; see python -m experiments sweep --help"),
        (FILE.replace("def runs", "def run"), "it needs runs(), which yields what to try"),
        (FILE.replace('"mine", L', '"euler ", L'), "runs(): [('all', 'euler')] more than once"),
        ("QUESTION = ''\ndef runs(): yield 1", "runs(): number 1 is 1; it must yield experiments.sweep.Setting"),
        ("QUESTION = ''\ndef runs(): return []", "nothing to run"),
        ("QUESTION = ''\ndef runs(:", "line 2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("QUESTION = ''\ndef runs():\n    raise KeyError('x')\n    yield", "runs(): line 3: KeyError: 'x'"),
        ("QUESTION = ''\ndef runs():\n    while True:\n        yield 1",
         "runs(): it yields more than 100,000 settings"),
        (FILE.replace("@dataclass(frozen=True)", "@dataclass"),
         "TypeError: cannot inherit non-frozen dataclass from a frozen"),
        (noisy().replace("@dataclass(frozen=True)\nclass Noise", "@dataclass\nclass Noise"),
         "Noise: it is not frozen, so it"),
        (FILE.replace("@dataclass(frozen=True)", ""), "Mine: it is no dataclass itself"),
        (FILE.replace("(Sampler)", ""),
         "sampler of 'mine': make its class a subclass of diffusion_core.samplers.Sampler"),
        (FILE.replace("Mine())", "type('X', (Euler,), {})())"), "X: it is no dataclass itself"),
        (FILE.replace("Mine())", "Mine(), training={'data': 'mnist'})"),
         "training='data' of 'mine': all settings of a sweep share it"),
        (FILE.replace("Mine())", 'Mine(), "control")'),
         "mode='control' of 'mine': the A/A control of the first setting is called so"),
        # else a sampler with another strength would be answered with the results of this one
        (FILE.replace("    @prop", "    def __init__(self, s): object.__setattr__(self, 'strength', s)\n    @prop")
         .replace("Mine()", "Mine(2.0)"), "Mine: strength: set, but no field, so not part of its identity"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_do_says_what_is_missing(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        written(tmp_path, text)
    ended = run(tmp_path)
    assert ended.status == 2 and message in ended.stderr


def test_a_network_that_was_trained_elsewhere_cannot_be_trained_otherwise(tmp_path: Path) -> None:
    study = replace(PRESETS["smoke"], foreign=ForeignConfig("python:a:b", "0"))
    one = Setting("a", Ladder(n_steps=2), Euler(0.0), training={"lr": 1.0})
    with pytest.raises(ValueError, match=r"training=\{'lr': 1.0\} of 'a': --model brings a trained network"):
        list(trials(OwnFile(Path("a.py"), "b", lambda: [one], {}), study))


def test_a_class_that_is_made_in_a_function_is_refused() -> None:
    @dataclass(frozen=True)
    class Local(Euler):
        pass

    with pytest.raises(ValueError, match=r"Local: a class that is made in a function has no identity; write it"):
        identity(Local())


TWO = """
from dataclasses import dataclass
from diffusion_core.samplers import Euler

made = []
for n in (1, 2):
    @dataclass(frozen=True)
    class Mine(Euler):
        n = n
    made.append(Mine())

class Old:
    @dataclass(frozen=True)
    class Step(Euler):
        pass

class New:
    @dataclass(frozen=True)
    class Step(Euler):
        pass
"""


def test_classes_of_one_name_are_told_apart_or_refused() -> None:
    """Of classes that are made in a loop, the name leads to the last."""
    name = "sigmabench_two_classes"
    module = sys.modules[name] = types.ModuleType(name)
    try:
        exec(TWO, vars(module))
        module.__file__ = __file__
        first, last = module.made
        with pytest.raises(ValueError, match=f"{name}.Mine: this name leads to another class, so the two could"):
            identity(first)
        assert len({identity(last), identity(module.Old.Step()), identity(module.New.Step())}) == 3
    finally:
        del sys.modules[name]


def test_a_file_of_the_same_size_and_second_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    read = []
    for gain in "12":
        (tmp_path / "mine.py").write_text(f"gain = {gain}\ndef schedule(n, high, low): return (high, low)\n")
        os.utime(tmp_path / "mine.py", (1, 1))
        module = import_own(tmp_path / "mine.py")
        read.append((module.gain, source_of(module.schedule)))
    del sys.modules[OWN]
    assert (read[0][0], read[1][0]) == (1, 2) and read[0][1] != read[1][1]


def test_a_schedule_that_is_random_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lasts = itertools.count(1)
    monkeypatch.setitem(SCHEDULES, "mine", lambda n, high, low: (high, low / next(lasts)))
    samples = SampleConfig(EmpiricalConfig("mnist5k"), Ladder("mine", 1), Euler(0.0), 40)
    planned = Trial("sweep", "sweep", ScoreConfig(samples, ReferenceConfig("mnist5k", "digits", "")))
    with pytest.raises(ValueError, match="ladder mine: called twice, its schedule gave other levels"):
        rehearse([planned], None)


def test_our_own_schedules_under_another_name_or_with_other_arguments_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, found = identity(Ladder("karras", 5)), []
    for entry in (karras, partial(karras, rho=2.0), partial(karras, rho=2.05), geometric):
        monkeypatch.setitem(SCHEDULES, "mine", entry)
        found.append(identity(Ladder("mine", 5)))
    assert len({ours, *found}) == 5
    monkeypatch.setitem(SCHEDULES, "karras", geometric)
    assert identity(Ladder("karras", 5)) != ours
    monkeypatch.setitem(SCHEDULES, "mine", partial(karras, rho=torch.tensor(2.0)))
    with pytest.raises(ValueError, match="an argument is no number and no text, so it has no identity"):
        identity(Ladder("mine", 5))
