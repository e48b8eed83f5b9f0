"""What a file with a sweep of one's own must not be, and what is said about it."""

import os
import sys
import types
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from own_sweep import FILE, RUN, noisy, run, written

from diffusion_core.samplers import Euler
from diffusion_core.schedules import SCHEDULES, geometric, karras
from experiments.own.source import OWN, import_own, source_of
from experiments.run.identity import identity
from experiments.run.setting import Ladder

LOOP = """
    def run(self, eps, x, sigmas, noise):
        import torch
        for sigma in sigmas[1:]:
            x = {step}
            yield x
"""
NAME, NFE, LAST = 'name(self): return "mine"', "return Euler(0.0).planned_nfe(sigmas)", "Mine())"
QUESTION = '    question = "Does it run?"\n'
SETTINGS = FILE[FILE.index("    def settings") :]
FROZEN = "@dataclass(frozen=True)\n"
ASKED = f"{FROZEN}class Asked"


def sampler(field: str) -> str:
    """The file with a sampler that has one more line in its class."""
    return FILE.replace("    @prop", f"    {field}\n    @prop")


def study(line: str) -> str:
    """The file with a study that has one more line in its class."""
    return FILE.replace(QUESTION, f"{QUESTION}    {line}\n")


def settings(body: str) -> str:
    """The file with other settings."""
    return FILE.replace(SETTINGS, f"    def settings(self):\n        {body}\n")


def last(text: str) -> str:
    """The file with other arguments at the end of its last setting."""
    return FILE.replace(LAST, text)


def stepping(step: str) -> str:
    """The file with a sampler whose steps are this expression of x."""
    return FILE.replace(RUN, LOOP.format(step=step))


