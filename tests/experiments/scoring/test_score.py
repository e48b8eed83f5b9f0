"""`score` from images to the result folder: numbers of torch-fidelity, intervals, cache, exit status."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch_fidelity import calculate_metrics
from user_images import save

import experiments.distances.fidelity  # noqa: F401  # registers `natural` with torch-fidelity
from diffusion_core import load
from experiments import compare, score
from experiments.__main__ import _run
from experiments.distances.feature_spaces import WEIGHTS
from experiments.distances.reference import METRICS
from experiments.run import image_features, spot_check
from experiments.run.cache import Cache
from experiments.run.image_features import FeatureSpace, ImageFeatures, ImageSet, feature_key
from experiments.run.result_folder import write_report
from experiments.run.spot_check import StaleError
from experiments.scoring.compare import question
from experiments.scoring.inputs import open_input
from experiments.scoring.output import pictures
from experiments.settings import Schedule
from experiments.user.json_io import read_json, write_json

N = 120


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return load("mnist5k").pixels


@pytest.fixture(scope="module")
def folders(digits: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """real/ and, of the same other digits, a/ with much noise, b/ with little noise and c/ with as much as b/."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for place, image in enumerate(digits[: 2 * N, 0].numpy()):
        save(root / "real" / f"{place:04}.png", image)
    for place, image in enumerate(digits[2 * N : 3 * N, 0].numpy()):
        noise = rng.normal(size=(3, 32, 32))
        for name, size, part in (("a", 60, 0), ("b", 30, 1), ("c", 30, 2)):
            pixels = (image + size * noise[part]).round().clip(0, 255).astype(np.uint8)
            save(root / name / f"{place:04}.png", pixels)
    return root


@pytest.mark.slow
def test_numbers_are_those_of_torch_fidelity_on_the_same_folders(folders: Path):
    """FID and KID with one subset of all images. Its kernel computes in float32, which rounds by the processor."""
    theirs = calculate_metrics(
        input1=str(folders / "a"), input2=str(folders / "b"), feature_extractor="natural", fid=True, kid=True,
        kid_subsets=1, kid_subset_size=N, cuda=False, cache=False, verbose=False, save_cpu_ram=True,
    )  # fmt: skip
    scores = score(folders / "b", folders / "a", features="natural", store=folders / "store")
    values = scores.values["a"]
    assert values["fd"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    assert values["kd"].value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)


@pytest.mark.slow
def test_two_sets_from_python(folders: Path):
    scores = compare(folders / "real", folders / "a", folders / "b", features="digits", store=folders / "store")
    assert (scores.verdict, scores.pairs, scores.n, scores.n_real) == ("better", "names", N, 2 * N)
    assert scores.difference.low < scores.difference.difference < scores.difference.high < 0
    sets, differences = scores.frame()
    assert list(sets["set"]) == ["a", "b", "120 real images"]
    shown = [getattr(scores.difference, name) for name in ("difference", "low", "high")]
    assert list(differences.iloc[0]) == ["b", "a", *shown, "better"]
    text = str(scores)
    assert scores.difference.low == 1000 * scores.differences["b"]["mmd"].low
    assert f"{shown[0]:.3f}" in text and "images of the same name are compared in pairs" in text and "nan" not in text


