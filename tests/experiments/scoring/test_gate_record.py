"""`score --record` and `--verify`: a verdict expires if anything but the images after changes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gates import MARGIN, N, run, save
from PIL import Image

from experiments.scoring import command
from experiments.user.json_io import read_json


def replace_image(folder: str) -> Callable[[Path, pd.DataFrame], None]:
    return lambda here, table: Image.new("L", (32, 32), 99).save(here / folder / "p0-0.png")


def rename_prompts(prompts: np.ndarray) -> Callable[[Path, pd.DataFrame], None]:
    return lambda here, table: table.assign(prompt=prompts).to_csv(here / "groups.csv", index=False)


def edit_basis(name: str, value: str) -> Callable[[Path, pd.DataFrame], None]:
    def edit(here: Path, table: pd.DataFrame) -> None:
        record = read_json(here / "gate.json")
        assert name in record["basis"]
        record["basis"][name] = value
        (here / "gate.json").write_text(json.dumps(record))

    return edit


def resize(here: Path, table: pd.DataFrame) -> None:
    for path in (here / "after").iterdir():
        Image.open(path).resize((64, 64), 0).save(path)


CHANGES: dict[str, Callable[[Path, pd.DataFrame], object]] = {
    "nothing": lambda here, table: None,
    "before": replace_image("before"),
    "groups": rename_prompts(np.arange(N) % 150),
    "names": rename_prompts(np.arange(N) // 2 + 1000),
    "control": replace_image("other"),
    "metric": edit_basis("code of python:gate_metric:mean", "1"),
    "fewer": lambda here, table: (here / "after" / "p3-3.png").unlink(),
    "size": resize,
    "torch": edit_basis("torch", "1.0"),
    "moved": lambda here, table: (here / "before").rename(here / "moved"),
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("nothing", ""),
        ("before", "images before the change changed"),
        ("groups", "which images are of one group changed"),
        pytest.param("names", "names of the groups changed", marks=pytest.mark.slow),
        pytest.param("control", "images of the control changed", marks=pytest.mark.slow),
        pytest.param("metric", "code of python:gate_metric:mean 1", marks=pytest.mark.slow),
        pytest.param("fewer", "images 300, now 299", marks=pytest.mark.slow),
        pytest.param("size", "limit of more grain 2.0, now None", marks=pytest.mark.slow),
        pytest.param("torch", "torch 1.0, now ", marks=pytest.mark.slow),
        pytest.param("moved", "", marks=pytest.mark.slow),
    ],
)
def test_a_recorded_gate_expires_if_anything_but_the_images_after_changes(
    change: str, reason: str, digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = save(here / "before", digits[:N])
    save(here / "after", digits[:N] // 2 * 2)
    table = pd.DataFrame({"name": [path.stem for path in sorted(before.iterdir())], "prompt": np.arange(N) // 2})
    table.to_csv(here / "groups.csv", index=False)
    gate = ["none", "before", "after", "--margin", "0.05", "--groups", "groups.csv"]
    if change == "control":
        save(here / "other", digits[:N] // 4 * 4)
        gate += ["--control", "other"]
    if change == "metric":
        (here / "gate_metric.py").write_text("def mean(before, after):\n    return after.float().mean()\n")
        gate += ["--metrics", "python:gate_metric:mean"]
    assert run(*gate, "--record", "gate.json") == 0
    CHANGES[change](here, table)

    capsys.readouterr()
    typed = ("moved", "after") if change == "moved" else ("after",)
    assert command.command((*typed, "--verify", "gate.json"), "score") == (4 if reason else 0)
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["verdict"] == ("expired" if reason else "harmless") and reason in summary["sentence"]


@pytest.mark.parametrize("more", [("--margin", "0.1"), ("--crops", "2"), ("after", "more")])
def test_what_a_record_holds_is_not_typed_again(more: tuple[str, ...], here: Path) -> None:
    (here / "gate.json").write_text('{"options": {}, "basis": {}}')
    with pytest.raises(ValueError, match="the record has it; type the images after the change only"):
        command.command(("after", *more, "--verify", "gate.json"), "score")
    with pytest.raises(ValueError, match=r"verify='no.json': score --margin SHARE --record FILE writes such a file"):
        command.command(("after", "--verify", "no.json"), "score")
    with pytest.raises(ValueError, match=r"record='no/gate.json': there is no such folder"):
        command.command(("none", "before", "after", *MARGIN, "--record", "no/gate.json"), "score")


def test_a_recorded_gate_of_arrays_expires_with_fewer_images(digits: np.ndarray, here: Path) -> None:
    for name, images in {"before": digits[:N], "after": digits[:N] // 2 * 2, "fewer": digits[:250] // 2 * 2}.items():
        np.save(here / f"{name}.npy", images)
    gate = ("none", "before.npy", "after.npy", "--margin", "0.05", "--pairs", "order", "--record", "gate.json")
    assert run(*gate) == 0
    assert command.command(("fewer.npy", "--verify", "gate.json"), "score") == command.EXPIRED
