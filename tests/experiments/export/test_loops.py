"""Every export is run, with the same noise, against the library that it is for, and gives our images."""

import math
import operator as op
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any, ClassVar

import pytest
import torch
from arrays import column, normal
from torch import Tensor
from torch.testing import assert_close
from user_images import black

from diffusion_core import adapters
from diffusion_core.adapters import Convention
from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import (
    ERSDE,
    RES2M,
    RES2S,
    Accelerated,
    DPMpp2M,
    DPMpp2MSDE,
    Euler,
    EulerChurn,
    EulerInInterval,
    EulerTwoPart,
    Heun,
    Interval,
    KadkhodaieSimoncelli,
    Model,
    Restart,
    Sampler,
    sample,
)
from diffusion_core.samplers.base import Eps, Noise
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import karras
from experiments.export.export import N_IMAGES, as_users_call, run_code
from experiments.export.loops import ExportTarget, UnsupportedError, diffusers_loop, torch_loop

LIMIT = math.inf


def _share(sigma: float, following: float, power: float) -> float:
    return min(1 - op.pow(following / sigma, power), LIMIT)


@dataclass(frozen=True)
class Slowed(Sampler):
    """A user's own: with a parameter, a method, and a function, a constant and an import beside it."""

    power: float = 1.0

    def move(self, x: Tensor, unit: Tensor, sigma: float, following: float) -> Tensor:
        return x - sigma * _share(sigma, following, self.power) * unit

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        for sigma, following in pairwise(sigmas):
            x = self.move(x, eps(x, sigma), sigma, following)
            yield x


@dataclass(frozen=True)
class Weighted(Slowed):
    """A user's own that needs an object which is no text."""

    weights: ClassVar[Tensor] = torch.ones(1)

    def move(self, x: Tensor, unit: Tensor, sigma: float, following: float) -> Tensor:
        return x + self.weights * (following - sigma) * unit


SIDE, SEED = 8, 3
SIGMAS = karras(6, 20.0, 0.05)
CHURN = {"s_churn": 1.5, "s_min": 0.2, "s_max": 10.0, "s_noise": 1.01}  # at three of six levels
SAMPLERS: list[Sampler] = [
    Euler(0.0), Euler(0.5), Euler(1.0), EulerTwoPart(1.0, 0.3, 1.0, 0.98), EulerInInterval(0.8, 0.2, 5.0), Heun(),
    Heun(**CHURN), EulerChurn(**CHURN), EulerChurn(s_churn=1.0), DPMpp2M(), DPMpp2MSDE(0.7), RES2M(), RES2S(),
    ERSDE(1), ERSDE(2), ERSDE(3), Accelerated(), Slowed(0.7)
]  # fmt: skip
RESTART = Restart((Interval(0.2, 2.0, 2, 2),))
IMAGES = black(SIDE)


def net(z: Tensor, time: Tensor, *labels: Tensor) -> Tensor:
    """Some smooth function: nothing here depends on what is learned."""
    out = torch.tanh(z) + column(torch.cos(0.01 * time.float()))
    return out + 0.1 * column(labels[0]) if labels else out


def in_place(z: Tensor, time: Tensor) -> Tensor:
    out = net(z, time)
    z.mul_(0.5)
    return out


def indexed(x: Tensor, sigma: Tensor, index: Tensor) -> Tensor:
    return torch.tanh(x) + 0.1 * column(index % 4)


indexed.takes_index = True  # type: ignore[attr-defined]


