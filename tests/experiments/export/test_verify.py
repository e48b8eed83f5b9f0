"""Exported code is compared with the measured sampler. Code that differs is left out, and the rest is written."""

import json
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor

from diffusion_core import adapters
from diffusion_core.data import Images
from diffusion_core.samplers import Euler, Model
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import TrainConfig
from experiments.config.trial import Trial
from experiments.export import export, verify
from experiments.store.store import Store

IMAGES = Images("mine", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2), 40.0, 70.0)
CONFIG = SampleConfig(TrainConfig(), Ladder("karras", 6), Euler(0.0), 132)
GOOD = "import torch\n\ndef sample(net, noise):\n    return torch.zeros(8, 1, 8, 8)\n"


def net(z: Tensor, time: Tensor) -> Tensor:
    return torch.tanh(z)


def coarse(z: Tensor, time: Tensor) -> Tensor:
    """Rounds to a number format of few digits, wherever that happens."""
    return torch.tanh(z).to(torch.bfloat16).float()


def written(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = ""
) -> tuple[dict[str, object], str]:
    """The entry of settings.json for this model, and what the terminal says. `more`: a mode without images."""
    trial = Trial("tune", "6 evaluations", ScoreConfig(CONFIG, ReferenceConfig("mnist5k", "digits", "")), "a", 6)
    row = {"mode": trial.mode, "setting": "a", "budget": 6, "simplest": True, "in_set": True, "value": 0.1, "fd": 1.0}
    row |= {"n_samples": 132, "n_networks": 1, "features": "digits", "no_verdict": None}
    rows = [row, row | {"mode": more, "simplest": False, "in_set": False}] if more else [row]
    pd.DataFrame(rows).to_csv(folder / "best_sets.csv")
    monkeypatch.setattr(export, "images_of", lambda *_: IMAGES)
    monkeypatch.setattr(export, "load_model", lambda *_: model)
    said = StringIO()
    export.write_settings(folder, Store(folder / "store"), [trial], Console(file=said, width=300), data_root=None)
    (entry,) = json.loads((folder / "settings.json").read_text())["settings"]
    return entry, said.getvalue()


@pytest.mark.parametrize("best", ["too few networks", None])
def test_why_there_is_no_setting_is_said(best: str | None, tmp_path: Path) -> None:
    why = "no setting has samples that are images yet" if best is None else best
    rows = [{"mode": "6 evaluations", "simplest": False, "no_verdict": best} for _ in range(2)]
    pd.DataFrame(rows).to_csv(tmp_path / "best_sets.csv")
    said = StringIO()
    export.write_settings(tmp_path, Store(tmp_path / "store"), [], Console(file=said, width=300), data_root=None)
    assert said.getvalue() == f"no settings.json and no code: {why}\n"
    assert not (tmp_path / "settings.json").exists()


def test_a_budget_without_a_setting_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, said = written(adapters.edm(net, IMAGES), tmp_path, monkeypatch, more="4 evaluations")
    assert "no setting for 4 evaluations in settings.json: no setting has samples that are images yet" in said
    assert entry["precision"] == CONFIG.machine.precision


def test_code_that_gives_other_images_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(export.EXPORTS, "torch", (".py", lambda target: GOOD))
    entry, said = written(adapters.edm(net, IMAGES), tmp_path, monkeypatch)
    assert entry["no_exports"]["torch"].startswith("the code gives other images, by ")  # type: ignore[index]
    assert entry["difference"] is None and "torch" not in entry["exports"]  # type: ignore[operator]
    assert "no code for torch, a: the code gives other images, by " in said
    assert not list((tmp_path / "export").glob("*torch*"))
    assert "comfyui" in entry["exports"]  # type: ignore[operator]


def test_code_that_fails_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(export.EXPORTS, "torch", (".py", lambda target: "def sample(net, noise): return 1 / 0\n"))
    entry, said = written(adapters.edm(net, IMAGES), tmp_path, monkeypatch)
    why = "the code fails here: ZeroDivisionError: division by zero"
    assert entry["no_exports"]["torch"] == why and f"no code for torch, a: {why}" in said  # type: ignore[index]


def test_code_for_a_random_network_is_marked_as_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapters.edm(lambda z, time: z + torch.randn_like(z), IMAGES)
    model.random = True  # type: ignore[assignment]
    entry, said = written(model, tmp_path, monkeypatch)
    why = "the network is random (random = True)"
    assert entry["not_compared"]["torch"] == why and entry["difference"] is None  # type: ignore[index]
    assert f"code for torch is not compared with the measured sampler: {why}" in said
    code = (tmp_path / entry["exports"]["torch"]).read_text()  # type: ignore[index]
    assert code.splitlines()[1] == f"# Not compared with the sampler that was measured: {why}."


def test_code_is_compared_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, _ = written(adapters.edm(net, IMAGES), tmp_path, monkeypatch)
    assert entry["difference"] < 1e-4  # type: ignore[operator]
    assert set(entry["not_compared"]) == {"k-diffusion", "comfyui"}  # type: ignore[call-overload]
    assert entry["model_shape"] == [1, 8, 8]


def test_a_network_that_rounds_more_may_differ_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "TOLERANCE", 0.0)
    off = export.torch_loop(export.Target("", CONFIG.sampler, CONFIG.ladder.sigmas(), False, model := adapters.edm(
        coarse, IMAGES), IMAGES))  # fmt: skip
    assert verify.difference(off, CONFIG, model, IMAGES) > 0
    with pytest.raises(verify.Mismatch, match="the code gives other images, by"):
        verify.difference(off.replace("ETA = 0.0", "ETA = 0.5"), CONFIG, model, IMAGES)
