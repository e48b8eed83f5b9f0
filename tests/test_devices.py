"""Everything runs on a device as on the CPU, and no loop waits for it: on the simulated one, or with --device cuda.

A card draws its own noise and rounds differently, so what is drawn there is only finite, and waits are not counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import run_spine as spine
import torch
from simulated_device import Waits, simulated_device
from smoke import smoke, typed
from torch import Tensor, nn

from bench.measure import network
from diffusion_core import NOISE_DISTRIBUTIONS, SAMPLERS, adapters, build, load, sample, train
from diffusion_core.adapters import CosineVP, LinearVP, LogSigma, Sigma, linear_betas
from diffusion_core.exact import Empirical, GaussianDenoiser
from diffusion_core.exact.tied_mixture import TiedMixture
from diffusion_core.networks import PARAMETERISATIONS, TRUNKS
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.noise import LogNormal
from diffusion_core.samplers import AlphaBeta, Euler, KadkhodaieSimoncelli, Sampler, checked_steps, seeded_noise
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import alpha_beta_schedule
from diffusion_core.tensors import computing_in
from diffusion_core.weightings import WEIGHTINGS
from experiments.distances import kernels
from experiments.distances.duplicates import duplicate_mask, find_clusters, squared_nearest, tolerance
from experiments.distances.equivalence import compare_distributions, is_reordered
from experiments.distances.reference import ReferenceSet, precision_recall
from experiments.run import machine
from experiments.run.cache import Cache
from experiments.run.image_features import open_extractor
from experiments.run.machine import Machine
from experiments.run.runner import _trained_together

Plant = Callable[[pytest.MonkeyPatch, str], Any]
SCHEDULE = (30.0, 3.0, 0.5, 0.03)
SHAPE = (1, 32, 32)
DIGITS = load("mnist5k")


@pytest.fixture(scope="module")
def device(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def waits(device: str) -> Iterator[Waits]:
    if device != "sim":
        yield Waits()
        return
    with simulated_device() as counted:
        yield counted


def count_waits(waits: Waits) -> int:
    """How often the method waited, but for a look at each batch of samples."""
    places = [(where, n) for (_, where), n in waits.items() if where.startswith("diffusion_core")]
    return sum(n for where, n in places if "sampling.py" not in where)


def normal(n: int) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(0))


def assert_alike(make: Callable[[str], Tensor], device: str, tolerance: float = 1e-4, drawn: bool = True):
    """make(device) is as on the CPU. `drawn`: from noise, of which a card has its own."""
    on_device, expected = make(device), make("cpu")
    assert on_device.device.type == device and on_device.shape == expected.shape and on_device.isfinite().all()
    if device == "sim" or not drawn:
        torch.testing.assert_close(on_device.cpu(), expected, rtol=tolerance, atol=tolerance)


class OfOthers(nn.Module):
    """A network of other people: z, time, labels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.classes = nn.Conv2d(1, 1, 3, padding=1), nn.Embedding(11, 1)

    def forward(self, z: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = time.view(-1, 1, 1, 1).to(z.dtype)
        return self.layer(z) + shift + (0 if labels is None else self.classes(labels).view(-1, 1, 1, 1))


EXACT = {
    "mixture": lambda: TiedMixture.standard(1024),
    "empirical": lambda: Empirical(DIGITS.standardised()[:70]),
}
ADAPTERS = {
    "vp-table": lambda net: adapters.vp(net, DIGITS, time=linear_betas(), side=28),
    "vp-linear": lambda net: adapters.vp(net, DIGITS, time=LinearVP(), predicts="v"),
    "vp-cosine": lambda net: adapters.vp(net, DIGITS, time=CosineVP(), predicts="x0"),
    "edm": lambda net: adapters.edm(net, DIGITS, time=Sigma()),
    "edm-log": lambda net: adapters.edm(net, DIGITS, time=LogSigma(0.25)),
    "flow": lambda net: adapters.flow(net, DIGITS),
    "balanced": lambda net: adapters.flow(net, DIGITS, data_at=1, labels="balanced", n_classes=10),
    "guided": lambda net: adapters.vp(net, DIGITS, labels=3, n_classes=10, guidance=2.0, null_label=10),
}
OF_SAMPLERS = {name: make() for name, make in SAMPLERS.items()} | {
    "alpha-beta": AlphaBeta(0.3, 0.2),
    "kadkhodaie-simoncelli": KadkhodaieSimoncelli(beta_ks=0.5, max_steps=3),
}


def make_samples(model: Any, device: str, sampler: Sampler = Euler(1.0)) -> Tensor:  # noqa: B008
    schedule = alpha_beta_schedule(0.3, 0.2, 30.0, 3.0) if isinstance(sampler, AlphaBeta) else SCHEDULE
    return sample(model, schedule, sampler, n_samples=70, shape=SHAPE, batch_size=64, device=device, final_denoise=True)


@pytest.mark.parametrize("sampler", OF_SAMPLERS.values(), ids=OF_SAMPLERS)
def test_samplers_wait_once_per_batch(sampler: Sampler, device: str, waits: Waits):
    def run(where: str) -> Tensor:
        out = make_samples(GaussianDenoiser(), where, sampler)
        looks = [where for reason, where in waits.elements() if reason == "number read"]
        assert count_waits(waits) == 0 and len(looks) == (2 if device == "sim" else 0)  # two batches
        return out

    assert_alike(run, device)


@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT)
def test_exact_denoisers_do_not_wait(make: Callable[[], Any], device: str, waits: Waits):
    def run(where: str) -> Tensor:
        model = make().to(where)
        waits.clear()
        out = model(3 * normal(70).to(where), torch.logspace(-1.5, 1, 70).to(where))
        assert count_waits(waits) == 0
        return out

    assert_alike(run, device, 1e-3, drawn=False)


