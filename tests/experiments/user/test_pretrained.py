"""Models trained elsewhere: the three spellings, `python:` and `checkpoint:`. For `diffusers:` see the file beside."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import filled
from refusals import refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from user_images import black

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.networks import build
from experiments.run.cache import Cache
from experiments.run.networks import Trained
from experiments.settings import Schedule
from experiments.user.imports import TEXTS
from experiments.user.pretrained import WEIGHTS, describe, fingerprint, load_network, notes

SPELLINGS = "python:package.module:function, diffusers:PATH, checkpoint:PATH"
MINE = """
import torch

def eps(x, sigma):
    return x * (sigma / (1 + sigma**2)).view(-1, 1, 1, 1)

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, sigma):
        return self.gain * eps(x, sigma)

network = Network()
class Uneasy(Network):
    def eval(self): raise OSError('no\\neval')
uneasy = Uneasy()
number = 3
"""
FILES = {
    "theirs/__init__.py": "",
    "theirs/ddpm.py": MINE,
    "theirs/broken.py": "import a_package_that_nobody_has\n",
    "alone.py": MINE,
    "raises.py": "raise RuntimeError('no weights')\n",
    "wide.py": f"import torch\ntorch.set_default_device('meta')\n{MINE}",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's own, which is the current one and holds the package `theirs` with a module `ddpm`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "theirs").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("theirs", "alone")]:
        del sys.modules[name]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network's file as the cache writes it."""
    weights = {f"{WEIGHTS}{name}": value for name, value in filled().state_dict().items()}
    return Cache(tmp_path).load_or_make("networks", Trained(), lambda: (weights, {"train_seconds": 1.0})).path


def rewritten(path: Path, **config: Any) -> Path:
    """The same weights under another config, in a file beside it."""
    with safe_open(path, framework="pt") as file:
        stored = json.loads(file.metadata()["config"])
    text = json.dumps(stored | config)
    save_file(load_file(path), path.with_name("other.safetensors"), metadata={"config": text})
    return path.with_name("other.safetensors")


def load(source: str) -> Any:
    return load_network(source, black(16), None, "cpu")


every_function = pytest.mark.parametrize("function", [load, fingerprint, describe, notes])


@every_function
@pytest.mark.parametrize("source", ["huggingface:x", "model", "", "diffusers:", "python"])
def test_an_unknown_spelling_is_refused_and_the_known_ones_are_listed(function: Any, source: str):
    with refused(f"source='{source}'.*one of {SPELLINGS}"):
        function(source)


@pytest.mark.parametrize("attribute", ["eps", "network"])
def test_a_callable_of_ones_own_is_used_as_it_is(here: Path, attribute: str):
    model = load(f"python:theirs.ddpm:{attribute}")
    x = torch.randn(3, 1, 16, 16)
    sigma = torch.tensor([0.03, 1.0, 30.0])
    torch.testing.assert_close(model(x, sigma), GaussianDenoiser(std=1.0)(x, sigma), rtol=1e-6, atol=1e-7)
    assert model is getattr(sys.modules["theirs.ddpm"], attribute)
    if isinstance(model, torch.nn.Module):
        assert not model.training
        moved = load_network(f"python:theirs.ddpm:{attribute}", black(16), None, "meta")
        assert next(moved.parameters()).device.type == "meta"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "rest, message",
    [
        (
            "theirs.nothing:eps",
            "importing theirs.nothing failed: ModuleNotFoundError: No module named 'theirs.nothing'",
        ),
        ("wide:eps", "model python:wide:eps: importing wide failed: it changes torch's default dtype or device"),
        ("alone:uneasy", "model python:alone:uneasy: OSError: no eval"),
        ("raises:eps", "model python:raises:eps: importing raises failed: RuntimeError: no weights"),
        ("theirs.broken:eps", "theirs.broken failed: ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
        ("theirs.ddpm:sample", "model python:theirs.ddpm:sample: theirs.ddpm defines no 'sample'"),
        ("theirs.ddpm:number", "number is a int, but it must be a function"),
        ("theirs.ddpm:Network", "Network is a type, but it must be a function or an instance"),
        ("theirs.ddpm", "must be spelt python:package.module:function"),
        ("alone.py:eps", "must be spelt python:package.module:function, without .py"),
    ],
)
def test_a_bad_python_source_is_refused(here: Path, rest: str, message: str):
    with refused(message):
        load(f"python:{rest}")


def test_the_fingerprint_of_python_is_of_source_and_attribute(here: Path):
    source = "python:theirs.ddpm:eps"
    before = fingerprint(source)
    assert len(before) == 12 and int(before, 16) >= 0 and before == fingerprint(source)
    assert fingerprint("python:theirs.ddpm:network") != before
    (here / "theirs" / "ddpm.py").write_text(MINE + "# changed\n")
    TEXTS.clear()  # as a new process
    assert fingerprint(source) != before


def test_a_checkpoint_comes_back_as_it_was(checkpoint: Path):
    model = load(f"checkpoint:{checkpoint}")
    x = torch.randn(2, 1, 32, 32)
    sigma = torch.tensor([0.5, 2.0])
    with torch.no_grad():
        assert torch.equal(model(x, sigma), filled()(x, sigma))
        assert not torch.allclose(model(x, sigma), build("small", 1)(x, sigma), atol=1e-2)
    assert isinstance(model, torch.nn.Module) and not model.training
    assert describe(f"checkpoint:{checkpoint}") == f"checkpoint:{checkpoint.name} (small, preconditioned)"
    assert notes(f"checkpoint:{checkpoint}") == ["it was trained on mnist5k, in standard deviations of that data set"]
    assert describe("python:theirs.ddpm:eps") == "python:theirs.ddpm:eps"
    assert "its parameters and its outputs on a fixed batch" in notes("python:theirs.ddpm:eps")[0]


def damaged(path: Path) -> Path:
    path.write_bytes(b"not weights")
    return path


def samples(path: Path) -> Path:
    return Cache(path.parents[1]).load_or_make("samples", Schedule(), lambda: ({"samples": torch.zeros(1)}, {})).path


def without_config(path: Path) -> Path:
    save_file(load_file(path), path)
    return path


@pytest.mark.parametrize("function", [load, describe, notes])
@pytest.mark.parametrize("make", [lambda path: path.parent, damaged, without_config, samples])
def test_what_is_no_checkpoint_is_refused(checkpoint: Path, make: Any, function: Any):
    with refused("it must be a networks/ID") as error:
        function(f"checkpoint:{make(checkpoint)}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, channels, label, message",
    [
        ({}, 3, None, r"its weights do not fit images of \(3, 16, 16\): "),
        ({}, 1, 3, "label=3: checkpoint: models take no label"),
        ({"parameterisation": "mixture-input"}, 1, None, r"its weights do not fit images of \(1, 16, 16\): "),
        ({"network": "huge"}, 1, None, "network='huge': "),
    ],
)
def test_a_checkpoint_that_does_not_suit_is_refused(
    checkpoint: Path, changes: Any, channels: int, label: int | None, message: str
):
    with refused(message):
        load_network(f"checkpoint:{rewritten(checkpoint, **changes)}", black(16, channels), label, "cpu")


def test_a_checkpoint_is_known_by_its_content_wherever_it_lies(checkpoint: Path, tmp_path: Path):
    moved = Path(shutil.copy(checkpoint, tmp_path / "elsewhere"))
    assert fingerprint(f"checkpoint:{moved}") == fingerprint(f"checkpoint:{checkpoint}")
