"""What careless but honest use gets: one warning or note for each mistake."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_core import load
from experiments import harmless, score

RNG = np.random.default_rng(0)
DIGITS = load("mnist5k").pixels[:120, 0].numpy()
ROWS, OTHERS = RNG.normal(size=(2, 80, 8))
STEEP = [1e4, *[1] * 7]
PATCHES = (RNG.integers(0, 4, (60, 8, 8), dtype=np.uint8) * 85).repeat(4, axis=1).repeat(4, axis=2)


def folder(path: Path, images: np.ndarray, ending: str = "png") -> Path:
    path.mkdir(exist_ok=True)
    for place, image in enumerate(images):
        Image.fromarray(image).save(path / f"{place:03}.{ending}")
    return path


def folders(path: Path, ending: str = "png") -> tuple[Path, Path]:
    return folder(path / "real", DIGITS[60:]), folder(path / "own", DIGITS[:60], ending)


def with_first(channels: list[int]) -> Callable[[Path], tuple[Path, Path]]:
    """Of which the first image has as its channels these digits."""

    def make(path: Path) -> tuple[Path, Path]:
        real, own = folders(path)
        Image.fromarray(np.dstack([DIGITS[of] for of in channels])).save(own / "000.png")
        return real, own

    return make


def turned(path: Path) -> tuple[Path, Path]:
    real, own = folders(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("000.png", "001.png"):
        Image.open(own / name).save(own / name, exif=exif)
    return real, own


def archive(path: Path) -> tuple[object, object]:
    np.savez(path / "real.npz", images=DIGITS[60:])
    return f"npz:{path / 'real.npz'}", DIGITS[:60]


PADDED = "set 1 was padded with black to 32x32, more than REAL: save all sets in one size"
JPEG = "100 % of the images of own are JPEG files, of real 0 %: compression alone moves features"
MEANS = "python:brightness:rows"


@pytest.mark.parametrize(
    "make, features, message",
    [
        (lambda path: folders(path, "jpg"), MEANS, JPEG),
        (with_first([0, 0, 0, 0]), MEANS, "1 of 60 images of own have transparent pixels, which are laid over black"),
        (turned, MEANS, "2 of 60 images of own were turned as their EXIF data say"),
        (with_first([0, 1, 2]), MEANS,
         "1 of 60 images of own have colours among grey ones; are they meant to be there?"),
        (lambda _: (ROWS * STEEP, OTHERS * STEEP), None, "REAL: feature 0 has 100 % of the variance of all 8, so it "),
        (lambda _: (ROWS, 2.5 * OTHERS), None, "features of set 1 are 2."),
        (lambda _: (PATCHES, PATCHES[::-1]), "digits", "features='digits' were trained on MNIST and may not tell"),
        (folders, "digits", None),
        (archive, "digits", None),
        (lambda _: (DIGITS[60:], DIGITS[:60, 2:-2, 2:-2]), "digits", PADDED),
        (lambda _: ("mnist5k", DIGITS[:60]), "digits", None),
        (lambda _: (ROWS * [1, 2, 1, 1, 1, 1, 1, 3], 1.5 * OTHERS), None, None),
    ],
    ids=["jpeg", "transparent", "turned", "coloured", "steep", "twofold", "no-digits", "right", "npz", "padded",
         "named", "own-right"],
)  # fmt: skip
def test_a_careless_use_gets_a_sentence(
    make: Callable[[Path], tuple[object, object]], features: str | None, message: str | None, here: Path
):
    (here / "brightness.py").write_text(
        "def rows(pixels):\n    x = pixels.float().flatten(2).mean(1) / 255\n"
        "    return x.unflatten(1, (8, -1)).mean(2) + 1\n"
    )
    scores = score(*make(here), features=features, store=here / "store")  # type: ignore[arg-type]
    said = [
        text for text in (*scores.warnings, *scores.notes) if "copies" not in text and "real images would" not in text
    ]
    if message is None:
        usual = ("FD is far", "would be", "has only")
        assert not [text for text in said if not any(words in text for words in usual)]
    else:
        assert [text for text in said if text.startswith(message)], said


def test_a_change_of_the_format_of_files_is_said_in_harmless(here: Path):
    before, after = folder(here / "before", DIGITS), folder(here / "after", DIGITS, "jpg")
    notes = harmless(before, after, 0.05, features="digits").notes
    assert [note for note in notes if note.startswith("100 % of the images of after are JPEG files, of before 0 %")]