@pytest.mark.slow
def test_features_are_computed_once_and_checked(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = list[int]()
    compute = image_features.compute_features

    def counted(images: ImageSet, chosen: list[int], *more: Any) -> ImageFeatures:
        seen.append(len(chosen))
        return compute(images, chosen, *more)

    for module in (image_features, spot_check):
        monkeypatch.setattr(module, "compute_features", counted)
    again = partial(score, folders / "real", folders / "a", features="digits", store=tmp_path)
    values = again().values
    assert seen == [2 * N, N]
    assert again().values == values and max(seen[2:]) <= 16
    kept = Cache(tmp_path)
    images = open_input(folders / "a", kept)
    assert isinstance(images, ImageSet)
    config = feature_key(images, FeatureSpace("digits"))
    tensors = kept.load_or_make("features", config, lambda: pytest.fail("it was stored")).tensors
    kept.path("features", config).unlink()  # and stored as if by another version
    Cache(tmp_path).load_or_make("features", config, lambda: (tensors | {"features": 1.1 * tensors["features"]}, {}))
    with pytest.raises(StaleError, match=r"stored features digits of a differ from what .* now by .*; name another"):
        again()


def test_fd_of_fewer_real_images_is_not_beside_that_of_the_sets():
    rng = np.random.default_rng(7)
    for n, empty in ((100, False), (101, True)):
        scores = score(rng.normal(size=(200, 4)), rng.normal(size=(n, 4)))
        real = scores.frame()[0].iloc[-1]
        assert real["set"] == "100 real images" and np.isnan(real["FD"]) == empty and np.isfinite(real["MMD x1000"])
        assert "set 1 as near as real images (at most " in str(scores)


@pytest.fixture
def command(folders: Path, here: Path) -> Path:
    """In an empty folder with images beside it."""
    for name in "real", "a", "b", "c":
        (here / name).symlink_to(folders / name)
    return here


@pytest.mark.slow
def test_the_command_ends_with_a_verdict_and_a_report(command: Path, capsys: pytest.CaptureFixture[str]):
    assert _run("score real a b --features digits".split()) == 0
    printed = capsys.readouterr().out
    out = command / "runs/score"
    assert "report: runs/score/report.html" in printed and (out / "report.html").is_file()
    assert "note: images of the same name are compared in pairs" in printed
    summary = json.loads(printed.splitlines()[-1])
    assert (summary["experiment"], summary["verdicts"], summary["out"]) == ("score", {"b": "better"}, "runs/score")
    assert (summary["n"], summary["pairs"], summary["warnings"], summary["best"]) == (N, "names", [], [])
    info = read_json(out / "run.json")
    assert info["question"] == "Is b closer to the real images than a?" and info["wall_seconds"] > 0
    facts = info["score"]
    assert (facts["pairs"], facts["dimension"], facts["warnings"]) == ("names", 128, [])
    table = pd.read_csv(out / "table.csv", index_col="setting")
    assert list(table.index) == ["a", "b"] and (table["visible_noise"] > 0.1).all()
    contrasts = pd.read_csv(out / "contrasts.csv", index_col="metric")
    for name, values in summary["scores"].items():
        assert [values[metric][0] for metric in METRICS] == list(table.loc[name, list(METRICS)])
    for metric, limits in summary["differences"]["b"].items():
        known = contrasts[contrasts["b"] == "a"].loc[metric, ["difference", "low", "high"]]
        assert limits[:3] == pytest.approx(list(known), rel=1e-12)
    assert f"verdict: {write_report(out).headline}\n" in printed
    assert _run("score real a --features digits".split()) == 0  # and nothing of two sets is left
    pictures = {path.stem for path in (out / "images").iterdir()}
    assert pictures == {"real", "real-4", "set-1", "set-1-4"}


def test_several_sets(command: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--features", "digits", "--fail-if-worse", "--out", "out", "--pairs", "order"]
    assert _run(["score", "real", "b", "a", "c", *words]) == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["verdicts"]["a"] == "worse" and sorted(summary["best"]) == ["b", "c"]
    scores, contrasts = (pd.read_csv(command / "out" / f"{name}.csv") for name in ("scores", "contrasts"))
    assert len(scores) == 3 * len(METRICS) and len(contrasts) == 2 * len(METRICS) + 3
    assert {*contrasts.loc[contrasts["metric"] == "mmd", "compared"]} == {2}
    assert (command / "out/report.html").is_file() and (command / "out/best_sets.csv").exists()


def test_the_question_names_up_to_four_sets():
    real, *sets = np.random.default_rng(3).normal(size=(6, 60, 2))
    assert [question(compare(real, *sets[:n])) for n in (1, 3, 5)] == [
        "How close is set 1 to the real images?",
        "Are set 2 and set 3 closer to the real images than set 1?",
        "Which of 5 sets are closer to the real images than set 1?",
    ]


@pytest.mark.parametrize(
    "shape, mode, size",
    [((28, 28), "L", 28), ((20, 20, 3), "RGB", 20), ((90, 60, 3), "RGB", 64)],
)
def test_pictures_are_of_the_first_images(shape: tuple[int, ...], mode: str, size: int):
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    order = np.arange(20)[::-1]
    drawn = dict(pictures(ImageSet.of_array("x", images), order))
    assert [(name, each.mode, each.size) for name, each in drawn.items()] == [
        ("", mode, (4 * size, 4 * size)),
        ("-4", mode, (4 * size, size)),
    ]
    if size < 64:
        assert (np.asarray(drawn[""].crop((size, 0, 2 * size, size))) == images[18]).all()
    few = dict(pictures(ImageSet.of_array("x", images), order[:2]))
    assert not np.asarray(few["-4"])[:, 2 * size :].any()  # black where there are no images


def test_weights_come_from_a_file_and_features_of_your_own_have_none(folders: Path):
    sets = (folders / "real", folders / "a")
    usual, named = (score(*sets, features="digits", feature_weights=weights, store=folders / "store")
                    for weights in (None, WEIGHTS / "digits.safetensors"))  # fmt: skip
    assert named.values == usual.values
    rows = np.random.default_rng(0).normal(size=(100, 4))
    with pytest.raises(ValueError, match="the sets hold features already"):
        score(rows, rows, feature_weights="x.pth")


def test_a_command_that_compares_nothing_is_refused(command: Path):
    with pytest.raises(ValueError, match="sets: there is none"):
        _run(["score", "real"])
    with pytest.raises(ValueError, match="fail_if_worse: a is the only set"):
        _run("score real a --features digits --out new --fail-if-worse".split())


def test_samples_of_this_project_are_inputs(digits: Tensor, tmp_path: Path):
    """A result folder of one setting, by its store; its images are paired by seed and number."""
    store = Cache(tmp_path / "store")

    def stored(n_steps: int, samples: Tensor) -> str:
        return store.load_or_make("samples", Schedule(n_steps=n_steps), lambda: ({"samples": samples}, {})).path.stem

    ids = [stored(1, digits[:60]), stored(2, digits[60:120])]
    rows = [{"status": "ok", "section": "run", "setting": "x", "budget": "", "samples_id": name, "sample_seed": seed}
            for seed, name in enumerate(ids)]  # fmt: skip
    for name, setting in (("one", "x"), ("two", "y")):
        (tmp_path / name).mkdir()
        pd.DataFrame([rows[0], rows[1] | {"setting": setting}]).to_csv(tmp_path / name / "table.csv", index=False)
    compared = partial(compare, digits[200:400].numpy(), features="digits", store=store)
    scores = compared(tmp_path / "one", tmp_path / "one")
    assert (scores.n, scores.pairs) == (120, "names")
    (tmp_path / "old").mkdir()  # `runs/*/` has more than samples
    write_json(tmp_path / "old" / "run.json", {"experiment": "score"})
    sets = (tmp_path / "old", tmp_path / "one", store.root)
    scores = compared(*sets)
    assert [*scores.values] == ["one"]
    assert f"left out, since the store and results of score hold no samples: {sets[0]}, {sets[2]}" in scores.notes
    for nothing in ((sets[1], sets[0]), (sets[2], sets[1])):
        with pytest.raises(ValueError, match="it is the store or a result of score, which holds no samples"):
            compare(*nothing, features="digits", store=store)
    with pytest.raises(ValueError, match=f"it has 2 settings; name the samples of one, such as samples:{ids[0]}"):
        compared(tmp_path / "two")
    whole = scores.values["one"]
    named, arrays = (compared(one).values.popitem()[1] for one in (f"samples:{ids[0]}", digits[:60].numpy()))
    assert [each["mmd"].value for each in (named, arrays)] == [named["mmd"].value] * 2 != [whole["mmd"].value] * 2
    with pytest.raises(ValueError, match=r"are \(60, 9\) floats, no images"):
        open_input(f"samples:{stored(3, torch.ones(60, 9))}", store)


@pytest.mark.slow
def test_too_few_real_images_and_equal_sets_are_said(command: Path):
    rng = np.random.default_rng(0)
    for name, n in (("real", 90), ("a", 200)):
        np.save(command / f"{name}.npy", rng.normal(size=(n, 8)).astype(np.float32))
    shutil.copy(command / "a.npy", command / "b.npy")
    assert _run(["score", "real.npy", "a.npy", "b.npy"]) == 0
    assert (pd.read_csv(command / "runs/score/floors.csv")["n_samples"] == 45).all()
    facts = read_json(command / "runs/score/run.json")["score"]
    few, same = facts["warnings"]
    assert few == "real.npy has only 90 real images, which widens all intervals; take 500 or more"
    assert same == "a.npy and b.npy hold the same images"
    assert not (command / "runs/score/images").exists()


def test_equal_places_of_independent_sets_are_no_pairs():
    rng = np.random.default_rng(0)
    z, real = rng.normal(size=(200, 8)), rng.normal(size=(400, 8))
    sets = [z + 0.1, z + 0.18, z + 0.3]
    paired, alone = (compare(real, *sets, pairs=pairs) for pairs in ("order", "none"))
    assert paired.best == ("set 1",) and alone.best[:2] == ("set 1", "set 2")
    assert alone.frame()[0]["visible_noise"].isna().all()  # which features do not show
