"""What must hold for a change to be harmless: order, copies, latents and clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gates import N, measure_change, save

from experiments import compare, harmless
from experiments.scoring import command

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def quarters(here: Path) -> str:
    """Features of a user's that cost nothing: the mean of each quarter of an image."""
    (here / "quarter_features.py").write_text(
        "import torch\ndef means(pixels):\n"
        "    return torch.nn.functional.adaptive_avg_pool2d(pixels.float(), 2).flatten(1)\n"
    )
    return "python:quarter_features:means"


def as_pixels(numbers: np.ndarray) -> np.ndarray:
    return np.clip(numbers, 0, 255).astype(np.uint8)


def latents(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((N, 4, 1, 1)) + 0.5 * rng.standard_normal((N, 4, 6, 6))
    return (values * [[[1]], [[3]], [[0.2]], [[90]]] + [[[0]], [[5]], [[-1]], [[20]]]).astype(np.float32)


def test_images_of_the_same_seeds_in_another_order_are_refused(digits: np.ndarray, shown: np.ndarray):
    after = shown[:-1] // 2 * 2
    after[::20] = 255 - after[::20]
    for other, pairs, message in (
        (after, "auto", "hold the same images in another order"),
        (as_pixels(0.85 * np.roll(shown, 3, axis=0)), "order", "hold the same images in another order"),
        (shown // 2 * 2, "auto", "before and after hold the same images in one order: pair them by --pairs o"),
    ):
        with pytest.raises(ValueError, match=message):
            measure_change(shown, other, 0.05, pairs=pairs)
    answer = measure_change(shown, digits[N : 2 * N], 0.05, pairs="auto")
    assert answer.verdict == "not decided" and answer.notes[0].startswith("all sets have 300 images without names")


def test_pairs_of_other_seeds_are_said_to_look_unrelated(digits: np.ndarray, shown: np.ndarray):
    other = measure_change(shown, digits[N : 2 * N], 0.02)
    assert other.verdict == "not decided" and other.needed is None
    assert other.notes[0].startswith("pairs of before and after look unrelated: use the same prompts and seeds for bo")
    for after in (shown // 4 * 4, shown.transpose(0, 2, 1), np.full_like(shown, 128)):
        assert "unrelated" not in str(measure_change(shown, after, 0.02))


def test_copies_before_count_as_one(shown: np.ndarray):
    once, twice = (measure_change(images, images // 2 * 2, 0.05) for images in (shown, np.tile(shown, (2, 1, 1))))
    assert twice.checks[0].high == pytest.approx(once.checks[0].high, rel=1e-3)
    assert twice.notes[0] == "every image of before stands there several times; they count as one"


@pytest.mark.parametrize(
    "change, verdict",
    [
        (lambda z: torch.from_numpy(z).bfloat16(), "harmless"),
        (lambda z: 1.015 * z, "harmless"),
        (lambda z: z[:, [1, 0, 2, 3]], "harmful"),
        (lambda z: np.concatenate([0 * z[:30], z[30:]]), "harmful"),
        (lambda z: z + 0.2 * np.eye(4)[2][:, None, None], "harmful"),  # an unscaled distance sees little of it
    ],
    ids=["bf16", "scaled", "swapped", "zeros", "shifted"],
)
def test_latents_are_compared_channel_by_channel(change: Any, verdict: str):
    np.save("before.npy", latents())
    answer = harmless("before.npy", change(latents()), 0.03, pairs="order")
    assert answer.verdict == verdict
    assert answer.notes[0].startswith("latents of 4x6x6 are compared, each channel in standard deviations of before")
    assert "copies are those of latents" in answer.notes[0]


def test_latents_that_cannot_be_compared_are_refused():
    for before, after, message in (
        (latents(), latents()[:, :3], r"one shape .*, 6, 6\), after \(3, 6, 6\)"),
        (latents(), latents()[:, 0, :, 0], "one shape .* after none"),
        (latents() * [[[1]], [[1]], [[0]], [[1]]], latents(), "channel 2 of its latents is constant"),
    ):
        with pytest.raises(ValueError, match=message):
            harmless(before, after, 0.03, pairs="order")
    with pytest.raises(ValueError, match=r"REAL holds latents, which --margin compares, before and after a change$"):
        compare(latents(), latents(1))


@pytest.mark.parametrize("low, formula", [(0, r"\(x \* 255\)"), (-1, r"\(\(x \+ 1\) \* 127.5\)")])
def test_images_in_floats_are_told_how_to_be_saved(low: int, formula: str, shown: np.ndarray):
    floats = np.stack([low + (1 - low) * shown / 255] * 3, 1)
    for images in (floats, floats.transpose(0, 2, 3, 1), floats.reshape(50, 6, 32, 32, 3)):
        with pytest.raises(ValueError, match=f'save."pixels.npy", {formula}.clip.0, 255..round..*uint8'):
            compare(images, images)
    with pytest.raises(ValueError, match=f"before: by range and channels it holds images; .*{formula}"):
        harmless(1.05 * floats, floats, 0.05, pairs="order")  # as a decoder overshoots


def clips(n: int = 12, frames: int = 12, side: int = 32) -> np.ndarray:
    """Textures that move and fade, uint8 (n, T, H, W, 3)."""
    rng = np.random.default_rng(0)
    moving = np.empty((n, frames, side, side, 3), np.uint8)
    for clip in moving:
        texture = rng.standard_normal((9, 9, 3)).repeat(12, 0).repeat(12, 1)
        start = rng.uniform(30, 40, 2)
        speed = rng.uniform(-2, 2, 2)
        light = rng.uniform(90, 160, 3)
        for t, frame in enumerate(clip):
            y, x = (start + speed * t).round().astype(int)
            frame[:] = as_pixels(light + 30 * texture[y : y + side, x : x + side] + rng.uniform(-2, 2, frame.shape))
    return moving


def blacken(shown: np.ndarray) -> np.ndarray:
    """The sixth frame of each clip is black."""
    return shown * (np.arange(12) != 5).astype(np.uint8)[:, None, None, None]


@pytest.mark.parametrize(
    "change, margin, verdict, decisive",
    [
        (lambda shown: shown // 2 * 2, 0.45, "harmless", "share in "),
        (blacken, None, "harmful", "share in "),
    ],
    ids=["slight", "black"],
)
def test_clips_are_units(change: Any, margin: float | None, verdict: str, decisive: str, quarters: str):
    answer = harmless(clips(), change(clips()), margin, features=quarters)
    assert (answer.n, answer.n_units, answer.verdict) == (144, 12, verdict)
    assert verdict in [check.verdict for check in answer.checks if check.check.startswith(decisive)]


@pytest.mark.slow
def test_clips_in_folders_are_compared_in_natural_features(here: Path, capsys: pytest.CaptureFixture[str]):
    for folder, images in (("before", clips()), ("after", blacken(clips()))):
        for clip, frames in enumerate(images):
            save(here / folder / str(clip), frames, "{}{}.png")  # 02.png and 10.png, then 110.png of frame 55
    arguments = "none before after --margin auto --groups clips --out out".split()
    assert command.command(arguments, "score") == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["n"], summary["n_units"]) == (144, 12)
    verdicts = pd.read_csv(here / "out/harms.csv").set_index("check")["verdict"]
    assert verdicts["share in natural features"] == "harmful"


def test_clips_are_in_the_order_of_before(quarters: str):
    with pytest.raises(ValueError, match="hold the same images in another order"):
        harmless(clips(), np.roll(clips() // 2 * 2, 1, axis=0), features=quarters)
