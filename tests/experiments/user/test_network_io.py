"""What a network works on, if it says so itself, and what it is known by: another weights file or helper is another."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from arrays import column
from refusals import refused
from run_spine import forget
from torch import Tensor, nn
from torch.testing import assert_close

from diffusion_core import GaussianDenoiser, adapters, load
from diffusion_core.data.dataset import DataSet, Values
from experiments.run.machine import Machine
from experiments.run.networks import Pretrained
from experiments.user.denoising_check import check_denoising
from experiments.user.network_io import check_decoded, check_size, clean_images, decode, network_fingerprint, shape_of

DIGITS = load("mnist5k")
EXACT = GaussianDenoiser()
LATENTS = Values("latents:x", torch.randn(60, 4, 2, 2), torch.zeros(60), 0.0, 1.0)


class Model:
    """A network on latents of its own."""

    def __init__(self, shape: Any = (4, 2, 2), grey: int = 70):
        self.grey = grey
        if shape:
            self.shape = shape

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + column(sigma))

    def decode(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 1, 32, 32), self.grey, dtype=torch.uint8)


def identify(model: Any, data: DataSet = DIGITS) -> str:
    return network_fingerprint(model, data, "cpu")


def plain(x: Tensor, sigma: Tensor) -> Tensor:
    return x


def test_the_shape_is_that_of_the_data_unless_a_network_decodes():
    assert shape_of(plain, DIGITS) == (1, 32, 32) and shape_of(plain, LATENTS) == (4, 2, 2)
    assert shape_of(Model(), DIGITS) == (4, 2, 2) and shape_of(Model(None), LATENTS) == (4, 2, 2)
    assert clean_images(Model(), DIGITS, torch.arange(3)).shape == (3, 4, 2, 2)
    assert_close(clean_images(Model(), LATENTS, torch.arange(3)), LATENTS.standardised(slice(3)))


def test_samples_are_shown_by_the_network_or_as_the_data_are():
    x = DIGITS.standardised(slice(70))
    for model in (None, adapters.vp(plain, DIGITS)):
        assert_close(decode(model, DIGITS, x), DIGITS.pixels[:70])
    assert (decode(Model(), DIGITS, torch.randn(70, 4, 2, 2)) == 70).all()
    with refused("only a network turns latents into images"):
        decode(adapters.vp(plain, LATENTS), LATENTS, LATENTS.standardised())


@pytest.mark.parametrize(
    "out", [torch.zeros(3, 1, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, 2, 8, 8).byte(),
            torch.zeros(3, 4).double(), torch.full((3, 4), torch.nan), torch.zeros(3)],
)  # fmt: skip
def test_what_a_network_shows_is_images_or_points(out: Tensor):
    check_decoded(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), 3)
    check_decoded(torch.zeros(3, 5), 3)
    with refused("decode: it gave torch"):
        check_decoded(out, 3)


def shown(grey: Tensor) -> Tensor:
    """Images of these grey values (n,), from 0 to 1."""
    return column(200 * grey.clamp(max=1)).byte().expand(-1, 1, 32, 32)


DECODES: dict[str, Callable[[Tensor], Any]] = {  # what is said of a decode
    "decode: called twice": lambda x: shown(torch.rand(len(x))),
    "decode: the output for": lambda x: shown((x.flatten(1).mean(dim=1) - x.mean()).abs()),
    "decode: AttributeError: 'NoneType' object has no": lambda x: None,
    "the largest value of the images that decode gives is 1, but pixels are 0 to 255; multiply them by": lambda x: (
        torch.ones(len(x), 1, 32, 32, dtype=torch.uint8)
    ),
}


@pytest.mark.parametrize("message", DECODES)
def test_a_decode_that_depends_on_more_than_its_latent_is_refused(message: str):
    model = Model()
    model.decode = DECODES[message]  # type: ignore[method-assign]
    with refused(message):
        identify(model, LATENTS)
    if "twice" in message:
        model.random = True  # type: ignore[attr-defined]
        assert identify(model, LATENTS) == identify(model, LATENTS)


def test_what_is_compared_has_one_size():
    check_size((1, 32, 32), DIGITS)
    points = Values("points:x", torch.randn(9, 3), torch.zeros(9), 0.0, 1.0)
    for shape, data, says in (((1, 16, 16), DIGITS, "folder256"), ((3, 32, 32), DIGITS, "red, green and blue agree"),
                              ((1,), points, r"its shape is \(1,\)")):  # fmt: skip
        with refused(says):
            check_size(shape, data)


def test_a_network_whose_latents_are_not_known_is_not_checked():
    with refused(r"its x has shape \(4, 2, 2\), .*cannot be checked: .*--data latents:FILE"):
        check_denoising(Model(), DIGITS, "cpu")


class Network(nn.Module):
    """The exact denoiser with a parameter, behind dropout."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.dropout(EXACT(x, sigma)) * self.gain


