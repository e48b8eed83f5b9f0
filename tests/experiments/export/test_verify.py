"""Exported code is compared with the measured sampler. Code that differs is left out, and the rest is written."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor

from diffusion_core import adapters
from diffusion_core.data import Images
from diffusion_core.samplers import Euler, Model
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.export import export, verify
from experiments.store.store import Store

IMAGES = Images("mine", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2), 40.0, 70.0)
CONFIG = SampleConfig(TrainConfig(), Ladder("karras", 6), Euler(0.0), 132)
GOOD = "import torch\n\ndef sample(net, noise):\n    return torch.zeros(8, 1, 8, 8)\n"


def net(z: Tensor, time: Tensor) -> Tensor:
    return torch.tanh(z)


EDM = adapters.edm(net, IMAGES)


def coarse(z: Tensor, time: Tensor) -> Tensor:
    """Rounds to a number format of few digits, wherever that happens."""
    return torch.tanh(z).to(torch.bfloat16).float()


def write(folder: Path, rows: list[dict[str, Any]], trials: list[Trial]) -> str:
    """What the terminal says when the settings of these rows of best_sets.csv are written."""
    pd.DataFrame(rows).to_csv(folder / "best_sets.csv")
    terminal = StringIO()
    export.write_settings(folder, Store(folder / "store"), trials, Console(file=terminal, width=300), data_root=None)
    return terminal.getvalue()


Written = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """The entry of settings.json for a model, and what the terminal says."""

    def entry(model: Model = EDM, code: str | None = None, more: str = "") -> tuple[dict[str, Any], str]:
        """`code`: what is made for torch, instead of the loop; `more`: a mode without images."""
        trial = Trial("tune", "6 evaluations", ScoreConfig(CONFIG, ReferenceConfig("mnist5k", "digits", "")), "a", 6)
        row = {"mode": trial.mode, "setting": "a", "budget": 6, "simplest": True, "in_set": True, "value": 0.1}
        row |= {"metric": "mmd", "fd": 1.0, "n_samples": 132, "n_networks": 1, "features": "digits", "no_verdict": None}
        rows = (
            [row, row | {"mode": more, "simplest": False, "in_set": None, "no_verdict": "no images"}] if more else [row]
        )
        monkeypatch.setattr(export, "images_of", lambda *_: IMAGES)
        monkeypatch.setattr(export, "load_model", lambda *_: model)
        if code is not None:
            monkeypatch.setitem(export.EXPORTS, "torch", lambda target: code)
        printed = write(tmp_path, rows, [trial])
        (setting,) = json.loads((tmp_path / "settings.json").read_text())["settings"]
        return setting, printed

    return entry


def test_why_there_is_no_setting_is_said(tmp_path: Path) -> None:
    rows = [{"mode": "6 evaluations", "simplest": False, "no_verdict": "no images"} for _ in range(2)]
    assert write(tmp_path, rows, []) == "no settings.json and no code: no images\n"
    assert not (tmp_path / "settings.json").exists()


def test_a_budget_without_a_setting_is_said(written: Written) -> None:
    entry, printed = written(more="4 evaluations")
    assert "no setting for 4 evaluations in settings.json: no images" in printed
    assert entry["precision"] == CONFIG.machine.precision


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (GOOD, "the code gives other images, by "),
        ("def sample(net, noise): return 1 / 0\n", "the code fails here: ZeroDivisionError: division by zero"),
    ],
)
def test_code_that_differs_or_fails_is_left_out_and_said(code: str, why: str, written: Written, tmp_path: Path) -> None:
    entry, printed = written(code=code)
    assert entry["no_exports"]["torch"].startswith(why) and f"no code for torch, a: {why}" in printed
    assert entry["difference"] is None and "torch" not in entry["exports"] and "k-diffusion" in entry["exports"]
    assert not list((tmp_path / "export").glob("*torch*"))


def test_code_for_a_random_network_is_marked_as_not_compared(written: Written, tmp_path: Path) -> None:
    model = adapters.edm(lambda z, time: z + torch.randn_like(z), IMAGES)
    model.random = True  # type: ignore[assignment]
    entry, printed = written(model)
    why = "the network is random (random = True)"
    assert entry["not_compared"]["torch"] == why and entry["difference"] is None
    assert f"code for torch is not compared with the measured sampler: {why}" in printed
    code = (tmp_path / entry["exports"]["torch"]).read_text()
    assert code.splitlines()[1] == f"# Not compared with the sampler that was measured: {why}."


def test_code_is_compared_where_it_can_be(written: Written) -> None:
    entry, _ = written()
    assert entry["difference"] < 1e-4 and entry["model_shape"] == [1, 8, 8]
    assert set(entry["not_compared"]) == {"k-diffusion"}


def test_a_network_that_rounds_more_may_differ_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "TOLERANCE", 0.0)
    model = adapters.edm(coarse, IMAGES)
    off = export.torch_loop(export.Target("", CONFIG.sampler, CONFIG.ladder.sigmas(), False, model, IMAGES))
    assert verify.difference(off, CONFIG, model, IMAGES) > 0
    with pytest.raises(verify.Mismatch, match="the code gives other images, by"):
        verify.difference(off.replace("ETA = 0.0", "ETA = 0.5"), CONFIG, model, IMAGES)
