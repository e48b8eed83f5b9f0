"""Runs `python -m experiments ...` in this process, so that one run of an experiment serves every claim about it."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import __main__ as program


@dataclass(frozen=True)
class Finished:
    """The folder of the result, and what the command printed."""

    out: Path
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last line, for machines."""
        values: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return values

    @property
    def report(self) -> str:
        return (self.out / "report.md").read_text(encoding="utf-8")

    def rows(self, name: str = "table") -> pd.DataFrame:
        return pd.read_csv(self.out / f"{name}.csv")


def smoke(folder: Path, *arguments: str, out: str = "out", status: int = 0) -> Finished:
    """The run of an experiment with the preset smoke, with its store in `folder`."""
    places = ["--preset", "smoke", "--out", str(folder / out), "--store", str(folder / "store"), "--threads", "1"]
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", ["experiments", *arguments, *places])
        found = program.main()
    assert found == status, stderr.getvalue()
    return Finished(folder / out, stdout.getvalue(), stderr.getvalue())
