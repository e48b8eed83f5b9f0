"""Networks on latents, end to end: an autoencoder and a network that were trained elsewhere."""

import sys
from pathlib import Path

import latent_pair
import numpy as np
import pytest
from PIL import Image
from smoke import Ended, known_images, typed
from user_images import random_pixels

from diffusion_core import load


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files."""
    folder = tmp_path_factory.mktemp("pair")
    latent_pair.write(folder)
    return folder


@pytest.fixture
def here(pair: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(pair)
    known_images(pair / "store")
    return pair


def asked(name: str, command: str, *arguments: str, data: str = f"latents:{latent_pair.FILE}") -> Ended:
    places = () if command == "check" else ("--store", "store", "--precision", "fp32")
    return typed(
        command, "--network", f"python:latent_pair:{name}", "--data", data, "--threads", "1", *places, *arguments
    )


@pytest.mark.slow(15)
def test_check_tells_right_latents_from_wrong_ones(here: Path):
    ended = asked("right", "check")
    assert ended.status == 0 and ended.summary["doubts"] == [], ended.stdout
    with Image.open(here / "runs/check/check.png") as picture:
        assert picture.size == (10 * 32 * 2, 3 * 32 * 2 + 14), "images, not latents"
    ended = asked("unscaled", "check")
    assert "check its scale: it fits 0.18215 times the numbers of the file better" in ended.stdout
    assert "picture" not in ended.stdout and not (here / "runs/check/check.png").exists(), "it has no decoder"


@pytest.mark.slow(15)
@pytest.mark.usefixtures("drawn")
def test_decoded_samples_are_compared_with_images(here: Path):
    options = "--only-primary --n-steps 4 --n-samples 140 --features digits".split()
    ended = asked("right", "beta", *options, "--images", "mnist5k", "--out", "images")
    assert ended.status == 0, ended.stderr
    assert "note: the autoencoder alone: 140 latents of the data, decoded, have FD " in ended.stdout
    page = (here / "images/report.html").read_text()
    assert "compared with mnist5k" in page and "the autoencoder alone" in page
    with Image.open(next((here / "images/images").glob("????????????.png"))) as picture:
        assert picture.size == (128, 128)
    ended = asked("right", "beta", *options, "--out", "decoded")
    assert "samples are compared with 1,500 decoded latents of the data" in ended.stdout and ended.status == 0
    assert "decoded latents" in (here / "decoded/report.html").read_text()
    again = asked("right", "beta", *options, "--out", "decoded")
    assert again.summary["evaluations"] == 0 and again.summary["verdict"] == ended.summary["verdict"]


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("bare", [], "only a network turns latents into images: give its adapter decode="),
        ("floats", [], "decode: it gave torch.float32"),
        ("right", ["--images", "fashion"], "data='fashion': unknown data set"),
        ("right", ["--images", f"latents:{latent_pair.FILE}"], "--images must be images"),
        ("right", ["--images", "npz16:small.npz"], "decode: its shape is (1, 32, 32), but that of"),
        ("right", ["--images", "npz:rgb.npz"], "images are grey, with one channel, if red, green and blue agree"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_compared_is_refused(name: str, arguments: list[str], message: str, here: Path):
    np.savez(here / "rgb.npz", images=random_pixels(600, 32, 32, 3))
    np.savez(here / "small.npz", images=load("mnist5k").pixels[:600, 0, ::2, ::2].numpy())
    ended = asked(name, "run", *arguments, "--n-samples", "120", "karras, euler, 2", "--out", "refused")
    assert message in ended.stderr + ended.stdout and ended.status != 0, ended


@pytest.mark.parametrize("network", ["small", "exact"])
def test_latents_need_a_network_that_decodes(network: str, here: Path):
    ended = typed("run", "--network", network, "--data", f"latents:{latent_pair.FILE}", "--store", "store")
    assert ended.refused("decode") or ended.refused("latents alone cannot be compared"), ended


assert sys.modules["latent_pair"] is latent_pair  # the commands find it by this name