OLD = """
from diffusion_core.samplers import Euler
from experiments.config import Ladder
from experiments.sweep import Setting
QUESTION = "Does it run?"
def runs():
    yield Setting("euler", Ladder(n_steps=2), Euler(0.0))
"""
NOW = "QUESTION is now its `question`, runs() its method settings(), PRESETS its `presets`; see python -m exp"
REFUSED = {
    # the sampler and its names
    "name of the sampler of 'mine': ZeroDivisionError: division": FILE.replace(NAME, "name(self): return 1 / 0"),
    "name of the sampler of 'mine': ValueError: x": FILE.replace(NAME, 'name(self): raise ValueError("x")'),
    "name of the sampler of 'mine': 3: it must be a text that is not": FILE.replace(NAME, "name(self): return 3"),
    "name of the sampler of 'mine': SystemExit: 0": FILE.replace(NAME, "name(self): raise SystemExit(0)"),
    "planned_nfe of mine: ZeroDivisionError": FILE.replace(NFE, "return 1 / 0"),
    "planned_nfe of mine is 1.5; it must be a whole": FILE.replace(NFE, "return 1.5"),
    "setting.sampler.size=<built-in function len>: its type is": sampler("size: object = len"),
    "Mine: KeyError: 'h': its fields must not change": sampler("def __hash__(self): raise KeyError('h')"),
    "Mine: it compares its values in its own way, so two": sampler("def __eq__(self, other): return True"),
    "Mine: it compares its values in its own way": sampler(
        "from dataclasses import field; k: int = field(default=1, compare=False)"
    ),
    "setting.sampler.log=[]: its type is list; it must be": sampler("log: list = None").replace(LAST, "Mine([]))"),
    "Mine: strength: set, but no field, so not part of its identity": sampler(
        "def __init__(self, s): object.__setattr__(self, 'strength', s)"
    ).replace(LAST, "Mine(2.0))"),  # else another strength would be answered with the results of this one
    "Mine: it is no dataclass itself": FILE.replace(f"{FROZEN}class Mine", "class Mine"),
    "X: it is no dataclass itself": last("type('X', (Euler,), {})())"),
    "sampler=Mine(): it must be one such as Euler(0.5), of a subclass": FILE.replace("(Sampler)", ""),
    "sampler=<class 'sigmabench_own_sweep.Mine'>: it must be one such as Euler(0.5)": last("Mine)"),
    # the noise distribution
    "noise mine: sample gave ellipsis; it must give a tensor (64,) torch.float32": noisy("..."),
    "noise mine: it must draw all random numbers from the generator": noisy("torch.rand(n)"),
    "the levels, and log_density(log_sigma), of ln sigma: ZeroDivisionError": noisy(density="1 / 0"),
    "it must be a NoiseDistribution, such as LogNormal()": noisy("1", "1", 'name = "mine"', "pass"),
    "name of the noise of 'mine': KeyError: 0": noisy("1", "1", 'name = "mine"', "name = property(lambda s: {}[0])"),
    "Noise: it is not frozen, so it": noisy().replace(f"{FROZEN}class Noise", "@dataclass\nclass Noise"),
    # the settings
    "'euler' is the first setting of 'all', so all others": FILE.replace("2), Euler(0.0))", "2), Euler(99.0))"),
    "training of 'mine': Trained has no 1, nope": last("Mine(), training={1: 2, 'nope': 1})"),
    "stratified='no': it must be True or": last("Mine(), training={'stratified': 'no'})"),
    "training=[1]: it must be a dict": last("Mine(), training=[1])"),
    "training='data' of 'mine': all settings of a study share it": last("Mine(), training={'data': 'mnist'})"),
    "interactions: ('mine', 'nope'): it must be a pair of labels of settings()": study(
        "interactions = [('mine', 'nope')]"
    ),
    "interactions: 'mine': it must be a pair of labels": study("interactions = ('mine', 'euler')"),
    "group='': it must be a text that can be printed": last("Mine(), group='')"),
    "group='control' of 'mine': the A/A control of a setting is called so": last("Mine(), 'control')"),
    r"label='a\x1b[2J': it must be a text that can be printed in a": FILE.replace('"mine", L', r'"a\x1b[2J", L'),
    "settings(): 'euler' of 'all' more than once; labels of one group": FILE.replace('"mine", L', '"euler ", L'),
    "L: it is no dataclass itself, so its parameters": FILE.replace(
        '"mine", Ladder(', '"mine", type("L", (Ladder,), {"sigmas": lambda self: (9.0, 1.0)})('
    ),  # else a row would name a schedule that it does not have
    "'mine' and 'euler' of 'all' cannot be compared: n, networks and draw must be": last("Mine(), n=50)"),
    "'mine' and 'euler' of 'all' cannot be compared: n, networks and draw must": last("Mine(), draw=1)"),
    "n_samples=20: it must be between 40 and 1666": last("Mine(), n=20)"),
    "settings(): number 1 is 1; it must be a Setting": settings("yield 1"),
    "settings: there are none": settings("return []"),
    "settings(): TypeError: 'NoneType' object is not iterable": settings("return None"),
    "settings(): line 18: KeyError: 'x'": settings("raise KeyError('x')"),
    "settings(): line 18: SystemExit: 0": settings("raise SystemExit(0)"),
    "settings(): it yields more than 100,000 settings": settings("while True: yield 1"),
    "Setting.__init__() got an unexpected keyword argument 'mode'": last("Mine(), mode='a')"),
    # the file and its study
    "mine.py': it changes torch's default dtype or device, on which all": (
        f"import torch\ntorch.set_default_dtype(torch.float64)\n{FILE}"
    ),
    "there is no such Python file": None,
    "line 2: SyntaxError: invalid syntax": "x = ''\ndef settings(:",
    "line 2: SystemExit: 0": "import sys\nsys.exit(0)",
    "line 1: ModuleNotFoundError: No module named 'no_such_module'": "import no_such_module",
    "it has no class of the kind `class Mine(Study)`; one is needed": "x = 1",
    f"No module named 'experiments.config'; write a class of the kind `class Mine(Study)`: {NOW}": OLD,
    f"it has no class of the kind `class Mine(Study)`; {NOW}": OLD.replace("experiments.config", "experiments"),
    "it has 2 studies; one is needed": f"{FILE}\n{ASKED}Too(Study):\n    question = 'b'\n",
    "write @dataclass(frozen=True) above class Asked, so that its fields": FILE.replace(ASKED, "class Asked"),
    "TypeError: cannot inherit non-frozen dataclass from a frozen": FILE.replace(ASKED, "@dataclass\nclass Asked"),
    "class Asked needs a question, the title of its report": FILE.replace(QUESTION, ""),
    "class Asked needs a method settings(), which yields what": FILE.replace(SETTINGS, ""),
    "presets has 'smok'; its names are smoke, laptop, gpu": study("presets = {'smok': {}}"),
    "presets must be a dict of names and dicts of options": study("presets = 5"),
    "data=5: it must be a text": study("presets = {'gpu': {'data': 5}}"),
    "batch_size=64.5: it must be a whole number": study("presets = {'smoke': {'batch_size': 64.5}}"),
    "preset smoke: TypeError: Asked.__init__() got an unexpected keyword": study("presets = {'smoke': {'nope': 1}}"),
    "json is an option of all experiments; give the field another name": study("json: int = 3"),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_a_file_that_does_not_do_says_what_is_missing_before_anything_is_made(message: str, tmp_path: Path) -> None:
    if (text := REFUSED[message]) is not None:
        written(tmp_path, text)
    ended = run(tmp_path, status=2)
    assert ended.refused(message), ended.stderr
    assert not (tmp_path / "store").exists()


BY_PLACE = "x + torch.stack([torch.randn(x[0].shape, generator=torch.manual_seed(i)) for i in range(len(x))])"
UNRELIABLE = {
    "torch.randn_like(x)": "run twice with the same noise, it gave different samples, by up to",
    BY_PLACE: "a sample depends on the others of its batch, by up to",
    "x - x.mean()": "a sample depends on the others of its batch, by up to",
    "x + (object.__setattr__(self, 'label', 'other') or 0)": "label: set, but no field",
}


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("step", UNRELIABLE)
def test_a_sampler_that_gives_no_answer_to_rely_on_is_refused_before_anything_is_trained(
    step: str, tmp_path: Path
) -> None:
    written(tmp_path, stepping(step))
    assert UNRELIABLE[step] in run(tmp_path, "--network", "exact", status=2).stderr


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_sampler_that_fails_is_a_failed_row(tmp_path: Path) -> None:
    written(tmp_path, stepping("x + (torch.set_default_dtype(torch.float64) or 0)"))
    done = run(tmp_path, "--network", "exact", status=1)
    table = done.rows().set_index("setting")
    assert "sampler mine: it changes torch's default dtype" in table.loc["mine", "error"]
    assert set(table.loc["euler", "status"]) == {"ok"} and set(done.rows("contrasts")["kind"]) == {"control"}


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("method", ["compare(self, of)", "more(self, made)"])
def test_what_a_study_does_at_the_end_may_fail_with_one_line_and_is_not_sampled_again(
    method: str, tmp_path: Path
) -> None:
    written(tmp_path, f"{FILE}    def {method}: raise KeyError('late')\n")
    ended = run(tmp_path, "--network", "exact", status=2)
    assert ended.stderr == f"error: {method.partition('(')[0]}(): KeyError: 'late'\n"
    written(tmp_path, FILE)
    assert run(tmp_path, "--network", "exact").summary["rows"] == 3


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
    with pytest.raises(ValueError, match=r"partial.*=tensor\(2.\): its type is Tensor"):
        identity(Ladder("mine", 5))
