"""Latents and points: how they are read, standardised and named, and what is refused."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffusion_core.data.dataset import Values
from diffusion_core.data.load import load, random_order, resolve

RNG = np.random.default_rng(0)
LATENTS = (3 + 2 * RNG.normal(size=(40, 4, 3, 3))).astype(np.float32)


def values(name: str) -> Values:
    loaded = load(name)
    assert isinstance(loaded, Values)
    return loaded


def test_latents_are_standardised_as_a_whole_and_restored(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LATENTS.astype(np.float64))
    data = values(f"latents:{tmp_path / 'a.npy'}")
    assert data.shape == (4, 3, 3) and len(data) == 40 and not data.labels.any() and not data.are_points
    assert (data.mean, data.std) == pytest.approx((LATENTS.mean(), LATENTS.std()), rel=1e-5)
    order = random_order(40)
    torch.testing.assert_close(data.values, torch.from_numpy(LATENTS[order]))
    torch.testing.assert_close(data.standardised(slice(2)) * data.std + data.mean, data.values[:2])
    with pytest.raises(ValueError, match="only a network turns latents into images: give its adapter decode="):
        data.decode(data.standardised())


def test_points_are_shown_as_they_are_and_compared_in_their_own_deviations(tmp_path: Path) -> None:
    points = (LATENTS[:, :2, 0, 0] * [1, 5]).astype(np.float32)
    np.save(tmp_path / "p.npy", points)
    data = values(f"points:{tmp_path / 'p.npy'}")
    torch.testing.assert_close(data.decode(data.standardised()), data.values)
    features = data.features(data.values)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(dim=0, correction=0), torch.ones(2))


def test_labels_move_with_their_latents_and_a_name_holds_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, anything=LATENTS, labels=np.arange(40))
    name = resolve(f"latents:{path}")
    data = values(name)
    assert data.labels.tolist() == random_order(40).tolist() and resolve(name) == name
    np.savez(path, anything=LATENTS, labels=np.arange(40)[::-1])
    assert resolve(f"latents:{path}") != name
    with pytest.raises(ValueError, match=r"a.npz has changed since it was named so; its fingerprint is now \w{12}"):
        load(name)


def test_channels_on_different_scales_are_warned_of(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", LATENTS[:, :2, 0, 0] * np.float32([1, 50]))
    with pytest.warns(UserWarning, match=r"coordinate 0 has 0.0\d+ of the standard deviation .*x.std\(axis=0\)"):
        load(f"points:{tmp_path / 'p.npy'}")
    np.save(tmp_path / "p.npy", LATENTS[:, :2, 0, 0] + np.float32([0, 100]))  # means count, too
    with pytest.warns(UserWarning, match=r"coordinate \d has 0.0\d+ of"):
        load(f"points:{tmp_path / 'p.npy'}")
    np.save(tmp_path / "p.npy", LATENTS * np.float32([1, 50, 50, 50])[:, None, None])
    with pytest.warns(UserWarning, match=r"channel 0 has .* those of all$"):
        load(f"latents:{tmp_path / 'p.npy'}")
    np.save(tmp_path / "p.npy", LATENTS[:, :2, 0, 0] * np.float32([1, 5]))
    with warnings.catch_warnings(action="error"):
        load(f"points:{tmp_path / 'p.npy'}")


@pytest.mark.parametrize(
    ("kind", "file", "saved", "message"),
    [
        ("points", "a.npy", LATENTS, r"it holds float32 \(40, 4, 3, 3\), but points are floats \(n, d\)"),
        ("latents", "a.npy", LATENTS[:, 0, 0, 0], r"latents are floats \(n, \.\.\.\), such as"),
        ("latents", "a.npy", LATENTS.astype(int), "it holds int64"),
        ("latents", "a.npy", LATENTS * np.nan, "with NaN or infinity"),
        ("latents", "a.npy", LATENTS[:0], "it holds float32"),
        ("latents", "a.npy", np.array([{}], dtype=object), "it is no array of numbers that numpy.save wrote"),
        ("latents", "a.npz", {"a": LATENTS, "b": LATENTS}, r"must have one array of floats .*; it has a, b"),
        ("latents", "a.npz", {"a": np.arange(3)}, "it has none"),
        ("latents", "a.npz", {"a": LATENTS, "labels": np.ones(3)}, "labels of 40 images are whole numbers"),
        ("latents", "a.txt", None, "is neither .npy nor .npz"),
        ("latents", "none.npy", None, "no such file"),
        ("latents", "a.npy", LATENTS * 0, "its numbers are all alike"),
        ("latents", "a.npy", LATENTS.astype(float) + 1e9, "its numbers are all alike in float32; subtract their mean"),
        ("latents", "a.npy", LATENTS.astype(float) * 1e300, "all alike in float32"),
        ("points", "a.npy", LATENTS[:, :2, 0, 0] * np.float32([1, 0]), "coordinate 1 is the same in all points"),
    ],
)
def test_what_holds_no_values_is_refused(kind: str, file: str, saved: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / file
    if isinstance(saved, dict):
        np.savez(path, **saved)
    elif saved is not None:
        np.save(path, saved)
    elif "none" not in file:
        path.write_text("1 2 3")
    with pytest.raises(ValueError, match=message):
        load(f"{kind}:{path}")
