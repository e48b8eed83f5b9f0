"""run.json: the origin of the numbers in a result folder."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.config.denoisers import ForeignConfig
from experiments.config.trial import Trial
from experiments.engine.options import Options
from experiments.own import external
from experiments.own.features import dimension
from experiments.run.hardware import describe
from experiments.stages.common import images_of
from reports.edge import program

VERSIONS = ("sigmabench", "torch", "torch-fidelity", "numpy", "scipy")


def command() -> str:
    """The command line of this process."""
    return shlex.join([*program().split(), *sys.argv[1:]])


def provenance(name: str, question: str, preset: str, notes: Sequence[str]) -> dict[str, Any]:
    """The contents of run.json."""
    run = {"schema": 2, "experiment": name, "preset": preset, "question": question, "notes": list(notes)}
    return run | origin(*VERSIONS)


def origin(*packages: str) -> dict[str, Any]:
    """The command, the code, and the machine that made the numbers, with the versions of Python and of packages."""
    revision, dirty = commit()
    versions = {"python": platform.python_version()} | {package: version(package) for package in packages}
    return {"command": command(), "commit": revision, "dirty": dirty, "versions": versions, "machine": describe()}


def notes(trials: Sequence[Trial], options: Options, n_planned: int) -> list[str]:
    """Caveats for readers of the numbers."""
    found = []
    if options.only:
        asked = f"--only {shlex.quote(options.only)}"
        found.append(f"a part of the experiment was run, {len(trials)} of {n_planned} trials: {asked}")
    reference = trials[0].score.reference
    d = dimension(reference.features, images_of(reference.data, options.data_root).pixels)
    smallest = min(trial.samples.n_samples for trial in trials)
    if smallest <= d:
        found.append(
            f"{smallest} samples span fewer than the {d} feature dimensions: their covariance is singular, "
            "so FD compares only runs of equally many samples; MMD and KD have no such limit"
        )
    networks = dict.fromkeys(trial.model for trial in trials if isinstance(trial.model, ForeignConfig))
    for one in networks:
        images = images_of(one.data, options.data_root)
        model = external.load_foreign(one.source, images, one.label, one.machine.device)
        found += [*external.notes(one.source), *external.remarks(model)]
    return [*dict.fromkeys(found)]


def commit() -> tuple[str | None, bool | None]:
    """The commit of this code, and whether files differ from it. Both are None outside a git checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, None