@pytest.mark.slow
@pytest.mark.parametrize("make", ADAPTERS.values(), ids=ADAPTERS)
def test_adapters(make: Callable[[Any], nn.Module], device: str):
    def run(where: str, is_function: bool) -> Tensor:
        network = OfOthers().to(where)
        model = make(lambda *inputs: network(*inputs)) if is_function else make(network).to(where)
        return make_samples(model, where)

    for is_function in (False, True):
        assert_alike(partial(run, is_function=is_function), device, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS)
@pytest.mark.parametrize("name", TRUNKS)
def test_networks(name: str, parameterisation: str, device: str):
    images = torch.randn(66, *((2,) if name == "mlp" else SHAPE))

    def run(where: str) -> Tensor:
        torch.manual_seed(0)
        network = build(name, images.shape[1], parameterisation).to(where)
        if network.needs_fit:
            network.fit(images.to(where))
        return network(images[:5].to(where), torch.ones(5, device=where)).detach()

    assert_alike(run, device, 1e-3, drawn=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "weighting, options",
    [*((name, {}) for name in WEIGHTINGS), ("karras", {"stratified": True, "stable_above": 2.0})],
    ids=[*WEIGHTINGS, "as in fast"],
)
def test_training_does_not_wait_within_fifty_steps(weighting: str, options: dict[str, Any], device: str, waits: Waits):
    def run(where: str, noise: str) -> Tensor:
        torch.manual_seed(0)
        network, images, law = build("small").to(where), normal(66).to(where), NOISE_DISTRIBUTIONS[noise]()
        waits.clear()
        *_, last = train(network, images, law, n_images=24, batch_size=8, weighting=weighting, **options)
        assert count_waits(waits) <= 3  # the moments of the images and a table, once each, and the loss at the end
        return last.loss

    for noise in NOISE_DISTRIBUTIONS if weighting == "karras" else ["vp"]:
        assert_alike(partial(run, noise=noise), device, 1e-3)


def test_distances(device: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "CARD_BLOCK", 32)
    monkeypatch.setattr(kernels, "CPU_BLOCK", 50)
    rng, groups = np.random.default_rng(0), np.arange(40) % 7
    features = [torch.from_numpy(rng.normal(size=(n, 9))) for n in (120, 40)]

    def measure(where: str) -> list[Any]:
        y, x = (each.to(where) for each in features)
        reference = ReferenceSet.of(y)
        distances, quality = reference.without(reference.aside_mask(40, 0)).compare(x)
        test = compare_distributions(x, x + 0.1, groups)
        out = [*(distance.value for distance in distances.values()), *quality, test.scale, *test.shares, tolerance(y)]
        out += [distance.own.std() for distance in reference.whole().distances(x, groups).values()]
        out += [*squared_nearest(x, y).tolist(), *find_clusters(y, 1.0), *duplicate_mask(x, y, 1.5)]
        out += [*precision_recall(x, y), is_reordered(x, x, True), is_reordered(x, x.flip(0), True)]
        return out + [value for values in reference.floor(40, [1, 2]).values() for value in values]

    assert measure(device) == pytest.approx(measure("cpu"), rel=1e-6 if device == "cuda" else 1e-9)


