"""What must hold for a change to be harmless: crops, order, grain, copies, latents and clips."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gates import N, as_pixels, find, latents, measure_change, save
from scipy.ndimage import gaussian_filter

from experiments import compare, harmless
from experiments.run.image_features import ImageSet
from experiments.scoring import command
from experiments.scoring.equivalence_checks import cut_crops

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def quarters(here: Path) -> str:
    """Features of a user's that cost nothing: the mean of each quarter of an image."""
    (here / "quarter_features.py").write_text(
        "import torch\ndef means(pixels):\n"
        "    return torch.nn.functional.adaptive_avg_pool2d(pixels.float(), 2).flatten(1)\n"
    )
    return "python:quarter_features:means"


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


def large(n: int) -> np.ndarray:
    """Images of 256x256 of squares in grey."""
    squares = np.random.default_rng(0).integers(90, 160, (n, 8, 8), dtype=np.uint8)
    return squares.repeat(32, axis=1).repeat(32, axis=2)


@pytest.mark.slow
def test_crops_see_damage_that_reduced_images_hide(here: Path):
    before = large(130)
    checks = 40 * (np.indices(before.shape[1:]).sum(axis=0) % 2) - 20  # of single pixels
    (here / "crop_features.py").write_text(
        "import torch\ndef mean_and_texture(pixels):\n"
        "    x = torch.nn.functional.interpolate(pixels.float(), size=(64, 64), mode='area')[:, 0]\n"
        "    return torch.stack([x.mean((1, 2)), x.diff(dim=2).abs().mean((1, 2))], 1)\n"
    )

    answer = measure_change(
        before, as_pixels(before + checks), 0.05, crops=2, features="python:crop_features:mean_and_texture"
    )

    assert answer.checks[0].verdict == "harmless" and find(answer, "crops").verdict == "harmful"


@pytest.mark.slow
def test_crops_see_a_corner_that_is_damaged_in_all_images(quarters: str):
    damaged = large(100)
    damaged[:, -48:, :48] = 0
    crops = find(measure_change(large(100), damaged, 0.05, features=quarters, crops=4), "crops")
    assert crops.value > 0.02 and crops.verdict != "harmless"  # crops that never see it are all equal


def test_crops_of_a_pair_are_at_one_place_and_those_of_all_pairs_everywhere():
    images = ImageSet.of_array("images", np.indices((200, 200), np.uint8).transpose(1, 2, 0)[None, :, :, [0, 1, 1]])

    before, after = (cut_crops(replace(images, name=name), np.zeros(300, int), 2) for name in "ba")
    corners = np.array([before.read(index)[0, 0, :2] for index in range(600)])

    assert all((corners[index] == after.read(index)[0, 0, :2]).all() for index in range(600))
    assert len(np.unique(corners, axis=0)) > 300
    for pixel in ((0, 0), (0, 199), (199, 0), (199, 199), (100, 100), (0, 100)):
        covered = ((corners <= pixel) & (corners + 64 > pixel)).all(axis=1).mean()
        assert covered == pytest.approx((64 / 264) ** 2, rel=0.15)


def test_pairs_of_other_seeds_are_said_to_look_unrelated(digits: np.ndarray, shown: np.ndarray):
    other = measure_change(shown, digits[N : 2 * N], 0.02)
    assert other.verdict == "not decided" and other.needed is None
    assert other.notes[0].startswith("pairs of before and after look unrelated: use the same prompts and seeds for bo")
    for after in (shown // 4 * 4, shown.transpose(0, 2, 1), np.full_like(shown, 128)):
        assert "unrelated" not in str(measure_change(shown, after, 0.02))


def test_noise_that_nobody_sees_is_no_grain(shown: np.ndarray):
    rng = np.random.default_rng(0)
    for size, verdict in ((1, "harmless"), (4, "harmful")):
        grain = find(
            measure_change(shown, as_pixels(shown + rng.integers(-size, size + 1, shown.shape)), 0.05), "more grain"
        )
        assert (grain.verdict, grain.unit) == (verdict, "grey levels")


@pytest.mark.parametrize("added, verdicts", [(0, {"harmless", "not decided"}), (10, {"harmful"})])
def test_other_draws_of_the_noise_of_noisy_images_are_no_grain(added: int, verdicts: set[str]):
    """Their texture varies with the draw, so that its mean alone is above the limit in one of three sets."""
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(8):
        images = rng.normal(128, 30, (100, 1, 1))
        pair = (as_pixels(images + rng.normal(0, np.hypot(20, more), (100, 32, 32))) for more in (0, added))
        seen.add(find(measure_change(*pair, 0.5), "more grain").verdict)
    assert seen == verdicts


def test_grain_that_may_be_above_its_limit_is_not_decided(shown: np.ndarray):
    """Of 60 batches of five, twelve are noisy: the mean of all is above 2 grey levels, its interval begins below."""
    rng = np.random.default_rng(0)
    groups = np.arange(N) // 5
    noisy = np.isin(groups, rng.permutation(60)[:12])[:, None, None]
    answer = measure_change(shown, as_pixels(shown + noisy * rng.normal(0, 24, shown.shape)), 0.3, [*groups])
    grain = find(answer, "more grain")
    assert grain.low < 2 < grain.value < grain.high and answer.verdict == "not decided"
    assert ", but more grain is up to " in answer.sentence and " grey levels; 300 pairs" in answer.sentence


def test_other_sizes_and_given_features_are_said_to_have_no_grain(shown: np.ndarray):
    sizes = measure_change(shown, shown.repeat(2, axis=1).repeat(2, axis=2), 0.05)
    assert "images are 32x32 before and 64x64 after, so fine noise is not compared" in sizes.notes
    rows = np.random.default_rng(0).standard_normal((N, 8))
    answer = harmless(rows, rows + 1e-3, 0.05, pairs="order")
    assert answer.notes[0] == "features are given, so fine noise of pixels is not compared"


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
    assert "copies are those of latents" in answer.notes[0] and "fine noise of pixels is not" in answer.notes[1]


def mixed(shown: np.ndarray) -> np.ndarray:
    """Latents of which one in twenty has its pixels in random order."""
    random = np.random.default_rng(2).permuted(shown[: N // 20].reshape(N // 20, 4, -1), axis=2)
    return np.concatenate([random.reshape(-1, *shown.shape[1:]), shown[N // 20 :]])


def add_noise(shown: np.ndarray, share: float) -> np.ndarray:
    return shown + share * shown.std((0, 2, 3), keepdims=True) * np.random.default_rng(1).standard_normal(shown.shape)


@pytest.mark.parametrize(
    "change, verdicts",
    [
        (lambda z: add_noise(z, 0.1), {"harmful"}),
        (mixed, {"harmful", "not decided"}),
        (lambda z: 1.1 * z, {"harmless"}),
        (lambda z: add_noise(z, 0.01), {"harmless"}),
    ],
    ids=["noise", "mixed", "scaled", "noise-that-nobody-sees"],
)
def test_the_texture_of_latents_is_compared(change: Any, verdicts: set[str]):
    rng = np.random.default_rng(0)
    smooth = rng.uniform(0.5, 1.5, (N, 4, 1, 1)) * gaussian_filter(rng.standard_normal((N, 4, 16, 16)), (0, 0, 1, 1))
    before = smooth + 0.05 * rng.standard_normal(smooth.shape)
    values, _, texture = harmless(before, change(before), 0.03, pairs="order").checks
    assert texture.check == "texture of latents" and texture.verdict in verdicts
    assert values.verdict != texture.verdict or "harmless" in verdicts  # which does not see it


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
