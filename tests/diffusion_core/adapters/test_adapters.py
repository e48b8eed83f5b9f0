"""Adapters against exact denoisers: each wraps a network that is exact in its own convention, written out here."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from mixture import Mixture
from times import level_of
from torch import Tensor, nn

from diffusion_core import Euler, adapters, generate_samples, sample
from diffusion_core.adapters import Convention
from diffusion_core.data.dataset import Images, Values
from diffusion_core.exact import Empirical
from diffusion_core.samplers.sampling import bind_index
from diffusion_core.schedules import geometric

SIDE, MEAN, STD = 4, 40.0, 70.0  # mean and std in pixel values
DIM = SIDE**2
SIGMAS = torch.tensor(geometric(12, 30.0, 0.03), dtype=torch.float64)
LEVELS = np.log(np.sqrt(1 / np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)) - 1))  # ln sigma of DDPM's table
RANGES = {
    (-1, 1): (STD / 127.5, MEAN / 127.5 - 1),
    (0, 1): (STD / 255, MEAN / 255),
    (-0.5, 0.5): (STD / 255, MEAN / 255 - 0.5),
}


def images(pixels: Tensor | None = None) -> Images:
    pixels = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.uint8) if pixels is None else pixels
    return Images("mine", pixels, torch.zeros(len(pixels), dtype=torch.int64), MEAN, STD)


def mixture(scale: float = 1.0, shift: float = 0.0) -> Mixture:
    """Three Gaussians, in units in which y = scale x0 + shift."""
    generator = torch.Generator().manual_seed(1)
    bases = torch.linalg.qr(torch.randn(3, DIM, 2, generator=generator, dtype=torch.float64)).Q
    means = torch.randn(3, DIM, generator=generator, dtype=torch.float64)
    variances = torch.tensor([[0.5, 0.1], [0.2, 0.3], [1.0, 0.0]], dtype=torch.float64)
    weights, stds = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.3, 0.2, 0.4]).double()
    return Mixture(weights, scale * means + shift, bases, scale**2 * variances, scale * stds)


def test_samples_have_the_shape_of_the_adapter() -> None:
    model = adapters.edm(lambda z, sigma: z, images())
    assert generate_samples(model, beta=0.0, n_samples=2).shape == (2, 1, SIDE, SIDE)
    assert generate_samples(model, beta=0.0, n_samples=2, shape=(1, 2, 2)).shape == (2, 1, 2, 2)


def ddpm_sigma(t: Tensor) -> Tensor:
    return torch.from_numpy(np.exp(np.interp(t.numpy(), np.arange(1000), LEVELS)))


def song_sigma(t: Tensor) -> Tensor:
    signal = torch.exp(-t.square() * (20 - 0.1) / 4 - t * 0.1 / 2)  # Song et al. 2021, Eq. 33
    return (1 - signal.square()).sqrt() / signal


def network(
    sigma: Callable[[Tensor], Tensor], signal: str, returns: str, law: Mixture
) -> Callable[[Tensor, Tensor], Tensor]:
    """The exact network of a law, in the words of its paper."""

    def net(z: Tensor, t: Tensor) -> Tensor:
        level = sigma(t)
        s = {"vp": 1 / (1 + level**2) ** 0.5, "edm": torch.ones_like(level), "flow": 1 / (1 + level)}[signal]
        wide = s.view(-1, 1, 1, 1)
        noise = law(z / wide, level)
        clean = z / wide - level.view(-1, 1, 1, 1) * noise
        return {
            "eps": noise,
            "x0": clean,
            "v": wide * noise - (1 - wide**2) ** 0.5 * clean,
            "noise - x0": noise - clean,
            "x0 - noise": clean - noise,
        }[returns]

    return net


COSINE, QUARTER = adapters.CosineVP(), adapters.LogSigma(0.25)
BETAS, ABAR = np.linspace(1e-4, 0.02, 1000), 1 / (1 + np.exp(2 * LEVELS))
CASES: dict[str, tuple[Callable[..., adapters.Adapter], Callable[[Tensor], Tensor], str, str]] = {
    "ddpm-eps": (adapters.vp, ddpm_sigma, "vp", "eps"),
    "ddpm-x0": (partial(adapters.vp, predicts="x0"), ddpm_sigma, "vp", "x0"),
    "betas-v": (partial(adapters.vp, predicts="v", time=adapters.from_betas(BETAS)), ddpm_sigma, "vp", "v"),
    "abar-eps": (partial(adapters.vp, time=adapters.from_abar(ABAR)), ddpm_sigma, "vp", "eps"),
    "vp-sde": (partial(adapters.vp, time=adapters.LinearVP()), song_sigma, "vp", "eps"),
    "cosine-v": (partial(adapters.vp, predicts="v", time=COSINE), lambda t: torch.tan(math.pi / 2 * t), "vp", "v"),
    "edm": (adapters.edm, lambda t: t, "edm", "x0"),
    "log-sigma": (partial(adapters.edm, predicts="eps", time=QUARTER), lambda t: torch.exp(4 * t), "edm", "eps"),
    "flow": (adapters.flow, lambda t: t / (1 - t), "flow", "noise - x0"),
    "flow-to-data": (partial(adapters.flow, data_at=1), lambda t: (1 - t) / t, "flow", "x0 - noise"),
    "flow-x0": (partial(adapters.flow, predicts="x0"), lambda t: t / (1 - t), "flow", "x0"),
}


@pytest.mark.parametrize("pixels", RANGES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_an_exact_network_behind_an_adapter_is_the_exact_denoiser(case: str, pixels: tuple[float, float]) -> None:
    wrap, sigma, signal, returns = CASES[case]
    scale, shift = RANGES[pixels]
    model = wrap(network(sigma, signal, returns, mixture(scale, shift)), images(), pixels=pixels)
    low, high = model.span
    known = SIGMAS[(low <= SIGMAS) & (high >= SIGMAS)]
    assert len(known) >= 10
    x = torch.randn(len(known), 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2)).double()
    x = x * (1 + known.square()).sqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(model(x, known), mixture()(x, known), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("predicts", ["eps", "v"])
def test_float32_is_close_to_float64(predicts: str) -> None:
    net = network(ddpm_sigma, "vp", predicts, mixture(*RANGES[-1, 1]))
    model = adapters.vp(lambda z, t: net(z.double(), t).float(), images(), predicts=predicts)
    x = torch.randn(13, 1, SIDE, SIDE) * (1 + SIGMAS.square()).sqrt().view(-1, 1, 1, 1)
    found = model(x.float(), SIGMAS.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), mixture()(x, SIGMAS), rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    "time",
    [adapters.Sigma(), adapters.LogSigma(0.25), adapters.FlowTime(0), adapters.FlowTime(1), adapters.LinearVP(),
     adapters.CosineVP(), adapters.CosineVP(0.008), adapters.linear_betas(), adapters.linear_betas(first=1)],
    ids=str,
)  # fmt: skip
def test_time_is_the_inverse_of_the_formula_of_its_source_over_the_span(time: adapters.Time) -> None:
    low, high = (min(max(end, 1e-3), 1e3) for end in time.span)
    sigma = torch.tensor(geometric(50, high, low), dtype=torch.float64)
    torch.testing.assert_close(level_of(time)(time.time(sigma)), sigma, rtol=1e-6, atol=0)


def test_a_table_counts_as_it_is_told() -> None:
    plain, whole = adapters.linear_betas(), adapters.linear_betas(whole=True, first=1)
    at = torch.tensor([plain.sigmas[0], plain.sigmas[7], plain.sigmas[999], 1e-9, 1e9], dtype=torch.float64)
    torch.testing.assert_close(plain.time(at), torch.tensor([0.0, 7, 999, 0, 999]).double(), rtol=0, atol=1e-9)
    assert whole.time(at).tolist() == [1, 8, 1000, 1, 1000] and whole.time(at).dtype == torch.int64


def test_a_network_comes_with_the_levels_of_its_kind() -> None:
    rounded = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)  # as float32 users compute it
    for time, usual in (
        (adapters.from_abar(rounded), ("ddpm-leading",)),
        (adapters.linear_betas(whole=True, first=1), ("ddpm-leading",)),
        (adapters.linear_betas(end=0.015), ()),
        (adapters.linear_betas(500), ()),
        (adapters.CosineVP(), ()),
    ):
        assert adapters.vp(torch.ones_like, images(), time=time).default_schedules == usual
    assert adapters.flow(torch.ones_like, images()).default_schedules[0] == "flow"


# ------------------------------------------------------------------------------------------------ image size and dtype


def test_around_a_smaller_network_the_border_is_denoised_exactly() -> None:
    """Exact denoisers of a data set: one of the whole images, one of their middle."""
    pixels = torch.randint(0, 256, (5, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    whole = images(nn.functional.pad(pixels, (2, 2, 2, 2), value=9))
    scale, shift = RANGES[0, 1]
    middle = Empirical(whole.standardised().double()[..., 2:-2, 2:-2] * scale + shift)
    model = adapters.edm(lambda z, t: z - t.view(-1, 1, 1, 1) * middle(z, t), whole, pixels=(0, 1), side=SIDE)
    x = torch.randn(13, 1, 8, 8).double() * (1 + SIGMAS.square()).sqrt().view(-1, 1, 1, 1)
    exact = Empirical(whole.standardised().double())
    torch.testing.assert_close(model(x, SIGMAS), exact(x, SIGMAS), rtol=1e-6, atol=1e-6)
    for side, message in (
        (6, "the outer 1 pixels of data='mine' are not constant"),
        (3, "side=3: data='mine' has images of 8x8, so it must be at most 8, and differ by an even number"),
        (10, "so it must be at most 8.*npz64:PATH"),
    ):
        uneven = images(whole.pixels.index_fill(3, torch.tensor([0]), 1))
        with pytest.raises(ValueError, match=message):
            adapters.edm(lambda z, t: z, uneven, side=side)


def test_a_network_that_changes_its_input_does_no_harm() -> None:
    x, sigma = torch.randn(3, 1, SIDE, SIDE), torch.tensor([0.1, 1.0, 9.0])
    tidy, untidy = (adapters.flow(net, images()) for net in (lambda z, t: z * 0.5, lambda z, t: z.mul_(0.5)))
    assert torch.equal(untidy(x, sigma), tidy(x, sigma))


def test_a_network_gets_its_own_dtype_and_a_learned_variance_is_left_out() -> None:
    class Half(nn.Conv2d):
        def forward(self, z: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
            assert z.dtype == torch.bfloat16 and t.dtype == torch.float32
            return torch.cat([super().forward(z), z * 7], dim=1)

    x, model = torch.randn(2, 1, SIDE, SIDE), adapters.vp(Half(1, 1, 1), images())
    model.net.bfloat16()  # it may change after it was wrapped
    eps = model(x, torch.ones(2))
    assert eps.shape == x.shape and eps.dtype == torch.float32
    with pytest.raises(ValueError, match=r"it returned shape \(2, 1, 1, 1\) for images of shape \(2, 1, 4, 4\)"):
        adapters.vp(lambda z, t: z[..., :1, :1], images())(x, torch.ones(2))


class Output(dict[str, Tensor]):
    """What diffusers' networks return."""


