"""--help: it is true, it appears at once, and what it lists can be typed."""

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from fresh import python
from own_sweep import FILE, written

from experiments import __main__ as program
from experiments.cli import STUDIES, parse
from experiments.run import result_folder
from experiments.run.networks import Pretrained
from experiments.run.setup_warnings import check_command
from experiments.run.study import Study

HEAVY = ("torch", "numpy", "pandas", "scipy", "torchvision", "matplotlib")
OURS = ("beta", "schedules", "noise_levels", "run")


def preset(name: str, preset: str) -> Study:
    return STUDIES[name](**STUDIES[name].presets[preset])


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What help prints."""
    with pytest.raises(SystemExit, match="0"):
        program._run(arguments)
    return capsys.readouterr().out


def words_of(text: str) -> str:
    """A text without its frames and line ends."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("name, size", [*((name, "gpu") for name in OURS), ("beta", "smoke"), ("beta", "laptop")])
def test_what_is_not_typed_has_the_value_of_the_preset(name: str, size: str):
    study, options, where = parse(name, ["--preset", size], "any")
    assert (study, where) == (preset(name, size), name)
    assert options.typed == {"preset"} and options.preset == size


@pytest.mark.parametrize("name, size", [*((name, "laptop") for name in OURS), ("beta", "gpu")])
def test_help_shows_the_presets_their_defaults_and_what_every_option_does(
    name: str, size: str, capsys: pytest.CaptureFixture[str]
):
    text = words_of(printed([name, f"--preset={size}", "--help"], capsys))
    laptop = preset(name, "laptop")
    sizes = f"laptop: {laptop.size}, {laptop.minutes}; gpu: {preset(name, 'gpu').size}."
    assert f"{sizes} The defaults below are those of --preset {size}." in text
    assert f"More networks give narrower intervals. (default: {preset(name, size).seeds})" in text
    assert "build:MODULE:FUNCTION" in text
    assert any(text.count(kind) for kind in ("python:PACKAGE", "diffusers:")) == (name != "noise_levels")
    assert "Examples:" in text and "default: None" not in text and "{None}" not in text
    for field in fields(laptop):
        option = f"--{field.name.replace('_', '-')}"
        if f"{option} " in text:
            after = text[text.rindex(f"{option} ") :].removeprefix(option)
            assert after.split("(default")[0].strip(" [].ABCDEFGHIJKLMNOPQRSTUVWXYZ|"), option


def test_all_options_of_a_grid_are_listed_without_a_factor(capsys: pytest.CaptureFixture[str]):
    text = words_of(printed(["sweep", "--vary", "--help"], capsys))
    assert "--vary" in text and "--no-confirm Without this, as many further networks compare the best" in text


@pytest.mark.parametrize(
    "prog, name",
    [
        *(("sigmabench", name) for name in ("", *OURS, "sweep", *program.OTHERS, "reports publish")),
        *(("python -m experiments", name) for name in ("", "beta", "store")),
    ],
)
def test_help_says_what_was_typed(
    prog: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = "/bin/sigmabench" if prog == "sigmabench" else "experiments/__main__.py"
    monkeypatch.setattr(sys, "argv", [path, *name.split(), "--help"])
    assert program.main() == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"usage: {prog} {name}".strip())
    assert prog != "sigmabench" or "python -m" not in text


def test_commands_to_copy_begin_with_what_was_typed(monkeypatch: pytest.MonkeyPatch):
    for path, prog in {"/bin/sigmabench": "sigmabench", "experiments/__main__.py": "python -m experiments"}.items():
        monkeypatch.setattr(sys, "argv", [path, "run", "karras, heun, 8"])
        assert result_folder.command() == f"{prog} run 'karras, heun, 8'"
        assert check_command(Pretrained(source="python:m:x")) == f"{prog} check --network python:m:x"


