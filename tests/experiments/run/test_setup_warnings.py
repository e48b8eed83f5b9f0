"""Set-ups that may mislead are said, and the usual ones are not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from studies import plan
from torch import Tensor

from diffusion_core import adapters, load
from diffusion_core.data.load import resolve
from diffusion_core.noise import LogNormal, Uniform
from diffusion_core.samplers import Euler, EulerChurn, Heun, KadkhodaieSimoncelli, Sampler
from diffusion_core.schedules import karras
from experiments.beta import Beta
from experiments.run import setup_warnings as module
from experiments.run.cache import Cache
from experiments.run.machine import Machine, busy_note
from experiments.run.networks import Pretrained, Trained
from experiments.run.runs import Reference, Run
from experiments.run.setting import Ladder, Setting
from experiments.run.setup_warnings import check_command

FOUR = Ladder(n_steps=4)


def run(
    label: str = "a",
    ladder: Ladder = FOUR,
    sampler: Sampler = Euler(0.0),  # noqa: B008  # it is frozen
    features: str = "digits",
    network: Any = None,
    **setting: Any,
) -> Run:
    network = network or Trained()
    one = Setting(label, ladder, sampler, **setting)
    return Run(one, network, 40, Machine(), Reference(network.data, features, "x"))


def doubts(runs: list[Run]) -> list[str]:
    """With a store of their own."""
    with TemporaryDirectory() as folder:
        return module.check_setup(runs, Cache(Path(folder)))


def noisy(low: float, high: float) -> Trained:
    return Trained(noise=Uniform(low, high))


@pytest.mark.parametrize("preset", ["smoke", "laptop"])
def test_the_presets_give_no_doubt(preset: str) -> None:
    study = Beta(**Beta.presets[preset])
    assert doubts([one for one in plan(study) if not one.impossible]) == []


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (run(ladder=replace(FOUR, sigma_max=0.5)), "a ladder begins at sigma 0.5, where images still show in"),
        (run(ladder=replace(FOUR, sigma_min=1.0)), "a ladder ends at sigma 1, so this much noise stays"),
        (run(ladder=replace(FOUR, sigma_max=900.0)), "a ladder begins at sigma 900, a level that training under"),
        (run(network=noisy(0.1, 100.0)), "a ladder ends at sigma 0.03, a level that training under uniform(0.1, 100)"),
        (run(sampler=KadkhodaieSimoncelli(alpha_0=1e-9)), "takes all its 1000 steps and may stop above sigma_min"),
    ],
    ids=["begins too low", "noise left", "begins too high", "ends too low", "too slow"],
)
def test_a_doubtful_ladder_is_said_once(one: Run, message: str) -> None:
    (said,) = doubts([one, one])
    assert message in said


def test_a_final_denoising_takes_the_noise_that_is_left() -> None:
    assert doubts([run(ladder=replace(FOUR, sigma_min=1.0), final_denoise=True)]) == []


KARRAS = Ladder("karras", 4)


@pytest.mark.parametrize(
    ("changes", "equal"),
    [
        ({}, True),
        ({"ladder": Ladder("karras", 4, options=(("rho", 7.0),))}, True),
        ({"ladder": Ladder("karras", 4, options=(("rho", 7.0001),))}, False),
        ({"sampler": Euler(0.5)}, False),
        ({"final_denoise": True}, False),
        ({"draw": 1}, False),
        ({"network": Trained(noise=LogNormal(0.0))}, False),
        ({"section": "another"}, False),
    ],
    ids=["equal", "equal levels", "other levels", "sampler", "denoised", "noise", "network", "group"],
)
def test_one_setting_under_two_names_is_said(changes: dict[str, Any], equal: bool) -> None:
    said = doubts([run(ladder=KARRAS), run("b", **({"ladder": KARRAS} | changes))])
    assert said == ["'a' and 'b' of 'all' are one setting under two names: network, levels and sampler are equal, "
                    "so comparing them says nothing"] * equal  # fmt: skip


def test_settings_that_are_equal_under_several_names_are_one_note() -> None:
    (said,) = doubts([run(label, KARRAS) for label in "abc"])
    assert "under two names (one of 2 such pairs): " in said


IMAGES = np.random.default_rng(0).integers(0, 256, (400, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "features", "messages"),
    [
        (IMAGES, "natural", []),
        (IMAGES[:200], "natural", ["only 200 different images"]),
        (IMAGES[np.arange(800) % 400], "natural", ["400 of 800 images are copies of others"]),
        (IMAGES, "digits", ["features='digits' were trained on MNIST"]),
    ],
    ids=["fine", "few", "copies", "features"],
)
def test_doubtful_images_are_said(images: np.ndarray, features: str, messages: list[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=images)
    said = doubts([run(network=Trained(resolve(f"npz:{tmp_path / 'x.npz'}")), features=features)])
    assert len(said) == len(messages) and all(text in found for text, found in zip(messages, said, strict=True))


def test_more_threads_than_cores_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    (said,) = doubts([replace(run(), machine=Machine(threads=3))])
    assert said.startswith("threads=3 on 2 cores: runs are slower")


# --- networks from elsewhere ---


def test_levels_that_the_network_does_not_know_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    betas = adapters.from_betas([0.01 * step for step in range(1, 21)])
    network = adapters.vp(lambda z, time: z, load("mnist5k"), time=betas)
    low, high = network.span
    monkeypatch.setattr(Pretrained, "untrained", lambda self: network)
    monkeypatch.setattr(module, "check_denoising", lambda *_: SimpleNamespace(doubts=[]))

    def said(sampler: Sampler, high: float = high) -> list[str]:
        return doubts(
            [run(ladder=Ladder("karras", 4, high, low), sampler=sampler, network=Pretrained(source="python:a:b"))]
        )

    assert said(Euler(0.0)) == said(Heun(s_churn=1.0, s_max=high / 2)) == []
    assert said(Heun(s_churn=1.0)) == [
        f"heun(s_churn=1) asks the network for sigma {1.25 * high:.3g}, beyond its ladder, but the network knows no "
        f"level above {high:.3g}"
    ]
    assert said(Euler(0.0), 2 * high)[-1].startswith(f"a ladder begins at sigma {2 * high:.3g}, but the network knows")


@pytest.mark.parametrize(
    ("config", "more"),
    [
        (Pretrained(source="python:a:b"), "python:a:b"),
        (Pretrained(source="diffusers:my net", label=3), "'diffusers:my net' --label 3"),
        (Pretrained("folder:x@home@0123", source="python:a:b"), "python:a:b --data folder:x@home"),
    ],
    ids=["plain", "label", "data"],
)
def test_the_command_that_shows_more_reads_the_network_in_the_same_way(config: Pretrained, more: str) -> None:
    assert check_command(config) == f"python -m experiments check --network {more}"


@pytest.mark.parametrize(("load", "threads", "said"), [(9.0, 2, True), (9.0, 1, False), (0.5, 2, False)])
def test_a_busy_machine_is_said(load: float, threads: int, said: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert ("load 9.0 on 4 cores): --threads 1" in busy_note(threads)) == said


LADDER = karras(8, 5.0, 0.2)


@dataclass(frozen=True)
class Raising(Sampler):
    """A sampler from outside, which asks for levels above its ladder and declares nothing."""

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        return Euler().run(lambda x, sigma: eps(x, 1.5 * sigma), x, sigmas, noise)


def test_levels_beyond_those_known_are_named() -> None:
    assert Raising().asked(LADDER) == pytest.approx((0.2, 7.5))
    assert module.unknown_level(5.0, (0.2, 5.0 - 1e-6)) == "" == module.unknown_level(0.2, (0.2, 5.0))
    assert module.unknown_levels(Heun(s_churn=1.0), LADDER, (0.3, 5.2)) == (
        "sigma 0.2: the network knows no level below 0.3; sigma 5.62: the network knows no level above 5.2"
    )


@pytest.mark.parametrize("sampler", [Heun(s_churn=1.0), EulerChurn(s_churn=2.0, s_min=0.3), Heun(s_churn=1e3)])
@pytest.mark.parametrize("most", [5.0, 5.2])
def test_churn_raises_no_level_above_the_known_ones(sampler: Sampler, most: float) -> None:
    capped = sampler.below(most, LADDER)
    span = (0.1, most)
    assert module.unknown_levels(sampler, LADDER, span) and not module.unknown_levels(capped, LADDER, span)
    assert capped.asked(LADDER)[1] > LADDER[1] and capped.s_churn == sampler.s_churn  # type: ignore[attr-defined]
