"""The stages of a run: what the network decodes is drawn, counted and scored."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from run_spine import EULER, N, data, exact, reference, run, score, silent, trained
from torch import Tensor

from diffusion_core.samplers import Euler, Heun, Sampler
from diffusion_core.samplers import sample as draw
from experiments.distances.distance import Distance, unpack_distances
from experiments.distances.reference import METRICS, FixedReference, ReferenceSet
from experiments.run import stages
from experiments.run.cache import Cache
from experiments.run.identity import SCHEMA
from experiments.run.machine import Machine, use_threads
from experiments.run.networks import Exact, Network, Trained, data_of
from experiments.run.runs import VALUES, Reference, Run
from experiments.run.setting import Ladder, Setting
from experiments.user.features import extract


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "last", "nfe"), [(Euler(1.0), True, 4), (Heun(), False, 6)], ids=["euler", "heun"])
def test_a_score_is_the_distance_of_the_drawn_images_from_the_real_ones(
    sampler: Sampler, last: bool, nfe: int, tmp_path: Path
) -> None:
    """Against a draw and distances without cache; with other noise than that of draw 0."""
    network, cache = trained(1, held_out=20), Cache(tmp_path)
    own = run(sampler, network, 3, final_denoise=last, draw=1)
    facts, stored = score(own, cache), stages.sample(own, cache, silent)
    model, images = network.load(network.artifact(cache, silent)), data_of(data())
    how: dict[str, Any] = {"shape": (1, 32, 32), "batch_size": 64, "final_denoise": last, "n_samples": N}
    x = draw(model, own.sigmas, sampler, seed=10_001, **how)
    assert torch.equal(stored.tensors["samples"], images.to_pixels(x)) and stored.facts["nfe"] == nfe
    assert not torch.equal(x, draw(model, own.sigmas, sampler, seed=1, **how))
    use_threads(1)
    pixels = [stored.tensors["samples"], images.pixels]
    features, real = (extract("digits", each)[0].double().numpy() for each in pixels)
    pool = ReferenceSet.of(real)
    aside = pool.aside_mask(N, 0)
    for name, distance in pool.without(aside).distances(features).items():
        assert facts[name] == pytest.approx(distance.value, rel=1e-4), name
    to_training = np.linalg.norm(real[:, None] - real[None, :-20], axis=2)
    np.fill_diagonal(to_training, np.inf)  # the 20 that are held out are compared with all others
    nearest = np.linalg.norm(features[:, None] - real[:-20], axis=2).min(axis=1)
    for name, values in (("to_training", nearest), ("to_training_real", to_training.min(axis=1)[aside])):
        assert facts[name] == pytest.approx(np.median(values), rel=1e-3), name
    assert facts["n_reference"] == len(real) - N and set(stored.tensors) == {"samples"}


@pytest.mark.slow
def test_features_are_computed_on_the_threads_of_their_run_and_distances_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the reference, which is always computed on one thread, is made on the way."""
    noted, honest, distances = list[int](), stages.compute_features, FixedReference.distances

    def noting(*arguments: Any, **how: Any) -> Any:
        noted.append(torch.get_num_threads())
        return honest(*arguments, **how)

    def measured(self: FixedReference, features: Any) -> dict[str, Distance]:
        noted.append(torch.get_num_threads())
        return distances(self, features)

    monkeypatch.setattr(stages, "compute_features", noting)
    monkeypatch.setattr(FixedReference, "distances", measured)
    score(replace(run(), machine=Machine(threads=2)), Cache(tmp_path))
    assert noted == [1, 2, 1]  # the reference's features, the samples' features, their distances


