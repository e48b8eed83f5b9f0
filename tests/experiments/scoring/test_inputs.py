"""What people bring: read as documented, or refused in one line that names the file."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from user_images import save

from experiments.run.cache import Cache
from experiments.run.image_features import (
    PART,
    FeatureSpace,
    ImageSet,
    batches,
    compute_features,
    extract,
    prefetch,
    prepare_pixels,
)
from experiments.scoring.compare import compare, open_all, space_of
from experiments.scoring.inputs import FeatureSet, open_input
from reports.schema import NO_DIFFERENCE

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
RGB = RNG.integers(0, 256, (40, 16, 20, 3), dtype=np.uint8)
ROWS = RNG.normal(size=(40, 5))


def folder(path: Path, images: np.ndarray, ending: str = "png") -> Path:
    for place, image in enumerate(images):
        save(path / f"{place:02}.{ending}", image)
    return path


def with_text(path: Path) -> Path:
    (folder(path, GREY) / "notes.txt").write_bytes(b"hello")
    return path


def file(ending: str, write: Callable[..., object], *values: object, **named: object) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        write(path.with_suffix(ending), *values, **named)
        return path.with_suffix(ending)

    return make


npy, npz = partial(file, ".npy", np.save), partial(file, ".npz", np.savez)


REFUSED: dict[str, object] = {  # what is said -> a name, what my.npy holds, or how my comes about
    "my: there is no such folder or file, and no data set of this name": "my",
    "has no samples 0123456789ab; run their command": "samples:0123456789ab",
    "notes.txt cannot be read as an image": with_text,
    "my: 1 image; an interval needs at least 40": partial(folder, images=GREY[:1]),
    "my is 15, but pixels are 0 to 255; multiply": partial(folder, images=GREY // 16),
    "my.npz: no array of images in it. Images are uint8": npz(mu=ROWS[0], sigma=ROWS),
    "my.npy: my.npy cannot be read (it is no array of numbers": file(".npy", Path.write_text, "x"),
    "it is float64 (1, 40, 5); features are floats (n, d), images uint8": ROWS[None],
    "it is int64 (40,); features are floats (n, d), images uint8": np.arange(40),
    "my.npy: row 7 has a feature that is not": np.where(np.arange(40)[:, None] == 7, np.nan, ROWS),
    "my.npy: row 0 has a feature that is not finite in float32": ROWS * 1e300,
    "float32, which rounds some by over 0.001 standard deviations of their column": ROWS + 1e7,
    "my.npy: the magnitude of a feature is ": ROWS * 1e20,
    "my.npy has features of 3 numbers, but real.npy of 5": ROWS[:, :3],
    "real.npy holds features, but my.npy holds images": GREY,
}


@pytest.mark.parametrize("message", REFUSED)
def test_one_line_says_what_is_wrong(message: str, here: Path):
    source = REFUSED[message]
    if isinstance(source, np.ndarray):
        source = npy(source)
    if callable(source):
        source = source(here / "my").name
    images = "my.npy" not in message and "float" not in message
    real = (npz(images=GREY) if images else npy(ROWS))(here / "real")
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        compare(real, source, features="digits" if images else None)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def pixels(source: object, store: Path) -> list[np.ndarray]:
    images = open_input(source, Cache(store))  # type: ignore[arg-type]
    assert isinstance(images, ImageSet)
    return [images.read(place) for place in range(images.n)]


def test_files_are_read_as_documented(tmp_path: Path):
    """Grey and colour, any sizes in any order, lossless formats, folders below, and transparent pixels over black."""
    store = tmp_path / "store"
    mixed = tmp_path / "mixed"
    folder(mixed / "a", GREY[:3])
    folder(mixed / "b", RGB[:2], "bmp")
    clear = np.dstack([RGB[0], np.zeros_like(RGB[0, ..., 0])])
    save(mixed / "c.png", clear)
    read = pixels(mixed, store)
    expected = [*np.repeat(GREY[:3, ..., None], 3, axis=3), *RGB[:2], np.zeros_like(RGB[0])]
    assert all((one == other).all() for one, other in zip(read, expected, strict=True))
    images = open_input(mixed, Cache(store))
    assert images.names == ("a/00", "a/01", "a/02", "b/00", "b/01", "c")
    assert isinstance(images, ImageSet)
    together = list(batches(images, range(6), 2))
    assert sorted(place for places, *_ in together for place in places) == list(range(6))
    for places, read, traits in together:
        assert traits.tolist() == [[False, False, place == 5, False, place in (3, 4)][1:] for place in places]
        assert [tuple(image.shape) for image in read] == [(3, *expected[place].shape[:2]) for place in places]
        assert all((image.permute(1, 2, 0).numpy() == expected[p]).all() for image, p in zip(read, places, strict=True))


@pytest.mark.parametrize("make", [npz(images=RGB), npy(RGB), npy(np.moveaxis(RGB, 3, 1)), lambda _: RGB])
def test_arrays_hold_the_same_images(make: Callable[[Path], object], tmp_path: Path):
    assert (np.stack(pixels(make(tmp_path / "x"), tmp_path / "store")) == RGB).all()
    sources = RGB, npy(RGB)(tmp_path / "y"), folder(tmp_path / "a", RGB), folder(tmp_path / "b", RGB), RGB[::-1]
    ids = [open_input(source, Cache(tmp_path)).content for source in sources]  # type: ignore[union-attr]
    assert ids[0] == ids[1] != ids[4] and ids[2] == ids[3]


def test_features_are_those_that_the_extractor_gives_to_the_last_bit():
    """Whichever axes the images have: a sweep, and `score` of its data set or its files, compare the same numbers."""
    pixels = torch.from_numpy(GREY)[:, None].repeat(1, 1, 2, 2)[:, :, :32, :32].contiguous()
    for array in (pixels[:, 0].numpy(), pixels.permute(0, 2, 3, 1).numpy()):
        features = compute_features(ImageSet.of_array("x", array), range(40), FeatureSpace("digits")).features
        assert (features == extract("digits", pixels)[0].numpy()).all()


@pytest.mark.parametrize("rows", [ROWS, torch.ones(40, 2, requires_grad=True), torch.ones(40, 2, dtype=torch.bfloat16)])
def test_features_are_taken_as_they_are(rows: np.ndarray | torch.Tensor, tmp_path: Path):
    images = open_input(rows, Cache(tmp_path))
    assert isinstance(images, FeatureSet) and images.n == 40
    expected = torch.as_tensor(rows).detach().float()
    np.testing.assert_array_equal(images.features, expected.numpy())


def test_names_are_short_and_different(tmp_path: Path):
    def names(*places: str) -> list[str]:
        paths = [folder(tmp_path / place, GREY[:2]) for place in places]
        return [images.name.removeprefix(f"{tmp_path}/") for images in open_all(paths, Cache(tmp_path))]

    assert names("r", "x/a", "y/b") == ["r", "a", "b"]
    assert names("r", "x/images", "y/images") == ["r", "x/images", "y/images"]
    assert names("r", "a", "a") == ["r", "a (1)", "a (2)"]
    assert names("r", "a (2)", "a", "a") == ["r", "a (2)", "a (1)", "a (3)"]


def test_the_usual_features_are_those_of_the_data_whatever_their_name(tmp_path: Path):
    photos = folder(tmp_path / "mnist", GREY[:2])
    for sources, space in ((("mnist5k", "mnist5k"), "digits"), ((photos, "mnist5k"), "natural")):
        assert space_of(open_all(sources, Cache(tmp_path)), None) == space


def test_the_same_images_on_both_sides_are_said(tmp_path: Path):
    real, twice = RNG.normal(size=(100, 5)), np.repeat(ROWS[:20], 2, axis=0)
    scores = compare(real, ROWS, ROWS, real, twice, pairs="none", store=tmp_path)
    assert scores.warnings == (
        "set 1 and set 2 hold the same images",
        "set 3: 40 of 40 images are copies of images in REAL, so its distances are too small",
        "set 4: every image stands 2 times in it; copies count as one",
    )
    assert (scores.difference.difference, scores.verdict) == (0, NO_DIFFERENCE)
    scores = compare(np.repeat(ROWS[:20], 2, axis=0), RNG.normal(size=(40, 5)), store=tmp_path)
    assert scores.warnings[1:] == ("REAL: every image stands 2 times in it; copies count as one",)
    with pytest.raises(ValueError, match="set 1: it is a masked array, whose mask would be ignored; fill it first"):
        compare(ROWS, np.ma.masked_less(ROWS, 0), store=tmp_path)


@pytest.mark.parametrize("others", [0, 11])
def test_real_images_without_a_scale_are_refused(others: int, tmp_path: Path):
    """29 of 40 equal images make 406 of 780 pairs, 28 make 378. Rounding hides that their distance is 0."""
    real = np.where(np.arange(40)[:, None] < others, ROWS, 0.1 + np.arange(5) / 7)
    with pytest.raises(ValueError, match="REAL: more than half of the pairs of images have equal features, so their"):
        compare(real, ROWS, store=tmp_path)
    real[others] = ROWS[others]
    if others:
        assert np.isfinite(compare(real, ROWS, store=tmp_path).values["set 1"]["mmd"].value)


def test_pixels_are_given_to_extractors_as_documented():
    colour, grey = torch.from_numpy(RGB[:3]).permute(0, 3, 1, 2), torch.from_numpy(GREY[:3])[:, None]
    prepare = partial(prepare_pixels, images="x")
    assert (prepare(colour, "natural") == colour).all() and (prepare(grey, "vgg16") == grey).all()
    assert prepare(grey, "python:x:y").shape[1] == 3
    assert prepare_pixels(grey, "python:x:y", "x", from_user=False).shape[1] == 1  # of a sweep
    digits = prepare(grey.expand(-1, 3, -1, -1), "digits")
    assert digits.shape == (3, 1, 32, 32) and (digits[:, :, 2:30, 2:30] == grey).all() and digits.sum() == grey.sum()
    large = grey.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    expected = np.asarray(Image.fromarray(large[0, 0].numpy()).resize((32, 32), Image.Resampling.BICUBIC))
    assert (prepare(large, "digits")[0, 0].numpy() == expected).all()
    for pixels, message in ((colour, "x: its images have colours"), (grey[..., :20], "x: images of 20x28")):
        with pytest.raises(ValueError, match=message):
            prepare(pixels, "digits")


@pytest.mark.parametrize("options, says", [({"pairs": "orderr"}, "pairs='orderr'.*did you mean order"),
                                               ({"device": "tpu"}, "device='tpu': it must be one of")])  # fmt: skip
def test_a_misspelt_option_is_refused(options: dict[str, str], says: str, tmp_path: Path):
    with pytest.raises(ValueError, match=says):
        compare(ROWS, ROWS, ROWS, store=tmp_path, **options)  # type: ignore[arg-type]


def test_work_ahead_keeps_its_order_and_its_errors():
    def half(item: int) -> int:
        if item == 3 * PART:
            raise ValueError(f"{item} is bad")
        return item // 2

    assert list(prefetch(half, range(3 * PART))) == [item // 2 for item in range(3 * PART)]
    assert list(prefetch(half, [])) == []
    results = prefetch(half, range(100))
    assert [next(results) for _ in range(3 * PART)] == [item // 2 for item in range(3 * PART)]
    with pytest.raises(ValueError, match=f"{3 * PART} is bad"):
        next(results)
