"""The steps of a run give the values of the old engine, to the last bit, and score what the network decodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from run_spine import N, data, exact, files, reference, run, score, silent, trained
from safetensors.torch import load_file
from torch import Tensor

from diffusion_core.samplers import Euler, Heun, Sampler
from experiments.config.config import Ladder as OldLadder
from experiments.config.config import ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import EmpiricalConfig
from experiments.config.trained import TrainConfig
from experiments.distances.real import Real
from experiments.run import steps
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import Exact, images_of
from experiments.run.setting import VALUES, Ladder, Reference, Run, Setting
from experiments.stages.sample import sample_stage
from experiments.stages.score import load_meta, score_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store

EQUAL = ("mmd", "fd", "kd", "precision", "recall", "grain", "grain_se", "n_reference", "nfe", "batch_size")
EQUAL_TENSORS = ("samples", "film", "denoised")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "trained"])
@pytest.mark.parametrize(("sampler", "last"), [(Euler(1.0), True), (Heun(), False)], ids=["euler", "heun"])
def test_a_run_equals_that_of_the_old_engine(name: str, sampler: Sampler, last: bool, tmp_path: Path) -> None:
    network: Any = exact(1) if name == "exact" else trained(1, held_out=20)
    model: Any = EmpiricalConfig(data(), seed=1)
    if name == "trained":
        model = TrainConfig(data(), images_seen=128, warmup_images=64, seed=1, held_out=20)
    cache, store = Cache(tmp_path / "new"), Store(tmp_path / "old")
    own = run(sampler, network, 3, final_denoise=last, control=True)
    new = score(own, cache) | dict(steps.sample(own, cache, silent).facts)
    samples = SampleConfig(model, OldLadder(n_steps=3), sampler, N, seed=10_001, final_denoise=last)
    if name == "trained":
        train_stage(model, store, None, silent)
    sampled = sample_stage(samples, store, None, silent)
    tensors = load_file(store.path("samples", sampled) / "samples.safetensors")
    config = ScoreConfig(samples, ReferenceConfig(data(), "digits", reference().features_id))
    score_stage(config, store, None)
    old = load_meta("scores", config, store)
    assert {name: new[name] for name in EQUAL} == {name: old[name] for name in EQUAL}
    stored = steps.sample(own, cache, silent).tensors
    tensors["samples"] = tensors.pop("pixels")
    assert stored.keys() == tensors.keys() == set(EQUAL_TENSORS)
    assert all(torch.equal(stored[name], tensors[name]) for name in EQUAL_TENSORS)
    assert new["film_sigmas"] == old.get("film_sigmas", new["film_sigmas"])


def test_a_run_is_made_once_and_read_then(tmp_path: Path) -> None:
    first, advanced = score(run(), Cache(tmp_path)), list[float]()
    again = steps.score(run(label="another"), Cache(tmp_path), advanced.append)
    assert files(Cache(tmp_path)) == {"references": 1, "samples": 1, "scores": 1} and not advanced
    assert {name: again.facts[name] for name in first} == first
    distances = steps.distances_of(again)
    assert set(distances) == {"fd", "kd", "mmd"} and all(distances[name].value == first[name] for name in distances)
    assert all(len(one.own) == N and len(one.real) == 0 for one in distances.values())


def test_evaluations_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    advanced = list[float]()
    facts = steps.sample(run(Wasteful()), Cache(tmp_path), advanced.append).facts
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
    assert steps.sample(own, cache, silent).tensors["samples"].shape == (N, 1024)
    images = images_of(data()).standardised().flatten(1).double().numpy()
    all_real = Real.of(images)
    all_real = Real(images, float(torch.tensor(all_real.width)), all_real.sums)  # the width is stored as float32
    decoded = steps.sample(own, cache, silent).tensors["samples"].double().numpy()
    expected = all_real.without(all_real.aside(N, 0)).distances(decoded)
    assert {name: facts[name] for name in expected} == {name: one.value for name, one in expected.items()}
    assert "grain" not in facts
    wrong = Run(own.setting, network, N, Machine(), reference())
    with pytest.raises(ValueError, match="floats need 'values'"):
        steps.score(wrong, cache, silent)


@dataclass(frozen=True)
class Decoding(Exact):
    """An exact denoiser that decodes in a wrong way."""

    data: str = ""
    way: str = ""

    def decode(self, x: Tensor) -> Tensor:
        pixels = super().decode(x)
        match self.way:
            case "mean":
                return (x.flatten(1) - x.flatten(1).mean(0)).contiguous()
            case "images":
                return x
            case "int":
                return pixels.int()
            case "fewer":
                return pixels[1:]
            case "nan":
                return x.flatten(1) * torch.nan
            case "fails":
                raise KeyError("no")
        return pixels


@pytest.mark.parametrize(
    ("way", "says"),
    [("mean", "decode: asked again"), ("images", r"torch.float32 \(40, 1, 32, 32\)"), ("int", "torch.int32"),
     ("fewer", r"\(39, 1, 32, 32\) for 40"), ("nan", "finite"), ("fails", "decode: KeyError")],
)  # fmt: skip
def test_what_a_network_decodes_is_checked(way: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        steps.sample(run(network=Decoding(data(), way=way)), Cache(tmp_path), silent)


def test_images_need_a_feature_space_of_images(tmp_path: Path) -> None:
    own = run()
    with pytest.raises(ValueError, match="images a feature space of images"):
        steps.score(Run(own.setting, own.network, N, Machine(), Reference(data(), VALUES, "")), Cache(tmp_path), silent)


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "can_compile", lambda device: False)
    own = run(network=trained())
    with pytest.raises(ValueError, match="there is no compiler"):
        steps.sample(Run(own.setting, exact(), N, Machine(compiled=True), reference()), Cache(tmp_path), silent)