@pytest.mark.parametrize(
    ("returned", "options", "message"),
    [
        (lambda z: (z,), {}, r"it returned tuple; .*, so wrap it: lambda z, t: net\(z, t\)\[0\]"),
        (lambda z: Output(sample=z), {}, r"it returned Output; .*, so wrap it: lambda z, t: net\(z, t\)\.sample"),
        (lambda z: (z,), {"labels": 1}, r"it returned tuple; .*: lambda z, t, labels: net\(z, t, labels\)\[0\]"),
        (lambda z: z[:3], {"labels": 1, "n_classes": 5, "guidance": 2.0, "null_label": 5},
         r"it returned shape \(3, 1, 4, 4\) for images of shape \(4, "),
        (lambda z: z.to(torch.complex64), {}, "it returned torch.complex64; its output must hold real numbers"),
    ],
    ids=["tuple", "object", "labels", "batch", "complex"],
)  # fmt: skip
def test_a_network_that_returns_no_tensor_is_named(
    returned: Callable[[Tensor], object], options: dict[str, object], message: str
) -> None:
    model = adapters.vp(lambda z, *rest: returned(z), images(), **options)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="network: " + message):
        model(torch.zeros(2, 1, SIDE, SIDE), torch.ones(2))


# --------------------------------------------------------------------------------------------------- labels, guidance


