"""--help: it is true, it appears at once, and what it lists can be typed."""

import subprocess
import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

import pytest
from smoke import typed

from diffusion_core import SAMPLERS
from experiments import __main__ as program
from experiments.command_line import commands, parse
from experiments.config.denoisers import ForeignConfig
from experiments.engine import provenance
from experiments.engine.doubts import check_command
from experiments.own.names import sampler

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "numpy", "pandas", "scipy", "torchvision", "matplotlib")
OURS = ("beta", "ladders", "noise_levels", "run", "sweep", "tune")
FILE = {"sweep": ["mine.py"]}  # arguments that must be given


def text_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `--help` prints, without its frames and line ends."""
    with pytest.raises(SystemExit, match="0"):
        program._run([*arguments, "--help"])
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_every_experiment_is_found() -> None:
    assert tuple(commands()) == OURS
    for command in commands().values():
        assert set(command.presets) == {"smoke", "laptop", "gpu"} and callable(import_module(command.module).main)


@pytest.mark.parametrize(("name", "preset"), [*((name, "gpu") for name in OURS), ("beta", "smoke"), ("beta", "laptop")])
def test_what_is_not_typed_has_the_value_of_the_preset(name: str, preset: str) -> None:
    study, options = parse(name, [*FILE.get(name, []), "--preset", preset], "any")
    usual = commands()[name].presets[preset]
    assert study == (replace(usual, file=Path("mine.py")) if name == "sweep" else usual)  # type: ignore[call-arg]
    assert options.given == {"preset"} and options.preset == preset


@pytest.mark.parametrize(("name", "preset"), [*((name, "laptop") for name in OURS), ("beta", "gpu")])
def test_help_shows_the_presets_their_defaults_and_what_every_option_does(
    name: str, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, presets = text_of([name, f"--preset={preset}"], capsys), commands()[name].presets
    sizes = f"laptop: {presets['laptop'].size}, {commands()[name].minutes}; gpu: {presets['gpu'].size}."
    assert f"{sizes} The defaults below are those of --preset {preset}." in text
    assert f"More networks give narrower intervals. (default: {presets[preset].train_seeds})" in text
    assert "Examples:" in text and "default: None" not in text and "{None}" not in text
    for field in fields(presets[preset]):
        option = f"--{field.name.replace('_', '-')}"
        if option in text:
            after = text[text.rindex(f"{option} ") :].removeprefix(option)
            assert after.split("(default")[0].strip(" [].ABCDEFGHIJKLMNOPQRSTUVWXYZ|"), option


@pytest.mark.parametrize(
    ("prog", "name"),
    [
        *(("sigmabench", name) for name in ("", *OURS, *program.OTHERS, "report bench", "report publish")),
        *(("python -m experiments", name) for name in ("", "beta", "store")),
    ],
)
def test_help_says_what_was_typed(
    prog: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/bin/sigmabench" if prog == "sigmabench" else "experiments/__main__.py"
    monkeypatch.setattr(sys, "argv", [path, *name.split(), "--help"])
    assert program.main() == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"usage: {prog} {name}".strip())
    assert prog != "sigmabench" or "python -m" not in text


def test_commands_to_copy_begin_with_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    for path, prog in {"/bin/sigmabench": "sigmabench", "experiments/__main__.py": "python -m experiments"}.items():
        monkeypatch.setattr(sys, "argv", [path, "run", "--law", "log-normal(0, 1)"])
        assert provenance.command() == f"{prog} run --law 'log-normal(0, 1)'"
        assert check_command(ForeignConfig("python:m:x")) == f"{prog} check --model python:m:x"


HELPS = f"""
import contextlib, io, sys, time
seconds, before = [], 0.0
for arguments in {[["--help"], *([name, "--help"] for name in (*OURS, "store"))]}:
    import experiments.__main__ as command
    sys.argv = ["experiments", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        command.main()
    assert text.getvalue().startswith("usage: "), arguments
    seconds.append(time.process_time() - before)
    before = time.process_time()
print(seconds[0] + max(seconds[1:]), sorted(set({HEAVY}) & set(sys.modules)))
"""


def test_help_imports_nothing_heavy_and_appears_at_once() -> None:
    """In seconds of its own, however busy the machine is; 0.3 s are usual."""
    done = subprocess.run([sys.executable, "-c", HELPS], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, _, heavy = done.stdout.strip().partition(" ")
    assert heavy == "[]" and float(seconds) < 1


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "interrupted: the same command goes on from what is stored, if anything is\n"


def test_a_module_that_ends_the_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.single.main", lambda *arguments: sys.exit(0))
    ended = typed("run")
    assert ended.status == 2 and "error: code of yours calls sys.exit(0), which would end the run" in ended.stderr


def test_options_of_all_groups_end_in_a_study_and_one_object() -> None:
    typed = ["--etas", "0", "0.5", "--seeds=3", "--n-samples", "70", "--store", "s", "--preset", "smoke", "--dry-run"]
    study, options = parse("beta", typed, "x")
    usual = commands()["beta"].presets["smoke"]
    assert study == replace(usual, etas=(0.0, 0.5), train_seeds=3, n_samples=70)
    assert (options.store, options.preset, options.workers, options.dry_run) == (
        Path("s").absolute(),
        "smoke",
        None,
        True,
    )
    assert options.given == {"etas", "train_seeds", "n_samples", "store", "preset", "dry_run"}


def test_paths_stay_where_the_command_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever working folder the code of a user's model or sampler chooses."""
    monkeypatch.chdir(tmp_path)
    _, options = parse("run", ["--store", "kept", "--data-root", "~/data", "--feature-weights", "w"], "x")
    _, chosen = parse("run", ["--out", "mine", "--store", "/b/f"], "x")
    monkeypatch.chdir("/")
    assert (options.store, options.data_root) == (tmp_path / "kept", Path.home() / "data")
    assert (options.feature_weights, chosen.store) == (tmp_path / "w", Path("/b/f"))
    assert [one.directory("run") for one in (options, chosen)] == [tmp_path / "runs/run-laptop", tmp_path / "mine"]
    assert [options.shown(path) for path in (tmp_path / "a/b", "/c")] == ["a/b", "/c"]


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
