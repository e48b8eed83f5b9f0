"""Every export is run, with the same noise, against the library that it is for, and gives our images."""

import math
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_core import adapters
from diffusion_core.data import Images
from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import DPMpp2M, Euler, Heun, Model, Restart, Sampler, sample
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import karras
from experiments.export import export
from experiments.export.export import as_users_call
from experiments.export.libraries import diffusers, k_diffusion
from experiments.export.target import Target
from experiments.export.torch_loop import torch_loop

SIDE, MEAN, STD, SEED = 8, 40.0, 70.0, 3
SIGMAS = karras(6, 20.0, 0.05)
SAMPLERS = [Euler(0.0), Euler(0.5), Euler(1.0), Heun(), DPMpp2M()]
IMAGES = Images("mine", torch.zeros(2, 1, SIDE, SIDE, dtype=torch.uint8), torch.zeros(2), MEAN, STD)


def net(z: Tensor, time: Tensor, *labels: Tensor) -> Tensor:
    """Some smooth function: nothing here depends on what is learned."""
    out = torch.tanh(z) + torch.cos(0.01 * time.float()).view(-1, 1, 1, 1)
    return out + 0.1 * labels[0].view(-1, 1, 1, 1) if labels else out


MODELS: dict[str, Model] = {
    "ours": GaussianDenoiser(),
    "vp eps": adapters.vp(net, IMAGES),
    "vp v, cosine, side": adapters.vp(net, IMAGES, predicts="v", time=adapters.CosineVP(), pixels=(0, 1), side=6),
    "vp whole": adapters.vp(net, IMAGES, time=adapters.linear_betas(whole=True)),
    "edm x0": adapters.edm(net, IMAGES, pixels=(-0.5, 0.5)),
    "flow": adapters.flow(net, IMAGES, labels="balanced", n_classes=3),
    "flow, data at 1": adapters.flow(net, IMAGES, data_at=1),
}


def target(sampler: Sampler, model: Model) -> Target:
    return Target.of("test", sampler, SIGMAS, model, IMAGES)


def ours(sampler: Sampler, model: Model) -> Tensor:
    return sample(model, SIGMAS, sampler, n_samples=export.N_IMAGES, shape=IMAGES.shape, seed=SEED)


def inner(x: Tensor, side: int) -> Tensor:
    edge = (SIDE - side) // 2
    return x[..., edge : SIDE - edge, edge : SIDE - edge]


def run(code: str) -> Callable[..., Tensor]:
    defined: dict[str, Any] = {}
    exec(code, defined)
    return defined["sample"]


def users(model: Model) -> tuple[Callable[..., Tensor], Callable[[], Tensor], Callable[[Tensor], Tensor]]:
    return as_users_call(model, BlockNoise(SEED, 0, export.N_IMAGES, IMAGES.shape, torch.device("cpu")))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_torch_loop_gives_our_images(model: Model, sampler: Sampler) -> None:
    code = torch_loop(target(sampler, model))
    assert code is not None
    theirs_net, noise, back = users(model)
    found = back(run(code)(theirs_net, noise))
    torch.testing.assert_close(found, inner(ours(sampler, model), found.shape[-1]), rtol=0, atol=1e-4)


def test_a_sampler_without_code_has_none() -> None:
    for sampler in (Restart(), Heun(s_churn=5.0)):
        for make in (torch_loop, k_diffusion, diffusers):
            assert make(target(sampler, MODELS["vp eps"])) is None


# ------------------------------------------------------------------------------------------------------------------
# k-diffusion pins an old numpy, so its formulas are written out here: Karras et al. 2022 (arXiv 2206.00364), Algorithm
# 1 and 2; its ancestral step; Lu et al. 2022 (arXiv 2211.01095), Algorithm 2, in lambda = -ln sigma.


