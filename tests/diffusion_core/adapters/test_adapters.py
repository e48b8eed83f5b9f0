"""Adapters against exact denoisers: each wraps a network that is exact in its own convention."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from arrays import column, normal, seeded
from exact_networks import exact
from refusals import argument, refused
from tables import cells
from times import level_of
from torch import Tensor, nn
from torch.testing import assert_close
from user_images import black

from diffusion_core import Euler, adapters, generate_samples, sample
from diffusion_core.adapters import CosineVP, FlowTime, LinearVP, LogSigma, Sigma, Time, linear_betas
from diffusion_core.data.dataset import Values
from diffusion_core.exact import Empirical
from diffusion_core.samplers.sampling import bind_index
from diffusion_core.schedules import geometric
from diffusion_core.tensors import broadcast_like

IMAGES = black(4)
SIGMAS = torch.tensor(geometric(12, 30.0, 0.03), dtype=torch.float64)
LEVELS = np.log(np.sqrt(1 / np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)) - 1))  # ln sigma of DDPM's table
DDPM = adapters.TableTime(tuple(np.exp(LEVELS)))
DENOISER = Empirical(normal(9, *IMAGES.shape).double())
X, SIGMA = torch.randn(3, *IMAGES.shape), torch.tensor([0.1, 1.0, 9.0])


def noisy(sigma: Tensor, side: int = 4) -> Tensor:
    """As large as images with noise at these levels."""
    x = normal(len(sigma), 1, side, side, seed=2).double()
    return x * broadcast_like(x, 1 + sigma.square()).sqrt()


def test_samples_have_the_shape_of_the_adapter():
    model = adapters.edm(lambda z, sigma: z, IMAGES)
    assert generate_samples(model, beta=0.0, n_samples=2).shape == (2, *IMAGES.shape)
    assert generate_samples(model, beta=0.0, n_samples=2, shape=(1, 2, 2)).shape == (2, 1, 2, 2)


CASES: list[tuple[str, str, Time, dict[str, Any]]] = [  # a network, and what is told about it
    ("vp", "eps", DDPM, {}),
    ("vp", "x0", DDPM, {"predicts": "x0"}),
    ("vp", "v", DDPM, {"predicts": "v", "time": adapters.from_betas(np.linspace(1e-4, 0.02, 1000))}),
    ("vp", "eps", DDPM, {"time": adapters.from_abar(1 / (1 + np.exp(2 * LEVELS)))}),
    ("vp", "eps", LinearVP(19.9, 0.1), {"time": LinearVP()}),
    ("vp", "v", CosineVP(0.0), {"predicts": "v", "time": CosineVP()}),
    ("edm", "x0", Sigma(), {}),
    ("edm", "eps", LogSigma(0.25), {"predicts": "eps", "time": LogSigma(0.25)}),
    ("flow", "velocity", FlowTime(0), {}),
    ("flow", "velocity to data", FlowTime(1), {"data_at": 1}),
    ("flow", "x0", FlowTime(0), {"predicts": "x0"}),
]


@pytest.mark.parametrize("pixels", [(-1, 1), (0, 1), (-0.5, 0.5)], ids=str)
@pytest.mark.parametrize("process, returns, time, options", CASES)
def test_an_exact_network_behind_an_adapter_is_the_exact_denoiser(
    process: str, returns: str, time: Time, options: dict[str, Any], pixels: tuple[float, float]
):
    net = exact(process, returns, time, DENOISER, IMAGES, pixels)
    model = getattr(adapters, process)(net, IMAGES, pixels=pixels, **options)
    low, high = model.span
    known = SIGMAS[(low <= SIGMAS) & (high >= SIGMAS)]
    assert len(known) >= 10
    x = noisy(known)
    assert_close(model(x, known), DENOISER(x, known), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("predicts", ["eps", "v"])
def test_float32_is_close_to_float64(predicts: str):
    net = exact("vp", predicts, DDPM, DENOISER, IMAGES)
    model = adapters.vp(lambda z, t: net(z.double(), t).float(), IMAGES, predicts=predicts)
    x = noisy(SIGMAS)
    found = model(x.float(), SIGMAS.float())
    assert found.dtype == torch.float32
    assert_close(found.double(), DENOISER(x, SIGMAS), rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    "time",
    [Sigma(), LogSigma(0.25), FlowTime(0), FlowTime(1), LinearVP(), CosineVP(), CosineVP(0.008), linear_betas(),
     linear_betas(first=1)],
    ids=str,
)  # fmt: skip
def test_time_is_the_inverse_of_the_formula_of_its_source_over_the_span(time: adapters.Time):
    low, high = (min(max(end, 1e-3), 1e3) for end in time.span)
    sigma = torch.tensor(geometric(50, high, low), dtype=torch.float64)
    assert_close(level_of(time)(time.time(sigma)), sigma, rtol=1e-6, atol=0)


def test_a_table_counts_as_it_is_told():
    plain, whole = linear_betas(), linear_betas(whole=True, first=1)
    at = torch.tensor([plain.sigmas[0], plain.sigmas[7], plain.sigmas[999], 1e-9, 1e9], dtype=torch.float64)
    assert_close(plain.time(at), torch.tensor([0.0, 7, 999, 0, 999]).double(), rtol=0, atol=1e-9)
    assert whole.time(at).tolist() == [1, 8, 1000, 1, 1000] and whole.time(at).dtype == torch.int64


# ------------------------------------------------------------------------------------------------ image size and dtype


def test_around_a_smaller_network_the_border_is_denoised_exactly():
    """Exact denoisers of a data set: one of the whole images, one of their middle."""
    pixels = torch.randint(0, 256, (2, *IMAGES.shape), generator=seeded(3), dtype=torch.uint8)
    whole = replace(IMAGES, pixels=nn.functional.pad(pixels, (2, 2, 2, 2), value=9))
    middle = Empirical(whole.standardised().double()[..., 2:-2, 2:-2])
    net = exact("edm", "x0", Sigma(), middle, whole, (0, 1))
    x = noisy(SIGMAS, 8)
    expected = Empirical(whole.standardised().double())(x, SIGMAS)
    found = adapters.edm(net, whole, pixels=(0, 1), side=4)(x, SIGMAS)
    assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_network_that_changes_its_input_does_no_harm():
    tidy, untidy = (adapters.flow(net, IMAGES) for net in (lambda z, t: z * 0.5, lambda z, t: z.mul_(0.5)))
    assert torch.equal(untidy(X, SIGMA), tidy(X, SIGMA))


def test_a_network_gets_its_own_dtype_and_a_learned_variance_is_left_out():
    class Half(nn.Conv2d):
        def forward(self, z: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
            assert z.dtype == torch.bfloat16 and t.dtype == torch.float32
            return torch.cat([super().forward(z), z * 7], dim=1)

    x, model = torch.randn(2, *IMAGES.shape), adapters.vp(Half(1, 1, 1), IMAGES)
    model.net.bfloat16()  # it may change after it was wrapped
    eps = model(x, torch.ones(2))
    assert eps.shape == x.shape and eps.dtype == torch.float32
    with refused(r"it returned shape \(2, 1, 1, 1\) for images of shape \(2, 1, 4, 4\)"):
        adapters.vp(lambda z, t: z[..., :1, :1], IMAGES)(x, torch.ones(2))


class Output(dict[str, Tensor]):
    """What diffusers' networks return."""