@pytest.mark.parametrize("name", ["digits", "natural"])
def test_features(name: str, device: str):
    assert_alike(lambda where: open_extractor(name, device=where)(DIGITS.pixels[:3])[0], device, drawn=False)


@torch.no_grad()
def sample_small(device: str, batch_size: int = 100, precision: str = "fp32", is_compiled: bool = False) -> Tensor:
    """100 samples of `small` at eta 1, with the noise of the device."""
    model = Compiled(network(device), batch_size) if is_compiled else network(device)
    with computing_in(precision, device):
        return sample(model, SCHEDULE, Euler(1.0), n_samples=100, shape=SHAPE, batch_size=batch_size, device=device)


@torch.no_grad()
def sample_without_noise(device: str) -> Tensor:
    """64 samples at eta 0, from noise that the CPU drew."""
    start = BlockNoise(0, range(64), SHAPE, torch.device("cpu"))() * SCHEDULE[0]
    *_, x = checked_steps(network(device), Euler(), SCHEDULE, start.to(device), torch.empty)
    return x


def train_weights(device: str) -> Tensor:
    model = network(device).train()
    for _ in train(model, normal(256).to(device), LogNormal(), n_images=320, batch_size=64, precision="bf16"):
        pass
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


BF16 = partial(sample_small, precision="bf16")
WAYS = {  # limit of the mean difference
    # TF32 keeps ten bits
    "device and CPU, fp32, eta 0": (1e-3, sample_without_noise, lambda _: sample_without_noise("cpu")),
    "batches of 100 and of 7": (1e-3, sample_small, partial(sample_small, batch_size=7)),
    "fp32 and bf16": (0.02, sample_small, BF16),
    "training twice from one seed, bf16": (0.0, train_weights, train_weights),
    "eager and compiled, bf16": (0.02, BF16, partial(BF16, is_compiled=True)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_two_ways_to_the_same_numbers(name: str, device: str):
    if "compiled" in name and (device == "sim" or not can_compile(device)):
        pytest.skip("networks are compiled for a card by its compiler")
    limit, one, other = WAYS[name]
    assert (one(device).cpu() - other(device).cpu()).abs().mean() <= limit


@pytest.mark.slow
def test_ten_steps_of_both_loops_do_not_wait(device: str, waits: Waits):
    """On a card, PyTorch raises where one of them waits."""
    noise = BlockNoise(0, range(64), SHAPE, torch.device(device))
    training = train(network(device).train(), noise(), LogNormal(), n_images=1280, stratified=True, stable_above=2.0)
    model = network(device).requires_grad_(False)
    schedule = torch.logspace(1.5, -1.5, 13).tolist()
    sampling = checked_steps(model, Euler(1.0), schedule, noise() * schedule[0], noise, at_once=False)
    next(sampling), next(training)  # of the first step, libraries may wait
    waits.clear()
    set_mode: Callable[[str], object] = torch.cuda.set_sync_debug_mode if device == "cuda" else str
    set_mode("error")
    try:
        *_, (x, step) = islice(zip(sampling, training, strict=False), 10)
    finally:
        set_mode("default")
    assert count_waits(waits) == 0 and (step.loss + x.mean()).isfinite()


@pytest.mark.slow(20)
@pytest.mark.usefixtures("drawn")
def test_an_experiment_and_score(tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch):
    one_of, resolve = machine.one_of, Machine.resolve
    allow = lambda name, value, names: value if value == device else one_of(name, value, names)  # noqa: E731
    by_default = lambda name, *more: replace(resolve("cpu", *more), device=device if name == "auto" else name)  # noqa: E731
    monkeypatch.setattr(machine, "one_of", allow)
    monkeypatch.setattr(Machine, "resolve", by_default)
    few = ("--only-primary", "--train-images", "256")
    on_device = smoke(tmp_path, "beta", *few).rows()
    here = smoke(tmp_path, "beta", *few, "--device", "cpu", out="here").rows()
    assert set(on_device["status"]) == {"ok"} and not set(on_device["run_id"]) & set(here["run_id"])
    np.testing.assert_allclose(on_device["mmd"], here["mmd"], rtol=0.05)
    sets = [tmp_path / "real.npy", tmp_path / "a.npy", tmp_path / "b.npy"]
    for index, file in enumerate(sets):
        np.save(file, DIGITS.pixels[200 * index :, 0][:200].numpy())
    places = ["--features", "digits", "--out", str(tmp_path / "score"), "--store", str(tmp_path / "store")]
    ended = typed("score", *map(str, sets), *places)
    assert ended.status == 0, ended.stderr


def test_choices_on_cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Under a CUDA that only says that it is there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    card = Machine.resolve("auto")
    run = replace(spine.run(network=spine.trained()), machine=card)
    others = [replace(run, network=replace(run.network, seed=seed)) for seed in range(1, 7)]
    assert (card.device, run.batch_size) == ("cuda", run.n) and replace(run, n=20_000).batch_size == 8192
    assert [_trained_together([run, *others[:n]], Cache(tmp_path)) for n in (0, 2, 6)] == [1, 3, 5]
    cuda = torch.device("cuda")
    sizes = [seeded_noise.block_size(shape, cuda) for shape in (SHAPE, (2,), (3, 32, 32), (3, 256, 256))]
    assert sizes == [1024, 1024, 320, 64]
    made = list[dict[str, Any]]()
    output, x = SimpleNamespace(clone=lambda: "a copy"), cast(Tensor, SimpleNamespace(device=cuda))
    monkeypatch.setattr(torch, "compile", lambda model, **how: made.append(how) or (lambda x, sigma: output))
    assert Compiled(GaussianDenoiser(), 64)._evaluate(x, x) == "a copy" and made[0]["mode"] == "reduce-overhead"


# --- what the simulated device must find ---


@dataclass(frozen=True)
class Faulty(Euler):
    """Euler, but for what is done with each x."""

    change: Callable[[Tensor], Tensor] = Tensor.clone

    def run(self, *inputs: Any) -> Iterator[Tensor]:
        yield from map(self.change, super().run(*inputs))


def take_another_generator(patch: pytest.MonkeyPatch, device: str):
    make = torch.Generator
    patch.setattr(seeded_noise.torch, "Generator", lambda device: make("cpu"))
    make_samples(GaussianDenoiser(), device)


def take_a_host_tensor(patch: pytest.MonkeyPatch, device: str):
    patch.setattr(kernels, "gaussian", lambda block, **of: block.squares * torch.ones(20, 1))
    ReferenceSet.of(torch.rand(20, 9, dtype=torch.float64).to(device))


def sample_with(change: Callable[[Tensor], Tensor]) -> Plant:
    return lambda patch, device: make_samples(GaussianDenoiser(), device, Faulty(change=change))


FAULTS = {
    "no device": sample_with(lambda x: x.add_(torch.zeros(SHAPE))),
    "schedule on the CPU": sample_with(lambda x: x * torch.tensor(SCHEDULE)[:1]),
    "mask of numpy": sample_with(lambda x: torch.where(torch.from_numpy(np.ones(SHAPE, bool)), x, 0.0)),
    "network on the CPU": lambda patch, device: make_samples(adapters.flow(OfOthers(), DIGITS), device),
    "generator": take_another_generator,
    "host tensor in a kernel": take_a_host_tensor,
}


@pytest.mark.parametrize("plant", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(plant: Plant, device: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RuntimeError, match=r"several devices|generator on cpu|same device|device type"):
        plant(monkeypatch, device)


def test_waits_are_counted_where_they_are(device: str, waits: Waits):
    x = torch.arange(4.0, device=device)
    assert float(x.sum()) == 6 and len(x[x > 1]) == 2 and x.cpu().tolist() == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="cpu"):
        x.numpy()
    x[1:].add_(1)  # in place through a view
    assert x.tolist() == [0, 2, 3, 4]
    reasons = Counter(reason for reason, where in waits.elements() if where.startswith("tests/test_devices"))
    assert device != "sim" or reasons == {"number read": 2, "shape read": 1, "to the host": 1}
