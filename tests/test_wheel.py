"""The wheel alone runs an experiment: it is built, installed into an empty environment, and used in an empty folder."""

import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.release
def test_the_wheel_runs_in_an_empty_folder(tmp_path: Path):
    empty, home, wheels, venv = (tmp_path / name for name in ("empty", "home", "wheels", "venv"))

    def run(*words: str | Path, where: Path = empty) -> str:
        done = subprocess.run(list(map(str, words)), cwd=where, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    empty.mkdir()
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env |= {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, where=ROOT)
    (wheel,) = wheels.glob("sigmabench-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # the packages that Sigmabench needs; the .pth files of that folder, and so this checkout, are not read
    (packages / "needed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    options = ("--no-index", "--no-deps", "--ignore-installed")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    assert run(python, "-c", "import experiments; print(experiments.__file__)").startswith(str(venv))
    assert {path.parent.name for path in packages.glob("*/py.typed")} >= {"diffusion_core", "experiments", "reports"}
    few = "--recipe plain --train-images 64 --n-samples 40".split()
    output = run(venv / "bin" / "sigmabench", "run", "karras, euler, 2", "--preset", "smoke", *few)
    report = empty / "runs" / "run-smoke" / "report.html"
    assert str(report.relative_to(empty)) in output and report.stat().st_size > 10_000
    assert not any(home.rglob("*.py"))
    assert "verdict: Faster. Loop, " in run(venv / "bin" / "sigmabench", "bench", "loop", "--save", "before")
