"""What the README shows works: its Python runs, its commands parse, its smoke run and report run."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import tyro

from experiments.__main__ import EXPERIMENTS
from experiments.store import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.mark.slow
def test_python_examples_run() -> None:
    assert blocks("python")
    for code in blocks("python"):
        subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


def test_every_command_is_known() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    seen = set()
    for command in commands():
        if command[0] == "make":
            assert command[1] in targets
        elif command[:3] == ["python", "-m", "experiments"] and command[3] != "--help":
            known = EXPERIMENTS | {"store": cli.main}
            (options,) = next(iter(get_type_hints(known[command[3]], include_extras=True).values())).__args__
            tyro.cli(options, args=command[4:])
        else:
            assert command[:2] == ["pytest", "--benchmark"] or command[:3] in (
                ["python", "-m", "experiments"],
                ["python", "-m", "reports"],
            )
        seen.add(command[0])
    assert seen == {"make", "python", "pytest"}


@pytest.mark.slow
def test_smoke_then_report(tmp_path: Path) -> None:
    """The README's own lines, run one after the other in an empty folder."""
    wanted = [c for c in commands() if c[:3] == ["python", "-m", "experiments"] and ("smoke" in c or "--help" in c)]
    wanted += [command for command in commands() if command[:3] == ["python", "-m", "reports"]]
    assert len(wanted) == 6
    (own,) = (block for block in blocks("python") if block.startswith("# my_sweep.py\n"))
    assert len(own.splitlines()) <= 25
    (tmp_path / "my_sweep.py").write_text(own)
    (tmp_path / "runs").mkdir()
    shutil.copy(
        ROOT / "tests" / "reports" / "speed" / "bench.json", tmp_path / "runs" / "speed.json"
    )  # of `make benchmark`
    for command in wanted:
        subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "runs" / "beta-smoke" / "report.html").stat().st_size > 100_000
    report = (tmp_path / "runs" / "my_sweep-smoke" / "report.md").read_text()
    assert report.startswith("# Does a network trained on wider noise levels want more noise put back?")
    assert "**Wide training law: " in report and "heun" in report and "A/A control" in report


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
