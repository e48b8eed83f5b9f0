"""Imports point one way, and the commands that the README shows exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("diffusion_core", ("experiments", "reports", "pandas", "seaborn", "tyro")),
        ("reports.render", ("experiments", "diffusion_core", "torch")),
    ],
)
def test_imports_point_one_way(package: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys, {package}; print(sorted(set({forbidden}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_of_the_core_names_the_others() -> None:
    for path in (ROOT / "diffusion_core").glob("*.py"):
        assert not re.search(r"^\s*(from|import) (experiments|reports)\b", path.read_text(), re.MULTILINE), path


def test_tests_and_benchmarks_are_told_apart() -> None:
    def collected(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout

    plain, benchmark = collected("tests/test_layout.py", "bench"), collected("--benchmark")
    assert "test_imports_point_one_way" in plain and "bench_" not in plain
    assert "bench_loop_alone" in benchmark and "test_" not in benchmark
