"""--help: it is true, it appears at once, and what it lists can be typed."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from diffusion_core import NOISE_DISTRIBUTIONS, SAMPLERS, SCHEDULES
from diffusion_core.networks import PARAMETERISATIONS
from diffusion_core.training import WEIGHTINGS
from experiments import __main__ as program
from experiments import questions
from experiments.command_line import COMMANDS, parse
from experiments.config.names import SYNONYMS, sampler

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "numpy", "pandas", "scipy", "torchvision", "matplotlib")


def module(name: str) -> Any:
    return import_module(COMMANDS[name].module)


def test_names_are_those_of_the_tables() -> None:
    for shown, table in (
        (questions.LAWS, NOISE_DISTRIBUTIONS),
        (questions.LADDERS, SCHEDULES),
        (questions.SAMPLERS, SAMPLERS),
        (questions.WEIGHTINGS, WEIGHTINGS),
        (questions.OUTPUTS, PARAMETERISATIONS),
        (questions.SYNONYMS, SYNONYMS),
    ):
        assert shown.split(", ") == list(table)


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_shown_are_the_laptop_presets(name: str) -> None:
    presets = getattr(module(name), "PRESETS", None) or import_module("experiments.why_noise.settings").PRESETS
    hints = get_type_hints(COMMANDS[name].question, include_extras=True)
    for field in fields(COMMANDS[name].question):
        if field.default is None and hasattr(presets["laptop"], field.name):
            value = getattr(presets["laptop"], field.name)
            values = value if isinstance(value, tuple) else (value,)
            text = " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
            if field.name == "settings":  # too long to list
                text = f"{len(values)} with noise in other forms or ending at 0"
            assert hints[field.name].__metadata__[0].help_behavior_hint == f"(default: {text})", field.name


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sweep"])
def test_numbers_of_samples_shown_are_those_of_the_presets(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    presets = getattr(module(name), "PRESETS", None) or import_module("experiments.why_noise.settings").PRESETS
    with pytest.raises(SystemExit):
        parse(name, ["--help"], "any")
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    text = re.sub(r"(\d), (\d{3})", r"\1,\2", text)  # a line may end inside a number
    for said in (
        r"with --preset gpu ([\d,]+) \((.*?)\)",
        r"default is that of --n-others\. \(default: ([\d,]+); (.*?)\)",
    ):
        found = re.search(said, text)
        assert found, text
        usual, others = found.groups()
        special = dict(one.split(": ") for one in others.split("; "))
        preset = presets["gpu" if "gpu" in said else "laptop"]
        assert special.get(name, usual) == f"{preset.n_samples:,}"


@pytest.mark.parametrize("name", [*program.OTHERS])
def test_every_other_command_has_a_module_and_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        program._run([name, "--help"])
    assert f"usage: python -m experiments {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_presets_shown_are_the_presets(name: str) -> None:
    presets = getattr(module(name), "PRESETS", None) or import_module("experiments.why_noise.settings").PRESETS
    for kind, text in zip(("laptop", "gpu"), COMMANDS[name].presets.split("; "), strict=False):
        study = presets[kind]
        assert f"{kind}: {study.train_seeds} networks" in text
        assert f"{study.train.images_seen:,} images" in text and f"{study.n_samples:,}" in text.replace("\n", " ")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in (*COMMANDS, "store"))], ids=" ".join)
def test_help_imports_nothing_heavy_and_appears_at_once(arguments: list[str]) -> None:
    code = (
        "import sys, experiments.__main__ as command\n"
        f"sys.argv = ['experiments', *{arguments}]\n"
        "try:\n    command.main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    after = os.times()
    assert done.stdout.splitlines()[-1] == "[]"
    assert after.children_user - before.children_user < 1  # of its own, however busy the machine is; 0.25 s is usual
    if arguments[0] in COMMANDS:
        assert COMMANDS[arguments[0]].title in done.stdout and "Examples:" in done.stdout
        assert "default: None" not in done.stdout and "{None}" not in done.stdout


def test_a_reader_who_leaves_early_gives_no_traceback() -> None:
    line = f"{sys.executable} -m experiments beta --help | head -1"
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("usage: ") and done.stderr == ""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interrupt_while_libraries_are_imported_ends_at_once_with_one_line(number: str) -> None:
    """An exception there would abort inside a library's C++ code, so the handler ends the process itself."""
    code = (
        "import os, signal, sys; import experiments.__main__ as program\n"
        f"program.import_module = lambda name: os.kill(os.getpid(), signal.{number})\n"
        "sys.argv[1:] = ['beta', '--preset', 'smoke']; sys.exit(program.main())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 130
    assert found.stderr == "interrupted: what is finished is kept, and the same command goes on from there\n"


def test_a_module_that_ends_the_program_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module("run"), "main", lambda *arguments: sys.exit(0))
    monkeypatch.setattr(sys, "argv", ["experiments", "run"])
    assert program.main() == 2
    assert "error: code of yours calls sys.exit(0), which would end the run" in capsys.readouterr().err


def test_options_of_all_groups_end_in_one_object() -> None:
    question, options = parse("beta", ["--etas", "0", "0.5", "--seeds", "3", "--store", "s", "--preset", "smoke"], "x")
    assert question.etas == (0.0, 0.5)
    assert (options.train_seeds, options.store, options.preset, options.workers) == (3, "s", "smoke", None)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ddim", "euler(eta=0)"), ("ddpm", "euler(eta=1)"), ("euler-ancestral", "euler(eta=1)"),
        ("euler-ancestral(eta=0.5)", "euler(eta=0.5)"),
    ],
)  # fmt: skip
def test_other_peoples_names_can_be_typed(typed: str, meant: str) -> None:
    assert sampler(typed) == sampler(meant)


def test_labels_of_samplers_are_their_names_in_the_table() -> None:
    assert {name: kind.label for name, kind in SAMPLERS.items()} == {name: name for name in SAMPLERS}
