"""`python -m reports`, and what it must not import."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_reports_stand_alone() -> None:
    code = "import sys, reports.command_line; print(sorted({name.split('.')[0] for name in sys.modules}))"
    found = python("-c", code)
    assert found.returncode == 0, found.stderr
    assert "reports" in found.stdout
    assert "'torch'" not in found.stdout
    assert "'experiments'" not in found.stdout
    assert "'diffusion_core'" not in found.stdout


def test_command_says_where_the_report_lies(directory: Path) -> None:
    found = python("-W", "error", "-m", "reports", str(directory))
    assert found.returncode == 0, found.stderr
    assert f"report:  {directory / 'report.html'}" in found.stdout
    assert (directory / "report.html").is_file()


def test_a_directory_without_a_run_is_an_error(tmp_path: Path) -> None:
    found = python("-m", "reports", str(tmp_path))
    assert found.returncode == 2
    assert found.stderr == f"error: {tmp_path / 'run.json'}: no such file; a run directory has one\n"
