"""Set-ups that may mislead are said, and the usual ones are not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffusion_core import adapters, load
from diffusion_core.data import resolve
from diffusion_core.noise import LogNormal, NoiseDistribution, Uniform
from diffusion_core.samplers import Euler, EulerCorrected, Heun, KadkhodaieSimoncelli, Sampler
from experiments.beta import trials
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import ForeignConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine import doubts as found
from experiments.engine.doubts import check_command, doubts
from experiments.studies.beta import PRESETS


def trial(
    data: str = "mnist5k",
    ladder: Ladder | None = None,
    noise: NoiseDistribution | None = None,
    features: str = "digits",
    final_denoise: bool = False,
    sampler: Sampler | None = None,
) -> Trial:
    model = TrainConfig(data=data, noise=noise or LogNormal())
    samples = SampleConfig(model, ladder or Ladder(n_steps=4), sampler or Euler(), 40, final_denoise=final_denoise)
    return Trial("test", "any", ScoreConfig(samples, ReferenceConfig(data, features, "x")))


def saved(folder: Path, images: np.ndarray) -> str:
    np.savez(folder / "x.npz", images=images)
    return resolve(f"npz:{folder / 'x.npz'}")


def test_the_presets_give_no_doubt() -> None:
    for study in (PRESETS["smoke"], PRESETS["laptop"]):
        assert doubts([trial for trial in trials(study) if isinstance(trial, Trial)], None) == []


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (trial(ladder=Ladder(n_steps=4, sigma_max=0.5)), "a ladder begins at sigma 0.5, where images still show in"),
        (trial(ladder=Ladder(n_steps=4, sigma_min=1.0)), "a ladder ends at sigma 1, so this much noise stays"),
        (trial(ladder=Ladder(n_steps=4, sigma_max=900.0)), "a ladder begins at sigma 900, a level that training under"),
        (
            trial(noise=Uniform(0.1, 100.0)),
            "a ladder ends at sigma 0.03, a level that training under uniform(0.1, 100)",
        ),
        (trial(sampler=KadkhodaieSimoncelli(alpha_0=1e-9)), "takes all its 1000 steps and may stop above sigma_min"),
    ],
    ids=["begins too low", "noise left", "begins too high", "ends too low", "too slow"],
)
def test_a_doubtful_ladder_is_said(one: Trial, message: str) -> None:
    (said,) = doubts([one, one], None)
    assert message in said


KARRAS, SEVEN = Ladder("karras", 4), Ladder("karras", 4, options=(("rho", 7.0),))


@pytest.mark.parametrize(
    ("changes", "mode", "equal"),
    [
        ({}, "any", True),
        ({"ladder": SEVEN}, "any", True),
        ({"ladder": Ladder("karras", 4, options=(("rho", 7.0001),))}, "any", False),
        ({"sampler": Euler(0.5)}, "any", False),
        ({"final_denoise": True}, "any", False),
        ({"noise": LogNormal(0.0)}, "any", False),
        ({}, "another", False),
    ],
    ids=["equal", "equal levels", "other levels", "other sampler", "denoised", "other network", "other mode"],
)
def test_one_setting_under_two_names_is_said(changes: dict[str, Any], mode: str, equal: bool) -> None:
    one = replace(trial(ladder=KARRAS), setting="a")
    two = replace(trial(**({"ladder": KARRAS} | changes)), setting="b", mode=mode)
    said = doubts([one, two], None)
    assert said == ["'a' and 'b' of mode 'any' are one setting under two names: network, levels and sampler are equal, "
                    "so comparing them says nothing"] * equal  # fmt: skip


def test_settings_that_are_equal_under_several_names_are_one_note() -> None:
    said = doubts([replace(trial(ladder=KARRAS), setting=name) for name in "abc"], None)
    assert len(said) == 1 and "under two names (one of 2 such pairs): " in said[0]


def test_a_final_denoising_takes_the_noise_that_is_left() -> None:
    assert doubts([trial(ladder=Ladder(n_steps=4, sigma_min=1.0), final_denoise=True)], None) == []


@pytest.mark.parametrize(
    ("images", "messages"),
    [
        (np.random.default_rng(0).integers(0, 256, (400, 32, 32), dtype=np.uint8), []),
        (np.random.default_rng(0).integers(0, 256, (200, 32, 32), dtype=np.uint8), ["only 200 different images"]),
        (
            np.random.default_rng(0).integers(0, 256, (400, 32, 32), dtype=np.uint8)[np.arange(800) % 400],
            ["400 of 800 images are copies of others"],
        ),
    ],
    ids=["fine", "few", "copies"],
)
def test_doubtful_images_are_said(images: np.ndarray, messages: list[str], tmp_path: Path) -> None:
    said = doubts([trial(data=saved(tmp_path, images), features="natural")], None)
    assert len(said) == len(messages) and all(text in found for text, found in zip(messages, said, strict=True))


def test_features_of_digits_on_other_images_are_said(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 32, 32), dtype=np.uint8)
    (said,) = doubts([trial(data=saved(tmp_path, images))], None)
    assert said.startswith("features='digits' were trained on MNIST")


def test_levels_above_the_ladder_that_the_network_does_not_know_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    images = load("mnist5k")
    betas = adapters.from_betas([0.01 * step for step in range(1, 21)])
    network = adapters.vp(lambda z, time: z, images, time=betas)
    low, high = network.span
    monkeypatch.setattr(found, "load_foreign", lambda *_: network)
    monkeypatch.setattr(found, "examine", lambda *_: SimpleNamespace(doubts=[]))

    def said(sampler: Sampler) -> list[str]:
        samples = replace(trial().samples, model=ForeignConfig("python:a:b", "0"), sampler=sampler,
                          ladder=Ladder("karras", 4, high, low))  # fmt: skip
        return doubts([Trial("test", "any", ScoreConfig(samples, ReferenceConfig("mnist5k", "digits", "x")))], None)

    assert said(Euler()) == said(Heun(s_churn=1.0, s_max=high / 2)) == []
    assert said(Heun(s_churn=1.0)) == [
        f"heun(s_churn=1) asks the network for sigma {1.25 * high:.3g}, beyond its ladder, but the network knows no "
        f"level above {high:.3g}"
    ]
    assert said(EulerCorrected(shift=0.01, s_max=1.0))[0].endswith(f"the network knows no level below {low:.3g}")


@pytest.mark.parametrize(
    ("config", "more"),
    [
        (ForeignConfig("python:a:b"), "python:a:b"),
        (ForeignConfig("diffusers:my net", label=3), "'diffusers:my net' --model-label 3"),
        (ForeignConfig("python:a:b", data="folder:x@home@0123"), "python:a:b --data folder:x@home"),
    ],
    ids=["plain", "label", "data"],
)
def test_the_command_that_shows_more_reads_the_network_in_the_same_way(config: ForeignConfig, more: str) -> None:
    assert check_command(config) == f"python -m experiments check --model {more}"
