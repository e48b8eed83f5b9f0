"""Everything is tried on the meta device, so that a tensor left on the CPU is found without a GPU.

Where a value is read, a stand-in is returned. Some operations of the meta device take tensors of the CPU without an
error, so the devices of all operations are compared here.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusion_core import NOISE_DISTRIBUTIONS, SAMPLERS, adapters, build, load, sample, train
from diffusion_core.adapters import CosineVP, LinearVP, LogSigma, Sigma, linear_betas
from diffusion_core.exact.empirical import Empirical
from diffusion_core.exact.gaussian import GaussianDenoiser
from diffusion_core.exact.tied_mixture import TiedMixture
from diffusion_core.networks import PARAMETERISATIONS, TRUNKS
from diffusion_core.samplers import AlphaBeta, Euler, KadkhodaieSimoncelli, Sampler
from diffusion_core.schedules import alpha_beta_ladder
from diffusion_core.training import WEIGHTINGS
from experiments.distances import features
from experiments.distances.feature_spaces import FEATURES

META = torch.device("meta")
LADDER = (30.0, 3.0, 0.5, 0.03)
SHAPE = (1, 32, 32)


class MetaGenerator(torch.Generator):
    """A generator of the meta device, which torch does not have; for the device of a tensor without one, the CPU's."""

    device = META

    def __new__(cls, device: torch.device | str = "cpu") -> "torch.Generator":
        return super().__new__(cls) if torch.device(device) == META else GENERATOR(device)


class StandIns(TorchFunctionMode):
    """Values that are read from meta tensors: every condition holds, no entry is 0, every number is 1."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if isinstance(kwargs.get("generator"), MetaGenerator):
            assert torch.device(kwargs.get("device", META)) == META
            del kwargs["generator"]
        if function in (Tensor.__bool__, Tensor.item) and args[0].is_meta:
            return True if function is Tensor.__bool__ else 1.0
        if function is Tensor.nonzero and args[0].is_meta:
            return torch.zeros(args[0].numel(), args[0].ndim, dtype=torch.long, device=META)
        return function(*args, **kwargs)


class OneDevice(TorchDispatchMode):
    """Raises RuntimeError for an operation on tensors of both devices, as CUDA does. A 0-d tensor may be on the CPU."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim > 0}
        if len(devices) > 1 and function not in ACROSS_DEVICES:
            raise RuntimeError(f"{function}: tensors on several devices, {sorted(devices)}")
        return function(*args, **(kwargs or {}))


ACROSS_DEVICES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


@pytest.fixture(autouse=True)
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch, "Generator", MetaGenerator)
    # the fused and foreach kernels are not there for meta
    monkeypatch.setattr(torch.optim, "AdamW", lambda *values, fused, **more: ADAMW(*values, **more))
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda values, most, foreach: CLIP(values, most))
    with OneDevice(), StandIns():
        yield


ADAMW, CLIP, GENERATOR = torch.optim.AdamW, nn.utils.clip_grad_norm_, torch.Generator


class OfOthers(nn.Module):
    """A network of other people: z, time, labels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.classes = nn.Conv2d(1, 1, 3, padding=1), nn.Embedding(11, 1)

    def forward(self, z: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = time.view(-1, 1, 1, 1).to(z.dtype)
        return self.layer(z) + shift + (0 if labels is None else self.classes(labels).view(-1, 1, 1, 1))


DIGITS = load("mnist5k")
EXACT: dict[str, Callable[[], Any]] = {
    "gaussian": GaussianDenoiser,
    "mixture": lambda: TiedMixture.standard(1024).to(META),
    "empirical": lambda: Empirical(DIGITS.standardised()[:5]).to(META),
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


def draw(model: Any, sampler: Sampler = Euler(1.0)) -> Tensor:  # noqa: B008
    ladder = alpha_beta_ladder(0.3, 0.2, 30.0, 3.0) if isinstance(sampler, AlphaBeta) else LADDER
    return sample(model, ladder, sampler, n_samples=70, shape=SHAPE, batch_size=64, device=META, final_denoise=True)


@pytest.mark.parametrize("sampler", OF_SAMPLERS.values(), ids=OF_SAMPLERS)
def test_samplers(sampler: Sampler) -> None:
    samples = draw(OfOthers().to(META), sampler)
    assert samples.device == META and samples.shape == (70, *SHAPE)


def test_a_tensor_left_on_the_cpu_is_found() -> None:
    class Forgetful(Euler):
        def run(self, eps: Any, x: Tensor, sigmas: Any, noise: Any) -> Iterator[Tensor]:
            for step in super().run(eps, x, sigmas, noise):
                yield step.add_(torch.ones(SHAPE))

    network = build("small").to(META)
    for model, sampler in ((network, Forgetful()), (adapters.flow(OfOthers(), DIGITS), Euler(1.0))):
        with pytest.raises(RuntimeError, match="several devices"):
            draw(model, sampler)


@pytest.mark.slow
@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS)
@pytest.mark.parametrize("name", TRUNKS)
def test_networks(name: str, parameterisation: str) -> None:
    network = build(name, 2 if name == "mlp" else 1, parameterisation).to(META)
    shape = (2, 2) if name == "mlp" else (2, *SHAPE)
    assert network(torch.zeros(shape, device=META), torch.ones(2, device=META)).device == META


@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT)
def test_exact_denoisers(make: Callable[[], Any]) -> None:
    assert draw(make()).device == META


@pytest.mark.slow
@pytest.mark.parametrize("make", ADAPTERS.values(), ids=ADAPTERS)
def test_adapters(make: Callable[[nn.Module], nn.Module]) -> None:
    assert draw(make(OfOthers()).to(META)).device == META
    net = OfOthers().to(META)
    assert draw(make(lambda *inputs: net(*inputs))).device == META  # type: ignore[arg-type]  # a plain function


@pytest.mark.slow
@pytest.mark.parametrize("stratified", [False, True], ids=["independent", "stratified"])
def test_training(stratified: bool) -> None:
    """Every noise distribution, every weighting, and a network of our own."""
    cases = [*((law, "karras") for law in NOISE_DISTRIBUTIONS), *(("vp", weighting) for weighting in WEIGHTINGS)]
    images = torch.zeros(100, *SHAPE, device=META)
    for model in (build("small"), *(OfOthers() for _ in cases[1:])):
        law, weighting = cases.pop()
        noise = NOISE_DISTRIBUTIONS[law]()
        steps = train(model.to(META), images, noise, n_images=130, weighting=weighting, stratified=stratified)
        assert [*steps][-1].loss.device == META, (law, weighting)


def test_feature_spaces() -> None:
    for name, channels in (("digits", 1), ("natural", 3)):
        extractor = features.load_extractor(name, features.weights_file(name)).to(META)
        layers = extractor(torch.zeros(2, channels, 32, 32, dtype=torch.uint8, device=META))
        assert layers[0].shape == (2, FEATURES[name]) and layers[0].device == META
