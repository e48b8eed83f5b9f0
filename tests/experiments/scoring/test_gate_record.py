"""`score --record` and `--verify`: a verdict expires if anything but the images after changes."""

import json
import shutil
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
    def edit(here: Path, table: pd.DataFrame):
        record = read_json(here / "gate.json")
        assert name in record["basis"]
        record["basis"][name] = value
        (here / "gate.json").write_text(json.dumps(record))

    return edit


def resize(here: Path, table: pd.DataFrame):
    for path in (here / "after").iterdir():
        Image.open(path).resize((64, 64), 0).save(path)


def edit_metric(here: Path, table: pd.DataFrame):
    edit_basis("code of python:gate_metric:mean", "1")(here, table)


Change = Callable[[Path, pd.DataFrame], object]
CHANGES: dict[str, tuple[list[Change], list[str]]] = {  # what is changed, and what the verdict says of it
    "nothing": ([], []),
    "moved": ([lambda here, table: (here / "before").rename(here / "moved")], []),
    "before": ([replace_image("before"), edit_basis("torch", "1.0")],
               ["images before the change changed", "torch 1.0, now "]),
    "groups": ([rename_prompts(np.arange(N) % 150), replace_image("other"), edit_metric],
               ["which images are of one group changed", "images of the control changed",
                "code of python:gate_metric:mean 1"]),
    "names": ([rename_prompts(np.arange(N) // 2 + 1000),
               lambda here, table: (here / "after" / "p3-3.png").unlink(), resize],
              ["names of the groups changed", "images 300, now 299", "limit of more grain 2.0, now None"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(shown: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gate with groups, a control and a metric of the user's, which is harmless and recorded."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, images in {"before": shown, "after": shown // 2 * 2, "other": shown // 4 * 4}.items():
        save(folder / name, images)
    names = [path.stem for path in sorted((folder / "before").iterdir())]
    pd.DataFrame({"name": names, "prompt": np.arange(N) // 2}).to_csv(folder / "groups.csv", index=False)
    (folder / "gate_metric.py").write_text("def mean(before, after):\n    return after.float().mean()\n")
    gate = "none before after --margin 0.05 --groups groups.csv --control other".split()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(*gate, "--metrics", "python:gate_metric:mean", "--record", "gate.json") == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_recorded_gate_expires_if_anything_but_the_images_after_changes(
    name: str, recorded: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    changes, reasons = CHANGES[name]
    shutil.copytree(recorded, here, dirs_exist_ok=True)
    for change in changes:
        change(here, pd.read_csv(here / "groups.csv"))
    typed = ("moved", "after") if name == "moved" else ("after",)
    assert command.command((*typed, "--verify", "gate.json"), "score") == (command.EXPIRED if reasons else 0)
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["verdict"] == ("expired" if reasons else "harmless")
    assert [reason for reason in reasons if reason not in summary["sentence"]] == []


@pytest.mark.parametrize("more", [("--margin", "0.1"), ("--crops", "2"), ("after", "more")])
def test_what_a_record_holds_is_not_typed_again(more: tuple[str, ...], here: Path):
    (here / "gate.json").write_text('{"options": {}, "basis": {}}')
    for arguments, message in (
        (("after", *more, "--verify", "gate.json"), "the record has it; type the images after the change only"),
        (("after", "--verify", "no.json"), "verify='no.json': score --margin SHARE --record FILE writes such a file"),
        (("none", "a", "b", *MARGIN, "--record", "no/gate.json"), "record='no/gate.json': there is no such folder"),
    ):
        with pytest.raises(ValueError, match=message):
            command.command(arguments, "score")


def test_a_recorded_gate_of_arrays_expires_with_fewer_images(shown: np.ndarray, here: Path):
    for name, images in {"before": shown, "after": shown // 2 * 2, "fewer": shown[:250] // 2 * 2}.items():
        np.save(f"{name}.npy", images)
    gate = "none before.npy after.npy --margin 0.05 --pairs order --record gate.json".split()
    assert run(*gate) == 0
    assert command.command(("fewer.npy", "--verify", "gate.json"), "score") == command.EXPIRED
