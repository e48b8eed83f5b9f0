"""Set-ups that may mislead are said, and the usual ones are not."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from studies import plan

from diffusion_core import adapters, load
from diffusion_core.data.load import resolve
from diffusion_core.noise import LogNormal, Uniform
from diffusion_core.samplers import Euler, Heun, KadkhodaieSimoncelli, Sampler
from experiments.beta import Beta
from experiments.run import setup_warnings as module
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import Pretrained, Trained
from experiments.run.runs import Reference, Run
from experiments.settings import Schedule, Setting

FOUR = Schedule(n_steps=4)


def run(
    label: str = "a",
    schedule: Schedule = FOUR,
    sampler: Sampler = Euler(0.0),  # noqa: B008  # it is frozen
    features: str = "digits",
    network: Any = None,
    draw: int = 0,
    **setting: Any,
) -> Run:
    network = network or Trained()
    one = Setting(label, schedule, sampler, **setting)
    return Run(one, network, 40, Machine(), Reference(network.data, features, "x"), draw=draw)


def doubts(runs: list[Run]) -> list[str]:
    """With a store of their own."""
    with TemporaryDirectory() as folder:
        return module.check_setup(runs, Cache(Path(folder)))


@pytest.mark.parametrize("preset", ["smoke", "laptop"])
def test_the_presets_give_no_doubt(preset: str):
    study = Beta(**Beta.presets[preset])
    assert doubts([one for one in plan(study) if not one.impossible]) == []


DOUBTFUL: dict[str, Any] = {
    "a schedule begins at sigma 0.5, where images still show in": {"schedule": replace(FOUR, sigma_max=0.5)},
    "a schedule ends at sigma 1, so this much noise stays": {"schedule": replace(FOUR, sigma_min=1.0)},
    "a schedule begins at sigma 900, a level that training under": {"schedule": replace(FOUR, sigma_max=900.0)},
    "ends at sigma 0.03, a level that training under uniform(0.1, 100)": {"network": Trained(noise=Uniform(0.1, 100))},
    "takes all its 1000 steps and may stop above sigma_min": {"sampler": KadkhodaieSimoncelli(alpha_0=1e-9)},
}


@pytest.mark.parametrize("message", DOUBTFUL)
def test_a_doubtful_schedule_is_said_once(message: str):
    (said,) = doubts([run(**DOUBTFUL[message])] * 2)
    assert message in said


KARRAS = Schedule("karras", 4)


@pytest.mark.parametrize("change, equal", [
    ({}, True),
    ({"schedule": replace(KARRAS, options=(("rho", 7.0),))}, True),
    ({"schedule": replace(KARRAS, options=(("rho", 7.0001),))}, False),
    ({"sampler": Euler(0.5)}, False), ({"final_denoise": True}, False), ({"draw": 1}, False),
    ({"network": Trained(noise=LogNormal(0.0))}, False), ({"section": "another"}, False),
])  # fmt: skip
def test_one_setting_under_two_names_is_said(change: dict[str, Any], equal: bool):
    said = doubts([run(schedule=KARRAS), run("b", **({"schedule": KARRAS} | change))])
    assert said == ["'a' and 'b' of 'all' are one setting under two names: network, levels and sampler are equal, "
                    "so comparing them says nothing"] * equal  # fmt: skip


IMAGES = np.random.default_rng(0).integers(0, 256, (400, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("images, features, message", [
    (IMAGES, "natural", None),
    (IMAGES[:200], "natural", "only 200 different images"),
    (IMAGES[np.arange(800) % 400], "natural", "400 of 800 images are copies of others"),
    (IMAGES, "digits", "features='digits' were trained on MNIST"),
])  # fmt: skip
def test_doubtful_images_are_said(images: np.ndarray, features: str, message: str | None, tmp_path: Path):
    np.savez(tmp_path / "x.npz", images=images)
    said = doubts([run(network=Trained(resolve(f"npz:{tmp_path / 'x.npz'}")), features=features)])
    assert [message in doubt for doubt in said] == ([True] if message else [])  # type: ignore[operator]


@dataclass(frozen=True)
class Mine(Euler):
    """A sampler of a user."""


def test_a_sampler_of_a_user_is_tried(monkeypatch: pytest.MonkeyPatch):
    tried = list[Sampler]()
    monkeypatch.setattr(module, "check_user_sampler", lambda sampler, *_: tried.append(sampler))
    doubts([run(), run("b", sampler=Mine())])
    assert tried == [Mine()]


# --- networks from elsewhere ---


def test_levels_that_the_network_does_not_know_are_said(monkeypatch: pytest.MonkeyPatch):
    betas = adapters.from_betas([0.01 * step for step in range(1, 21)])
    network = adapters.vp(lambda z, time: z, load("mnist5k"), time=betas)
    low, high = network.span
    monkeypatch.setattr(Pretrained, "untrained", lambda self: network)
    monkeypatch.setattr(module, "check_denoising", lambda *_: SimpleNamespace(doubts=[]))

    def warned(sampler: Sampler, high: float = high) -> list[str]:
        schedule = Schedule("karras", 4, high, low)
        return doubts([run(schedule=schedule, sampler=sampler, network=Pretrained(source="python:a:b"))])

    assert warned(Euler(0.0)) == warned(Heun(s_churn=1.0, s_max=high / 2)) == []
    assert warned(Heun(s_churn=1.0)) == [
        f"heun(s_churn=1) asks the network for sigma {1.25 * high:.3g}, beyond its schedule, but the network knows no "
        f"level above {high:.3g}"
    ]
    assert warned(Euler(0.0), 2 * high)[-1].startswith(
        f"a schedule begins at sigma {2 * high:.3g}, but the network knows"
    )
