"""Everything runs on a device as on the CPU, and no loop waits for it: on the simulated one, or with --device cuda.

A card draws its own noise and rounds differently, so there samples are finite, and waits are not counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from simulated_device import Waits, simulated_device
from smoke import smoke, typed
from torch import Tensor, nn

from bench.gpu_check import CHECKS, COMPILED
from diffusion_core import NOISE_DISTRIBUTIONS, SAMPLERS, adapters, build, load, sample, train
from diffusion_core.adapters import CosineVP, LinearVP, LogSigma, Sigma, linear_betas
from diffusion_core.exact import Empirical, GaussianDenoiser
from diffusion_core.exact.tied_mixture import TiedMixture
from diffusion_core.networks import PARAMETERISATIONS, TRUNKS
from diffusion_core.noise import LogNormal
from diffusion_core.samplers import AlphaBeta, Euler, KadkhodaieSimoncelli, Sampler, seeded_noise
from diffusion_core.schedules import alpha_beta_ladder
from diffusion_core.weightings import WEIGHTINGS
from experiments.distances import kernels
from experiments.distances.duplicates import duplicate_mask, find_clusters, squared_nearest, tolerance
from experiments.distances.equivalence import compare_distributions, is_reordered
from experiments.distances.reference import ReferenceSet, precision_recall
from experiments.run import machine
from experiments.run.machine import Machine
from experiments.user.features import open_extractor

LADDER = (30.0, 3.0, 0.5, 0.03)
SHAPE = (1, 32, 32)
DIGITS = load("mnist5k")


@pytest.fixture(scope="module")
def device(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def waits(device: str) -> Iterator[Waits]:
    if device == "sim":
        with simulated_device() as counted:
            yield counted
    else:
        yield Waits()


def count_waits(waits: Waits, *files: str) -> int:
    """How often these files of the method waited; by default all but sampling.py, which looks at each whole batch."""
    places = [(where.partition(":")[0], n) for (_, where), n in waits.items() if where.startswith("diffusion_core")]
    return sum(n for file, n in places if (file.endswith(files) if files else not file.endswith("sampling.py")))


def assert_alike(on_device: Tensor, here: Tensor, device: str, drawn: bool = False, tolerance: float = 1e-4) -> None:
    """`drawn`: from noise, of which a card has its own."""
    assert on_device.device.type == device
    if drawn and device != "sim":
        assert on_device.shape == here.shape and on_device.isfinite().all()
    else:
        torch.testing.assert_close(on_device.cpu(), here, rtol=tolerance, atol=tolerance)


class OfOthers(nn.Module):
    """A network of other people: z, time, labels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.classes = nn.Conv2d(1, 1, 3, padding=1), nn.Embedding(11, 1)

    def forward(self, z: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = time.view(-1, 1, 1, 1).to(z.dtype)
        return self.layer(z) + shift + (0 if labels is None else self.classes(labels).view(-1, 1, 1, 1))


EXACT: dict[str, Callable[[], Any]] = {
    "gaussian": GaussianDenoiser,
    "mixture": lambda: TiedMixture.standard(1024),
    "empirical": lambda: Empirical(DIGITS.standardised()[:70]),
}
ADAPTERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "vp-table": lambda net: adapters.vp(net, DIGITS, time=linear_betas(), side=28),
    "vp-linear": lambda net: adapters.vp(net, DIGITS, time=LinearVP(), predicts="v"),
    "vp-cosine": lambda net: adapters.vp(net, DIGITS, time=CosineVP(), predicts="x0"),
    "edm": lambda net: adapters.edm(net, DIGITS, time=Sigma()),
    "edm-log": lambda net: adapters.edm(net, DIGITS, time=LogSigma(0.25)),
    "flow": lambda net: adapters.flow(net, DIGITS),
    "balanced": lambda net: adapters.flow(net, DIGITS, data_at=1, labels="balanced", n_classes=10),
    "guided": lambda net: adapters.vp(net, DIGITS, labels=3, n_classes=10, guidance=2.0, null_label=10),
}
OF_SAMPLERS: dict[str, Sampler] = {name: kind() for name, kind in SAMPLERS.items()} | {
    "alpha-beta": AlphaBeta(0.3, 0.2),
    "kadkhodaie-simoncelli": KadkhodaieSimoncelli(beta_ks=0.5, max_steps=3),
}


def draw(model: Any, device: str, sampler: Sampler = Euler(1.0)) -> Tensor:  # noqa: B008
    ladder = alpha_beta_ladder(0.3, 0.2, 30.0, 3.0) if isinstance(sampler, AlphaBeta) else LADDER
    return sample(model, ladder, sampler, n_samples=70, shape=SHAPE, batch_size=64, device=device, final_denoise=True)


