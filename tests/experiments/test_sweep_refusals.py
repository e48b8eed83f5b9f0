"""What a file with a sweep of one's own must not be, and what is said about it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from own_sweep import FILE, RUN, noisy, run, written

from diffusion_core.schedules import SCHEDULES

LOOP = """
    def run(self, eps, x, sigmas, noise):
        import torch
        for sigma in sigmas[1:]:
            x = {step}
            yield x
"""
NAME = 'name(self): return "mine"'
LAST = "Mine())"
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


GRID = """
from dataclasses import dataclass
from random import random
from experiments import Euler, Grid, Schedule, Setting

@dataclass(frozen=True)
class Asked(Grid):
    question = "Which eta?"
    factors = {"eta": (0.0, 1.0)}
    def setting(self, eta): return Setting("", Schedule(), Euler(ETA))
"""
SHORT = """
from diffusion_core.schedules import SCHEDULES
SCHEDULES["short"] = lambda n_steps, high, low: (high, low)
"""
REFUSED = {
    # the sampler and its names
    "setting.sampler.size=<built-in function len>: its type is": sampler("size: object = len"),
    "Mine: it is no dataclass itself": FILE.replace(f"{FROZEN}class Mine", "class Mine"),
    "X: it is no dataclass itself": last("type('X', (Euler,), {})())"),
    "sampler=Mine(): it must be one such as Euler(0.5), of a subclass": FILE.replace("(Sampler)", ""),
    # the noise distribution
    "noise mine: sample gave ellipsis; it must give a tensor (64,) torch.float32": noisy("..."),
    "noise mine: it must draw all random numbers from the generator": noisy("torch.rand(n)"),
    # the settings
    "presets has 'smok'; its names are smoke, laptop, gpu": study("presets = {'smok': {}}"),
    "training='stratifed': it must be one of": last("Mine(), training={'stratifed': True})"),
    "stratified='no': it must be True or": last("Mine(), training={'stratified': 'no'})"),
    "settings(): 'euler' of 'all' more than once; labels of one section": FILE.replace('"mine", S', '"euler ", S'),
    "'mine' of 'few' and 'euler' of 'all' cannot be compared: sizes() of their sections must be equal": (
        last("Mine(), 'few')")
        + "    def sizes(self, section): return (50 if section == 'few' else 40, None)\n"
        + "    def pairs(self, settings):\n        from experiments import Pair\n"
        + "        yield Pair('q', settings[1], settings[0])\n"
    ),
    "settings: there are none": settings("return []"),
    "settings(): TypeError: Value after * must be an iterable": settings("return None"),
    "settings(): line 18: KeyError: 'x'": settings("raise KeyError('x')"),
    # a grid
    "setting() of eta=0: eta=0: its setting has 1 in this column of table.csv": GRID.replace("ETA", "1 - eta"),
    "setting() of eta=0: called twice, it gave two settings": GRID.replace("ETA", "random()"),
    "setting() of eta=0: it gave None; it must return a Setting": GRID.replace("return", "").replace("ETA", "1"),
    "explore(): line 10: KeyError: 'x'": GRID.replace("return Setting", "raise KeyError('x'); Setting"),
    # a schedule of its own
    "schedule short: 2 levels; it must give n_steps + 1 =": f"{SHORT}{FILE}".replace("2), M", "2, rule='short'), M"),
    # the file and its study
    "mine.py': it changes torch's default dtype or device, on which all": (
        f"import torch\ntorch.set_default_dtype(torch.float64)\n{FILE}"
    ),
    "there is no such Python file": None,
    "line 2: SyntaxError: invalid syntax": "x = ''\ndef settings(:",
    "line 1: ModuleNotFoundError: No module named 'no_such_module'": "import no_such_module",
    "it has no class of the kind `class Mine(Study)`; one is needed; see python -m exp": "x = 1",
    "it has 2 studies; one is needed": f"{FILE}\n{ASKED}Too(Study):\n    question = 'b'\n",
    "write @dataclass(frozen=True) above class Asked, so that its fields": FILE.replace(ASKED, "class Asked"),
    "TypeError: cannot inherit non-frozen dataclass from a frozen": FILE.replace(ASKED, "@dataclass\nclass Asked"),
    "data=5: it must be a text": study("presets = {'gpu': {'data': 5}}"),
    "batch_size=64.5: it must be a whole number": study("presets = {'smoke': {'batch_size': 64.5}}"),
    "json is an option of all experiments; give the field another name": study("json: int = 3"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def our_schedules() -> Iterator[None]:
    """SHORT adds a schedule to our table, where later tests must not find it."""
    before = dict(SCHEDULES)
    yield
    SCHEDULES.clear()
    SCHEDULES.update(before)


@pytest.mark.parametrize("message", REFUSED)
def test_a_file_that_does_not_do_says_what_is_missing_before_anything_is_made(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if (text := REFUSED[message]) is not None:
        written(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    ended = run(Path(), status=2)
    assert ended.refused(message), ended.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_sampler_must_not_change_torch(tmp_path: Path):
    written(tmp_path, stepping("x + (torch.set_default_dtype(torch.float64) or 0)"))
    assert "sampler mine: it changes torch's default dtype" in run(tmp_path, "--network", "exact", status=2).stderr


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_comparisons_that_fail_are_one_line_and_nothing_is_sampled_again(tmp_path: Path):
    written(tmp_path, f"{FILE}    def pairs(self, settings): raise KeyError('late')\n")
    ended = run(tmp_path, "--network", "exact", status=2)
    assert ended.stderr == "error: pairs(): line 20: KeyError: 'late'\n"
    written(tmp_path, FILE)
    assert run(tmp_path, "--network", "exact").summary["rows"] == 2
