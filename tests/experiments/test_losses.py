"""`losses`: held-out losses by noise level, against closed forms; verdicts, shares, guards and the statistics."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from run_spine import data, trained
from smoke import typed
from torch import Tensor

from diffusion_core import GaussianDenoiser, adapters, load
from diffusion_core.noise import LogNormal
from diffusion_core.tensors import broadcast_like
from experiments import losses
from experiments.run.cache import Cache

DATA = load("mnist5k")
N = 200
LEVELS = "--levels 10 3 1 0.3 0.1".split()
HELD_OUT = ("--held-out", "npz:held.npz")
CALLS = list[tuple[int, float, int]]()


@dataclass(frozen=True)
class Mine(LogNormal):
    """A user's noise distribution."""


def scaled(x: Tensor, sigma: Tensor, above: float = 1.0, below: float = 1.0) -> Tensor:
    """The best denoiser that knows only the variance; above sigma 2 and below 0.5 it takes another share of noise."""
    gain = torch.where(sigma > 2, above, torch.where(sigma < 0.5, below, 1.0))
    return broadcast_like(x, gain) * GaussianDenoiser()(x, sigma)


def grey(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    return torch.ones_like(z) * broadcast_like(z, labels / 10)


def flat(index: Tensor, sigma: Tensor) -> Tensor:
    return 1 + index % 7 / 7


def steep(index: Tensor, sigma: Tensor, seed: Tensor) -> Tensor:
    CALLS.extend(zip(index.tolist(), sigma.tolist(), seed.tolist(), strict=True))
    return flat(index, sigma) * (1 + 0.1 * (sigma < 0.5)) + 0.001 * (seed % 5)


plain = partial(scaled)
fine = partial(scaled, above=1.2)
coarse = partial(scaled, below=0.0)
of_one_class = adapters.edm(grey, DATA, pixels=(0, 1), labels=3, n_classes=10)
table = adapters.vp(lambda z, time: 0.1 * z, DATA)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: None) -> Path:
    """An empty current folder, in which this module can be named; all digits of held.npz but 20 are in no data set."""
    monkeypatch.setitem(sys.modules, "test_losses", sys.modules[__name__])
    monkeypatch.chdir(tmp_path)
    pixels = DATA.pixels[:N, 0].clone()
    pixels[20:, 0, 0] = 1
    np.savez("held.npz", images=pixels.numpy(), labels=DATA.labels[:N].numpy())
    return tmp_path


def run_losses(*words: str) -> tuple[str, pd.DataFrame]:
    ended = typed("losses", *words, "--out", "out")
    assert ended.status == 0, ended.stderr
    return ended.stdout, pd.read_csv("out/contrasts.csv")


def run_networks(*names: str) -> tuple[str, pd.DataFrame]:
    return run_losses(*(f"{name}=python:test_losses:{name}" for name in names), *HELD_OUT, *LEVELS)


def test_relative_errors_are_those_of_the_closed_form():
    """(1 + s2) E |g e - noise|^2 of e = sigma x / (1 + s2), with s2 = sigma^2 and images of mean square p."""
    _, rows = run_networks("plain", "fine")
    s2 = rows["sigma"] ** 2
    p = DATA.standardised(slice(N)).square().mean().item()
    expected = {g: g**2 * s2 * (p + s2) / (1 + s2) - 2 * g * s2 + 1 + s2 for g in (1.0, 1.2)}
    assert_allclose(rows["value_b"], expected[1.0], rtol=0.02)
    ratio = expected[1.2] / expected[1.0] - 1
    assert ((rows["difference"] - ratio).abs() < 4 * rows["se"])[:2].all() and rows["se"][1] < 0.01


def test_the_sentence_names_the_levels_and_holm_counts_all_of_them():
    names = [
        f"{name}=python:test_losses:{source}" for name, source in (("a", "coarse"), ("b", "fine"), ("c", "coarse"))
    ]
    said, rows = run_losses(*names, *HELD_OUT, *LEVELS, "--train-noise", "log-normal(0, 1.2)")
    unclear = "no difference detected"
    assert rows["verdict"].tolist() == ["worse", "worse", unclear, "better", "better", *[unclear] * 5]
    assert set(rows["n_compared"]) == {10} and (rows["difference"][5:] == 0).all()
    assert re.search(
        r"verdict: b is better from sigma 0.3 to 0.1 \(by 8.\d %; [78].\d to [89].\d at sigma 0.3\), "
        r"worse from sigma 10 to 3 \(by .* at sigma 10\), no difference detected elsewhere.\n"
        r"also: c: no difference detected at any level.\n"
        r"warning: 20 of these 200 images are part of --data: did training see them\?\n"
        r"caveat: A lower loss does not mean better samples.\n",
        said,
    )
    above = 1 - NormalDist(0, 1.2).cdf(math.log(3) / 2)  # shares are cut at the geometric mean of neighbours
    assert rows["share"][:2].sum() == pytest.approx(above, abs=1e-3)
    assert f"Levels where worse: 2 of 5 ({100 * above:.3g} % of its training noise)" in said
    assert "Levels where better: 2 of 5 (30.8 % of its training noise)" in said


def test_functions_get_the_same_images_levels_and_seeds():
    words = ["test_losses:flat", "after=test_losses:steep", *LEVELS, "--n", "100", "--draws", "3"]
    CALLS.clear()
    _, rows = run_losses(*words)
    assert_allclose(rows["difference"], [0.0014, 0.0014, 0.0014, 0.1014, 0.1014], atol=2e-4)
    first = {*CALLS}
    assert len(first) == len({seed for _, _, seed in first}) == 3 * 5 * 100
    assert {index for index, _, _ in first} == {*range(100)}
    CALLS.clear()
    run_losses(*words, "--seed", "1")
    assert not {seed for _, _, seed in CALLS} & {seed for _, _, seed in first}