def test_real_images_without_a_scale_and_distances_that_are_not_finite_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        equal = lambda images, *_: SimpleNamespace(features=np.ones((images.n, 8), np.float32))  # noqa: E731
        patch.setattr(stages, "compute_features", equal)
        with pytest.raises(ValueError, match="for more than half of the pairs of images the features are equal"):
            score(run(), Cache(tmp_path / "equal"))
    nothing = Distance(float("nan"), np.zeros(N))
    monkeypatch.setattr(FixedReference, "distances", lambda self, features: dict.fromkeys(METRICS, nothing))
    with pytest.raises(ValueError, match=r"features='digits': .*fd=nan.*; a distance must be finite"):
        score(run(), Cache(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(("network", "nearer"), [(exact(), True), (trained(images_seen=640), False)], ids=["exact", ""])
def test_samples_that_are_training_images_are_found(network: Network, nearer: bool, tmp_path: Path) -> None:
    facts = score(run(EULER, network, 16), Cache(tmp_path))
    assert (facts["memorised"] > 0.8) == (facts["to_training"] < 0.1 * facts["to_training_real"]) == nearer
    assert nearer or facts["memorised"] < 0 < facts["to_training_real"] < facts["to_training"]


@pytest.mark.slow
def test_nothing_is_said_of_training_images_if_only_a_part_is_known(tmp_path: Path) -> None:
    few = replace(reference(), most=100)
    assert "to_training" not in score(replace(run(), reference=few), Cache(tmp_path))


@pytest.mark.slow
def test_bf16_scores_what_fp32_scores(tmp_path: Path) -> None:
    """The fast path changes scores by far less than their uncertainty."""
    cache, network = Cache(tmp_path), Trained(images_seen=3_200)
    real = Reference("mnist5k", "digits", reference().features_id)
    one = Setting("a", Ladder(n_steps=8), Euler(1.0))
    runs = [Run(one, network, 200, Machine(precision=precision), real) for precision in ("fp32", "bf16")]
    wide, narrow = (unpack_distances(stages.score(each, cache, silent).tensors) for each in runs)
    for metric in METRICS:
        a, b = wide[metric], narrow[metric]
        se = Distance(0.0, b.own - a.own).se
        assert abs(b.value - a.value) + 1.96 * se < 0.5 * b.se, metric
    pixels = [stages.sample(each, cache, silent).tensors["samples"].float() for each in runs]
    assert 0 < (pixels[1] - pixels[0]).abs().mean() < 0.5, "grey levels of 255"


@pytest.mark.slow
def test_scores_are_known(tmp_path: Path) -> None:
    """If one of these changes, a formula has changed: raise SCHEMA of identity.py, and write the new values here."""
    network, cache = trained(images_seen=640), Cache(tmp_path)
    known = {"mmd": 0.654378, "mmd_se": 0.0135947, "kd": 17.2697, "fd": 241.210, "grain": 0.97, "train_loss": 0.753377}
    facts = score(run(Heun(), network, 4), cache) | dict(network.artifact(cache, silent).facts)
    assert SCHEMA == 5 and {name: facts[name] for name in known} == pytest.approx(known, rel=1e-4)


def test_evaluations_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    advanced = list[float]()
    facts = stages.sample(run(Wasteful()), Cache(tmp_path), advanced.append).facts
    assert facts["nfe"] == 4 and sum(advanced) == 2 * N
    assert "4 evaluations per image, not the 2 planned" in caplog.text


@dataclass(frozen=True)
class Wasteful(Sampler):
    """Makes other evaluations than it says."""

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(sigmas) - 1

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        for sigma, after in pairwise(sigmas):
            x = x + (after - sigma) * (eps(x, sigma) + 0 * eps(x, sigma))
            yield x


@dataclass(frozen=True)
class Vectors(Exact):
    """An exact denoiser whose samples are vectors."""

    data: str = ""

    def decode(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.slow
def test_floats_are_scored_by_their_own_values(tmp_path: Path) -> None:
    network, cache = Vectors(data()), Cache(tmp_path)
    real = Reference(data(), VALUES, "")
    own = Run(Setting("any", Ladder(n_steps=2), Euler(0.0)), network, N, Machine(), real)
    facts = score(own, cache)
    assert stages.sample(own, cache, silent).tensors["samples"].shape == (N, 1024)
    images = data_of(data()).standardised().flatten(1).double().numpy()
    all_real = ReferenceSet.of(images)
    all_real = ReferenceSet(
        images, float(torch.tensor(all_real.width)), all_real.sums
    )  # the width is stored as float32
    decoded = stages.sample(own, cache, silent).tensors["samples"].double().numpy()
    expected = all_real.without(all_real.aside_mask(N, 0)).distances(decoded)
    assert {name: facts[name] for name in expected} == {name: one.value for name, one in expected.items()}
    assert "grain" not in facts
