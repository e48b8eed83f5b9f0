"""A user's architectures, --network build:MODULE:FUNCTION: what is refused, what they are known by, studies of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from arrays import seeded
from refusals import refused
from run_spine import forget, run, silent, trained
from smoke import smoke
from tables import cells
from user_images import random_pixels

from diffusion_core.exact import tied_mixture
from diffusion_core.exact.tied_mixture import TiedMixture
from experiments.run import stages
from experiments.run.autotune import BenchmarkKey
from experiments.run.cache import Cache
from experiments.run.identity import identity
from experiments.run.machine import Machine
from experiments.run.networks import Trained
from experiments.run.plan import make_network
from experiments.run.study import Study
from experiments.user.architecture import build_network, check_architecture

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.enter, self.embed = nn.Conv2d(i, o, 3, padding=1), nn.Linear(1, o)
    def forward(self, x, c):
        return self.enter(x) + self.embed(c[:, None])[:, :, None, None]

def net(i, o):
    return Net(i, o)
"""
END = "return self.enter(x) + self"
SOURCE = "build:net_xyz:net"
SHAPE = (3, 16, 16)
pytestmark = pytest.mark.usefixtures("own_modules")


def write(*texts: str) -> str:
    """The name of the net in which texts are replaced: each by the one after it."""
    code = NET
    for old, new in zip(texts[::2], texts[1::2], strict=True):
        assert old in code
        code = code.replace(old, new)
    Path("net_xyz.py").write_text(code)
    forget()
    return SOURCE


REFUSED = {  # a text of NET -> another one -> what the error says
    "return Net": {
        "return 3 or Net": "it gave a int; it must give an nn.Module",
        "return 1 / 0 or Net": "ZeroDivisionError: division by zero",
    },
    "net(i, o)": {
        "net(i, o, width)": "TypeError: net() missing 1 required positional argument: 'width'",
        "other(i, o)": "defines no 'net'; did you mean Net?",
    },
    "Net(i, o)": {"Net(o, o)": "RuntimeError: Given groups=1, weight of size [3, 3, 3, 3], expected input"},
    END: {
        "return self.enter(x)[:, :, 1:] + self": "forward gave Tensor (16, 3, 15, 16); it must be a Tensor (16,",
        "return self.enter(x) + x[:, :3].log() + self": "its output is not finite for all c from -1.73 to",
        "return self.enter(x) + 0 * self": "its output does not depend on c, the second argument of forward",
        "return self.enter(x) - x.mean() / 5 + self": "when the batch was smaller; it must depend on its own input",
        f"x = x - (len(x) > 16) * x.mean()\n        {END}": "when the batch was larger; it must depend on its",
    },
    "(1, o)": {
        "(1, o); self.requires_grad_(False)": "no gradient reaches its parameters (enter.weight, enter.bias, ",
        "(1, o); self.norm = nn.BatchNorm2d(o)": "norm is a batch normalisation: it mixes the noise levels",
        "(1, o); self.scale = nn.Parameter(torch.tensor(1.0))": "scale must be a tensor with dimensions, a",
    },
}


@cells(REFUSED)
def test_a_trunk_that_cannot_be_trained_is_refused_before_anything_is_made(row: str, cell: str):
    np.savez("images.npz", images=random_pixels(400, 16, 16, 3))
    ended = smoke(Path(), "beta", "--network", write(row, cell), "--data", "npz16:images.npz", status=2)
    assert ended.refused(REFUSED[row][cell]), ended
    assert not Path("store").exists()


def test_the_same_trunk_is_taken_and_what_gets_no_gradient_is_named():
    assert check_architecture(write(), SHAPE, "mixture-input", "cpu") == []
    gate = ("(1, o)", "(1, o); self.gate = nn.Parameter(torch.zeros(1))")  # as many begin: nothing passes it
    gated = write(*gate, "return self", "return self.gate * (self", "None]\n", "None])\n")
    assert check_architecture(gated, SHAPE, "preconditioned", "cpu") == []
    extra = "(1, o); self.spare, self.key = nn.Linear(2, 2), nn.Parameter(torch.ones(3))"
    (warning,) = check_architecture(write("(1, o)", extra), SHAPE, "preconditioned", "cpu")
    assert warning == f"network={SOURCE!r}: no gradient reaches key, spare.weight, spare.bias; they stay as they start"
    random = torch.get_rng_state()
    check_architecture(write(), SHAPE, "preconditioned", "cpu")
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(
    "new, message",
    [
        ("x = x - (len(x) > 16) * x.mean()", "changed by .* when the batch was larger; it must"),
        ("self.n = getattr(self, 'n', 0) + 1; x = x + (self.n > 60)", "after training, the output .* earlier calls"),
        ("self.b = getattr(self, 'b', torch.randn(1)); x = x + self.b", "after training, the output"),
        ("self.requires_grad_(False); c = c + 0 * x.mean().requires_grad_()", "training changed none of"),
    ],
)
def test_a_trained_network_is_asked_again(new: str, message: str):
    network = trained(network=write(END, f"{new}\n        {END}"))
    with refused(message):
        stages.sample(run(network=network, n_steps=64), Cache(Path("store")), silent)


