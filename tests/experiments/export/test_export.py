"""Exported code is compared with the measured sampler. Code that differs is left out, and the rest is written."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from user_images import black

from diffusion_core import adapters
from diffusion_core.samplers import Euler, Model
from experiments.export import export
from experiments.run.cache import Cache
from experiments.run.comparisons import Side
from experiments.run.machine import Machine
from experiments.run.networks import Exact
from experiments.run.runs import Reference, Run
from experiments.run.setting import Schedule, Setting
from experiments.run.tables import RunFiles, RunResults
from experiments.user.json_io import read_json

IMAGES = black(8)
GOOD = "import torch\n\ndef sample(net, noise):\n    return torch.zeros(8, 1, 8, 8)\n"


def net(z: Tensor, time: Tensor) -> Tensor:
    return torch.tanh(z)


def coarse(z: Tensor, time: Tensor) -> Tensor:
    """Rounds to a number format of few digits, wherever that happens."""
    return torch.tanh(z).to(torch.bfloat16).float()


@dataclass(frozen=True)
class Brought(Exact):
    """A network of images of 8x8."""

    model: ClassVar[Model] = adapters.edm(net, IMAGES)
    shape: ClassVar[tuple[int, ...]] = (1, 8, 8)  # type: ignore[misc]

    def load(self, artifact: Any) -> Model:
        return self.model


RUN = Run(
    Setting("a", Schedule("karras", 6), Euler(0.0), section="confirm", budget=6), Brought(), 132, Machine(),
    Reference("mnist5k", "digits", ""),
)  # fmt: skip
DEFAULT = replace(RUN, setting=replace(RUN.setting, label="b"))
ROW = {"kind": "confirm", "metric": "mmd", "verdict": "better", "budget": 6, "a": "a", "b": "b", "recommended": True,
       "no_verdict": None}  # fmt: skip


def write(rows: list[dict[str, Any]], runs: list[Run], libraries: list[str] | None = None) -> str:
    """What the terminal says when the settings of these rows of contrasts.csv are written."""
    said = list[str]()
    files = {run: RunFiles(None, None, None) for run in runs}  # type: ignore[arg-type]
    made = RunResults("tune", runs, files, {}, Cache(Path("store")), {})
    rows_of_run = {0: {"mmd": 0.1, "fd": 1.0}}
    sides = {run.setting.label: Side(run.setting.label, "confirm", 6, 1, rows_of_run, {}) for run in runs}
    vars(made)["sides"] = {("confirm", 6): sides}
    export.write_settings(Path(), made, rows, said.append, libraries)
    return "\n".join(said)


Written = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def written(here: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """The entry of settings.json for a model, and what the terminal says."""

    def entry(
        model: Model = Brought.model, code: str | None = None, more: int = 0, libraries: list[str] | None = None
    ) -> tuple[dict[str, Any], str]:
        """`code`: what is made for torch, instead of the loop; `more`: evaluations without images."""
        nothing = ROW | {"budget": more, "recommended": False, "no_verdict": "no images"}
        monkeypatch.setattr(export, "data_of", lambda *_: IMAGES)
        monkeypatch.setattr(Brought, "model", model)
        if code is not None:
            monkeypatch.setitem(export.EXPORTS, "torch", lambda target: code)
        printed = write([ROW, nothing] if more else [ROW], [RUN], libraries)
        (setting,) = read_json(Path("settings.json"))["settings"]
        return setting, printed

    return entry


def test_only_the_libraries_that_are_asked_for_are_written(written: Written):
    entry, printed = written(libraries=["diffusers"])
    assert entry["exports"] == {} and "no code for diffusers, a: diffusers' schedulers" in printed
    entry, _ = written(adapters.vp(net, IMAGES), libraries=["diffusers"])
    assert entry["exports"].keys() == {*entry["not_compared"]} == {"diffusers"}
    assert [path.name for path in Path("export").iterdir()] == ["6-evaluations-diffusers.py"]


def test_without_a_recommended_setting_the_default_is_written(written: Written):
    written()
    write([ROW | {"recommended": False, "verdict": "worse"}], [DEFAULT, RUN])
    (entry,) = read_json(Path("settings.json"))["settings"]
    assert entry["setting"] == "b" and (entry["mmd"], entry["fd"], entry["n_networks"]) == (0.1, 1.0, 1)


def test_a_budget_without_a_setting_is_said(written: Written):
    rows = [ROW | {"recommended": False, "no_verdict": "no images"} for _ in range(2)]
    assert write(rows, []) == "no settings.json and no code: no images"
    assert write([], []) == "no settings.json and no code: nothing was confirmed"
    assert not Path("settings.json").exists()
    entry, printed = written(more=4)
    assert "no setting for 4 evaluations in settings.json: no images" in printed
    assert entry["precision"] == RUN.machine.precision and entry["sigmas"] == list(RUN.sigmas)
    assert entry["difference"] < 1e-4 and entry["model_shape"] == [1, 8, 8] and entry["not_compared"] == {}


@pytest.mark.parametrize(
    "code, why",
    [
        (GOOD, "the code gives other images, by "),
        ("def sample(net, noise): return 1 / 0\n", "the code fails here: ZeroDivisionError: division by zero"),
    ],
)
def test_code_that_differs_or_fails_is_left_out_and_said(code: str, why: str, written: Written):
    entry, printed = written(code=code)
    assert entry["no_exports"]["torch"].startswith(why) and f"no code for torch, a: {why}" in printed
    assert entry["difference"] is None and not entry["exports"] and not Path("export").exists()


def test_code_for_a_random_network_is_marked_as_not_compared(written: Written):
    model = adapters.edm(lambda z, time: z + torch.randn_like(z), IMAGES)
    model.random = True  # type: ignore[assignment]
    entry, printed = written(model)
    reason = "the network is random (random = True)"
    assert entry["not_compared"]["torch"] == reason and entry["difference"] is None
    assert f"code for torch is not compared with the measured sampler: {reason}" in printed
    code = Path(entry["exports"]["torch"]).read_text()
    assert code.splitlines()[1] == f"# Not compared with the sampler that was measured: {reason}."


def test_a_network_that_rounds_more_may_differ_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    model = adapters.edm(coarse, IMAGES)
    code = export.torch_loop(export.ExportTarget("", RUN.setting.sampler, RUN.sigmas, False, model, IMAGES))
    assert export.difference(code, RUN, model) > 0
    with pytest.raises(export.UnsupportedError, match="the code gives other images, by"):
        export.difference(code.replace("eta = 0.0", "eta = 0.5"), RUN, model)
