"""The identity of a config: what counts, what does not, and what has none."""

import enum
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from run_spine import forget, imported, run

from diffusion_core.samplers import Euler
from diffusion_core.weightings import WEIGHTINGS
from experiments.run.identity import NOT_IDENTITY, OMIT_IF_NONE, identity, registered, uses_user_code
from experiments.run.networks import Trained
from experiments.user import imports
from experiments.user.imports import OWN
from reports.schema import METRICS, Metric

TABLE = {"ours": WEIGHTINGS["karras"]}
MINE = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    value: int = 1\n"


@dataclass(frozen=True)
class Config:
    value: Any = 1
    place: Path | None = field(default=None, metadata=NOT_IDENTITY)
    named: str = field(default="ours", metadata=registered(TABLE))
    later: int | None = field(default=None, metadata=OMIT_IF_NONE)


class Pair(NamedTuple):
    a: int


class Kind(enum.StrEnum):
    A = "a"


@dataclass
class Thawed:
    value: int = 1


@pytest.mark.parametrize(
    "value",
    [[1], {"a": 1}, {1}, Pair(1), Kind.A, np.float64(1), np.ones(2), torch.ones(2), float("nan"), Path("x"), Euler,
     object(), b"x", 1j, len, (1, [2])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_without_identity_is_refused(value: Any):
    with pytest.raises(ValueError, match=r"value.*=.*it must be exactly int, float, str, bool, None, a tuple"):
        identity(Config(value))


def test_user_classes_without_identity_are_refused():
    @dataclass(frozen=True)
    class Local:
        value: int = 1

    with pytest.raises(ValueError, match="made in a function"):
        identity(Config(Local()))
    with pytest.raises(ValueError, match="not frozen"):
        identity(Config(Thawed()))


def test_labels_do_not_count_and_types_do():
    assert identity(Config(1, Path("a"))) == identity(Config(1, Path("b")))
    values = [1, 1.0, "1", True, None, (1,), ((1,),), Config(1), float("inf"), "inf", Euler(1.0)]
    assert len({identity(Config(value)) for value in values}) == len(values)
    assert identity(Config(later=0)) != identity(Config()), "0 is not None"


def test_the_text_of_a_file_and_of_what_it_imports_from_its_folder_counts(folder: Path):
    """Directly or not, also inside a function; what lies beside it or is imported from elsewhere does not."""
    (folder / "far_xyz.py").write_text("A = 1")
    (folder / "near_xyz.py").write_text("def f():\n    from far_xyz import A\n    return A\n")
    text = "import json\nfrom near_xyz import f\n" + MINE
    ids = [identity(imported(folder, mine=text).Mine())]
    for name, change in (
        ("other", "B = 1"),
        ("far", "A = 2"),
        ("near", "def f(): return 3"),
        ("mine", text + "# edited"),
    ):
        (folder / f"{name}_xyz.py").write_text(change)
        ids.append(identity(imported(folder, mine=text if name != "mine" else change).Mine()))
    assert ids[0] == ids[1] and len(set(ids)) == 4


def test_all_files_of_a_package_count(folder: Path):
    (folder / "package_xyz").mkdir()
    ids = []
    for helper in ("A = 1", "A = 2", "A = 1"):
        for name, text in (("__init__", ""), ("helper", helper), ("mine", MINE)):
            (folder / "package_xyz" / f"{name}.py").write_text(text)
        forget()
        ids.append(identity(__import__("package_xyz.mine", fromlist=["Mine"]).Mine()))
    assert ids[0] == ids[2] != ids[1]


def test_a_function_of_a_users_is_known_and_run_by_its_text(folder: Path):
    """Also where it is edited within a second to the same size, which Python's bytecode does not tell."""
    results = []
    for value in (1, 2):
        (folder / "fun_xyz.py").write_text(f"def f(): return {value}\n")
        forget()
        results.append((imports.code_hash("fun_xyz:f"), imports.load_object("fun_xyz:f")()))
    assert results[0][0] != results[1][0] and [value for _, value in results] == [1, 2]


def test_what_a_user_puts_into_a_table_is_part_of_the_identity(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, OWN, raising=False)  # an earlier test's sweep file
    before = identity(Trained())
    with monkeypatch.context() as patch:
        ids = []
        for text in ("def weight(s): return s\n", "def weight(s): return 2 * s\n"):
            patch.setitem(WEIGHTINGS, "karras", imported(folder, mine=text).weight)
            ids.append(identity(Trained()))
            assert uses_user_code(Trained()) and not uses_user_code(Trained(weighting="x0"))
        assert len({before, *ids}) == 3
    assert identity(Trained()) == before and not uses_user_code(Trained())


def test_a_new_distance_makes_references_and_scores_anew_and_keeps_samples(monkeypatch: pytest.MonkeyPatch):
    """So SCHEMA, which is part of every identity, need not rise for it."""
    before = run()
    monkeypatch.setitem(METRICS, "new", Metric("New", later=True))
    after = run()
    assert identity(before.reference) != identity(after.reference) and before.score_id != after.score_id
    assert (before.samples_id, identity(before.network)) == (after.samples_id, identity(after.network))