def test_it_is_known_by_its_text_and_the_shapes_of_its_state():
    """Shapes change without the text where a function reads a file."""
    reads = "import os\nsize = os.stat('size').st_size\ndef net(i, o): return nn.Conv2d(i, o, size)\n"
    texts = {"plain": ("", ""), "again": ("", ""), "edited": ("super", "# edited\n        super")}
    networks = {name: Trained(network=write(*text)) for name, text in texts.items()}
    for size in "35":
        Path("size").write_text(int(size) * "x")
        networks[size] = Trained(network=write("def net(i, o):\n    return Net(i, o)\n", reads))
    for known_by in (lambda n: n.architecture, identity, lambda n: BenchmarkKey.of(n, Machine())):  # which times it
        ids = {name: known_by(network) for name, network in networks.items()}
        assert ids.pop("again") == ids["plain"] and len({*ids.values()}) == len(ids) == 4


def test_weights_are_not_loaded_into_edited_code():
    planned = Trained(network=write())
    assert planned.n_parameters == 3 * 3 + 1 + 2
    write("super", "# edited\n        super")
    with refused("its code or its shapes are not those that were planned or trained"):
        planned.untrained()


@pytest.mark.parametrize("text, recipe", [("net(i, o)", "mixture-input"), ("net(i, o=0)", "preconditioned")])
def test_a_function_of_one_number_gets_the_recipe_plain(text: str, recipe: str):
    study = Study(network=write("def net(i, o):\n", f"def {text}:\n    o = o or i\n"))
    study.check()
    network = make_network(study, "mnist5k", Machine())
    assert isinstance(network, Trained) and network.parameterisation == recipe
    assert study.trains and study.data_std == pytest.approx(0.55, abs=0.1)
    if recipe == "preconditioned":
        with refused("it takes one number of channels; mixture-input needs a function of two"):
            build_network(SOURCE, (1, 32, 32), "mixture-input", network.architecture)


def test_points_are_vectors():
    np.save("points.npy", np.random.default_rng(0).normal(size=(500, 2)))
    write(f"{END}.embed(c[:, None])[:, :, None, None]", "return x * self.embed(c[:, None])")
    network = make_network(Study(network=SOURCE, data="points:points.npy"), "points:points.npy", Machine())
    assert network.shape == (2,) and isinstance(network, Trained)
    assert network.untrained()(torch.randn(5, 2), torch.ones(5)).shape == (5, 2)


def test_the_mixture_of_large_images_is_that_of_their_principal_axes(monkeypatch: pytest.MonkeyPatch):
    """Of 64x64 pixels in colour an exact decomposition takes minutes; here both are possible."""
    generator = seeded()
    scales = 3.0 * 0.8 ** torch.arange(40)
    x0 = torch.randn(600, 40, generator=generator) * scales @ torch.randn(40, 300, generator=generator) / 10
    x, sigma = x0[:50] + torch.randn(50, 300, generator=generator), torch.ones(50)
    exact = TiedMixture.fit(x0, rank=20)(x, sigma)
    monkeypatch.setattr(tied_mixture, "EXACT_DIM", 100)
    close = TiedMixture.fit(x0, rank=20)(x, sigma)
    assert not torch.equal(exact, close)
    assert (exact - close).norm() < 0.02 * exact.norm()


@pytest.mark.slow(60)
@pytest.mark.parametrize("study, source", [("run", "architectures:conv"), ("schedules", "unet_xyz:UNet")])
def test_architectures_in_studies_of_64x64_colour_images(study: str, source: str):
    plain = study == "run"
    if not plain:
        pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")
    documentation = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# my_unet\.py.*?)```", documentation, re.DOTALL)
    fewer = code.replace("(32, 64, 64, 64), norm_num_groups=8", "(8, 8, 8, 8), norm_num_groups=4")
    assert fewer != code
    Path("unet_xyz.py").write_text(fewer)
    np.savez("images.npz", images=random_pixels(400, 4, 4, 3).repeat(16, axis=1).repeat(16, axis=2))
    Path("pixels_xyz.py").write_text("def few(pixels):\n    return pixels[:, :, ::16, ::16].flatten(1).float()\n")
    few = "--n-samples 40 --train-images 64 --seeds 1 --features python:pixels_xyz:few".split()
    if not plain:  # that one is timed
        few += ["--precision", "fp32", "--explore-samples", "40"]
    done = smoke(Path(), study, "--network", f"build:{source}", "--data", "npz64:images.npz", *few)
    table, info = done.rows(), json.loads((done.out / "run.json").read_text())
    assert set(table["status"]) <= {"ok", "infeasible"} and set(table["network"].dropna()) == {f"build:{source}"}
    assert info["parameters"][f"build:{source}"] > 1_000
    assert set(table["parameterisation"].dropna()) == {"preconditioned" if plain else "mixture-input"}
    assert any("takes one number of channels" in note for note in info["notes"]) == plain