@pytest.mark.parametrize(
    "returned, options, message",
    [
        (lambda z: (z,), {}, r"it returned tuple; .*, so wrap it: lambda z, t: net\(z, t\)\[0\]"),
        (lambda z: Output(sample=z), {}, r"it returned Output; .*, so wrap it: lambda z, t: net\(z, t\)\.sample"),
        (lambda z: (z,), {"labels": 1}, r"it returned tuple; .*: lambda z, t, labels: net\(z, t, labels\)\[0\]"),
        (lambda z: z[:3], {"labels": 1, "n_classes": 5, "guidance": 2.0, "null_label": 5},
         r"it returned shape \(3, 1, 4, 4\) for images of shape \(4, "),
        (lambda z: z.to(torch.complex64), {}, "it returned torch.complex64; its output must hold real numbers"),
    ],
)  # fmt: skip
def test_a_network_that_returns_no_tensor_is_named(
    returned: Callable[[Tensor], object], options: dict[str, object], message: str
):
    model = adapters.vp(lambda z, *rest: returned(z), IMAGES, **options)  # type: ignore[arg-type]  # wrong on purpose
    with refused("network: " + message):
        model(torch.zeros(2, *IMAGES.shape), torch.ones(2))


# --------------------------------------------------------------------------------------------------- labels, guidance