def by_label(z: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """Another mean for each label; label 5 is none."""
    return z * 0.1 + (labels.view(-1, 1, 1, 1).double() / 5).to(z.dtype)


def drawn(model: adapters.Adapter, samples: range = range(70), **options: int) -> Tensor:
    return sample(model, geometric(6, 30.0, 0.03), Euler(1.0), samples=samples, shape=(1, SIDE, SIDE), **options)


def test_balanced_labels_follow_the_sample_and_not_the_batch() -> None:
    model = adapters.vp(by_label, images(), labels="balanced", n_classes=5)
    whole = drawn(model)
    for batch_size in (1, 7, 64):
        torch.testing.assert_close(drawn(model, batch_size=batch_size), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(drawn(model, range(66, 69)), whole[66:69], rtol=0, atol=1e-5)
    for label in range(5):
        only = drawn(adapters.vp(by_label, images(), labels=label))
        torch.testing.assert_close(only[label::5], whole[label::5], rtol=0, atol=1e-5)
        assert (only[(label + 1) % 5] - whole[(label + 1) % 5]).abs().max() > 0.1


def test_balanced_labels_need_the_samples_indices() -> None:
    model = adapters.vp(by_label, images(), labels="balanced", n_classes=5)
    x, sigma = torch.zeros(2, 1, SIDE, SIDE), torch.ones(2)
    with pytest.raises(ValueError, match="2 images need 2 sample indices, got none"):
        model(x, sigma)
    with pytest.raises(ValueError, match="2 images need 2 sample indices, got 3"):
        bind_index(model, torch.arange(3))(x, sigma)


def test_guidance_is_the_formula_of_ho_and_salimans() -> None:
    x, sigma = torch.randn(3, 1, SIDE, SIDE), torch.tensor([0.1, 1.0, 9.0])
    make = partial(adapters.flow, by_label, images(), n_classes=5)
    with_class, without = make(labels=2)(x, sigma), adapters.flow(by_label, images(), labels=5)(x, sigma)
    guided = make(labels=2, n_classes=5, guidance=3.0, null_label=5)(x, sigma)
    w = 3.0 - 1.0
    torch.testing.assert_close(guided, (1 + w) * with_class - w * without, rtol=0, atol=1e-5)


class OwnTime:
    """Its repr is an address, so its network would be another one in each process."""

    span = (0.0, math.inf)

    def time(self, sigma: Tensor) -> Tensor:
        return sigma


vp, edm, flow = (partial(make, by_label, images()) for make in (adapters.vp, adapters.edm, adapters.flow))
REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: vp(predicts="noise"), "predicts='noise': it must be one of eps, x0, v"),
    (lambda: vp(predicts="velocity"), "predicts='velocity': it must be one of eps, x0, v for vp"),
    (lambda: edm(predicts="v"), "predicts='v': it must be one of x0, eps for edm"),
    (lambda: flow(predicts="v"), "predicts='v': it must be one of velocity, x0, eps, velocity to data for flow"),
    (lambda: vp(pixels=(1, -1)), "they must be the values of black and of white"),
    (lambda: vp(labels="balanced"), "it needs n_classes"),
    (lambda: vp(labels=5, n_classes=5), "labels=5: it must be between 0 and 4"),
    (lambda: vp(labels=-1), "labels=-1: it must be at least 0"),
    (lambda: vp(n_classes=0), "n_classes=0: it must be between 1 and"),
    (lambda: vp(labels=1, null_label=2, n_classes=2, guidance=math.inf), "guidance=inf: it must be finite"),
    (lambda: vp(time=adapters.FlowTime()), r"time=FlowTime\(data_at=0\): FlowTime\(\) is the time of process='flow'"),
    (lambda: Convention("flow", adapters.Sigma(), "x0"), r"time=Sigma\(\): FlowTime\(\) is the time of process='flow'"),
    (lambda: adapters.LogSigma(0), "factor=0.0: it must be finite and not 0"),
    (lambda: adapters.linear_betas(10.5), "n=10.5: it must be a whole number"),
    (lambda: vp(labels=2, n_classes=5, guidance=3.0), "guidance=3.0: it needs labels, n_classes, and null_label"),
    (lambda: vp(guidance_to=5.0), "there is no guidance; it needs guidance"),
    (lambda: vp(guidance_from=3.0, guidance_to=2.0), "guidance_from=3, guidance_to=2: .* the lower one first"),
    (lambda: vp(labels=1, n_classes=5, null_label=4), "null_label=4: .* 0 to 4 are the classes of n_classes=5"),
    (lambda: adapters.linear_betas(first=-5), "first=-5: it must be at least 0"),
    (lambda: adapters.from_betas([0.9, 0.5, 0.1]), r"betas: they decrease, .* those go into from_abar\(abar\)"),
    (lambda: vp(time="linear"), r"time='linear': it must be one of linear_betas\(\), .*"),  # type: ignore[arg-type]
    (lambda: vp(time=adapters.CosineVP), r"time=CosineVP: .* it lacks its brackets, CosineVP\(\)"),  # type: ignore[arg-type]
    (lambda: vp(time=adapters.linear_betas), "time=linear_betas: .* it lacks its brackets"),  # type: ignore[arg-type]
    (lambda: edm(time=OwnTime()), "time=<.*OwnTime object .*: .* or a dataclass of your own with span and time"),
    (lambda: adapters.FlowTime(2), "data_at=2: it must be 0 or 1"),
    (lambda: adapters.TableTime((2.0, 1.0)), "positive, finite and increasing"),
    (lambda: adapters.from_betas([0.1, 1.0]), "each above 0 and below 1"),
    (lambda: adapters.from_abar([1.0, 0.5]), "decrease from below 1"),
    (lambda: adapters.from_abar([0.9, 4e-9, 2**-24]), "abar: its levels must decrease"),
    (lambda: adapters.CosineVP(1.0), "offset=1.0"),
    (lambda: adapters.LinearVP(0.0), "vp_beta_d=0.0"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_a_bad_convention_or_time_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_null_label_of_minus_one_is_a_label_that_the_network_gets() -> None:
    """For networks whose label 0 is that of no class: lambda z, t, y: net(z, t, y + 1)."""
    x, sigma = torch.randn(3, 1, SIDE, SIDE), torch.tensor([0.1, 1.0, 9.0])
    shifted = partial(adapters.flow, lambda z, t, y: by_label(z, t, y + 1), images(), n_classes=5)
    guided = shifted(labels="balanced", guidance=0.0, null_label=-1)(x, sigma, index=torch.arange(3))
    assert torch.equal(guided, adapters.flow(by_label, images(), labels=0)(x, sigma))


def test_guidance_has_levels() -> None:
    """Kynkaanniemi et al. 2024: outside an interval of levels the network is asked once, with the label alone."""
    asked = list[int]()

    def net(z: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        asked.append(len(z))
        return z * (1 + labels.view(-1, 1, 1, 1))

    options = {"labels": 1, "n_classes": 2, "null_label": 2, "guidance": 3.0}
    everywhere = adapters.edm(net, images(), predicts="eps", **options)  # type: ignore[arg-type]
    somewhere = adapters.edm(net, images(), predicts="eps", guidance_from=0.5, guidance_to=2.0, **options)  # type: ignore[arg-type]
    plain = somewhere.with_convention(guidance=1.0)  # as `check` asks it
    sigma = torch.tensor([0.4, 0.5, 2.0, 2.1])
    x = torch.randn(4, *images().shape)
    mixed, guided, unguided = (model(x, sigma) for model in (somewhere, everywhere, plain))
    torch.testing.assert_close(mixed[1:3], guided[1:3])
    torch.testing.assert_close(mixed[[0, 3]], unguided[[0, 3]])
    assert not torch.allclose(guided, unguided)
    asked.clear()
    for at, passes in ((0, 1), (1, 2), (3, 1)):
        somewhere(x[at : at + 1], sigma[at : at + 1])
        assert asked.pop() == passes and not asked


def test_latents_reach_the_network_in_the_units_of_their_file() -> None:
    seen = dict[str, Tensor]()
    data = Values("latents:x", 5 + 3 * torch.randn(50, 4, 2, 2), torch.zeros(50), 5.0, 3.0)

    def net(z: Tensor, time: Tensor) -> Tensor:
        seen.update(z=z, time=time)
        return torch.zeros(len(z), 8, 2, 2)  # half of the channels is a learned variance

    def decode(latents: Tensor) -> Tensor:
        seen["latents"] = latents
        return torch.zeros(len(latents), 1, 4, 4, dtype=torch.uint8)

    model = adapters.edm(net, data, predicts="eps", decode=decode)
    x, sigma = torch.randn(3, 4, 2, 2), torch.tensor([0.5, 1.0, 2.0])
    assert model(x, sigma).shape == x.shape == (3, *model.shape)
    torch.testing.assert_close(seen["z"], 3 * x + 5)
    torch.testing.assert_close(seen["time"], 3 * sigma)
    model.decode(x)
    torch.testing.assert_close(seen["latents"], 3 * x + 5)
    points = adapters.flow(lambda z, t: 0 * z, Values("points:x", data.values[:, :2, 0, 0], torch.zeros(50), 5.0, 3.0))
    assert points(torch.randn(3, 2), sigma).shape == (3, 2) and points.decode(torch.zeros(1, 2)).tolist() == [[5, 5]]
    for options, message in (({"pixels": (0, 1)}, "has no pixels"), ({"side": 2}, "side=2: .*has no pixels")):
        with pytest.raises(ValueError, match=message):
            adapters.edm(net, data, **options)  # type: ignore[arg-type]
