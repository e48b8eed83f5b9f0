"""`score --margin`: statuses, sentences, prompts, crops, a reference, hostile input, the result folder and its page."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffusion_core import load
from experiments import assert_harmless, compare, harmless
from experiments.own.files import read_json
from experiments.run.cache import Cache
from experiments.scoring import command
from experiments.scoring.groups import units
from experiments.scoring.inputs import open_input
from reports.render import read_page

N = 300


def save(folder: Path, images: np.ndarray, name: str = "p{}-{}.png") -> Path:
    folder.mkdir(parents=True)
    for at, image in enumerate(images):
        path = folder / name.format(at // 5, at % 5)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load("mnist5k").pixels[:900, 0].numpy()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return command.command([*arguments, "--features", "digits"], "score")


def test_each_answer_has_its_status_and_the_margin_in_its_sentence(
    digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digits[:N]
    save(here / "before", before)
    save(here / "slight", before // 4 * 4)
    save(here / "inverted", np.concatenate([255 - before[:30], before[30:]]))
    save(here / "seeds", digits[N : 2 * N])
    save(here / "half", np.concatenate([before[: N // 2]] * 2))

    answers = {}
    for after, status in {"slight": 0, "inverted": 1, "half": 1, "seeds": 3}.items():
        pairs = "none" if after == "seeds" else "auto"
        assert run("none", "before", after, "--margin", "0.02", "--pairs", pairs, "--out", f"out-{after}") == status
        answers[after] = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert answers["slight"]["sentence"].startswith("harmless: as if at most ")
    assert answers["slight"]["sentence"].endswith(" % of the images were destroyed (limit 2 %); 300 pairs")
    assert answers["inverted"]["sentence"].startswith("harmful: as if at least ")
    assert answers["inverted"]["worst"][0][0] in {f"p{at // 5}-{at % 5}" for at in range(30)}
    assert answers["half"]["sentence"] == "harmful: more copies 0.5, limit 0.02; 300 pairs"
    assert " would decide" in answers["seeds"]["sentence"] and answers["seeds"]["needed"] > N
    assert answers["seeds"]["pairs"] == "none" and answers["seeds"]["worst"] == []


def test_the_folder_has_the_checks_the_worst_pairs_and_a_page(digits: np.ndarray, here: Path) -> None:
    before, after = digits[:N], digits[:N].copy()
    after[::10] = 255 - after[::10]
    save(here / "before", before)
    save(here / "after", after)

    assert run("mnist5k", "before", "after", "--margin", "0.02", "--groups", "{prompt}-{seed}.png", "--out", "out") == 1

    rows = pd.read_csv(here / "out/harms.csv", keep_default_na=False)
    checks = list(rows["check"])
    assert checks[:2] == ["share in digits features", "more copies"] and "more grain" in checks
    assert checks[-3:] == [f"{metric} to mnist5k, digits features" for metric in ("mmd", "kd", "fd")]
    assert (rows["a"] == "after").all() and (rows["b"] == "before").all()
    assert {*read_json(here / "out/run.json")["files"]} == {"harms.csv", "worst_pairs.csv"}
    page = read_page(here / "out")
    assert page.lead == "Harmful:" and page.verdict.endswith("(limit 2 %); 300 pairs of 60 prompts.")
    assert page.sheet is not None and len(page.sheet.rows) == 4
    assert all((here / "out/images" / f"{name}-4.png").is_file() for name in page.strips)
    assert [row.name for row in page.tables[1].rows][-1] == "FD to mnist5k, digits features"


def test_prompts_are_the_units_of_all_intervals_of_score(digits: np.ndarray, here: Path) -> None:
    near = np.sort(digits[:N].mean(axis=(1, 2)).argsort().reshape(60, 5), axis=1).ravel()
    before, after = digits[:N][near], digits[:N][near] // 2
    prompts = [at // 5 for at in range(N)]

    alone, together = (
        compare(digits[N:], before, after, features="digits", pairs="order", groups=groups)
        for groups in (None, prompts)
    )

    assert alone.difference.difference == together.difference.difference
    assert alone.difference.se != together.difference.se


def test_crops_see_damage_that_reduced_images_hide(here: Path) -> None:
    rng = np.random.default_rng(0)
    large = rng.integers(90, 160, (260, 8, 8), dtype=np.uint8).repeat(32, axis=1).repeat(32, axis=2)
    checks = 40 * (np.indices(large.shape[1:]).sum(axis=0) % 2) - 20  # of single pixels
    fine = (large + checks).astype(np.uint8)
    options = {"pairs": "order", "features": "python:crop_features:mean_and_texture"}
    (here / "crop_features.py").write_text(
        "import torch\ndef mean_and_texture(pixels):\n"
        "    x = torch.nn.functional.interpolate(pixels.float(), size=(64, 64), mode='area')[:, 0]\n"
        "    return torch.stack([x.mean((1, 2)), x.diff(dim=2).abs().mean((1, 2))], 1)\n"
    )

    whole = harmless(large, fine, 0.05, **options)
    cut = harmless(large, fine, 0.05, crops=2, **options)

    assert whole.checks[0].verdict == "harmless"
    assert [check.verdict for check in cut.checks if "crops" in check.name] == ["harmful"]


def test_a_test_suite_gets_the_sentence(digits: np.ndarray, here: Path) -> None:
    before = digits[:N]
    assert_harmless(before, before // 2 * 2, pairs="order", features="digits")
    with pytest.raises(AssertionError, match="harmful: as if at least"):
        assert_harmless(before, before // 3, pairs="order", features="digits")
    answer = harmless(before, before // 2 * 2, pairs="order", features="digits")
    assert answer.margin == 0.03  # fewer than 500 pairs
    assert "lossless" not in str(answer) and "share of class" not in answer.sentence


def test_prompts_are_read_from_folders_names_and_tables(digits: np.ndarray, here: Path) -> None:
    store = Cache(here / "store")
    images = open_input(str(save(here / "flat", digits[:20])), store)
    nested = open_input(str(save(here / "nested", digits[:20], "p{}/{}.png")), store)
    pd.DataFrame(
        {"file": [f"p{at // 5}-{at % 5}.png" for at in range(20)], "text": [at // 10 for at in range(20)]}
    ).to_csv(here / "prompts.csv", index=False)

    by_name, by_folder = units(images, "{prompt}-{seed}.png"), units(nested, "folder")
    assert by_name.tolist() == by_folder.tolist() == [at // 5 for at in range(20)]
    assert units(images, "prompts.csv:text").tolist() == [at // 10 for at in range(20)]
    assert units(images, [at % 3 for at in range(20)]).tolist() == [at % 3 for at in range(20)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", "before", "after"), "real='none': only --margin needs no real images"),
        (("none", "before", "--margin", "0.02"), "sets: 1 does not suit --margin"),
        (("none", "before", "after", "--margin", "2"), "margin=2: it is a share of images"),
        (("none", "before", "after", "--margin", "0.02", "--fail-if-worse"), "fail_if_worse"),
        (("mnist5k", "before", "after", "--crops", "2"), "crops: they need --margin"),
        (("none", "before", "after", "--margin", "0.02", "--crops", "2"), "crops of 64x64 need more"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "folder"), "lies in no folder of a prompt"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "x{prompt}.png"), "is not named so"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "{seed}.png"), "it must be folder, FILE.csv"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "two.csv"), "p0-0 has two prompts"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "few.csv"), "it has no row for"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "one.csv"), "have one prompt"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "no.csv"), "it cannot be read"),
        (("none", "before", "after", "--margin", "0.02", "--groups", "one.csv:text"), "it has no column 'text'"),
        (("none", "before", "other", "--margin", "0.02", "--pairs", "names"), "names are in all sets"),
        (
            ("none", "before", "after", "--margin", "0.02", "--groups", "{prompt}-{seed}.png", "--pairs", "none"),
            "they need pairs",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    arguments: tuple[str, ...], message: str, digits: np.ndarray, here: Path
) -> None:
    for name in ("before", "after"):
        save(here / name, digits[:50])
    save(here / "other", digits[:50], "q{}-{}.png")
    names = [f"p{at // 5}-{at % 5}.png" for at in range(50)]
    pd.DataFrame({"name": [*names, names[0]], "prompt": [*range(50), 9]}).to_csv(here / "two.csv", index=False)
    pd.DataFrame({"name": names[:9], "prompt": range(9)}).to_csv(here / "few.csv", index=False)
    pd.DataFrame({"name": names, "prompt": 1}).to_csv(here / "one.csv", index=False)
    with pytest.raises(ValueError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_prompts_of_one_image_are_said_to_be_none(digits: np.ndarray, here: Path) -> None:
    answer = harmless(digits[:N], digits[:N] // 2 * 2, 0.02, range(N), pairs="order", features="digits")
    assert answer.notes == ("every prompt has one image, so images are the units of intervals",)
