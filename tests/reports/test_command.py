"""`python -m reports`."""

from pathlib import Path

import pytest
import warm

pytestmark = pytest.mark.slow


def test_command_says_where_the_report_lies(directory: Path) -> None:
    found = warm.run("-m", "reports", str(directory))
    assert found.returncode == 0, found.stderr
    assert f"report:  {directory / 'report.html'}" in found.stdout
    assert (directory / "report.html").is_file()


def test_a_directory_without_a_run_is_an_error(tmp_path: Path) -> None:
    found = warm.run("-m", "reports", str(tmp_path))
    assert found.returncode == 2
    assert found.stderr == f"error: {tmp_path / 'run.json'}: no such file; a run directory has one\n"