@pytest.mark.parametrize("loss, message", [
    (lambda index, sigma: torch.rand(len(index)), "test_losses:wrong: called twice with the same input"),
    (lambda index, sigma: flat(index, sigma) / len(index), "test_losses:wrong: the output for an input changed"),
    (lambda index, sigma: 1 / (sigma > 0.2), "must return a finite loss above 0 for each image"),
    (lambda index, sigma: torch.ones(100)[index], "test_losses:wrong: IndexError: index"),
])  # fmt: skip
def test_a_loss_that_is_none_is_refused(loss: Callable[..., Tensor], message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "wrong", loss, raising=False)
    assert typed("losses", "test_losses:flat", "test_losses:wrong", *LEVELS).refused(message)


def test_each_image_has_its_own_label_and_levels_without_a_time_have_no_verdict():
    _, rows = run_networks("of_one_class", "plain")
    error = DATA.standardised(slice(N)) - broadcast_like(
        DATA.pixels[:N], (25.5 * DATA.labels[:N] - DATA.mean) / DATA.std
    )
    expected = error.square().mean().item() * (1 + 1 / rows["sigma"] ** 2)  # of x0, over that of the best linear x0
    assert_allclose(rows["value_b"], expected, rtol=2e-3)
    _, rows = run_losses("a=python:test_losses:table", "b=python:test_losses:table", *HELD_OUT)
    outside = (rows["sigma"] > table.span[1]) | (rows["sigma"] < table.span[0])
    assert outside.any() and (rows["verdict"] == "no verdict").equals(outside)


@pytest.mark.slow(10)
def test_networks_trained_here_bring_held_out_images_noise_and_reports(here: Path, monkeypatch: pytest.MonkeyPatch):
    words = []
    for name, noise in {"a": LogNormal(0, 1), "b": LogNormal(-2, 1), "mine": Mine()}.items():
        networks = [trained(seed, held_out=41, noise=noise) for seed in (0, 1)]
        files = [str(network.artifact(Cache(here), lambda n: None).path) for network in networks]
        words.append(f"{name}={','.join(f'checkpoint:{file}' for file in files)}")
    (here / "scored").mkdir()
    (here / "scored" / "table.csv").write_text(" ".join(words))
    *words, mine = words
    monkeypatch.delattr("diffusion_core.noise.LogNormal")  # as of a new distribution: only the registry has it
    _, rows = run_losses(*words, "--data", data(), "--levels", "30", "1", "0.1", "0.01")
    assert rows[["n_samples", "holds_for", "n_networks"]].eq([41, 2, 2]).all(axis=None)
    assert rows["verdict"].eq("no verdict").tolist() == [True, False, False, False]
    assert rows["share"][3] == pytest.approx(NormalDist(-2, 1).cdf(math.log(0.1 * 0.01) / 2), abs=1e-3)
    assert "../scored/report.html" in Path("out/report.md").read_text()
    assert typed("losses", *words).refused("data='mnist5k': a network was trained on 'npz:")
    ended = typed("losses", words[0], mine, "--data", data(), "--held-out", data(), *LEVELS)
    seen, unknown = ended.summary["warnings"]
    assert seen == "Training saw 79 of these 120 images."
    assert re.search("Mine is unknown here, so no level counts as outside its training; give --train-noise", unknown)
    assert ended.summary["losses"] == "mine: no verdict at any level: training saw most of these images."


@pytest.mark.slow
@pytest.mark.parametrize("n_networks", [1, 5])
def test_intervals_cover_and_verdicts_err_together_in_one_of_twenty(n_networks: int):
    """Losses with a part of the image, of the network and of chance, whose means are equal at six levels."""
    random = np.random.default_rng(0)
    repetitions = 300
    covered = wrong = 0
    for _ in range(repetitions):
        image = random.exponential(1, (1, 6, 60))
        groups = []
        for name in "ab":
            network = 0.1 * random.normal(size=(n_networks, 6, 1)) * (n_networks > 1)
            chance = 0.3 * random.normal(size=(1, 6, 60)) + 0.3 * random.normal(size=(n_networks, 6, 60))
            values = torch.from_numpy(1 + image * (1 + network + chance))
            groups.append(losses.NetworkGroup(name, values, None, [False] * 6))
        rows = losses.contrast_levels(groups, (10.0, 5.0, 2.0, 1.0, 0.5, 0.1))
        covered += sum(row["low"] <= 0 <= row["high"] for row in rows)
        wrong += any(row["verdict"] in ("better", "worse") for row in rows)
    assert 0.93 < covered / repetitions / 6 < 0.98
    assert wrong / repetitions < 0.07


def test_the_example_of_a_function_compares_networks_of_diffusers(here: Path, monkeypatch: pytest.MonkeyPatch):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")
    guide = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (here / "my_eval.py").write_text(re.findall(r"```python\n(# my_eval.py.*?)```", guide, re.DOTALL)[0])
    monkeypatch.syspath_prepend(str(here))
    torch.save(torch.randn(40, 4, 8, 8), "latents.pt")
    torch.save(torch.arange(40) % 3, "labels.pt")
    layers = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (32,)}
    for name in ("before", "after"):
        diffusers.UNet2DModel(8, 4, 4, num_class_embeds=3, **layers).save_pretrained(name)
    _, rows = run_losses("my_eval:before", "my_eval:after", "--n", "40", *LEVELS)
    assert len(rows) == 5 and rows[["value_a", "value_b"]].gt(0).all(axis=None)
