"""What `sweep` is told: the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from experiments.config.study import GPU, SMOKE, Command, Study


@dataclass(frozen=True)
class SweepStudy(Study):
    """The file, and how large the run is."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.py")] = tyro.MISSING
    """Python file with QUESTION, a text, and runs(), which yields an experiments.sweep.Setting per setting. See
    docs/sweeps.md."""


PRESETS = {"smoke": SweepStudy(**SMOKE), "laptop": SweepStudy(), "gpu": SweepStudy(**GPU)}
COMMAND = Command(
    module="experiments.sweep",
    question="Your own question: FILE.py says which settings to compare.",
    text="Runs each setting that runs() of the file yields with each network. In each mode, all settings are compared "
    "with the first. PRESETS in FILE.py may set other sizes.",
    presets=PRESETS,
    minutes="minutes on two cores",
    examples=("my_sweep.py --dry-run", "my_sweep.py --preset smoke"),
)
