"""The identity of a config: what counts, what does not, and what has none."""

import enum
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from run_spine import forget, imported

from diffusion_core.samplers import Euler
from diffusion_core.weightings import WEIGHTINGS
from experiments.run import identity as identities
from experiments.run.identity import LABEL, check_distinct, has_own_code, identity, place, registered
from experiments.run.networks import Trained

TABLE = {"ours": WEIGHTINGS["karras"]}


@dataclass(frozen=True)
class Config:
    value: Any = 1
    place: Path | None = field(default=None, metadata=LABEL)
    named: str = field(default="ours", metadata=registered(TABLE))


class Pair(NamedTuple):
    a: int


class Kind(enum.StrEnum):
    A = "a"


class Whole(int):
    pass


@dataclass
class Thawed:
    value: int = 1


@pytest.mark.parametrize(
    "value",
    [[1], {"a": 1}, {1}, Pair(1), Kind.A, Whole(1), np.float64(1), np.int64(1), np.ones(2), torch.ones(2), float("nan"),
     Path("x"), Euler, object(), b"x", 1j, len, (1, [2])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_without_identity_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"value.*=.*it must be exactly int, float, str, bool, None, a tuple"):
        identity(Config(value))


def test_user_classes_without_identity_are_refused() -> None:
    @dataclass(frozen=True)
    class Local:
        value: int = 1

    with pytest.raises(ValueError, match="made in a function"):
        identity(Config(Local()))
    with pytest.raises(ValueError, match="not frozen"):
        identity(Config(Thawed()))


def test_labels_do_not_count_and_types_do() -> None:
    assert identity(Config(1, Path("a"))) == identity(Config(1, Path("b")))
    values = [1, 1.0, "1", True, None, (1,), ((1,),), Config(1), float("inf"), "inf", Euler(1.0)]
    assert len({identity(Config(value)) for value in values}) == len(values)


def test_equal_identities_of_different_configs_are_refused() -> None:
    check_distinct([Config(1), Config(1), Config(1, Path("a")), Config(2)])
    other = type("Euler", (), {"__module__": Euler.__module__, "__qualname__": "Euler"})
    with pytest.raises(ValueError, match="leads to another class"):
        place(other)


MINE = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    value: int = 1\n"


def test_two_versions_of_a_class_are_refused(folder: Path) -> None:
    first = imported(folder, mine=MINE).Mine()
    second = imported(folder, mine=MINE).Mine()
    with pytest.raises(ValueError, match="leads to another class"):
        check_distinct([Config(second), Config(first)])  # equal but for the class, whose module is another one now


def test_configs_that_differ_but_share_an_identity_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "place", lambda thing: "one name")  # as of two classes of ours
    with pytest.raises(ValueError, match="they differ, but have the same identity"):
        check_distinct([Config(1), replace(Config(1), value=1), Other(1)])


@dataclass(frozen=True)
class Other:
    value: Any = 1
    named: str = field(default="ours", metadata=registered(TABLE))


def test_the_text_of_the_package_is_part_of_the_identity(folder: Path) -> None:
    """Also that of a module which the class's module imports."""
    (folder / "package_xyz").mkdir()
    ids = []
    for helper in ("A = 1", "A = 2", "A = 1"):
        (folder / "package_xyz" / "__init__.py").write_text("")
        (folder / "package_xyz" / "helper.py").write_text(helper)
        (folder / "package_xyz" / "mine.py").write_text("from package_xyz.helper import A\n" + MINE)
        forget()
        module = __import__("package_xyz.mine", fromlist=["Mine"])
        ids.append(identity(Config(module.Mine())))
    assert ids[0] == ids[2] != ids[1]


def test_where_a_class_is_is_part_of_the_identity(folder: Path) -> None:
    """Two modules of one package, and two packages, all with one text."""
    ids = []
    for package, module in (("a_xyz", "one"), ("a_xyz", "two"), ("b_xyz", "one")):
        (folder / package).mkdir(exist_ok=True)
        for name in ("__init__", "one", "two"):
            (folder / package / f"{name}.py").write_text(MINE)
        forget()
        ids.append(identity(__import__(f"{package}.{module}", fromlist=["Mine"]).Mine()))
    assert len(set(ids)) == 3


def test_a_field_named_source_or_class_hides_nothing(folder: Path) -> None:
    text = MINE.replace("value: int = 1", "source: str = 'a'")
    ids = [identity(Config(imported(folder, mine=text + end).Mine())) for end in ("", "# edited\n")]
    assert ids[0] != ids[1]


def test_what_a_user_puts_into_a_table_is_part_of_the_identity(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(Trained())
    with monkeypatch.context() as patch:
        ids = []
        for text in ("def weight(s): return s\n", "def weight(s): return 2 * s\n"):
            patch.setitem(WEIGHTINGS, "karras", imported(folder, mine=text).weight)
            ids.append(identity(Trained()))
            assert has_own_code(Trained()) and not has_own_code(Trained(weighting="x0"))
        patch.setitem(WEIGHTINGS, "karras", WEIGHTINGS["unit-eps"])
        assert len({before, *ids, identity(Trained())}) == 4
        patch.setitem(WEIGHTINGS, "karras", (lambda gain: lambda sigma: gain * sigma)(2.0))
        with pytest.raises(ValueError, match="use a partial"):
            identity(Trained())
    assert identity(Trained()) == before and not has_own_code(Trained())