class Format(torch.nn.Module):
    """A network that accepts its own number format only, and rounds little enough to be compared."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor, time: Tensor, *labels: Tensor) -> Tensor:
        assert z.dtype == self.one.dtype
        assert time.dtype == (torch.float64 if z.dtype == torch.float64 else torch.float32)
        return (z > 0).to(z.dtype) - 0.5 + (0.1 * column(labels[0]).to(z.dtype) if labels else 0)


vp, edm, flow = (partial(make, data=IMAGES) for make in (adapters.vp, adapters.edm, adapters.flow))
GUIDED: dict[str, Any] = {"labels": 2, "n_classes": 10, "guidance": 3.0, "null_label": 10}
MODELS: dict[str, Model] = {
    "ours": GaussianDenoiser(),
    "vp eps": vp(net),
    "vp v, cosine, side": vp(net, predicts="v", time=adapters.CosineVP(), pixels=(0, 1), side=6),
    "vp whole": vp(net, time=adapters.linear_betas(whole=True)),
    "edm x0": edm(net, pixels=(-0.5, 0.5)),
    "flow": flow(net, labels="balanced", n_classes=3),
    "flow, data at 1": flow(net, data_at=1),
    "one label": flow(net, labels=2),
    "guided": flow(net, **GUIDED),
    "guided between levels": flow(net, **GUIDED, guidance_from=0.3, guidance_to=5.0),
    "guided, balanced": edm(net, labels="balanced", n_classes=3, guidance=0.3, null_label=3),
    "in place": edm(in_place, predicts="eps"),
    "half": vp(Format().half()),
    "guided, half": vp(Format().half(), **GUIDED),
    "double": edm(Format().double()),
    "index": indexed,
}


def pairs(samplers: list[Sampler], names: Iterable[str]) -> pytest.MarkDecorator:
    """Each sampler with one network, and each network with two samplers: one of its noise, one of two evaluations."""
    chosen = [(name, sampler) for name in names for sampler in (Euler(0.5), Heun())]
    chosen += [("flow", RES2S())]
    chosen += [("vp eps", sampler) for sampler in samplers if ("vp eps", sampler) not in chosen]
    return pytest.mark.parametrize("name, sampler", chosen, ids=lambda value: getattr(value, "name", value))


ends = pytest.mark.parametrize("to_zero", [False, True], ids=["", "ending at 0"])


def target(sampler: Sampler, model: Model, to_zero: bool = False) -> ExportTarget:
    return ExportTarget("test", sampler, SIGMAS, to_zero, model, IMAGES)


def ours(sampler: Sampler, model: Model, to_zero: bool = False) -> Tensor:
    return sample(model, SIGMAS, sampler, n_samples=N_IMAGES, shape=IMAGES.shape, seed=SEED, final_denoise=to_zero)


def users(model: Model) -> tuple[Callable[..., Tensor], Callable[[], Tensor], Callable[[Tensor], Tensor]]:
    return as_users_call(model, BlockNoise(SEED, range(N_IMAGES), IMAGES.shape, torch.device("cpu")))


@pairs([*SAMPLERS, RESTART], MODELS)
@ends
def test_the_torch_loop_gives_our_images(name: str, sampler: Sampler, to_zero: bool):
    theirs_net, noise, back = users(model := MODELS[name])
    images = back(run_code(torch_loop(target(sampler, model, to_zero)))(theirs_net, noise))
    edge = (SIDE - images.shape[-1]) // 2
    inner = ours(sampler, model, to_zero)[..., edge : SIDE - edge, edge : SIDE - edge]
    assert_close(images, inner, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "make, sampler, name, message",
    [
        (torch_loop, KadkhodaieSimoncelli(), "vp eps", r"kadkhodaie-simoncelli.* measures its levels"),
        (torch_loop, Weighted(), "vp eps", r"Weighted\(power=1\) uses weights, which cannot be written as text"),
        (diffusers_loop, Euler(0.5), "vp eps", r"diffusers has no scheduler for euler\(eta=0.5\) at given levels"),
        (diffusers_loop, RES2S(), "vp eps", "diffusers has no scheduler for res-2s at given levels"),
        (diffusers_loop, Heun(**CHURN), "vp eps", "diffusers evaluates the network before it adds the churn"),
        *((diffusers_loop, Euler(0.0), name, "diffusers' schedulers need a network with a table of times")
          for name in ("ours", "edm x0", "flow", "vp v, cosine, side")),
        (diffusers_loop, Euler(0.0), "vp whole", r"those of your network are rounded \(whole=True\); use the torch"),
    ],
)  # fmt: skip
def test_what_a_library_cannot_express_is_said(
    make: Callable[[ExportTarget], str], sampler: Sampler, name: str, message: str
):
    with pytest.raises(UnsupportedError, match=message):
        make(target(sampler, MODELS[name]))


ALL = Convention("flow", adapters.FlowTime(), "velocity", side=6, labels="balanced", n_classes=3, guidance=2.0,
                 null_label=5)  # fmt: skip


@pytest.mark.parametrize(
    "name, unit",
    [
        ("vp v, cosine, side", "from 0 (black) to 1 (white)"),
        ("flow", "from -1 (black) to 1 (white)"),
        ("index", "in standard deviations of the data"),
    ],
)
def test_the_last_line_is_a_call_that_works(name: str, unit: str):
    code = torch_loop(target(Euler(0.0), MODELS[name]))
    call, comment = code.splitlines()[-1].removeprefix("# images = ").split("  # ")
    images = eval(call, {"sample": run_code(code), "net": users(MODELS[name])[0], "torch": torch})
    assert comment == unit and images.shape == (16, *target(Euler(0.0), MODELS[name]).shape)


def test_what_the_network_is_told_is_said_in_the_code_and_in_settings_json():
    half = target(Euler(0.0), adapters.Adapter(Format().half(), IMAGES, ALL))
    assert torch_loop(half).splitlines()[2:5] == [
        "# Noise: 1 x 6 x 6 per image",
        "# Labels: image i has label i % 3",
        "# Guidance: classifier-free, scale 2; label 5 is no label",
    ]
    assert half.entries().items() >= {
        "model_shape": [1, 6, 6], "model_labels": "balanced", "model_n_classes": 3, "model_guidance": 2.0,
        "model_null_label": 5, "model_takes_index": True, "model_dtype": "float16", "model_guidance_from": 0.0,
        "model_guidance_to": None,
    }.items()  # fmt: skip
    ours = target(Euler(0.0), MODELS["ours"]).entries()
    assert ours["model_shape"] == [1, SIDE, SIDE] and ours["model_labels"] is None and ours["model_dtype"] is None
    sampled = run_code(torch_loop(target(Euler(0.0), MODELS["flow"])))
    noise = normal(1, 1, SIDE, SIDE)
    one, other, again = (sampled(net, lambda: noise, first=first) for first in (0, 1, 3))
    assert torch.equal(one, again) and not torch.allclose(one, other)  # labels are those of the first image's index


LABELLED = partial(vp, Format().half(), **GUIDED)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize(
    "sampler, make, predicts, to_zero",
    [
        *product((Euler(0.0), Euler(1.0), Heun(), DPMpp2M(), DPMpp2MSDE()), [partial(vp, net)], "ev", (False, True)),
        *product((Euler(0.0), DPMpp2M()), (LABELLED, partial(vp, in_place)), "e", [False]),  # z is its own, or x
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_diffusers_gives_our_images(
    sampler: Sampler, make: Callable[..., Model], predicts: str, to_zero: bool, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")
    from diffusers import DDPMScheduler
    from diffusers.schedulers import scheduling_dpmsolver_multistep, scheduling_euler_ancestral_discrete

    ours_is, theirs_is = {"e": ("eps", "epsilon"), "v": ("v", "v_prediction")}[predicts]
    config = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=theirs_is, clip_sample=True)
    model = make(predicts=ours_is, time=adapters.from_abar(config.alphas_cumprod))
    theirs_net, noise, back = users(model)
    for module in (scheduling_dpmsolver_multistep, scheduling_euler_ancestral_discrete):
        monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: noise())
    images = back(run_code(diffusers_loop(target(sampler, model, to_zero)))(theirs_net, config.config, noise))
    assert_close(images, ours(sampler, model, to_zero), rtol=0, atol=1e-3)