class Labelled:
    """A model that depends on the sample's index, and changes it."""

    takes_index = True

    def __call__(self, x: Tensor, sigma: Tensor, *, index: Tensor) -> Tensor:
        index += 1
        return EXACT(x, sigma) * (1 + column(index) / 100)


class Stateful(nn.Module):
    """The exact denoiser, with state that is no tensor."""

    def __init__(self, state: str):
        super().__init__()
        self.state = state

    def get_extra_state(self) -> dict[str, str]:
        return {"of": self.state}

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return EXACT(x, sigma)


def raises(x: Tensor, sigma: Tensor) -> Tensor:
    raise KeyError


def test_parameters_outputs_state_and_what_samples_show_count():
    assert identify(Network().eval()) == identify(Network().eval()) != identify(Network(1.001).eval())
    assert identify(EXACT) == identify(lambda x, s: EXACT(x, s)) != identify(lambda x, s: EXACT(x, s) * 1.001)
    first, again, other = (identify(Stateful(state)) for state in "aab")
    assert first == again != other
    assert identify(Model(), LATENTS) == identify(Model(grey=70), LATENTS) != identify(Model(grey=80), LATENTS)
    model = Network().train()
    model.random = True
    assert identify(model) == identify(model)


WRONG: dict[str, Any] = {  # what is said of a network
    r"called twice with the same input, the output changed.* \(model.eval\(\)\)": Network().train(),
    "it changed x in place": lambda x, sigma: x.mul_(0.5),
    "it changed index in place": Labelled(),
    r"it returned shape \(8, 1, 31, 32\)": lambda x, sigma: x[:, :, 1:],
    "it returned torch.int32": lambda x, sigma: torch.zeros_like(x, dtype=torch.int32),
    "it returned NaN or infinity": lambda x, sigma: x / 0,
    "OSError: a b$": lambda x, sigma: exec("raise OSError('a\\n  b')"),
    "it failed on 8 images of shape .*: ZeroDivisionError: division by zero": lambda x, sigma: 1 / 0,
    r"KeyError in test_.*, line \d+$": raises,
    "it failed on 8 images of shape .*: SystemExit: 3$": adapters.vp(lambda z, t: sys.exit(3), DIGITS),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_said_before_anything_is_sampled(message: str):
    with refused(message):
        identify(WRONG[message])


@pytest.mark.usefixtures("own_modules")
def test_an_edited_helper_or_weights_file_is_another_model():
    """The module that --network names stays as it is; what it imports and loads changes."""
    Path("network_xyz.py").write_text(
        "import pathlib\nfrom gain_xyz import GAIN\nfrom diffusion_core import GaussianDenoiser\n"
        "scale = float((pathlib.Path(__file__).parent / 'scale.txt').read_text())\n"
        "def eps(x, sigma): return GaussianDenoiser()(x, sigma) * GAIN * scale\n"
    )

    def content(gain: float, scale: float) -> str:
        Path("gain_xyz.py").write_text(f"GAIN = {gain}\n")
        Path("scale.txt").write_text(f"{scale}")
        forget()
        return Pretrained.of("python:network_xyz:eps", "mnist5k", None, Machine()).content

    contents = [content(1.0, 1.0), content(1.1, 1.0), content(1.0, 1.2), content(1.0, 1.0)]
    assert contents[0] == contents[3] and len(set(contents)) == 3