HELPS = f"""
import contextlib, io, sys, time
seconds, before = [], 0.0
for arguments in {[["--help"], *([name, "--help"] for name in (*OURS, "sweep", "store"))]}:
    import experiments.__main__ as command
    sys.argv = ["experiments", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        command.main()
    assert text.getvalue().startswith("usage: "), arguments
    seconds.append(time.process_time() - before)
    before = time.process_time()
print(seconds[0] + max(seconds[1:]), sorted(set({HEAVY}) & set(sys.modules)))
"""


def test_help_imports_nothing_heavy_and_appears_at_once():
    """In seconds of its own, however busy the machine is; 0.3 s are usual."""
    seconds, _, heavy = python(HELPS).stdout.strip().partition(" ")
    assert heavy == "[]" and float(seconds) < 1


WRONG = f"""
import sys
from experiments import __main__ as program
only_for_training = ["--network", "exact", "--seeds", "1"]
of_beta = ["--network smal", "--data mnst", "--features digit", "--label 3", "--n 1"]
for wrong in (
    *(["beta", *words.split()] for words in of_beta),
    ["beta", *only_for_training],
    ["sweep", "tests/helpers/own_sweep.py", *only_for_training],
):
    sys.argv[1:] = wrong
    assert program.main() == 2, wrong
    assert not set({HEAVY}) & set(sys.modules), wrong
"""


def test_a_wrong_option_is_said_before_anything_heavy_is_imported():
    done = python(WRONG)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interrupt_while_libraries_are_imported_ends_at_once_with_one_line(number: str):
    """An exception there would abort inside a library's C++ code, so the handler ends the process itself."""
    code = (
        "import os, signal, sys; import experiments.__main__ as program\n"
        f"program.import_module = lambda name: os.kill(os.getpid(), signal.{number})\n"
        "sys.argv[1:] = ['beta', '--preset', 'smoke']; sys.exit(program.main())"
    )
    done = python(code)
    assert done.returncode == 130
    assert done.stderr == "interrupted: the same command goes on from what is stored, if anything is\n"


def test_options_of_all_groups_end_in_a_study_and_one_object(tmp_path: Path):
    words = "--curve-etas 0 0.5 --seeds=3 --n-samples 70 --store s --preset smoke --dry-run".split()
    study, options, _ = parse("beta", words, "x")
    changed: dict[str, Any] = {"curve_etas": (0.0, 0.5), "seeds": 3, "n_samples": 70}
    assert study == replace(preset("beta", "smoke"), **changed)
    parts = (options.store, options.preset, options.workers, options.dry_run)
    assert parts == (Path("s").absolute(), "smoke", None, True)
    assert options.typed == {"curve_etas", "seeds", "n_samples", "store", "preset", "dry_run"}
    with pytest.raises(ValueError, match=r"^seeds=0: it must be between 1 and 1,000$"):
        parse("beta", ["--seeds", "0"], "x")
    own = written(tmp_path, FILE)
    sweep, _, name = parse("sweep", ["--seeds", "3", str(own), "--preset", "smoke"], "x")
    assert (type(sweep).__name__, sweep.seeds, name) == ("Asked", 3, "mine")


def test_a_misspelt_option_is_suggested(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        program._run(["beta", "--quite"])
    assert "Perhaps you meant: --quiet" in words_of(capsys.readouterr().err)


def test_paths_stay_where_the_command_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever working folder the code of a user's network or sampler chooses."""
    monkeypatch.chdir(tmp_path)
    _, options, name = parse("run", ["--store", "kept", "--data-root", "~/data"], "x")
    _, chosen, _ = parse("run", ["--out", "mine", "--store", "/b/f"], "x")
    monkeypatch.chdir("/")
    assert (options.store, options.data_root) == (tmp_path / "kept", Path.home() / "data")
    assert chosen.store == Path("/b/f")
    assert [one.directory(name) for one in (options, chosen)] == [tmp_path / "runs/run-laptop", tmp_path / "mine"]
    assert [options.relative(path) for path in (tmp_path / "a/b", "/c")] == ["a/b", "/c"]
