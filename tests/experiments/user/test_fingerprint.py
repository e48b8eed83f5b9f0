"""A network from elsewhere is known by what it does: another weights file or helper is another model."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from run_spine import forget, user_files
from torch import Tensor, nn

from diffusion_core import GaussianDenoiser, adapters, load
from experiments.run.machine import Machine
from experiments.run.networks import Pretrained
from experiments.user.network_io import network_fingerprint

IMAGES = load("mnist5k")
EXACT = GaussianDenoiser()


class Network(nn.Module):
    """The exact denoiser with a parameter, behind dropout."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain, self.dropout = nn.Parameter(torch.tensor(gain)), nn.Dropout(0.5)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.dropout(EXACT(x, sigma)) * self.gain


class Labelled:
    """A model that depends on the sample's index, and changes it."""

    takes_index = True

    def __call__(self, x: Tensor, sigma: Tensor, *, index: Tensor) -> Tensor:
        index += 1
        return EXACT(x, sigma) * (1 + index.view(-1, 1, 1, 1) / 100)


class Stateful(nn.Module):
    """The exact denoiser, with state that is no tensor."""

    def __init__(self, state: str) -> None:
        super().__init__()
        self.state = state

    def get_extra_state(self) -> dict[str, str]:
        return {"of": self.state}

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return EXACT(x, sigma)


def test_state_that_is_no_tensor_counts() -> None:
    first, again, other = (network_fingerprint(Stateful(state), IMAGES, "cpu") for state in "aab")
    assert first == again != other


def raises(x: Tensor, sigma: Tensor) -> Tensor:
    raise KeyError


def identify(model: Any) -> str:
    return network_fingerprint(model, IMAGES, "cpu")


def test_parameters_and_outputs_count() -> None:
    assert identify(Network().eval()) == identify(Network().eval()) != identify(Network(1.001).eval())
    assert (
        identify(EXACT)
        == identify(lambda x, sigma: EXACT(x, sigma))
        != identify(lambda x, sigma: EXACT(x, sigma) * 1.001)
    )


WRONG: dict[str, tuple[Any, str]] = {
    "dropout": (Network().train(), r"called twice with the same input, the output changed.* \(model.eval\(\)\)"),
    "in place": (lambda x, sigma: x.mul_(0.5), "it changed x in place"),
    "in place unseen": (lambda x, sigma: EXACT(x.data.mul_(0.5), sigma), "it changed x in place"),
    "sigma in place": (lambda x, sigma: EXACT(x, sigma.log_().exp()), "it changed sigma in place"),
    "sigma in place unseen": (lambda x, sigma: EXACT(x, sigma.data.log_().exp()), "it changed sigma in place"),
    "index in place": (Labelled(), "it changed index in place"),
    "shape": (lambda x, sigma: x[:, :, 1:], r"it returned shape \(8, 1, 31, 32\)"),
    "integers": (lambda x, sigma: torch.zeros_like(x, dtype=torch.int32), "it returned torch.int32"),
    "infinity": (lambda x, sigma: x / 0, "it returned NaN or infinity"),
    "value": (lambda x, sigma: int("a"), "model: it failed on 8 images of shape .*: ValueError: invalid literal"),
    "lines": (lambda x, sigma: exec("raise OSError('a\\n  b')"), "OSError: a b$"),
    "error": (lambda x, sigma: 1 / 0, "it failed on 8 images of shape .*: ZeroDivisionError: division by zero"),
    "no words": (raises, r"KeyError in test_.*, line \d+$"),
    "exit": (lambda x, sigma: sys.exit(0), "it failed on 8 images of shape .*: SystemExit: 0"),
    "exit of a network": (adapters.vp(lambda z, t: sys.exit(3), IMAGES), "SystemExit: 3$"),
}


@pytest.mark.parametrize(("model", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_before_anything_is_sampled(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        identify(model)


def test_a_model_that_says_it_is_random_is_taken() -> None:
    model = Network().train()
    model.random = True
    assert identify(model) == identify(model)


def test_an_edited_helper_or_weights_file_is_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that --network names stays as it is; what it imports and loads changes."""
    (tmp_path / "network_xyz.py").write_text(
        "import pathlib\nfrom gain_xyz import GAIN\nfrom diffusion_core import GaussianDenoiser\n"
        "scale = float((pathlib.Path(__file__).parent / 'scale.txt').read_text())\n"
        "def eps(x, sigma): return GaussianDenoiser()(x, sigma) * GAIN * scale\n"
    )

    def content(gain: float, scale: float) -> str:
        (tmp_path / "gain_xyz.py").write_text(f"GAIN = {gain}\n")
        (tmp_path / "scale.txt").write_text(f"{scale}")
        forget()
        return Pretrained.of("python:network_xyz:eps", "mnist5k", None, Machine()).content

    with user_files(tmp_path, monkeypatch):
        known = [content(1.0, 1.0), content(1.1, 1.0), content(1.0, 1.2), content(1.0, 1.0)]
    assert known[0] == known[3] and len(set(known)) == 3
