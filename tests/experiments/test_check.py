"""`check` on the command line, and an adapter in runs: labels follow the sample, and doubts are said before a run."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from arrays import column
from exact_networks import exact
from PIL import Image
from refusals import refused
from smoke import Ended, typed
from studies import plan
from torch import Tensor

from diffusion_core import Euler, GaussianDenoiser, adapters, load
from diffusion_core.data.load import resolve
from diffusion_core.exact import Empirical
from experiments.questions import OneSetting
from experiments.run import stages
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import Pretrained
from experiments.run.runs import Reference, Run
from experiments.run.setup_warnings import check_setup
from experiments.settings import Schedule, Setting
from experiments.user import pretrained
from experiments.user.network_io import network_fingerprint

DATA = load("mnist5k")
LIMIT = 40  # images per batch that `grey` has memory for


def grey(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """Denoises every image to the grey value of its label."""
    if len(z) > LIMIT:
        raise RuntimeError("not enough memory")
    return torch.ones_like(z) * column(labels / 10)


any_size = GaussianDenoiser()
ddpm = exact("vp", "eps", adapters.linear_betas(), Empirical(DATA.standardised()[:80]), DATA, (-0.5, 0.5))
right = adapters.vp(ddpm, DATA, pixels=(-0.5, 0.5))
wrong = adapters.vp(ddpm, DATA)
useless = adapters.vp(lambda z, t: -z, DATA)
labelled = adapters.edm(grey, DATA, pixels=(0, 1), labels="balanced", n_classes=10)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, where this module can be named as --network python:test_check:NAME."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(sys.modules, "test_check", sys.modules[__name__])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(name: str, *arguments: str) -> Ended:
    return typed("check", "--network", f"python:test_check:{name}", *arguments)


def foreign(name: str, data: str = "mnist5k") -> Pretrained:
    return Pretrained.of(f"python:test_check:{name}", resolve(data), None, Machine())


def run(name: str, schedule: Schedule, n: int = 40, batch: int = 0) -> Run:
    setting = Setting("any", schedule, Euler(), final_denoise=name == "labelled")
    return Run(setting, foreign(name), n, Machine(), Reference("mnist5k", "digits", "x"), batch)


@pytest.mark.slow
def test_the_command_shows_numbers_doubts_and_a_picture(here: Path):
    ended = checked("right")
    assert "verdict: no doubts; usable from sigma 30 to 0.0646" in ended.stdout and "beyond its times" in ended.stdout
    assert ended.status == 0 and ended.summary["doubts"] == []
    with Image.open(here / "runs/check/check.png") as picture:
        assert picture.size == (10 * 32 * 2, 3 * 32 * 2 + 14)
    numbers = json.loads((here / "runs/check/check.json").read_text())
    assert [round(level["time"]) for level in numbers["levels"]][::3] == [646, 223, 21, 0]
    ended = checked("wrong", "--fail-on-doubt")
    said = ended.stdout
    assert ended.status == 1 and "verdict: 1 doubt; usable" in said
    assert "doubt: error at sigma" in said and "check its range: it fits pixels=(-0.5, 0.5) better" in said
    assert "good: error below 1.5 times that of a well-trained network; doubtful: above 1.5 times best linear" in said
    ended = checked("useless")
    assert ended.status == 1 and "verdict: of no use: its error is doubtful at 10 of 10 levels" in ended.stdout


def test_an_adapter_for_other_data_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez(here / "x.npz", images=DATA.pixels[:60].numpy())
    with refused(r"made for data='mnist5k' .*not for data='npz:.*; give both the same"):
        foreign("right", f"npz:{here / 'x.npz'}")
    summed_in_another_order = replace(DATA, mean=DATA.mean * (1 + 1e-14), std=DATA.std * (1 - 1e-14))
    assert pretrained.load_network("python:test_check:right", summed_in_another_order, None, "cpu") is right


def test_images_of_another_size_need_a_network_from_elsewhere(here: Path):
    np.savez(here / "x.npz", images=DATA.pixels[:120, 0].repeat(1, 2, 2).numpy())
    data = f"npz48:{here / 'x.npz'}"
    study = OneSetting(data=data, n_samples=40)
    with refused("images of 48x48, but small takes 32x32; other sizes need"):
        plan(study)
    study = replace(study, network="python:test_check:any_size")
    (one,) = plan(study)
    assert one.network.data.startswith(data + "@") and one.network.shape == (1, 48, 48)


def test_doubts_are_said_before_a_run(here: Path):
    def find_doubts(name: str, sigma_max: float = 30.0, sigma_min: float = 0.05) -> list[str]:
        return check_setup([run(name, Schedule("geometric", 4, sigma_max, sigma_min))], Cache(here / "store"))

    assert find_doubts("right") == []
    assert find_doubts("right", 900.0, 0.03) == [
        "a schedule goes down to sigma 0.03, but the network knows no level below 0.0363",
        "a schedule begins at sigma 900, but the network knows no level above 571",
    ]
    (doubt,) = find_doubts("wrong")
    assert doubt.startswith("python:test_check:wrong: error at sigma") and "check its range" in doubt
    see = "; see python -m experiments check --network python:test_check:wrong"
    assert doubt.endswith(see)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.run.setup_warnings.check_denoising", lambda *_: pytest.fail("it was asked twice"))
        assert find_doubts("wrong") == [doubt]


@pytest.mark.slow
def test_labels_follow_the_sample_in_batches_of_any_size(here: Path):
    expected = 25.5 * (torch.arange(70) % 10).view(-1, 1)
    for batch in (7, 32, LIMIT):
        file = stages.sample(run("labelled", Schedule(n_steps=4), 70, batch), Cache(here / f"{batch}"), lambda n: None)
        assert (file.tensors["samples"].float().flatten(1) - expected).abs().max() <= 0.6


@pytest.mark.parametrize(
    "change",
    [{"n_classes": 20}, {"labels": 3}, {"guidance": 2.0, "null_label": 10}, {"guidance": 1.0, "null_label": 10},
     {"pixels": (0.0, 1.0)}, {"time": adapters.LogSigma()}, {"time": adapters.LogSigma(0.25)}],
    ids=str,
)  # fmt: skip
def test_every_argument_of_an_adapter_is_part_of_the_models_identity(change: dict[str, object]):
    """Also where the outputs for the first eight samples are the same, as those of 10 and of 20 classes are."""
    usual = {"labels": "balanced", "n_classes": 10}

    def identify(options: dict[str, object]) -> str:
        return network_fingerprint(adapters.edm(lambda z, t, labels: 0 * z, DATA, **options), DATA, "cpu")  # type: ignore[arg-type]

    assert identify(usual) == identify(dict(usual)) != identify(usual | change)
