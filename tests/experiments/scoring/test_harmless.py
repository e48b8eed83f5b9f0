"""`score --margin`: statuses, sentences, prompts, crops, a reference, hostile input, the result folder and its page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from diffusion_core import load
from experiments import assert_harmless, compare, harmless
from experiments.run.cache import Cache
from experiments.scoring import command
from experiments.scoring import equivalence as module
from experiments.scoring.groups import groups_of, ordered_frames
from experiments.scoring.inputs import Input, open_input
from experiments.user.json_io import read_json
from reports.render import read_page

N = 300
MARGIN = ("--margin", "0.02")


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

    bound = "with 95 % confidence, in features digits, {} from before than replacing "
    assert answers["slight"]["sentence"].startswith(f"harmless: {bound.format('no further')}")
    assert answers["slight"]["sentence"].endswith(
        "can move them at most (limit 2 %); 300 pairs, each image taken to fail alone"
    )
    assert answers["inverted"]["sentence"].startswith(f"harmful: {bound.format('further')}")
    assert answers["inverted"]["worst"][0][0] in {f"p{at // 5}-{at % 5}" for at in range(30)}
    assert (
        answers["half"]["sentence"] == "harmful: more copies 50 %, limit 2 %; 300 pairs, each image taken to fail alone"
    )
    assert " would decide" in answers["seeds"]["sentence"] and answers["seeds"]["needed"] > N
    assert answers["seeds"]["pairs"] == "none" and answers["seeds"]["worst"] == []


@pytest.mark.parametrize(
    ("after", "margin", "status", "words"),
    [
        ("grey", "auto", 1, ("harmful: ", "(limit 3 %)")),
        ("grey", "0.02", 1, ("harmful: ", "(limit 2 %)")),
        ("slight", "auto", 3, ("not decided: ", "replacing 48 %", "(no margin is given)", "can show 48 % at best")),
        ("slight", "0.02", 3, ("not decided: ", "can show 48 % at best; about 238 would decide")),
        ("slight", "0.48", 0, ("harmless: ", "(limit 48 %)")),
        ("same", "auto", 3, ("not decided: 10 of 10 pairs are identical, but no margin is given",)),
    ],
)
def test_ten_pairs_can_be_harmful_and_say_what_they_can_show(
    after: str, margin: str, status: int, words: tuple[str, ...],
    digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    before = digits[:10]
    save(here / "before", before)
    save(here / after, {"grey": np.full_like(before, 128), "slight": before // 4 * 4, "same": before}[after])

    for _ in range(2):  # the second time with stored features
        assert run("none", "before", after, "--margin", margin, "--out", "out") == status
        sentence = json.loads(capsys.readouterr().out.splitlines()[-1])["sentence"]
        assert [word for word in words if word not in sentence] == []
    assert caplog.messages[0] == f"{after}: 10 pairs can show 48 % at best"
    verdicts = set(pd.read_csv(here / "out/harms.csv")["verdict"])
    assert "harmless" not in verdicts or margin != "auto"
    assert ("margin not given" in str(read_page(here / "out").source)) == (margin == "auto")


def test_the_folder_has_the_checks_the_worst_pairs_and_a_page(digits: np.ndarray, here: Path) -> None:
    before, after = digits[:N], digits[:N].copy()
    after[::10] = 255 - after[::10]
    save(here / "before", before)
    save(here / "after", after)

    assert run("mnist5k", "before", "after", "--margin", "0.02", "--groups", "{prompt}-{seed}.png", "--out", "out") == 1

    rows = pd.read_csv(here / "out/harms.csv", keep_default_na=False)
    checks = list(rows["check"])
    assert checks[:2] == ["share in digits features", "more copies"] and "more grain" in checks
    contrasts = pd.read_csv(here / "out/contrasts.csv")
    assert list(contrasts["metric"]) == ["mmd", "kd", "fd", "copies", "copies"] and "train_seed" in contrasts
    assert (rows["a"] == "after").all() and (rows["b"] == "before").all()
    assert {path.name for path in (here / "out").glob("*.csv")} == {"harms.csv", "worst_pairs.csv", "contrasts.csv"}
    page = read_page(here / "out")
    assert page.lead == "Harmful:" and page.verdict.endswith("(limit 2 %); 300 pairs of 60 groups.")
    assert page.grid is not None and len(page.grid.rows) == 4
    assert all((here / "out/images" / f"{name}-4.png").is_file() for name in page.strips)
    assert [row.name for row in page.tables[1].rows][-1] == "FD"
    assert page.key_figures[1].notes[0].startswith("not: share in digits features and ")
    assert read_json(here / "out/run.json")["harmless"]["decided_by"] == "share in digits features"


def test_prompts_are_the_units_of_all_intervals_of_score(digits: np.ndarray, here: Path) -> None:
    near = np.sort(digits[:N].mean(axis=(1, 2)).argsort().reshape(60, 5), axis=1).ravel()
    before, after = digits[:N][near], digits[:N][near] // 2
    prompts = [at // 5 for at in range(N)]

    alone, together = (
        compare(digits[N:], before, after, features="digits", pairs="order", groups=groups)
        for groups in (None, prompts)
    )

    assert alone.difference.difference != together.difference.difference  # images of one prompt do not meet
    assert alone.difference.se != together.difference.se


@pytest.mark.slow
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
    assert [check.verdict for check in cut.checks if "crops" in check.check] == ["harmful"]


def test_a_test_suite_gets_the_sentence(digits: np.ndarray, here: Path) -> None:
    before = digits[:N]
    assert_harmless(before, before // 2 * 2, 0.03, pairs="order", features="digits")
    with pytest.raises(
        AssertionError, match="harmful: with 95 % confidence, in features digits, further from before than replacing"
    ):
        assert_harmless(before, before // 3, 0.03, pairs="order", features="digits")
    answer = harmless(before, before // 2 * 2, pairs="order", features="digits")
    assert (answer.margin, answer.checks[0].limit) == (None, 0.03)  # fewer than 500 pairs
    assert "lossless" not in str(answer) and "share of class" not in answer.sentence


def test_prompts_are_read_from_folders_names_and_tables(digits: np.ndarray, here: Path) -> None:
    store = Cache(here / "store")
    images = open_input(str(save(here / "flat", digits[:20])), store)
    nested = open_input(str(save(here / "nested", digits[:20], "p{}/{}.png")), store)
    names = [f"p{at // 5}-{at % 5}.png" for at in range(20)]
    pd.DataFrame({"file": names, "text": [at // 10 for at in range(20)]}).to_csv(here / "prompts.csv", index=False)

    def units(images: Input, groups: str | list[int]) -> np.ndarray:
        found, note = groups_of(images, groups)
        assert not note
        return found

    by_name, by_folder = units(images, "{prompt}-{seed}.png"), units(nested, "folder")
    assert by_name.tolist() == by_folder.tolist() == [at // 5 for at in range(20)]
    assert units(images, "prompts.csv:text").tolist() == [at // 10 for at in range(20)]
    (here / "marked.csv").write_text(
        "\ufeff" + "\n".join(["file,prompt", *(f"p{at // 5}-{at % 5}.jpg,{at // 5}" for at in reversed(range(20)))])
    )  # as a spreadsheet writes it, in another order and with names before the change
    assert units(images, "marked.csv").tolist() == by_name.tolist()
    words = replace(images, names=tuple(f"{at}-{'red blue'.split()[at % 2]}-car" for at in range(20)))
    assert units(words, "{seed}-{prompt}.png").tolist() == [1 - at % 2 for at in range(20)]
    assert units(images, [at % 3 for at in range(20)]).tolist() == [at % 3 for at in range(20)]
    for heading in ("file_name", "filename", "image_id", "any"):  # the column whose values are the names
        table = pd.DataFrame({"seed": range(20), heading: names, "prompt": [at // 5 for at in range(20)]})
        table[::-1].to_csv(here / "reversed.csv", index=False)
        assert units(images, "reversed.csv").tolist() == by_name.tolist()
    pd.DataFrame({"seed": range(20), "prompt": [at % 2 for at in range(20)]}).to_csv(here / "rows.csv", index=False)
    found, note = groups_of(images, "rows.csv")
    assert found.tolist() == [at % 2 for at in range(20)]
    assert note.startswith("rows of rows.csv are taken in the order of the images, since no column has the names of ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", "before", "after"), "real='none': only --margin needs no real images"),
        (("none", "before", *MARGIN), "sets: 1 does not suit --margin"),
        (("none", "before", "after", "--margin", "2"), "margin=2: it is a share of images"),
        (("none", "before", "after", *MARGIN, "--fail-if-worse"), "fail_if_worse"),
        (("mnist5k", "before", "after", "--crops", "2"), "crops: this option needs --margin"),
        (("none", "before", "after", *MARGIN, "--pairs", "none", "--metrics", "python:no:no"), "order: pair them"),
        (("none", "before", "after", *MARGIN, "--crops", "2"), "crops of 64x64 need more"),
        (("none", "before", "after", *MARGIN, "--crops=-1"), "crops=-1: it must be at least 0"),
        *((("none", "before", "after", *MARGIN, "--groups", groups), message) for groups, message in (
            ("folder", "lies in no folder of a prompt"),
            ("x{prompt}.png", "is not named so"),
            ("one.csv.bak", "it must be folder, clips, FILE.csv"),
            ("two.csv", "p0-0 has two prompts"),
            ("few.csv", "it has no row for"),
            ("one.csv", "have one prompt"),
            ("no.csv", "it cannot be read"),
            ("one.csv:text", "it has no column 'text'"),
            ("gap.csv", "row 10 has no prompt"),
        )),
        (("none", "before", "after", *MARGIN, "--groups", "halves.csv"), "groups: they are 2, and an"),
        (("none", "before", "fewer", *MARGIN), "49 names are in both sets"),
        (("none", "before", "fewer", *MARGIN, "--pairs", "none"), "the same images in another order"),
        (("none", "before", "after", *MARGIN, "--groups", "{prompt}-{seed}.png", "--pairs", "none"), "they need pairs"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line(
    arguments: tuple[str, ...], message: str, digits: np.ndarray, here: Path
) -> None:
    for name in ("before", "after"):
        save(here / name, digits[:50])
    (save(here / "fewer", digits[:50]) / "p3-3.png").unlink()
    names = [f"p{at // 5}-{at % 5}.png" for at in range(50)]
    pd.DataFrame({"name": [*names, names[0]], "prompt": [*range(50), 9]}).to_csv(here / "two.csv", index=False)
    pd.DataFrame({"name": names[:9], "prompt": range(9)}).to_csv(here / "few.csv", index=False)
    pd.DataFrame({"name": names, "prompt": np.arange(50) // 25}).to_csv(here / "halves.csv", index=False)
    pd.DataFrame({"name": names, "prompt": 1}).to_csv(here / "one.csv", index=False)
    pd.DataFrame({"name": names, "prompt": [*range(9), None, *range(40)]}).to_csv(here / "gap.csv", index=False)
    with pytest.raises(ValueError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_a_reference_a_prompt_of_one_image_and_the_worst_pair_are_said(digits: np.ndarray, here: Path) -> None:
    after = digits[:N] // 2 * 2
    after[123] = 255 - after[123]

    answer = harmless(digits[:N], after, 0.02, range(N), reference="mnist5k", pairs="order")

    assert answer.scores is not None and answer.checks[0].check == "share in digits features"
    assert [space.features for space in answer.scores.spaces] == ["digits"]
    assert answer.notes[0] == "every group has one image, so images are the units of intervals"
    assert answer.verdict == "harmless" and answer.worst[0][0] == "image 123"
    assert all(0 <= share <= 1 for _, share in answer.worst)


def test_images_of_the_same_seeds_in_another_order_are_refused(digits: np.ndarray, here: Path) -> None:
    after = digits[: N - 1] // 2 * 2
    after[::20] = 255 - after[::20]
    for other, pairs in ((after, "auto"), ((0.85 * np.roll(digits[:N], 3, axis=0)).astype(np.uint8), "order")):
        with pytest.raises(ValueError, match="hold the same images in another order"):
            harmless(digits[:N], other, 0.05, features="digits", pairs=pairs)
    with pytest.raises(ValueError, match="before and after hold the same images in one order: pair them by --pairs o"):
        harmless(digits[:N], digits[:N] // 2 * 2, 0.05, features="digits")
    answer = harmless(digits[:N], digits[N : 2 * N], 0.05, features="digits")
    assert answer.verdict == "not decided" and answer.notes[0].startswith("all sets have 300 images without names")


def test_what_was_not_changed_is_said(digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(here / "before", digits[:N])
    save(here / "after", digits[:N])
    (here / "link").symlink_to("before")
    for other in ("before", "link"):
        with pytest.raises(ValueError, match="are one folder or file; name two"):
            run("none", "before", other, "--margin", "0.02")
    assert run("none", "before", "after", "--margin", "0.002", "--out", "out") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["sentence"], found["unchanged"]) == ("harmless: 300 of 300 pairs are identical", N)
    some = digits[:N].copy()
    some[:30] //= 2
    notes = harmless(digits[:N], some, 0.05, features="digits", pairs="order").notes
    assert "270 of 300 pairs are identical" in notes
    few = harmless(digits[:N], some, 0.01, features="digits", pairs="order")
    assert ", can show 1.6 % at best" in few.sentence and few.at_best == pytest.approx(4.75 / N)


def test_noise_that_nobody_sees_is_no_grain(digits: np.ndarray, here: Path) -> None:
    rng = np.random.default_rng(0)
    for size, verdict in ((1, "harmless"), (4, "harmful")):
        noisy = np.clip(digits[:N] + rng.integers(-size, size + 1, digits[:N].shape), 0, 255).astype(np.uint8)
        checks = {
            check.check: check for check in harmless(digits[:N], noisy, 0.05, pairs="order", features="digits").checks
        }
        assert checks["more grain"].verdict == verdict and checks["more grain"].unit == "grey levels"


@pytest.mark.parametrize(("added", "verdicts"), [(0, {"harmless", "not decided"}), (10, {"harmful"})])
def test_other_draws_of_the_noise_of_noisy_images_are_no_grain(added: int, verdicts: set[str], here: Path) -> None:
    """Their texture varies with the draw, so that its mean alone is above the limit in one of three sets."""
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(8):
        images = rng.normal(128, 30, (100, 1, 1))
        before, after = (
            np.clip(images + rng.normal(0, (20**2 + more**2) ** 0.5, (100, 32, 32)), 0, 255).astype(np.uint8)
            for more in (0, added)
        )
        checks = harmless(before, after, 0.5, pairs="order", features="digits").checks
        found |= {check.verdict for check in checks if check.check == "more grain"}
    assert found == verdicts


def test_copies_before_count_as_one(digits: np.ndarray, here: Path) -> None:
    once = harmless(digits[:N], digits[:N] // 2 * 2, 0.05, pairs="order", features="digits")
    twice = harmless(*(np.tile(images, (2, 1, 1)) for images in (digits[:N], digits[:N] // 2 * 2)), 0.05, pairs="order",
                     features="digits")  # fmt: skip

    assert twice.checks[0].high == pytest.approx(once.checks[0].high, rel=1e-3)
    assert twice.notes[0] == "every image of before stands there several times; they count as one"


def test_other_sizes_and_given_features_are_said_to_have_no_grain(digits: np.ndarray, here: Path) -> None:
    large = digits[:N].repeat(2, axis=1).repeat(2, axis=2)
    rows = np.random.default_rng(0).standard_normal((N, 8))

    sizes = harmless(digits[:N], large, 0.05, pairs="order", features="digits")

    assert "images are 32x32 before and 64x64 after, so fine noise is not compared" in sizes.notes
    given = harmless(rows, rows + 1e-3, 0.05, pairs="order")
    assert given.notes[0] == "features are given, so fine noise of pixels is not compared"


def test_a_class_that_is_surely_lost_is_not_hidden_by_one_that_may_be(here: Path) -> None:
    shown = load("mnist5k")
    pixels, labels = shown.pixels[:, 0].numpy(), shown.labels.numpy()
    others = np.resize(np.arange(2, 10), 750)
    was = np.concatenate([np.zeros(50, int), np.ones(200, int), others])  # 50 zeros are lost for sure
    now = np.concatenate([others[:250], np.ones(140, int), others[140:]])  # 200 ones are lost, and 140 are new

    def images(digits: np.ndarray, part: slice) -> np.ndarray:
        out = np.empty((len(digits), *pixels.shape[1:]), np.uint8)
        for digit in range(10):
            out[digits == digit] = np.resize(
                pixels[labels == digit][part], (int((digits == digit).sum()), *pixels.shape[1:])
            )
        return out

    before, after = images(was, slice(250)), images(now, slice(250, 500))
    answer = harmless(before, after, 0.02, pairs="order", features="digits")

    (check,) = (check for check in answer.checks if "class" in check.check)
    assert check.verdict == "harmful" and check.low > 0.02


def test_the_sentence_names_what_is_not_decided_and_percentages_are_plain() -> None:
    first = module.EquivalenceCheck("share in natural features", 0.001, 0, 0.01, 0.02, "harmless")
    crops = module.EquivalenceCheck("share in crops, natural features", 0.019, 0.01, 0.025, 0.02, "not decided")
    answer = module.Harmless("a", "b", 0.02, "natural", (first, crops), 600, 600, 0, 0.0079, "names", None, ())

    assert "but share in crops, natural features is up to 2.5 %; 600 pairs, each" in answer.sentence
    assert answer.decided_by == "share in crops, natural features"
    grouped = replace(answer, checks=(replace(first, high=0.03, verdict="not decided"),), n_units=100, needed=1_501)
    assert grouped.sentence.endswith("600 pairs of 100 groups, can show 0.79 % at best; about 1,501 in 251 groups would"
                                     " decide")  # fmt: skip
    wide = replace(answer, checks=(replace(first, high=1.0, verdict="not decided"),))
    assert "not decided: with 95 % confidence, in features natural, no further" in wide.sentence
    assert "replacing 100 % of the images" in wide.sentence


def latents(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((N, 4, 1, 1)) + 0.5 * rng.standard_normal((N, 4, 6, 6))
    return (values * [[[1]], [[3]], [[0.2]], [[90]]] + [[[0]], [[5]], [[-1]], [[20]]]).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda z: torch.from_numpy(z).bfloat16(), "harmless"),
        (lambda z: 1.02 * z, "harmless"),
        (lambda z: z[:, [1, 0, 2, 3]], "harmful"),
        (lambda z: np.concatenate([0 * z[:30], z[30:]]), "harmful"),
        (lambda z: z + 0.2 * np.eye(4)[2][:, None, None], "harmful"),  # an unscaled distance sees little of it
    ],
    ids=["bf16", "scaled", "swapped", "zeros", "shifted"],
)
def test_latents_are_compared_channel_by_channel(change: Any, verdict: str, here: Path) -> None:
    np.save(here / "before.npy", latents())
    answer = harmless("before.npy", change(latents()), 0.03, pairs="order")
    assert answer.verdict == verdict
    assert answer.notes[0].startswith("latents of 4x6x6 are compared, each channel in standard deviations of before")
    assert "copies are those of latents" in answer.notes[0] and "fine noise of pixels is not" in answer.notes[1]


def test_latents_that_cannot_be_compared_are_refused(here: Path) -> None:
    for after, message in (
        (latents()[:, :3], r"one shape .*, 6, 6\), after \(3, 6, 6\)"),
        (latents()[:, 0, :, 0], "one shape .* after none"),
    ):
        with pytest.raises(ValueError, match=message):
            harmless(latents(), after, 0.03, pairs="order")
    with pytest.raises(ValueError, match="channel 2 of its latents is constant"):
        harmless(latents() * [[[1]], [[1]], [[0]], [[1]]], latents(), 0.03, pairs="order")
    with pytest.raises(ValueError, match=r"REAL holds latents, which --margin compares, before and after a change$"):
        compare(latents(), latents(1))


@pytest.mark.parametrize(("low", "formula"), [(0, r"\(x \* 255\)"), (-1, r"\(\(x \+ 1\) \* 127.5\)")])
def test_images_in_floats_are_told_how_to_be_saved(low: int, formula: str, digits: np.ndarray, here: Path) -> None:
    floats = np.stack([low + (1 - low) * digits[:N] / 255] * 3, 1)
    for given in (floats, floats.transpose(0, 2, 3, 1), floats.reshape(50, 6, 32, 32, 3)):
        with pytest.raises(ValueError, match=f'save."pixels.npy", {formula}.clip.0, 255..round..*uint8'):
            compare(given, given)
    with pytest.raises(ValueError, match=f"before: by range and channels it holds images; .*{formula}"):
        harmless(1.05 * floats, floats, 0.05, pairs="order")  # as a decoder overshoots


def clips(n: int = 12, frames: int = 12, side: int = 32) -> np.ndarray:
    """Textures that move and fade, uint8 (n, T, H, W, 3)."""
    rng = np.random.default_rng(0)
    found = np.empty((n, frames, side, side, 3), np.uint8)
    for clip in found:
        texture = rng.standard_normal((9, 9, 3)).repeat(12, 0).repeat(12, 1)
        start, speed, light, contrast = rng.uniform(30, 40, 2), rng.uniform(-2, 2, 2), rng.uniform(90, 160, 3), 30
        for t, frame in enumerate(clip):
            y, x = (start + speed * t).round().astype(int)
            noise = rng.uniform(-2, 2, frame.shape)
            frame[:] = (light + contrast * texture[y : y + side, x : x + side] + noise).clip(0, 255)
    return found


def planted(name: str, shown: np.ndarray) -> np.ndarray:
    after = shown.copy()
    if name == "slight":
        after = after // 2 * 2
    elif name == "frozen":
        after[:, 6:] = after[:, 6:7]
    elif name == "repeated":
        after[:, 1::2] = after[:, ::2]
    elif name == "black":
        after[:, 5] = 0
    elif name == "flicker":
        after[:, 1::2] += 3
    return after


@pytest.mark.parametrize(
    ("name", "margin", "status", "decisive"),
    [
        ("slight", "0.4", 0, "share in natural features"),
        ("frozen", "auto", 1, "motion"),
        ("repeated", "auto", 1, "motion"),
        ("black", "auto", 1, "share in natural features"),
        ("flicker", "auto", 1, "motion"),
    ],
)
def test_clips_are_units_and_their_motion_is_compared(
    name: str, margin: str, status: int, decisive: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = clips(), planted(name, clips())
    for folder, images in (("before", before), ("after", after)):
        for clip, frames in enumerate(images):
            save(here / folder / str(clip), frames, "{}{}.png")  # 02.png and 10.png, then 110.png of number 55
        np.save(here / f"{folder}.npy", images)

    for ending, groups in ((".npy", ()), ("", ("--groups", "clips"))):
        arguments = ("none", f"before{ending}", f"after{ending}", "--margin", margin, *groups, "--out", "out")
        assert command.command(arguments, "score") == status
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (found["n"], found["n_units"], "motion" in found["checks"]) == (144, 12, True)
        verdicts = pd.read_csv(here / "out/harms.csv").set_index("check")["verdict"]
        assert verdicts[decisive] == ("harmful" if status else "harmless")


def test_frames_are_in_the_order_of_their_numbers_and_clips_in_that_of_before(here: Path) -> None:
    assert ordered_frames(["b/10", "a/2", "b/9", "a/10", "a/1"]) == [[4, 1, 3], [2, 0]]
    with pytest.raises(ValueError, match="hold the same images in another order"):
        harmless(clips(), np.roll(clips() // 2 * 2, 1, axis=0))
    still = clips()[:, :1].repeat(12, axis=1)
    assert "most neighbouring frames of before are equal, so motion is not compared" in harmless(still, still).notes


def test_the_unchanged_pipeline_and_metrics_of_the_user_are_shown_and_do_not_decide(
    digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digits[:N]
    for name, images in {"before": before, "slight": before // 2 * 2, "damaged": np.roll(before, 1, axis=0)}.items():
        np.save(here / f"{name}.npy", images)
    (here / "my_metrics.py").write_text(
        "def mae(before, after):\n    assert before.shape == (1, 32, 32) and before.dtype == after.dtype\n"
        "    return (before.float() - after.float()).abs().mean()\n"
        "def psnr(before, after):\n    return -10 * (before.float() - after.float()).square().mean().log10()\n"
    )
    gate = (*MARGIN, "--pairs", "order", "--out", "out")
    arguments = ("none", "before.npy", "slight.npy", *gate, "--groups", "groups.csv")
    pd.DataFrame({"prompt": np.arange(N) // 3}).to_csv(here / "groups.csv")
    np.save(here / "other.npy", before // 3)

    assert run(*arguments, "--control", "other.npy", "--metrics", "python:my_metrics:mae") == run(*arguments) == 3

    both, alone = (json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == "{")
    assert both["checks"] == alone["checks"] and "control" not in alone
    assert both["control"]["share in digits features"]["verdict"] == "harmful"
    assert both["notes"][0].startswith("other.npy (control): the unchanged pipeline differs from itself as far as repl")
    assert both["notes"][0].endswith("; by the same limits it is harmful (share in digits features)")
    after, control = both["metrics"]
    change = np.abs(before - before // 2 * 2.0).mean((1, 2))
    se = change.reshape(-1, 3).mean(1).std(ddof=1) / 10  # groups of three
    assert after["mean"] == pytest.approx(change.mean()) and after["largest"] == pytest.approx(change.max())
    assert after["high"] - after["mean"] == pytest.approx(1.984217 * se, rel=1e-4)
    assert after["pair"] == f"image {change.argmax()}" and control["a"] == "other.npy (control)"
    run(*arguments, "--control", "other.npy", "--metrics", "python:my_metrics:mae")
    titles = [table.title for table in read_page(here / "out").tables]
    assert titles == ["What must hold", "The unchanged pipeline, which does not decide", "Your metrics, which do not"
                      " decide"]  # fmt: skip
    *_, mae = read_page(here / "out").key_figures
    assert (mae.label, mae.value) == ("mae", f"{change.mean():.3f}") and mae.notes[1].startswith("unchanged pipeline ")
    np.save(here / "same.npy", before)
    part = np.concatenate([before[:100], before[100:] // 2 * 2])
    found = harmless(before, part, 0.05, pairs="order", features="digits", metrics=lambda a, b: 1 / (a != b).sum())
    assert "metric <lambda> of after: 100 of 300 pairs, of which it is not finite, are left out" in found.notes
    assert found.metrics[0]["largest"] == pytest.approx(1 / (part != before)[100:].sum((1, 2)).min())
    for name, values in {"lat.npy": latents(), "lat2.npy": latents() * 1.01}.items():
        np.save(here / name, values)
    for one, other, message in (
        ("before", "same", "psnr of same.npy: it is inf for "),
        ("lat", "lat2", "lat.npy holds no images"),
    ):
        with pytest.raises(ValueError, match=message):
            command.command(
                ("none", f"{one}.npy", f"{other}.npy", *gate, "--metrics", "python:my_metrics:psnr"), "score"
            )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("nothing", ""),
        ("before", "images before the change changed"),
        ("groups", "which images are of one group changed"),
        ("fewer", "images 300, now 299"),
        ("size", "limit of more grain 2.0, now None"),
        ("torch", "torch 1.0, now "),
        ("moved", ""),
    ],
)
def test_a_recorded_gate_expires_if_anything_but_the_images_after_changes(
    change: str, reason: str, digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = save(here / "before", digits[:N]), save(here / "after", digits[:N] // 2 * 2)
    table = pd.DataFrame({"name": [path.stem for path in sorted(before.iterdir())], "prompt": np.arange(N) // 2})
    table.to_csv(here / "groups.csv", index=False)
    gate = ("none", "before", "after", "--margin", "0.05", "--groups", "groups.csv")
    assert run(*gate, "--record", "gate.json") == 0
    if change == "before":
        Image.fromarray(digits[0] // 2).save(before / "p0-0.png")
    elif change == "groups":
        table.assign(prompt=np.arange(N) % 150).to_csv(here / "groups.csv", index=False)
    elif change == "fewer":
        (after / "p3-3.png").unlink()
    elif change == "moved":
        before.rename(here / "moved")
    elif change == "size":
        for path in after.iterdir():
            Image.open(path).resize((64, 64), 0).save(path)
    elif change == "torch":
        record = read_json(here / "gate.json")
        record["basis"]["torch"] = "1.0"
        (here / "gate.json").write_text(json.dumps(record))

    capsys.readouterr()
    typed = ("moved", "after") if change == "moved" else ("after",)
    assert command.command((*typed, "--verify", "gate.json"), "score") == (4 if reason else 0)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["verdict"] == ("expired" if reason else "harmless") and reason in found["sentence"]


@pytest.mark.parametrize("more", [("--margin", "0.1"), ("--crops", "2"), ("after", "more")])
def test_what_a_record_holds_is_not_typed_again(more: tuple[str, ...], here: Path) -> None:
    (here / "gate.json").write_text('{"options": {}, "basis": {}}')
    with pytest.raises(ValueError, match="the record has it; type the images after the change only"):
        command.command(("after", *more, "--verify", "gate.json"), "score")
    with pytest.raises(ValueError, match=r"verify='no.json': score --margin SHARE --record FILE writes such a file"):
        command.command(("after", "--verify", "no.json"), "score")
    with pytest.raises(ValueError, match=r"record='no/gate.json': there is no such folder"):
        command.command(("none", "before", "after", *MARGIN, "--record", "no/gate.json"), "score")


def test_a_recorded_gate_of_arrays_expires_with_fewer_images(digits: np.ndarray, here: Path) -> None:
    for name, images in {"before": digits[:N], "after": digits[:N] // 2 * 2, "fewer": digits[:250] // 2 * 2}.items():
        np.save(here / f"{name}.npy", images)
    gate = ("none", "before.npy", "after.npy", "--margin", "0.05", "--pairs", "order", "--record", "gate.json")
    assert run(*gate) == 0
    assert command.command(("fewer.npy", "--verify", "gate.json"), "score") == command.EXPIRED


def test_grain_that_may_be_above_its_limit_is_not_decided(digits: np.ndarray, here: Path) -> None:
    """Of 60 batches of five, twelve are noisy: the mean of all is above 2 grey levels, its interval begins below."""
    rng, after = np.random.default_rng(0), digits[:N].copy()
    noisy = rng.permutation(N // 5)[:12].repeat(5) * 5 + np.tile(np.arange(5), 12)
    after[noisy] = np.clip(after[noisy] + rng.normal(0, 24, after[noisy].shape), 0, 255)
    found = harmless(digits[:N], after, 0.3, [at // 5 for at in range(N)], features="digits", pairs="order")
    (grain,) = (check for check in found.checks if check.check == "more grain")
    assert grain.low < 2 < grain.value < grain.high and found.verdict == "not decided"
    assert ", but more grain is up to " in found.sentence and " grey levels; 300 pairs" in found.sentence
