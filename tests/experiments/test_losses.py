"""`losses`: held-out losses by noise level, against closed forms; verdicts, shares, guards and the statistics."""

import math
import re
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import torch
from run_spine import data, trained
from smoke import Ended, typed
from torch import Tensor

from diffusion_core import GaussianDenoiser, adapters, load
from diffusion_core.noise import LogNormal
from diffusion_core.tensors import broadcast_like
from experiments import losses
from experiments.run.cache import Cache

DATA = load("mnist5k")
EXACT = GaussianDenoiser()
LEVELS = ("--levels", "10", "3", "1", "0.3", "0.1")
N = 200


def before(x: Tensor, sigma: Tensor) -> Tensor:
    """The best denoiser that knows only the variance of the data: its relative error is 1."""
    return EXACT(x, sigma)


def loud(x: Tensor, sigma: Tensor) -> Tensor:
    """Its relative error is 1 + sigma^2 / 25: it takes 1.2 times as much noise away."""
    return 1.2 * EXACT(x, sigma)


def coarse(x: Tensor, sigma: Tensor) -> Tensor:
    """Below sigma 0.5 it takes no noise away: its relative error is 1 + sigma^2 there."""
    return (broadcast_like(x, sigma) > 0.5) * EXACT(x, sigma)


def fine(x: Tensor, sigma: Tensor) -> Tensor:
    """Its relative error is 1 below sigma 2, and 1 + sigma^2 / 25 above."""
    return torch.where(broadcast_like(x, sigma) > 2, 1.2, 1.0) * EXACT(x, sigma)


