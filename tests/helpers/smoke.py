"""Runs `python -m experiments ...` in this process; one run of an experiment serves every claim about it."""

import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import run_spine

from experiments import __main__ as program
from experiments.run import stages
from experiments.run.cache import Cache
from experiments.run.image_features import features_id
from experiments.run.runs import Reference


@cache
def _real_images() -> Path:
    folder = run_spine.temporary("real-images-")
    stages.reference(Reference("mnist5k", "digits", features_id("digits")), Cache(folder))
    return folder


def known_images(folder: Path) -> Path:
    """The store in a folder, which need not compute the features of the real images: that takes seconds."""
    if not (folder / "references").exists():  # else it may be in use
        shutil.copytree(_real_images(), folder, dirs_exist_ok=True)
    return folder


@dataclass(frozen=True)
class Ended:
    """The exit status of a command, and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last line, for machines."""
        values: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return values

    def refused(self, message: str) -> bool:
        """Whether it ended with status 2 and one line that holds the message."""
        return self.status == 2 and message in self.stderr and self.stderr.count("\n") == 1


@dataclass(frozen=True)
class Finished(Ended):
    """A run of an experiment, and the folder of its result."""

    out: Path

    @property
    def report(self) -> str:
        return (self.out / "report.md").read_text(encoding="utf-8")

    def rows(self, name: str = "table") -> pd.DataFrame:
        return pd.read_csv(self.out / f"{name}.csv")


def typed(*arguments: str, path: str = "experiments") -> Ended:
    """Runs a command as if it were typed; `path`: how the program was called."""
    stdout = io.StringIO()
    stderr = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", [path, *arguments])
        status = program.main()
    return Ended(status, stdout.getvalue(), stderr.getvalue())


def smoke(folder: Path, *arguments: str, out: str = "out", status: int = 0) -> Finished:
    """The run of an experiment with the preset smoke, with its store in `folder`, which knows the real images."""
    if status != 2 and "--dry-run" not in arguments:
        known_images(folder / "store")
    places = ["--preset", "smoke", "--out", str(folder / out), "--store", str(folder / "store"), "--threads", "1"]
    ended = typed(*arguments, *places)
    assert ended.status == status, ended.stderr
    return Finished(*vars(ended).values(), folder / out)
