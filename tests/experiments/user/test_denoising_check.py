"""Each mistake that people make with an adapter is named, and nothing is doubted where there is none.

The networks are exact denoisers of a few images, told time and range as a trained network would be.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from mixture import Mixture
from times import level_of
from torch import Tensor

from diffusion_core import adapters, load
from diffusion_core.adapters.adapter import data_scale
from diffusion_core.data.dataset import Images, Values
from diffusion_core.exact import Empirical, GaussianDenoiser
from experiments.console import silent
from experiments.user.conventions import HYPOTHESES, MNIST, OF_IMAGES, RANGES, Hypothesis, hypotheses
from experiments.user.denoising_check import (
    DIGITS,
    N_IMAGES,
    SIGMAS,
    CheckResult,
    Level,
    Search,
    _bumps,
    check_denoising,
    check_labels,
)
from experiments.user.network_io import network_fingerprint
from experiments.user.noisy_batch import NoisyBatch, linear_errors
from experiments.user.pretrained import network_notes

WHOLE = load("mnist5k")
PIXELS = torch.nn.functional.avg_pool2d(WHOLE.pixels[:1000].float(), 2).round()
RANK = 72
DATA = Images("digits of 16x16", PIXELS.byte(), WHOLE.labels[:1000], PIXELS.mean().item(), PIXELS.std().item())
CLEAN = DATA.standardised()
POINTS = Values("digits as numbers", CLEAN, DATA.labels, 0.0, 1.0)  # an adapter passes x and sigma as they are


def gaussian(x0: Tensor) -> Mixture:
    """The Gaussian of some images: their first principal components, and alike in all other directions."""
    flat = x0.flatten(1).double()
    _, sizes, directions = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False)
    variances = sizes.square() / len(flat)
    rest = (variances[RANK:].sum() / (flat.shape[1] - RANK)).clamp(min=0.01**2)
    parts = (flat.mean(dim=0), directions[:RANK].T, (variances[:RANK] - rest).clamp(min=0), rest.sqrt())
    return Mixture(torch.ones(1).double(), *(part[None] for part in parts))


OF_CLASS = [gaussian(CLEAN[DATA.labels == label]) for label in range(10)]
PARTS = [torch.cat([getattr(each, part) for each in OF_CLASS]) for part in ("means", "bases", "variances", "stds")]
EXACT = Mixture(torch.full((10,), 0.1).double(), *PARTS)  # as good as a well-trained network
INNER = Empirical(WHOLE.standardised()[:40, :, 2:30, 2:30])
OF_CLASS.append(EXACT)  # that of no class
MEAN = CLEAN.flatten(1).mean(dim=0)
VARIANCES, COMPONENTS = torch.linalg.eigh((CLEAN.flatten(1) - MEAN).T.cov(correction=0))
OF_TABLE = level_of(adapters.linear_betas())
Change = Callable[[Tensor], Tensor]
Network = Callable[..., Tensor]


def same(z: Tensor) -> Tensor:
    return z


def exact(
    process: str, level: Change, returns: str, pixels: tuple[float, float] = (-1, 1), eps: Network = EXACT
) -> Network:
    """An exact network on images in a range; `level` is its sigma as a function of its time. Labels go to `eps`."""
    low, high = pixels
    scale, shift = (high - low) * DATA.std / 255, low + (high - low) * DATA.mean / 255

    def net(z: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        sigma = level(t.double()).float().view(-1, 1, 1, 1)
        s = {"vp": (1 + sigma.square()).rsqrt(), "edm": torch.ones_like(sigma), "flow": 1 / (1 + sigma)}[process]
        noise = eps((z / s - shift) / scale, sigma.flatten() / scale, *labels)
        clean = z / s - sigma * noise
        outputs = {"eps": noise, "x0": clean, "v": s * noise - s * sigma * clean, "velocity": noise - clean}
        return -outputs["velocity"] if returns == "velocity to data" else outputs[returns]

    return net


def ddpm(
    pixels: tuple[float, float] = (-1, 1), returns: str = "eps", level: Change = OF_TABLE, eps: Network = EXACT
) -> Network:
    return exact("vp", level, returns, pixels, eps)


def flow(
    data_at: int = 0, returns: str = "velocity", eps: Network = EXACT, pixels: tuple[float, float] = (-1, 1)
) -> Network:
    to = " to data" if returns == "velocity" and data_at else ""
    return exact("flow", level_of(adapters.FlowTime(data_at)), returns + to, pixels, eps)


def edm(level: Change, returns: str = "x0", eps: Network = EXACT) -> Network:
    return exact("edm", level, returns, eps=eps)


def around(net: Callable[..., Tensor], there: Change = same, back: Change = same) -> Callable[..., Tensor]:
    """A network that was trained on other images: moved, turned or negative ones."""
    return lambda z, t: back(net(there(z), t))


def linear(x: Tensor, sigma: Tensor) -> Tensor:
    """The best linear predictor of eps. Unlike EXACT, it does not find the images under half the noise."""
    to = (x.flatten(1) - MEAN) @ COMPONENTS
    return (to * sigma.view(-1, 1) / (VARIANCES + sigma.view(-1, 1) ** 2) @ COMPONENTS.T).view_as(x)


def by_label(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    out = torch.empty_like(x)
    for label in labels.unique().tolist():
        out[labels == label] = OF_CLASS[label](x[labels == label], sigma[labels == label])
    return out


def untrained_null(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """As a network whose label of no class was never trained."""
    eps = by_label(x, sigma, labels.clamp(max=9))
    return torch.where((labels < 10).view(-1, 1, 1, 1), eps, 0 * x)


def guided(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """As a network that applies guidance itself."""
    return torch.lerp(EXACT(x, sigma), by_label(x, sigma, labels), 2.0)


def counted_from_1(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """As a network whose label 0 is that of no class."""
    return by_label(x, sigma, (labels - 1) % 11)


def with_error_of_x0(x: Tensor, sigma: Tensor) -> Tensor:
    """As a network whose x0 has an error of 0.1 at all levels, unrelated to its input."""
    error = 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return EXACT(x, sigma) + error / sigma.view(-1, 1, 1, 1)


def doubts(model: Any) -> str:
    return "\n".join(check_denoising(model, model.data if isinstance(model, adapters.Adapter) else DATA, "cpu").doubts)


vp, edm_of, flow_of = (partial(make, data=DATA) for make in (adapters.vp, adapters.edm, adapters.flow))
LABELLED = flow(eps=by_label)
LABELS: dict[str, Any] = {"labels": "balanced", "n_classes": 10}
RIGHT = {
    **{f"ddpm on {pixels}": vp(ddpm(pixels), pixels=pixels) for pixels in RANGES},
    "v": vp(ddpm(returns="v"), predicts="v"),
    "a table from 1": vp(ddpm(level=level_of(adapters.linear_betas(first=1))), time=adapters.linear_betas(first=1)),
    "flow": flow_of(flow()),
    "flow to data": flow_of(flow(1), data_at=1),
    "labels": flow_of(LABELLED, **LABELS),
    "guided": flow_of(LABELLED, **LABELS, guidance=4.0, null_label=10),
    "one label": flow_of(LABELLED, labels=1, n_classes=10),
    "a function": lambda x, sigma: EXACT(x, sigma),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_doubted_about_an_exact_denoiser(name: str) -> None:
    result = check_denoising(RIGHT[name], DATA, "cpu")
    assert result.doubts == []
    low = 0.0646 if isinstance(model := RIGHT[name], adapters.Adapter) and model.span[0] > 0.03 else 0.03
    assert result.usable == pytest.approx((low, 30.0), rel=1e-2)


def with_time(change: Change, level: Change = OF_TABLE) -> Callable[..., Tensor]:
    """A network of DDPM that is told another time than it expects."""
    return lambda z, t: ddpm(level=level)(z, change(t))


def earlier(t: Tensor) -> Tensor:
    return (t - 20).clamp(min=0)


def weak(velocity: Tensor, t: Tensor) -> Tensor:
    return velocity * torch.where(t < 0.8, 0.93, 1.0).view(-1, 1, 1, 1)


def negative_from_0(z: Tensor, t: Tensor) -> Tensor:
    """A network of DDPM on images in [0, 1] that are 1 minus ours."""
    signal = (1 + OF_TABLE(t.double()).square()).rsqrt().float().view(-1, 1, 1, 1)
    return -ddpm((0, 1))(signal - z, t)


def smaller(z: Tensor, sigma: Tensor) -> Tensor:
    """D(x, sigma) on the middle 28x28 pixels of WHOLE, which takes other sizes too, as convolutions do."""
    scale, shift = data_scale((-1, 1), WHOLE)
    eps = INNER((z - shift) / scale, sigma / scale) if z.shape[2] == 28 else 0 * z
    return z - sigma.view(-1, 1, 1, 1) * eps


def untrained(z: Tensor, t: Tensor) -> Tensor:
    weights = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.conv2d(z, weights, padding=1)


def transposed(z: Tensor) -> Tensor:
    return z.mT


def turned(quarters: int) -> tuple[Change, Change]:
    there, back = (partial(torch.rot90, k=k, dims=(2, 3)) for k in (quarters, -quarters))
    return there, back


def the_other_way(z: Tensor) -> Tensor:
    return z.rot90(2, (2, 3)).mT


TURN = "check its orientation: it fits images "
TOLD = "check its time: it fits net(z, "
TIME = "check its time: it fits "
SIGN = "check its sign: it fits the negative better"
NEGATIVE = "check its black and white: it fits negative images better"
OTHER = "check its process: it fits "
RANGE = "check its range: it fits "
READ = "check its prediction: it fits "
GAIN = "check its gain: it fits "
LABEL = "check its labels: it fits "
GUIDED = LABEL + "guidance=0.49, as if the network guided already, better"
OF_X0 = " / sigma^2 and of no use there; end schedules at sigma 0.3, with a last step to 0 (end=0)"
UNTRAINED = "is it trained, and on data like these? No other reading fits"
HUNDRED, HUNDRED_FROM_1 = (adapters.linear_betas(100, 1e-3, 0.2, first=first) for first in (0, 1))
# Chen 2023, arXiv 2301.10972, Algorithm 1, at the ends of 1,000 steps, with the last one above 0
SIGMOID = adapters.from_abar((torch.sigmoid(3 - 6 * (torch.arange(999) + 1).double() / 1000) - torch.sigmoid(
    torch.tensor(-3.0).double())).div(math.tanh(1.5)).tolist())  # fmt: skip
SCALED_LINEAR = adapters.from_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square())
SHORT = adapters.linear_betas(1000, 1e-4, 0.015)
COSINE = adapters.CosineVP(0.008)
OF_COSINE = level_of(COSINE)
ABAR = [math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(1001)]  # arXiv 2102.09672, Eq. 17
CLIPPED = adapters.from_betas([min(1 - after / before, 0.999) for before, after in pairwise(ABAR)])
OF_CLIPPED = level_of(CLIPPED)
SWAPPED = torch.tensor([0, 1, 2, 8, 4, 5, 6, 7, 3, 9])
WRONG: dict[str, tuple[Any, str]] = {  # a model, and what is said about it
    "a range": (vp(ddpm((0, 1)), pixels=(-0.5, 0.5)), RANGE + "pixels=(0.0, 1.0) better"),
    "v as eps": (vp(ddpm(returns="v")), READ + "predicts='v' better"),
    "a flow's negative": (flow_of(around(flow(), back=torch.neg)), SIGN),
    "black and white": (vp(around(ddpm(), torch.neg, torch.neg)), NEGATIVE),
    "transposed input": (vp(around(ddpm(), transposed)), "it fits transposed input with the same output better"),
    "turned": (vp(around(ddpm(), *turned(1))), TURN + "turned right by 90 degrees better"),
    "counts from 1": (vp(ddpm(level=level_of(HUNDRED_FROM_1)), time=HUNDRED), TIME + "first=1 better"),
    "20 later": (vp(with_time(lambda t: (t + 20).clamp(max=999))), TOLD + "t - 20)"),
    "cosine betas": (vp(ddpm(level=lambda t: OF_COSINE((t + 1) / 1000))), "from_betas(...) of a cosine schedule"),
    "sigma in other units": (edm_of(edm(lambda t: DATA.std / 127.5 * t, eps=linear)), TOLD + "1.99 * t)"),
    "half of sigma": (edm_of(edm(lambda t: 2 * t, eps=linear)), TOLD + "0.5 * t)"),
    "1 - t": (flow_of(lambda z, t: flow()(z, 1 - t)), TOLD + "1 - t)"),
    "edm as vp, same time": (
        vp(edm(lambda t: t.exp(), "eps"), time=adapters.LogSigma()), OTHER + "edm(predicts='eps', the same time)"),
    "vp as flow": (flow_of(ddpm()), OTHER + "vp(predicts='eps', time=linear_betas()) better"),
    "a weak network": (vp(ddpm((0, 1), eps=GaussianDenoiser())),
                       RANGE + "pixels=(0.0, 1.0) better, but some errors stay doubtful"),
    "a shifted time": (flow_of(lambda z, t: flow()(z, 3 * t / (1 + 2 * t))), TOLD + "t / (3 - 2 * t))"),
    "a smaller network": (adapters.edm(smaller, WHOLE), "check its size: it fits side=28 better"),
    "untrained": (vp(untrained), UNTRAINED),
    "nothing": (vp(lambda z, t: 0 * z), UNTRAINED),
    "swapped labels": (flow_of(lambda z, t, y: LABELLED(z, t, SWAPPED[y]), **LABELS),
                       LABEL + "label 8 for class 3, 3 for class 8 better"),
    "shifted labels": (flow_of(lambda z, t, y: LABELLED(z, t, (y + 1) % 10), **LABELS),
                       LABEL + "label -1 for each class better"),
    "labels without effect": (flow_of(lambda z, t, y: flow()(z, t), **LABELS), "check its labels: they change nothing"),
    "a null label that is a class": (flow_of(lambda z, t, y: LABELLED(z, t, torch.where(y == 10, 3, y)), labels=0,
                                             n_classes=10, guidance=2.0, null_label=10),
                                     "null_label=10 behaves like class 3, not like the label of no class"),
    "an untrained null label": (flow_of(flow(eps=untrained_null), **LABELS, guidance=2.0, null_label=10),
                                "null_label=10 denoises images worse than the labels of other classes do"),
    "no class among the classes": (flow_of(LABELLED, labels="balanced", n_classes=11),
                                   "n_classes=11, but the data have 10 classes: does it count the label of no class"),
    **{f"gain {gain}": (vp(around(ddpm(), back=partial(torch.mul, other=gain))), f"{GAIN}{named} * net")
       for gain, named in ((1.1, "0.908"), (0.95, "1.05"))},
    "standardised as MNIST": (vp(ddpm(MNIST)), RANGE + "pixels=(-0.4242, 2.8215), which is (v / 255 - 0.1307)"),
    "standardised": (vp(ddpm((-DATA.mean / DATA.std, (255 - DATA.mean) / DATA.std))), "standardised by the mean"),
    "guided twice": (flow_of(flow(eps=guided), **LABELS, guidance=2.0, null_label=10), GUIDED),
    "0 is no class, guided": (flow_of(flow(eps=counted_from_1), **LABELS, guidance=2.0, null_label=10),
                              LABEL + "label +1 for each class better"),
    "a range and a gain": (vp(around(ddpm((0, 1)), back=partial(torch.mul, other=0.9))),
                           "check its range and gain: it fits pixels=(0.0, 1.0) with 1.11 * net(...) better"),
    "x0 and a range": (vp(ddpm((0, 1), returns="x0")), "it fits predicts='x0' with pixels=(0.0, 1.0) better"),
    "a sign and an early time": (vp(around(with_time(earlier, OF_CLIPPED), back=torch.neg), time=CLIPPED),
                                 "check its sign and time: it fits the negative with net(z, t + 20) better"),
    "1 - t, and weak at some times": (flow_of(lambda z, t: weak(flow()(z, 1 - t), t)), TOLD + "1 - t) better"),
    "x0 that is no better at low levels": (vp(ddpm(returns="x0", eps=with_error_of_x0), predicts="x0"), OF_X0),
    "the same as eps": (vp(ddpm(returns="x0", eps=with_error_of_x0)), READ + "predicts='x0' better"),
    "a function of a wrong range": (lambda x, sigma: vp(ddpm((0, 1)))(x, sigma), "No other reading is tried without"),
    "noise that is left": (flow_of(lambda z, t: flow()(z, t) + 0.45 * torch.randn(
        z.shape, generator=torch.Generator().manual_seed(0)) * (t < 0.04).view(-1, 1, 1, 1)),
        "below sigma 0.065 it is worse than the best linear denoiser: end schedules there"),
    "an untrained function": (GaussianDenoiser(), "is it trained, and on data like these"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_named(name: str) -> None:
    model, words = WRONG[name]
    said = doubts(model)
    assert len(said.splitlines()) <= 2
    assert words in said


MISREAD: dict[str, dict[str, adapters.Adapter]] = {  # by kind and reading; how one is chosen: WRONG
    "range": {"pixels=(-0.5, 0.5)": vp(ddpm((-0.5, 0.5))), "pixels=(-1.0, 1.0)": vp(ddpm(), pixels=(0, 1))},
    "prediction": {"predicts='eps'": vp(ddpm(), predicts="x0"), "predicts='x0'": vp(ddpm(returns="x0"), predicts="v"),
                   "predicts='velocity'": flow_of(flow(), predicts="eps")},
    "sign": {"the negative": vp(around(ddpm(), back=torch.neg))},
    "black and white": {"negative images": vp(negative_from_0, pixels=(0, 1))},
    "orientation": {
        "images transposed": vp(around(ddpm(), transposed, transposed)),
        "images transposed along the second diagonal": vp(around(ddpm(), the_other_way, the_other_way)),
        "images turned by 180 degrees": vp(around(ddpm(), *turned(2))),
        "images turned left by 90 degrees": vp(around(ddpm(), *turned(3))),
        "images mirrored left to right": vp(around(ddpm(), *[partial(torch.flip, dims=(3,))] * 2)),
        "images mirrored upside down": vp(around(ddpm(), *[partial(torch.flip, dims=(2,))] * 2)),
    },
    "time": {
        "first=0": vp(ddpm(level=level_of(HUNDRED)), time=HUNDRED_FROM_1),
        "net(z, t + 20)": vp(with_time(earlier)),
        "time=linear_betas()": vp(ddpm(), time=SHORT),
        "net(z, 999 - t)": vp(with_time(lambda t: 999 - t)),
        "net(z, t / 1000)": vp(ddpm(level=lambda t: OF_TABLE(1000 * t))),
        "net(z, 1000 * t)": vp(lambda z, t: ddpm()(z, t / 1000)),
        "time=Sigma()": vp(ddpm(level=lambda t: t)),
        "time=from_betas(...) of a sigmoid schedule": vp(ddpm(level=level_of(SIGMOID))),
        "time=from_betas(...) of Stable Diffusion's scaled linear schedule": vp(ddpm(level=level_of(SCALED_LINEAR))),
        "time=LinearVP()": vp(ddpm(level=level_of(adapters.LinearVP())), time=COSINE),
        "time=LogSigma(0.25)": edm_of(edm(lambda t: (4 * t).exp())),
        "data_at=1": flow_of(flow(1)),
        "data_at=0": flow_of(flow(), data_at=1),
    },
    "process": {"edm(predicts='x0', time=Sigma())": vp(edm(lambda t: t)),
                "flow(predicts='velocity', data_at=0)": vp(flow())},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "instead"), [(kind, instead) for kind in MISREAD for instead in MISREAD[kind]])
def test_the_reading_of_a_mistake_is_the_exact_network(kind: str, instead: str) -> None:
    model, sigma = MISREAD[kind][instead], torch.tensor([0.3, 1.0, 5.0])
    (read,) = (read for named, read in (HYPOTHESES | OF_IMAGES)[kind](model) if named == instead)
    x = CLEAN[:3] + sigma.view(-1, 1, 1, 1) * torch.randn(CLEAN[:3].shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(read(model)(x, sigma), EXACT(x, sigma), rtol=0, atol=0.02)


def off_by(size: float, low: float, high: float) -> Network:
    """EXACT with an error at the levels between two."""
    return lambda z, sigma: EXACT(z, sigma) + size * ((low < sigma) & (sigma < high)).view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("now", "better", "named"),
    [
        # within limits, a reading that repairs doubtful levels may be worse at others
        (off_by(1.0, 0, 10), off_by(0.07, 10, 99), True),
        (off_by(1.0, 0, 10), off_by(0.3, 10, 99), False),
        # as a time that is told 20 steps late: the right one is 4 % worse at the highest level, and much better below
        (off_by(0.3, 0.05, 1), off_by(0.02, 20, 99), True),
        (off_by(0.01, 0.05, 1), off_by(0.02, 20, 99), False),
    ],
    ids=["repairs", "repairs, and is doubtful elsewhere", "gains much", "gains little"],
)
def test_a_hypothesis_that_gains_more_than_it_loses_is_named(now: Network, better: Network, named: bool) -> None:
    model, right = (adapters.edm(net, POINTS, predicts="eps") for net in (now, better))
    batch, linear = NoisyBatch(POINTS, torch.arange(N_IMAGES), SIGMAS, "cpu"), linear_errors(POINTS, SIGMAS)
    levels = [Level(sigma, 0.0, error, None, None, True) for sigma, error in zip(SIGMAS, linear, strict=True)]
    search = Search(model, batch, levels, batch.errors(batch.eps(model)), silent)
    found = search._decide([Hypothesis("time", "better", lambda _: right)])
    assert (found is not None) == named


def level(sigma: float, error: float, trained: float | None = None, known: bool = True) -> Level:
    return Level(sigma, error, 0.4, trained, None, known)


def test_a_level_without_an_answer_is_refused() -> None:
    """The few images that `network_fingerprint` asks for do not have this level."""

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        return EXACT(x, sigma) / ((sigma < 5) | (sigma > 8)).view(-1, 1, 1, 1)

    network_fingerprint(model, DATA, "cpu")
    with pytest.raises(ValueError, match=r"model: it returned NaN or infinity at step 0, sigma=6\.46"):
        check_denoising(model, DATA, "cpu")


def test_levels_are_judged_by_their_neighbours_the_best_linear_predictor_and_a_trained_network() -> None:
    smooth = [level(10.0, 0.1), level(1.0, 0.15), level(0.1, 0.2)]
    assert not list(_bumps(smooth))
    assert list(_bumps([smooth[0], level(1.0, 0.4), smooth[0]])) == [
        "error at sigma 1 is 4 times what its neighbours suggest"
    ]
    assert level(1.0, 0.39).good and not level(1.0, 0.41).good
    assert level(1.0, 0.14, trained=0.1).good and not level(1.0, 0.16, trained=0.1).good
    assert all(error < linear * 1.05 for error, linear in zip(DIGITS, linear_errors(WHOLE, SIGMAS), strict=True))


@pytest.mark.parametrize(
    ("levels", "usable"),
    [
        ([level(30.0, 0.3), level(14.0, 0.7), level(6.5, 0.5), level(3.0, 0.61), level(1.4, 0.1), level(0.65, 0.7)],
         (1.4, 6.5)),  # the limit is 0.62
        ([level(30.0, 0.02), *(level(sigma, 0.7) for sigma in (14.0, 6.5, 3.0))], None),  # one level is no range
        ([level(1.0, 0.7), level(0.1, 0.1, known=False)], None),
        ([*(level(sigma, 0.45) for sigma in (30.0, 14.0, 6.5)), level(3.0, 0.39), level(1.4, 0.45)], (3.0, 30.0)),
    ],
)  # fmt: skip
def test_the_usable_range_is_the_longest_without_doubt(levels: list[Level], usable: Any) -> None:
    assert CheckResult(levels, [], *[torch.empty(0)] * 3).usable == usable


def test_what_an_adapter_does_is_said() -> None:
    make = partial(adapters.flow, lambda z, t, y: z, DATA, side=14, n_classes=10, null_label=10)
    assert network_notes(make(labels="balanced", guidance=3.0)) == [
        "it denoises the middle 14x14 pixels; the border of 1 is the same in all images, so it is denoised exactly",
        "its labels are balanced: sample i has label i mod 10",
        "classifier-free guidance 3: one evaluation is two passes of its network; check measures its errors "
        "without guidance",
    ]
    assert "all its samples have label 4" in network_notes(make(labels=4))[1]
    assert network_notes(EXACT) == []


def test_the_result_shows_one_image_at_each_level() -> None:
    result: CheckResult = check_denoising(EXACT, DATA, "cpu")
    sigma = torch.tensor([level.sigma for level in result.levels]).view(-1, 1, 1, 1)
    assert result.clean.shape == (10, 1, 16, 16) and (result.clean == result.clean[0]).all()
    assert ((result.noisy - result.clean) / sigma).std() == pytest.approx(1, abs=0.05)
    assert (result.denoised[9] - result.clean[9]).abs().max() < 0.1


def test_a_check_costs_a_bounded_number_of_passes_and_says_how_far_it_is() -> None:
    calls, shares, network = list[int](), list[float](), ddpm()
    model = vp(lambda z, t: calls.append(len(z)) or network(z, t))  # type: ignore[func-returns-value]
    assert check_denoising(model, DATA, "cpu", shares.append).doubts == []
    assert sum(calls) <= 10 * (5 * N_IMAGES + 6 * len(hypotheses(model)) + 16)
    assert len(shares) > 20 and shares == sorted(shares) and shares[0] < 0.05 and shares[-1] == 1


@pytest.mark.parametrize("make", [vp, edm_of, flow_of, partial(flow_of, data_at=1)])
def test_every_reading_keeps_the_contract_and_is_told_once(make: Any) -> None:
    """So each prediction, time and process is one that an adapter knows."""
    readings = hypotheses(make(lambda z, t: 0.5 * z, **LABELS))
    assert len({reading.message for reading in readings}) == len(readings)
    x, sigma = torch.randn(2, *DATA.shape), torch.tensor([0.5, 2.0])
    for reading in readings:
        model = reading.read(make(lambda z, t, y: 0.5 * z, **LABELS))
        assert model(x, sigma, index=torch.tensor([0, 9])).shape == x.shape


@pytest.mark.parametrize("first", [0, 1])
def test_a_table_is_not_asked_beyond_its_ends(first: int) -> None:
    """A network with an embedding table fails there. Other tables are as long, and counted as it is."""
    asked: list[Tensor] = []
    table = adapters.linear_betas(100, 1e-3, 0.2, whole=True, first=first)
    model = adapters.vp(lambda z, t: asked.append(t) or z, DATA, time=table)  # type: ignore[func-returns-value]
    sigma = torch.tensor([1e-3, 0.03, 1.0, 30.0, 1e6])
    for reading in hypotheses(model):
        asked.clear()
        reading.read(model)(torch.zeros(5, *DATA.shape), sigma)
        if reading.kind != "process" and not asked[0].is_floating_point():
            lowest = first - (first == 1 and reading.instead == "first=0")
            assert asked[0].min() >= lowest and asked[0].max() <= first + 99
    two_levels = adapters.vp(ddpm(), DATA, time=adapters.from_betas([0.1, 0.2], first=1))
    assert [row.instead for row in hypotheses(two_levels) if "first=" in row.instead] == ["first=0"]


@pytest.mark.parametrize("n", [1, 19])
def test_few_images_are_said_to_be_few(n: int) -> None:
    few = replace(DATA, pixels=DATA.pixels[:n], labels=DATA.labels[:n])
    assert check_denoising(EXACT, few, "cpu").doubts == [
        f"the data set has only {n} image(s), so little is known about what a good error is"
    ]


# --- labels, with a network that denoises to the mean of a class ---

SHOWN = WHOLE.pixels.float() / 127.5 - 1
MEANS = torch.stack([*(SHOWN[WHOLE.labels == label].mean(dim=0) for label in range(10)), SHOWN.mean(dim=0)])
WITH_NULL: dict[str, Any] = {"labels": "balanced", "n_classes": 10, "guidance": 2.0}


def mean(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    return MEANS[labels]


def nearly(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """Its labels change little, and that of no class least: it is between those of the classes."""
    return torch.lerp(MEANS[10], MEANS[labels], 0.05)


def shifted(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """Label 0 is that of no class."""
    return MEANS[labels - 1]


CLASS_9 = "null_label=-2 behaves like class 9, not like the label of no class"


@pytest.mark.parametrize(
    ("net", "options", "doubts"),
    [
        (mean, WITH_NULL | {"null_label": 10}, []),
        (nearly, WITH_NULL | {"null_label": 10}, []),
        (lambda z, t, y: shifted(z, t, y + 1), WITH_NULL | {"null_label": -1}, []),
        (nearly, WITH_NULL | {"null_label": -2}, [CLASS_9]),
        (mean, WITH_NULL | {"null_label": -2, "labels": 3}, [CLASS_9]),
        (mean, WITH_NULL | {"null_label": -2, "guidance": 1.0}, []),
        (mean, {"labels": 2, "n_classes": 3, "guidance": 2.0, "null_label": 5},
         ["n_classes=3, but the data have 10 classes"]),
        (mean, {"labels": "balanced", "n_classes": 10}, []),
        (mean, {"labels": 3, "n_classes": 11}, []),
    ],
    ids=["right", "right, weak", "right, below 0", "a class, weak", "a class, one label", "not used",
         "a class that is not counted", "no guidance", "one label"],
)  # fmt: skip
def test_labels_are_doubted_where_they_are_wrong(net: Any, options: dict[str, Any], doubts: list[str]) -> None:
    assert check_labels(adapters.edm(net, WHOLE, **options), WHOLE, "cpu")[1] == doubts


def test_data_without_labels_say_nothing_about_the_number_of_classes() -> None:
    unlabelled = replace(WHOLE, labels=torch.zeros_like(WHOLE.labels))
    model = adapters.edm(mean, unlabelled, **WITH_NULL, null_label=10)
    assert check_labels(model, unlabelled, "cpu") == ({}, [])