def wrong_label(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """Denoises an image to the grey value of its label."""
    return torch.ones_like(z) * (labels.view(-1, 1, 1, 1) / 10)


labelled = adapters.edm(wrong_label, DATA, pixels=(0, 1), labels=3, n_classes=10)
from_table = adapters.vp(lambda z, t: 0.1 * z, DATA)
also_from_table = adapters.vp(lambda z, t: 0.2 * z, DATA)
CALLS = list[tuple[int, float, int]]()


def flat(index: Tensor, sigma: Tensor) -> Tensor:
    return 1 + index % 7 / 7 + 0 * sigma


def steep(index: Tensor, sigma: Tensor, seed: Tensor) -> Tensor:
    CALLS.extend(zip(index.tolist(), sigma.tolist(), seed.tolist(), strict=True))
    return flat(index, sigma) * (1 + 0.1 * (sigma < 0.5)) + 0.001 * (seed % 5)


def chance(index: Tensor, sigma: Tensor) -> Tensor:
    return torch.rand(len(index))


def of_batch(index: Tensor, sigma: Tensor) -> Tensor:
    return flat(index, sigma) / len(index)


def endless(index: Tensor, sigma: Tensor) -> Tensor:
    return 1 / (sigma > 0.2).float()


def negative(index: Tensor, sigma: Tensor) -> Tensor:
    return flat(index, sigma) - 1.5


def mean_only(index: Tensor, sigma: Tensor) -> Tensor:
    return flat(index, sigma).mean()


def few(index: Tensor, sigma: Tensor) -> Tensor:
    return torch.ones(100)[index]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: None) -> Path:
    """An empty current folder, in which this module can be named; `held.npz` has digits that are in no data set."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(sys.modules, "test_losses", sys.modules[__name__])
    monkeypatch.chdir(tmp_path)
    pixels = DATA.pixels[:N].clone()
    pixels[:, 0, 0, 0] = 1
    np.savez("held.npz", images=pixels[:, 0].numpy(), labels=DATA.labels[:N].numpy())
    return tmp_path


def compared(*words: str, status: int = 0) -> tuple[Ended, pd.DataFrame]:
    ended = typed("losses", *words, "--out", "out")
    assert ended.status == status, ended.stderr
    return ended, pd.read_csv("out/contrasts.csv") if status == 0 else pd.DataFrame()


def networks(*names: str) -> list[str]:
    return [*(f"{name}=python:test_losses:{name}" for name in names), "--held-out", "npz:held.npz"]


def test_relative_errors_are_those_of_the_closed_form() -> None:
    """E |g e - noise|^2 (1 + sigma^2) of the best linear e, times g: 1 + (g - 1)^2 sigma^2 on data of variance 1."""
    _, rows = compared(*networks("before", "loud"), *LEVELS, "--draws", "2")
    assert rows["sigma"].tolist() == [10, 3, 1, 0.3, 0.1]
    power = (DATA.standardised(slice(N)) ** 2).mean().item()
    expected = [(1 + power * sigma**2) / (1 + sigma**2) for sigma in rows["sigma"]]
    np.testing.assert_allclose(rows["value_b"], expected, rtol=0.02)
    np.testing.assert_allclose(rows["difference"], rows["value_a"] / rows["value_b"] - 1, rtol=1e-6)
    for row in rows.iloc[:3].itertuples():
        assert row.low < 0.04 * row.sigma**2 < row.high


def test_the_page_names_the_levels_and_the_share_of_the_training_noise() -> None:
    ended, rows = compared(*networks("coarse", "fine"), *LEVELS, "--train-noise", "log-normal(0, 1.2)")
    assert rows["verdict"].tolist() == ["worse", "worse", "no difference detected", "better", "better"]
    above = 1 - NormalDist(0, 1.2).cdf(math.log(3) / 2)  # between levels the share is cut at the geometric mean
    assert rows["share"][:2].sum() == pytest.approx(above, abs=1e-3) and rows["share"].sum() == pytest.approx(1)
    sentence = (
        r"fine is better from sigma 0.3 to 0.1 \(by 8.\d %; [\d.]+ to [\d.]+ at sigma 0.3\), worse from sigma 10 to 3 "
        r"\(by \d+.\d %; [\d.]+ to [\d.]+ at sigma 10\), no difference detected elsewhere."
    )
    assert re.fullmatch(sentence, ended.summary["losses"])
    assert f"verdict: {ended.summary['losses']}" in ended.stdout
    assert "Of its training noise 32.3 % falls where it is better, and 32.4 % where it is worse." in ended.stdout
    assert "caveat: A lower loss does not mean better samples." in ended.stdout and "warning" not in ended.stdout
    assert re.search(r"^sigma 0.3: 1.0\d+ → 1.0\d+ +−8.\d % \(−.* to −.*\) better$", ended.stdout, re.MULTILINE)
    assert {*pd.read_csv("out/densities.csv")["train_noise"]} == {"log-normal(0, 1.2)"}
    curves = pd.read_csv("out/curves.csv")
    np.testing.assert_allclose(curves["relative_error"], [*rows["value_b"], *rows["value_a"]])


def test_the_same_network_twice_is_silent_and_holm_counts_all_levels() -> None:
    words = ["a=python:test_losses:before", "b=python:test_losses:before", "--held-out", "npz:held.npz"]
    ended, rows = compared(*words, *LEVELS)
    assert (rows["difference"] == 0).all() and set(rows["n_compared"]) == {5}
    assert ended.summary["losses"] == "b: no difference detected at any level."


def test_functions_get_the_same_images_levels_and_seeds() -> None:
    CALLS.clear()
    ended, rows = compared("test_losses:flat", "after=test_losses:steep", *LEVELS, "--n", "100", "--draws", "3")
    assert rows["verdict"].tolist() == ["worse"] * 5  # by the part that depends on the seed, and by 10 % below 0.5
    np.testing.assert_allclose(rows["difference"], [0.0014, 0.0014, 0.0014, 0.1014, 0.1014], atol=5e-4)
    asked = [*dict.fromkeys(CALLS)]
    assert len(asked) == len({seed for _, _, seed in asked}) == 3 * 5 * 100
    assert {index for index, _, _ in asked} == {*range(100)}
    first = {*CALLS}
    CALLS.clear()
    compared("test_losses:flat", "after=test_losses:steep", *LEVELS, "--n", "100", "--draws", "3")
    assert {*CALLS} == first
    compared("test_losses:flat", "after=test_losses:steep", *LEVELS, "--n", "100", "--draws", "3", "--seed", "1")
    assert not {seed for _, _, seed in CALLS[len(CALLS) // 2 :]} & {seed for _, _, seed in first}
    assert "images of the functions" in Path("out/report.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test_losses:flat", "test_losses:chance"], "test_losses:chance: called twice with the same input"),
        (["test_losses:flat", "test_losses:of_batch"], "test_losses:of_batch: the output for an input changed"),
        (["test_losses:flat", "test_losses:endless"], "must return a finite loss, at least 0, for each image"),
        (["test_losses:flat", "test_losses:negative"], "must return a finite loss, at least 0, for each image"),
        (["test_losses:flat", "test_losses:mean_only"], "must return a finite loss, at least 0, for each image"),
        (["test_losses:flat", "test_losses:few"], "test_losses:few: IndexError: index"),
        (["test_losses:flat"], "it must be two or more of different names"),
        (["test_losses:flat", "test_losses:flat"], "it must be two or more of different names"),
        (["a=test_losses:flat,test_losses:steep", "test_losses:few"], "each of as many networks"),
        (["test_losses:flat", "python:test_losses:before"], "a function brings its own images and units"),
        (["test_losses:flat", "test_losses:few", "--held-out", "mnist"], "a function brings its own images"),
        (["test_losses:flat", "test_losses:steep", "--n", "20"], "n, the number of images,=20: it must be at least 40"),
        (["test_losses:flat", "test_losses:steep", "--levels", "1", "2"], "levels must be finite"),
        (["a=python:test_losses:before", "b=python:test_losses:loud"], "'mnist5k' has no test split"),
        ([*networks("before", "loud"), "--data", "npz48:big.npz"], "held_out='npz:held.npz': its shape is"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_compared_is_refused_in_one_line(words: list[str], message: str) -> None:
    np.savez("big.npz", images=DATA.pixels[:60, 0].numpy().repeat(2, 1).repeat(2, 2)[:, :48, :48])
    ended, _ = compared(*words, status=2)
    assert ended.refused(message), ended.stderr


def test_images_that_training_saw_are_counted() -> None:
    pixels = DATA.pixels[:60].clone()
    pixels[20:, 0, 0, 0] = 1
    np.savez("held.npz", images=pixels[:, 0].numpy())
    ended, _ = compared(*networks("before", "loud"), "--levels", "3", "1")
    assert "warning: Training saw 20 images of these." in ended.stdout


def test_each_image_has_its_own_label_and_levels_without_a_time_are_grey() -> None:
    """Also behind an adapter for one class; x0 of the grey value c / 10 has the error of a constant."""
    _, rows = compared(*networks("labelled", "before"), "--levels", "2", "1")
    x0 = DATA.standardised(slice(N))
    grey = (25.5 * DATA.labels[:N] - DATA.mean) / DATA.std
    error = (x0 - broadcast_like(x0, grey)).square().mean().item()
    np.testing.assert_allclose(rows["value_b"], [error * (1 + 1 / 4), error * 2], rtol=2e-3)
    ended, rows = compared(*networks("from_table", "also_from_table"), "--levels", "900", "30", "0.01")
    assert rows["verdict"].eq("no verdict").tolist() == [True, False, True]
    assert set(rows["no_verdict"].dropna()) == {"outside the training"}


@pytest.mark.slow(10)
def test_networks_trained_here_bring_held_out_images_noise_and_reports(here: Path) -> None:
    cache = Cache(here / "store")
    pairs = [
        trained(seed, held_out=41, noise=noise) for noise in (LogNormal(0, 1), LogNormal(-2, 1)) for seed in (0, 1)
    ]
    files = [f"checkpoint:{network.artifact(cache, lambda n: None).path}" for network in pairs]
    scored = here / "scored"
    scored.mkdir()
    (scored / "table.csv").write_text(" ".join(Path(file).stem for file in files))
    words = [f"before={','.join(files[:2])}", f"after={','.join(files[2:])}", "--data", data()]
    ended, rows = compared(*words, "--levels", "30", "1", "0.1", "0.01")
    assert set(rows["n_samples"]) == {41} and set(rows["holds_for"]) == {2} and set(rows["n_networks"]) == {2}
    assert rows["verdict"].eq("no verdict").tolist() == [True, False, False, False]
    assert {*pd.read_csv("out/densities.csv")["train_noise"]} == {"log-normal(0, 1)", "log-normal(-2, 1)"}
    assert rows["share"][3] == pytest.approx(NormalDist(-2, 1).cdf(math.log(0.1 * 0.01) / 2), abs=1e-3)
    assert "../scored/report.html" in Path("out/report.md").read_text() and "warning" not in ended.stdout
    ended, _ = compared(*words[:2], status=2)
    assert ended.refused("data='mnist5k': a network was trained on 'npz:"), ended.stderr


@pytest.mark.parametrize("n_networks", [1, 5])
def test_intervals_cover_and_verdicts_err_together_in_one_of_twenty(n_networks: int) -> None:
    """Losses with a part of the image, of the network, and of both, are equal but for chance at six levels."""
    draw = np.random.default_rng(0)
    sigmas = (10.0, 5.0, 2.0, 1.0, 0.5, 0.1)
    covered, wrong, repetitions = 0, 0, 300
    for _ in range(repetitions):
        of_image = draw.exponential(1, (1, 6, 60))
        values = [
            of_image * (1 + 0.1 * draw.normal(size=(n_networks, 6, 60)))
            + (n_networks > 1) * 0.03 * draw.normal(size=(n_networks, 6, 1))
            + 1
            + 0.2 * draw.normal(size=(1, 6, 60))
            for _ in range(2)
        ]
        candidates = [losses.Candidate(name, torch.from_numpy(x), None, [False] * 6) for name, x in zip("ba", values)]
        rows = losses.compare_levels(candidates, sigmas)
        covered += sum(row["low"] <= 0 <= row["high"] for row in rows)
        wrong += any(row["verdict"] != "no difference detected" for row in rows)
    assert 0.93 < covered / repetitions / 6 < 0.985
    assert wrong / repetitions < 0.075