def k_sampling(noise: Callable[[], Tensor]) -> types.ModuleType:
    def euler_ancestral(model: Any, x: Tensor, sigmas: Tensor, eta: float = 1.0) -> Tensor:
        for i in range(len(sigmas) - 1):
            d = (x - model(x, sigmas[i] * x.new_ones(len(x)))) / sigmas[i]
            up = min(sigmas[i + 1], eta * (sigmas[i + 1] ** 2 * (1 - sigmas[i + 1] ** 2 / sigmas[i] ** 2)) ** 0.5)
            x = x + d * ((sigmas[i + 1] ** 2 - up**2) ** 0.5 - sigmas[i])
            x = x + noise() * up if eta else x
        return x

    def heun(model: Any, x: Tensor, sigmas: Tensor) -> Tensor:
        for i in range(len(sigmas) - 1):
            d = (x - model(x, sigmas[i] * x.new_ones(len(x)))) / sigmas[i]
            y = x + d * (sigmas[i + 1] - sigmas[i])
            e = (y - model(y, sigmas[i + 1] * x.new_ones(len(x)))) / sigmas[i + 1]
            x = x + (d + e) / 2 * (sigmas[i + 1] - sigmas[i])
        return x

    def dpmpp_2m(model: Any, x: Tensor, sigmas: Tensor) -> Tensor:
        old, t = None, [-math.log(sigma) for sigma in sigmas.tolist()]
        for i in range(len(sigmas) - 1):
            d, h = model(x, sigmas[i] * x.new_ones(len(x))), t[i + 1] - t[i]
            r = (t[i] - t[i - 1]) / h if i else 1.0
            ahead = d if old is None else (1 + 1 / (2 * r)) * d - 1 / (2 * r) * old
            x, old = sigmas[i + 1] / sigmas[i] * x - math.expm1(-h) * ahead, d
        return x

    module = types.ModuleType("k_diffusion.sampling")
    functions = {
        "sample_euler": lambda model, x, sigmas: euler_ancestral(model, x, sigmas, 0.0),
        "sample_euler_ancestral": euler_ancestral,
        "sample_heun": heun,
        "sample_dpmpp_2m": dpmpp_2m,
    }
    vars(module).update(functions)
    return module


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
@pytest.mark.parametrize("name", ["ours", "vp eps", "edm x0"])
def test_k_diffusion_gives_our_images(name: str, sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[name]
    code = k_diffusion(target(sampler, model))
    assert code is not None
    _, noise, back = users(model)
    package, module = types.ModuleType("k_diffusion"), k_sampling(noise)
    package.sampling = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "k_diffusion", package)
    monkeypatch.setitem(sys.modules, "k_diffusion.sampling", module)
    scale = getattr(model, "scale", 1.0)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:  # in the network's own units
        return x - sigma.view(-1, 1, 1, 1) * model(back(x), sigma / scale)

    found = back(run(code)(denoiser, noise))
    torch.testing.assert_close(found, ours(sampler, model), rtol=0, atol=1e-3)


# ------------------------------------------------------------------------------------------------------------ diffusers


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("sampler", [Euler(0.0), Euler(1.0), Heun(), DPMpp2M()], ids=lambda sampler: sampler.name)
@pytest.mark.parametrize(("predicts", "theirs"), [("eps", "epsilon"), ("v", "v_prediction")])
def test_diffusers_gives_our_images(
    predicts: str, theirs: str, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")
    from diffusers import DDPMScheduler
    from diffusers.schedulers import scheduling_euler_ancestral_discrete as ancestral

    config = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=theirs, clip_sample=True)
    model = adapters.vp(net, IMAGES, predicts=predicts, time=adapters.from_abar(config.alphas_cumprod))
    code = diffusers(target(sampler, model))
    assert code is not None
    theirs_net, noise, back = users(model)
    monkeypatch.setattr(ancestral, "randn_tensor", lambda *args, **kwargs: noise())
    found = back(run(code)(theirs_net, config.config, noise))
    torch.testing.assert_close(found, ours(sampler, model), rtol=0, atol=1e-3)


def test_diffusers_code_is_for_its_own_conventions_only() -> None:
    for name in ("ours", "edm x0", "flow", "vp v, cosine, side", "vp whole"):
        assert diffusers(target(Euler(0.0), MODELS[name])) is None, name
    assert diffusers(target(Euler(0.5), MODELS["vp eps"])) is None