def on(model: Any, device: str) -> Any:
    return model.to(device) if isinstance(model, nn.Module) else model


@pytest.mark.parametrize("sampler", OF_SAMPLERS.values(), ids=OF_SAMPLERS)
def test_samplers_do_not_wait_within_a_batch(sampler: Sampler, device: str, waits: Waits) -> None:
    model = GaussianDenoiser()
    assert_alike(draw(model, device, sampler), draw(model, "cpu", sampler), device, drawn=True)
    assert count_waits(waits) == 0
    looks = [where for (reason, where) in waits.elements() if reason == "number read" and "sampling.py" in where]
    assert len(looks) == (2 if device == "sim" else 0)  # one for each batch


@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT)
def test_exact_denoisers(make: Callable[[], Any], device: str, waits: Waits) -> None:
    x = 3 * torch.randn(70, *SHAPE, generator=torch.Generator().manual_seed(0))
    sigma = torch.logspace(-1.5, 1, 70)
    here, there = make()(x, sigma), on(make(), device)
    placed = x.to(device), sigma.to(device)
    waits.clear()
    assert_alike(there(*placed), here, device, tolerance=1e-3)
    assert count_waits(waits) == 0
    assert_alike(draw(there, device), draw(make(), "cpu"), device, drawn=True, tolerance=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("make", ADAPTERS.values(), ids=ADAPTERS)
def test_adapters(make: Callable[[nn.Module], nn.Module], device: str) -> None:
    here = draw(make(OfOthers()), "cpu")
    assert_alike(draw(make(OfOthers()).to(device), device), here, device, drawn=True, tolerance=1e-3)
    net = OfOthers().to(device)
    plain: Any = lambda *inputs: net(*inputs)  # noqa: E731  # a plain function
    assert_alike(draw(make(plain), device), here, device, drawn=True, tolerance=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS)
@pytest.mark.parametrize("name", TRUNKS)
def test_networks_and_their_training(name: str, parameterisation: str, device: str, waits: Waits) -> None:
    shape = (2,) if name == "mlp" else SHAPE
    images = torch.randn(66, *shape, generator=torch.Generator().manual_seed(0))
    outputs = list[Tensor]()
    for where, precision in ((device, "bf16"), ("cpu", "fp32")):  # the simulated device has no autocast
        torch.manual_seed(0)
        network = build(name, 2 if name == "mlp" else 1, parameterisation).to(where)
        placed = images.to(where)
        if network.needs_fit:
            network.fit(placed)
        waits.clear()
        for _ in train(network, placed, LogNormal(), n_images=20, batch_size=10, precision=precision):
            pass
        assert count_waits(waits) <= 3  # whether a mixture is fitted, and the loss at the end
        outputs.append(network.eval()(placed[:5], torch.ones(5, device=where)).detach())
    assert_alike(outputs[0], outputs[1], device, drawn=True, tolerance=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOISE_DISTRIBUTIONS)
@pytest.mark.parametrize("options", [{}, {"stratified": True}, {"stable_above": 2.0}], ids=["", "stratified", "stable"])
def test_training_does_not_wait_within_fifty_steps(name: str, options: Any, device: str, waits: Waits) -> None:
    images = torch.randn(66, *SHAPE, generator=torch.Generator().manual_seed(0))
    for weighting in WEIGHTINGS if name == "lognormal" else ["karras"]:
        losses = list[Tensor]()
        for where in (device, "cpu"):
            torch.manual_seed(0)
            network, noise, placed = build("small").to(where), NOISE_DISTRIBUTIONS[name](), images.to(where)
            waits.clear()
            steps = [*train(network, placed, noise, n_images=40, batch_size=10, weighting=weighting, **options)]
            assert count_waits(waits) <= 1  # the loss at the end
            losses.append(steps[-1].loss)
        assert_alike(losses[0], losses[1], device, drawn=True, tolerance=1e-3)


def test_distances(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CARD_BLOCK", 32)
    monkeypatch.setattr(kernels, "CPU_BLOCK", 50)
    rng = np.random.default_rng(0)
    real, own = (torch.from_numpy(rng.normal(size=(n, 9))) for n in (120, 40))
    groups = np.arange(40) % 7

    def measure(where: str) -> list[Any]:
        y, x = real.to(where), own.to(where)
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
def test_features(name: str, device: str) -> None:
    there, here = (open_extractor(name, device=where)(DIGITS.pixels[:3])[0] for where in (device, "cpu"))
    assert_alike(there, here, device, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHECKS if name != COMPILED])
def test_gpu_check(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.gpu_check.LADDER", LADDER)
    limit, make = CHECKS[name]
    one, other = (samples.cpu() for samples in make(device))
    assert (one - other).abs().mean() <= limit


@pytest.fixture
def as_default(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """`--device auto` is the device."""
    one_of, resolve = machine.one_of, Machine.resolve

    def allow(name: str, value: str, names: Any) -> str:
        return value if value == device else one_of(name, value, names)

    def resolve_here(where: str, *more: Any, **options: Any) -> Machine:
        return replace(resolve("cpu", *more, **options), device=device if where == "auto" else where)

    monkeypatch.setattr(machine, "one_of", allow)
    monkeypatch.setattr(Machine, "resolve", resolve_here)


@pytest.mark.slow(60)
def test_an_experiment(as_default: None, tmp_path: Path) -> None:
    there = smoke(tmp_path, "beta", "--precision", "fp32").rows()
    here = smoke(tmp_path, "beta", "--precision", "fp32", "--device", "cpu", out="here").rows()
    assert len(there) == len(here) and set(there["status"]) == {"ok"}
    assert not set(there["run_id"]) & set(here["run_id"])
    np.testing.assert_allclose(there["mmd"], here["mmd"], rtol=0.05)


@pytest.mark.slow(20)
def test_score(as_default: None, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.npy" for name in ("real", "a", "b")]
    for number, file in enumerate(files):
        np.save(file, DIGITS.pixels[200 * number : 200 * (number + 1), 0].numpy())
    places = ["--features", "digits", "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    ended = typed("score", *map(str, files), *places)
    assert ended.status == 0, ended.stderr


# --- what the simulated device must find: five faults ---


class Forgetful(Euler):
    """A tensor made without a device."""

    def run(self, eps: Any, x: Tensor, sigmas: Any, noise: Any) -> Iterator[Tensor]:
        for step in super().run(eps, x, sigmas, noise):
            yield step.add_(torch.zeros(SHAPE))


class OnTheHost(Euler):
    """A schedule that stays on the CPU."""

    def run(self, eps: Any, x: Tensor, sigmas: Any, noise: Any) -> Iterator[Tensor]:
        levels = torch.tensor(sigmas)
        for now, after in pairwise(range(len(sigmas))):
            x = x + (levels[after] - levels[now : now + 1]) * eps(x, sigmas[now])
            yield x


class Masked(Euler):
    """A mask of numpy."""

    def run(self, eps: Any, x: Tensor, sigmas: Any, noise: Any) -> Iterator[Tensor]:
        for step in super().run(eps, x, sigmas, noise):
            yield torch.where(torch.from_numpy(np.ones(SHAPE, bool)), step, 0.0)


def take_another_generator(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    make = torch.Generator
    monkeypatch.setattr(seeded_noise.torch, "Generator", lambda device: make("cpu"))
    draw(GaussianDenoiser(), device)


def take_a_host_tensor(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(kernels.Gaussian, "__call__", lambda self, block: block.squares * torch.ones(20, 1))
    ReferenceSet.of(torch.rand(20, 9, dtype=torch.float64).to(device))


FAULTS: dict[str, Callable[[pytest.MonkeyPatch, str], Any]] = {
    "no device": lambda patch, device: draw(GaussianDenoiser(), device, Forgetful()),
    "adapter of a network on the CPU": lambda patch, device: draw(adapters.flow(OfOthers(), DIGITS), device),
    "schedule on the CPU": lambda patch, device: draw(GaussianDenoiser(), device, OnTheHost()),
    "mask of numpy": lambda patch, device: draw(GaussianDenoiser(), device, Masked()),
    "generator": take_another_generator,
    "host tensor in a kernel": take_a_host_tensor,
}


@pytest.mark.parametrize("plant", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(
    plant: Callable[[pytest.MonkeyPatch, str], Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match=r"several devices|generator on cpu|same device|device type"):
        plant(monkeypatch, device)


def test_waits_are_counted_where_they_are(device: str, waits: Waits) -> None:
    if device != "sim":
        pytest.skip("only the simulated device counts waits")
    x = torch.arange(4.0, device="sim")
    assert float(x.sum()) == 6 and len(x[x > 1]) == 2 and x.cpu().tolist() == [0, 1, 2, 3] and x.tolist()
    with pytest.raises(TypeError, match="cpu"):
        x.numpy()
    x[1:].add_(1)  # in place through a view
    assert x[torch.tensor([3])].device.type == "sim" and x.cpu()[3] == 4
    reasons = Counter(reason for reason, where in waits.elements() if where.startswith("tests/test_devices"))
    assert reasons == {"number read": 2, "shape read": 1, "to the host": 2, "to the device": 1}