def by_label(z: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """Another mean for each label; label 5 is none."""
    return z * 0.1 + (column(labels).double() / 5).to(z.dtype)


def drawn(model: adapters.Adapter, samples: range = range(70), **options: int) -> Tensor:
    return sample(model, geometric(6, 30.0, 0.03), Euler(1.0), samples=samples, shape=IMAGES.shape, **options)


def test_balanced_labels_follow_the_sample_and_not_the_batch():
    model = adapters.vp(by_label, IMAGES, labels="balanced", n_classes=5)
    whole = drawn(model)
    for batch_size in (1, 7, 64):
        assert_close(drawn(model, batch_size=batch_size), whole, rtol=0, atol=1e-5)
    assert_close(drawn(model, range(66, 69)), whole[66:69], rtol=0, atol=1e-5)
    for label in range(5):
        only = drawn(adapters.vp(by_label, IMAGES, labels=label))
        assert_close(only[label::5], whole[label::5], rtol=0, atol=1e-5)
        assert (only[(label + 1) % 5] - whole[(label + 1) % 5]).abs().max() > 0.1


def test_balanced_labels_need_the_samples_indices():
    model = adapters.vp(by_label, IMAGES, labels="balanced", n_classes=5)
    x, sigma = torch.zeros(2, *IMAGES.shape), torch.ones(2)
    with refused("2 images need 2 sample indices, got none"):
        model(x, sigma)
    with refused("2 images need 2 sample indices, got 3"):
        bind_index(model, torch.arange(3))(x, sigma)


def test_guidance_is_the_formula_of_ho_and_salimans():
    make = partial(adapters.flow, by_label, IMAGES, n_classes=5)
    with_class, without = make(labels=2)(X, SIGMA), adapters.flow(by_label, IMAGES, labels=5)(X, SIGMA)
    guided = make(labels=2, n_classes=5, guidance=3.0, null_label=5)(X, SIGMA)
    w = 3.0 - 1.0
    assert_close(guided, (1 + w) * with_class - w * without, rtol=0, atol=1e-5)


class OwnTime:
    """Its repr is an address, so its network would be another one in each process."""

    span = (0.0, math.inf)

    def time(self, sigma: Tensor) -> Tensor:
        return sigma


UNEVEN = replace(IMAGES, pixels=torch.arange(128, dtype=torch.uint8).view(2, 1, 8, 8))
LATENTS = Values("latents:x", 5 + 3 * torch.randn(50, 4, 2, 2), torch.zeros(50), 5.0, 3.0)
NETWORK: dict[str, Any] = {"net": by_label, "data": IMAGES}
NEEDED = {"vp": NETWORK, "edm": NETWORK, "flow": NETWORK, "Convention": {"process": "flow", "predicts": "x0"}}
FIVE = {"labels": 1, "n_classes": 5}
REFUSED: dict[str, dict[str, dict[str, Any]]] = {  # what is made -> what the error says of an argument -> the others
    "vp": {
        "predicts='noise': it must be one of eps, x0, v": {},
        "predicts='velocity': it must be one of eps, x0, v for vp": {},
        "they must be the values of black and of white": {"pixels": (1, -1)},
        "labels='balanced': it needs n_classes": {},
        "labels=5: it must be between 0 and 4": {"n_classes": 5},
        "labels=-1: it must be at least 0": {},
        "n_classes=0: it must be between 1 and": {},
        "guidance=inf: it must be finite": FIVE | {"null_label": 5},
        r"time=FlowTime\(data_at=0\): FlowTime\(\) is the time of process='flow'": {"time": FlowTime()},
        "guidance=3.0: it needs labels, n_classes, and null_label": FIVE,
        "there is no guidance; it needs guidance": {"guidance_to": 5.0},
        "guidance_from=3, guidance_to=2: .* the lower one first": {"guidance_from": 3.0, "guidance_to": 2.0},
        "null_label=4: .* 0 to 4 are the classes of n_classes=5": FIVE,
        r"time='linear': it must be one of linear_betas\(\), .*": {},
        r"time=CosineVP: .* it lacks its brackets, CosineVP\(\)": {"time": CosineVP},
        "time=linear_betas: .* it lacks its brackets": {"time": linear_betas},
    },
    "edm": {
        "predicts='v': it must be one of x0, eps for edm": {},
        "time=<.*OwnTime object .*: .* or a dataclass of your own with span and time": {"time": OwnTime()},
        "the outer 1 pixels of data='mine' are not constant": {"data": UNEVEN, "side": 6},
        "side=3: data='mine' has images of 8x8, so it must be at most 8, and differ by an even number": {
            "data": UNEVEN},
        "side=10: .* so it must be at most 8.*npz64:PATH": {"data": UNEVEN},
        "has no pixels": {"data": LATENTS, "pixels": (0, 1)},
        "side=2: .*has no pixels": {"data": LATENTS},
    },
    "flow": {"predicts='v': it must be one of velocity, x0, eps, velocity to data for flow": {}},
    "Convention": {r"time=Sigma\(\): FlowTime\(\) is the time of process='flow'": {"time": Sigma()}},
    "LogSigma": {"factor=0.0: it must be finite and not 0": {}},
    "linear_betas": {"n=10.5: it must be a whole number": {}, "first=-5: it must be at least 0": {}},
    "from_betas": {
        r"betas: they decrease, .* those go into from_abar\(abar\)": {"betas": [0.9, 0.5, 0.1]},
        "each above 0 and below 1": {"betas": [0.1, 1.0]},
    },
    "FlowTime": {"data_at=2: it must be 0 or 1": {}},
    "TableTime": {"positive, finite and increasing": {"sigmas": (2.0, 1.0)}},
    "from_abar": {
        "decrease from below 1": {"abar": [1.0, 0.5]}, "abar: its levels must decrease": {"abar": [0.9, 4e-9, 2**-24]}},
    "CosineVP": {"offset=1.0": {}},
    "LinearVP": {"vp_beta_d=0.0": {}},
}  # fmt: skip


@cells(REFUSED)
def test_a_bad_convention_or_time_is_refused(row: str, cell: str):
    with refused(cell):
        getattr(adapters, row)(**NEEDED.get(row, {}) | argument(cell) | REFUSED[row][cell])


def test_a_null_label_of_minus_one_is_a_label_that_the_network_gets():
    """For networks whose label 0 is that of no class: lambda z, t, y: net(z, t, y + 1)."""
    shifted = partial(adapters.flow, lambda z, t, y: by_label(z, t, y + 1), IMAGES, n_classes=5)
    guided = shifted(labels="balanced", guidance=0.0, null_label=-1)(X, SIGMA, index=torch.arange(3))
    assert torch.equal(guided, adapters.flow(by_label, IMAGES, labels=0)(X, SIGMA))


def test_guidance_has_levels():
    """Kynkaanniemi et al. 2024: outside an interval of levels the network is asked once, with the label alone."""
    asked = list[int]()

    def net(z: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        asked.append(len(z))
        return z * (1 + column(labels))

    guide = partial(adapters.edm, net, IMAGES, predicts="eps", labels=1, n_classes=2, null_label=2, guidance=3.0)
    everywhere, somewhere = guide(), guide(guidance_from=0.5, guidance_to=2.0)
    plain = somewhere.with_convention(guidance=1.0)  # as `check` asks it
    sigma = torch.tensor([0.4, 0.5, 2.0, 2.1])
    x = torch.randn(4, *IMAGES.shape)
    mixed, guided, unguided = (model(x, sigma) for model in (somewhere, everywhere, plain))
    assert_close(mixed[1:3], guided[1:3])
    assert_close(mixed[[0, 3]], unguided[[0, 3]])
    assert not torch.allclose(guided, unguided)
    asked.clear()
    for at, passes in ((0, 1), (1, 2), (3, 1)):
        somewhere(x[at : at + 1], sigma[at : at + 1])
        assert asked.pop() == passes and not asked


def test_latents_reach_the_network_in_the_units_of_their_file():
    seen = dict[str, Tensor]()

    def net(z: Tensor, time: Tensor) -> Tensor:
        seen.update(z=z, time=time)
        return torch.zeros(len(z), 8, 2, 2)  # half of the channels is a learned variance

    def decode(latents: Tensor) -> Tensor:
        seen["latents"] = latents
        return torch.zeros(len(latents), 1, 4, 4, dtype=torch.uint8)

    model = adapters.edm(net, LATENTS, predicts="eps", decode=decode)
    x, sigma = torch.randn(3, 4, 2, 2), torch.tensor([0.5, 1.0, 2.0])
    assert model(x, sigma).shape == x.shape == (3, *model.shape)
    assert_close(seen["z"], 3 * x + 5)
    assert_close(seen["time"], 3 * sigma)
    model.decode(x)
    assert_close(seen["latents"], 3 * x + 5)
    points = adapters.flow(lambda z, t: 0 * z, replace(LATENTS, name="points:x", values=LATENTS.values[:, :2, 0, 0]))
    assert points(torch.randn(3, 2), sigma).shape == (3, 2) and points.decode(torch.zeros(1, 2)).tolist() == [[5, 5]]
