"""Each mistake that people make with an adapter is named, and nothing is doubted where there is none.

The networks are exact denoisers of a few images, told time and range as a trained network would be.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from arrays import normal
from exact_networks import Network, exact
from mixture import Mixture
from refusals import refused
from tables import cells
from torch import Tensor

from diffusion_core import adapters, load
from diffusion_core.adapters import FlowTime, LogSigma, Sigma, Time, linear_betas
from diffusion_core.data.dataset import Images, Values
from diffusion_core.exact import Empirical, GaussianDenoiser
from diffusion_core.schedules.process_time import cosine_betas
from diffusion_core.tensors import broadcast_like
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
Change = Callable[[Tensor], Tensor]


def gaussian(x0: Tensor) -> list[Tensor]:
    """The Gaussian of some images: their first principal components, and alike in all other directions."""
    flat = x0.flatten(1).double()
    _, sizes, directions = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False)
    variances = sizes.square() / len(flat)
    rest = (variances[RANK:].sum() / (flat.shape[1] - RANK)).clamp(min=0.01**2)
    parts = (flat.mean(dim=0), directions[:RANK].T, (variances[:RANK] - rest).clamp(min=0), rest.sqrt())
    return [part[None] for part in parts]


def mixture(*gaussians: list[Tensor]) -> Mixture:
    n = len(gaussians)
    return Mixture(torch.full((n,), 1 / n).double(), *map(torch.cat, zip(*gaussians, strict=True)))


GAUSSIANS = [gaussian(CLEAN[DATA.labels == label]) for label in range(10)]
EXACT = mixture(*GAUSSIANS)  # as good as a well-trained network
LINEAR = mixture(gaussian(CLEAN))  # the best linear predictor of eps. It does not find the images under half the noise
CLASSES: list[Network] = [*map(mixture, GAUSSIANS), EXACT, lambda x, sigma: 0 * x]  # 10: all of them; 11: untrained
INNER = Empirical(WHOLE.standardised()[:40, :, 2:30, 2:30])


def by_label(*classes: int) -> Network:
    """EXACT under labels: label i means the i-th of these of `CLASSES`."""

    def eps(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        out = torch.empty_like(x)
        for label in labels.unique().tolist():
            out[labels == label] = CLASSES[classes[label]](x[labels == label], sigma[labels == label])
        return out

    return eps


TIMES: dict[str, Time] = {"vp": linear_betas(), "edm": Sigma(), "flow": FlowTime()}


def same(z: Tensor) -> Tensor:
    return z


def network(
    process: str, returns: str, time: Time | None = None, told: Change = same, there: Change = same,
    back: Change = same, pixels: tuple[float, float] = (-1, 1), eps: Network = EXACT,
) -> Network:  # fmt: skip
    """An exact network on images in a range. It gets told(t) for its time and there(z) for z, and returns back(...)."""
    net = exact(process, returns, time or TIMES[process], eps, DATA, pixels)
    return lambda z, t, *labels: back(net(there(z), told(t), *labels))


ddpm, edm, flow = (partial(network, *pair) for pair in (("vp", "eps"), ("edm", "x0"), ("flow", "velocity")))
vp, edm_of, flow_of = (partial(make, data=DATA) for make in (adapters.vp, adapters.edm, adapters.flow))


def unit_noise(x: Tensor) -> Tensor:
    return normal(*x.shape)


def guided(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """As a network that applies guidance itself."""
    return torch.lerp(EXACT(x, sigma), by_label(*range(11))(x, sigma, labels), 2.0)


def with_error_of_x0(x: Tensor, sigma: Tensor) -> Tensor:
    """As a network whose x0 has an error of 0.1 at all levels, unrelated to its input."""
    return EXACT(x, sigma) + 0.1 * unit_noise(x) / broadcast_like(x, sigma)


def middle(x: Tensor, sigma: Tensor) -> Tensor:
    """The eps of the middle 28x28 pixels of WHOLE, which takes other sizes too, as convolutions do."""
    return INNER(x, sigma) if x.shape[2] == 28 else 0 * x


def untrained(z: Tensor, t: Tensor) -> Tensor:
    return torch.nn.functional.conv2d(z, unit_noise(z[:1, :1, :3, :3]), padding=1)


def partly_weak(z: Tensor, t: Tensor) -> Tensor:
    return flow()(z, 1 - t) * broadcast_like(z, torch.where(t < 0.8, 0.93, 1.0))


def noisy_at_the_end(z: Tensor, t: Tensor) -> Tensor:
    return flow()(z, t) + 0.45 * unit_noise(z) * broadcast_like(z, t < 0.04)


def doubts(model: Any) -> str:
    return "\n".join(check_denoising(model, getattr(model, "data", DATA), "cpu").doubts)


LABELLED = flow(eps=by_label(*range(11)))
TO_DATA = network("flow", "velocity to data", FlowTime(1))
BALANCED: dict[str, Any] = {"labels": "balanced", "n_classes": 10}
GUIDED: dict[str, Any] = BALANCED | {"guidance": 2.0, "null_label": 10}
FROM_1 = linear_betas(first=1)
RIGHT = {
    **{f"ddpm on {pixels}": vp(ddpm(pixels=pixels), pixels=pixels) for pixels in RANGES},
    "v": vp(network("vp", "v"), predicts="v"),
    "a table from 1": vp(ddpm(FROM_1), time=FROM_1),
    "flow": flow_of(flow()),
    "flow to data": flow_of(TO_DATA, data_at=1),
    "labels": flow_of(LABELLED, **BALANCED),
    "guided": flow_of(LABELLED, **GUIDED),
    "one label": flow_of(LABELLED, labels=1, n_classes=10),
    "a function": lambda x, sigma: EXACT(x, sigma),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_doubted_about_an_exact_denoiser(name: str):
    result = check_denoising(RIGHT[name], DATA, "cpu")
    assert result.doubts == []
    low = 0.0646 if getattr(RIGHT[name], "span", (0.0,))[0] > 0.03 else 0.03
    assert result.usable == pytest.approx((low, 30.0), rel=1e-2)


def turned(quarters: int) -> Change:
    return partial(torch.rot90, k=quarters, dims=(2, 3))


def earlier(t: Tensor) -> Tensor:
    return (t - 20).clamp(min=0)


HUNDRED, HUNDRED_FROM_1 = (linear_betas(100, 1e-3, 0.2, first=first) for first in (0, 1))
# Chen 2023, arXiv 2301.10972, Algorithm 1, at the ends of 1,000 steps, with the last one above 0
SIGMOID = adapters.from_abar((torch.sigmoid(3 - 6 * (torch.arange(999) + 1).double() / 1000) - torch.sigmoid(
    torch.tensor(-3.0).double())).div(math.tanh(1.5)).tolist())  # fmt: skip
SCALED_LINEAR = adapters.from_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square())
COSINE = adapters.CosineVP(0.008)
CLIPPED = adapters.from_betas(cosine_betas(1000))
STANDARDISED = (-DATA.mean / DATA.std, (255 - DATA.mean) / DATA.std)
WRONG: dict[str, dict[str, Any]] = {  # what is said, in two parts, about a model
    "check its range: it fits ": {
        "pixels=(0.0, 1.0) better": vp(ddpm(pixels=(0, 1)), pixels=(-0.5, 0.5)),
        "pixels=(0.0, 1.0) better, but some errors stay doubtful": vp(ddpm(pixels=(0, 1), eps=GaussianDenoiser())),
        "pixels=(-0.4242, 2.8215), which is (v / 255 - 0.1307)": vp(ddpm(pixels=MNIST)),
        "pixels standardised by the mean": vp(ddpm(pixels=STANDARDISED)),
    },
    "check its prediction: it fits ": {
        "predicts='v' better": vp(network("vp", "v")),
        "predicts='x0' better": vp(network("vp", "x0", eps=with_error_of_x0)),
    },
    "check its sign: it fits ": {"the negative better": flow_of(flow(back=torch.neg))},
    "check its black and white: it fits ": {"negative images better": vp(ddpm(there=torch.neg, back=torch.neg))},
    "check its orientation: it fits ": {
        "transposed input with the same output better": vp(ddpm(there=torch.adjoint)),
        "images turned right by 90 degrees better": vp(ddpm(there=turned(1), back=turned(-1))),
    },
    "check its time: it fits ": {
        "first=1 better": vp(ddpm(HUNDRED_FROM_1), time=HUNDRED),
        "net(z, t - 20)": vp(ddpm(told=lambda t: (t + 20).clamp(max=999))),
        "time=from_betas(...) of a cosine schedule": vp(ddpm(COSINE, lambda t: (t + 1) / 1000)),
        "net(z, 1.99 * t)": edm_of(edm(told=lambda t: DATA.std / 127.5 * t, eps=LINEAR)),
        "net(z, 0.5 * t)": edm_of(edm(told=lambda t: 2 * t, eps=LINEAR)),
        "net(z, 1 - t)": flow_of(flow(told=lambda t: 1 - t)),
        "net(z, 1 - t) better": flow_of(partly_weak),
        "net(z, t / (3 - 2 * t))": flow_of(flow(told=lambda t: 3 * t / (1 + 2 * t))),
    },
    "check its process: it fits ": {
        "edm(predicts='eps', the same time)": vp(network("edm", "eps", LogSigma()), time=LogSigma()),
        "vp(predicts='eps', time=linear_betas()) better": flow_of(ddpm()),
    },
    "check its size: it fits ": {
        "side=28 better": adapters.edm(exact("edm", "x0", Sigma(), middle, WHOLE), WHOLE),
    },
    "check its gain: it fits ": {
        "0.908 * net": vp(ddpm(back=lambda out: 1.1 * out)),
        "1.05 * net": vp(ddpm(back=lambda out: 0.95 * out)),
    },
    "check its labels: it fits ": {
        "label 8 for class 3, 3 for class 8 better": flow_of(
            flow(eps=by_label(0, 1, 2, 8, 4, 5, 6, 7, 3, 9)), **BALANCED),
        "label -1 for each class better": flow_of(flow(eps=by_label(*range(1, 10), 0)), **BALANCED),
        "label +1 for each class better": flow_of(flow(eps=by_label(10, *range(10))), **GUIDED),
        "guidance=0.49, as if the network guided already, better": flow_of(flow(eps=guided), **GUIDED),
    },
    "null_label=10 ": {
        "behaves like class 3, not like the label of no class": flow_of(
            flow(eps=by_label(*range(10), 3)), **GUIDED | {"labels": 0}),
        "denoises images worse than the labels of other classes do": flow_of(
            flow(eps=by_label(*range(10), 11)), **GUIDED),
    },
    "": {
        "check its labels: they change nothing": flow_of(lambda z, t, y: flow()(z, t), **BALANCED),
        "n_classes=11, but the data have 10 classes: does it count the label of no class": flow_of(
            LABELLED, labels="balanced", n_classes=11),
        "check its range and gain: it fits pixels=(0.0, 1.0) with 1.11 * net(...) better": vp(
            ddpm(pixels=(0, 1), back=lambda out: 0.9 * out)),
        "it fits predicts='x0' with pixels=(0.0, 1.0) better": vp(network("vp", "x0", pixels=(0, 1))),
        "check its sign and time: it fits the negative with net(z, t + 20) better": vp(
            ddpm(CLIPPED, earlier, back=torch.neg), time=CLIPPED),
        " / sigma^2 and of no use there; end schedules at sigma 0.3, with a last step to 0 (end=0)": vp(
            network("vp", "x0", eps=with_error_of_x0), predicts="x0"),
        "below sigma 0.065 it is worse than the best linear denoiser: end schedules there": flow_of(noisy_at_the_end),
        "is it trained, and on data like these? No other reading fits": vp(untrained),
        " times the best linear predictor's: is it trained, and on data like these? No other reading fits": vp(
            lambda z, t: 0 * z),
        "is it trained, and on data like these? No other reading is tried without an adapter": GaussianDenoiser(),
        "No other reading is tried without": lambda x, sigma: vp(ddpm(pixels=(0, 1)))(x, sigma),
    },
}  # fmt: skip


@pytest.mark.slow
@cells(WRONG)
def test_each_mistake_is_named(row: str, cell: str):
    said = doubts(WRONG[row][cell])
    assert len(said.splitlines()) <= 2
    assert row + cell in said


MISREAD: dict[str, dict[str, adapters.Adapter]] = {  # by aspect and reading, of those that are not written as code
    "sign": {"the negative": vp(ddpm(back=torch.neg))},
    "black and white": {"negative images": vp(ddpm(pixels=(1, 0)), pixels=(0, 1))},
    "orientation": {f"images {name}": vp(ddpm(there=change, back=change)) for name, change in {
        "transposed": torch.adjoint,
        "transposed along the second diagonal": lambda z: turned(2)(z).mT,
        "turned by 180 degrees": turned(2),
        "mirrored left to right": partial(torch.flip, dims=(3,)),
        "mirrored upside down": partial(torch.flip, dims=(2,)),
    }.items()} | {"images turned left by 90 degrees": vp(ddpm(there=turned(3), back=turned(1)))},
    "time": {
        "first=0": vp(ddpm(HUNDRED), time=HUNDRED_FROM_1),
        "time=from_betas(...) of a sigmoid schedule": vp(ddpm(SIGMOID)),
        "time=from_betas(...) of Stable Diffusion's scaled linear schedule": vp(ddpm(SCALED_LINEAR)),
    },
}  # fmt: skip


@cells(MISREAD)
def test_the_reading_of_a_mistake_is_the_exact_network(row: str, cell: str):
    model, sigma = MISREAD[row][cell], torch.tensor([0.3, 1.0, 5.0])
    (read,) = (read for named, read in (HYPOTHESES | OF_IMAGES)[row](model) if named == cell)
    x = CLEAN[:3] + broadcast_like(CLEAN, sigma) * unit_noise(CLEAN[:3])
    torch.testing.assert_close(read(model)(x, sigma), EXACT(x, sigma), rtol=0, atol=0.02)


def off_by(size: float, low: float, high: float) -> Network:
    """EXACT with an error at the levels between two."""
    return lambda x, sigma: EXACT(x, sigma) + size * broadcast_like(x, (low < sigma) & (sigma < high))


@pytest.mark.parametrize(
    "now, better, named",
    [
        # within limits, a reading that repairs doubtful levels may be worse at others
        (off_by(1.0, 0, 10), off_by(0.07, 10, 99), True),
        (off_by(1.0, 0, 10), off_by(0.3, 10, 99), False),
        # as a time that is told 20 steps late: the right one is 4 % worse at the highest level, and much better below
        (off_by(0.3, 0.05, 1), off_by(0.02, 20, 99), True),
        (off_by(0.01, 0.05, 1), off_by(0.02, 20, 99), False),
    ],
)
def test_a_hypothesis_that_gains_more_than_it_loses_is_named(now: Network, better: Network, named: bool):
    model, right = (adapters.edm(net, POINTS, predicts="eps") for net in (now, better))
    batch, linear = NoisyBatch(POINTS, torch.arange(N_IMAGES), SIGMAS, "cpu"), linear_errors(POINTS, SIGMAS)
    at = [Level(sigma, 0.0, error, None, None, True) for sigma, error in zip(SIGMAS, linear, strict=True)]
    search = Search(model, batch, at, batch.errors(batch.eps(model)), silent)
    found = search._decide([Hypothesis("time", "better", lambda _: right)])
    assert (found is not None) == named


def levels(errors: dict[float, float | None], trained: float | None = None) -> list[Level]:
    """Levels at which the best linear predictor has an error of 0.4. None: the network does not know this level."""
    return [Level(sigma, error or 0.0, 0.4, trained, None, error is not None) for sigma, error in errors.items()]


def test_a_level_without_an_answer_is_refused():
    """The few images that `network_fingerprint` asks for do not have this level."""

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        return EXACT(x, sigma) / broadcast_like(x, (sigma < 5) | (sigma > 8))

    network_fingerprint(model, DATA, "cpu")
    with refused(r"model: it returned NaN or infinity at step 0, sigma=6\.46"):
        check_denoising(model, DATA, "cpu")


def test_levels_are_judged_by_their_neighbours_the_best_linear_predictor_and_a_trained_network():
    assert not list(_bumps(levels({10.0: 0.1, 1.0: 0.15, 0.1: 0.2})))
    assert list(_bumps(levels({10.0: 0.1, 1.0: 0.4, 0.1: 0.1}))) == [
        "error at sigma 1 is 4 times what its neighbours suggest"
    ]
    assert [level.good for level in levels({2.0: 0.39, 1.0: 0.41})] == [True, False]
    assert [level.good for level in levels({2.0: 0.14, 1.0: 0.16}, trained=0.1)] == [True, False]
    assert all(error < linear * 1.05 for error, linear in zip(DIGITS, linear_errors(WHOLE, SIGMAS), strict=True))


@pytest.mark.parametrize(
    "errors, usable",
    [
        ({30.0: 0.3, 14.0: 0.7, 6.5: 0.5, 3.0: 0.61, 1.4: 0.1, 0.65: 0.7}, (1.4, 6.5)),  # the limit is 0.62
        ({30.0: 0.02, 14.0: 0.7, 6.5: 0.7, 3.0: 0.7}, None),  # one level is no range
        ({1.0: 0.7, 0.1: None}, None),
        ({30.0: 0.45, 14.0: 0.45, 6.5: 0.45, 3.0: 0.39, 1.4: 0.45}, (3.0, 30.0)),
    ],
)
def test_the_usable_range_is_the_longest_without_doubt(errors: dict[float, float | None], usable: Any):
    assert CheckResult(levels(errors), [], *[torch.empty(0)] * 3).usable == usable


def test_what_an_adapter_does_is_said():
    make = partial(adapters.flow, lambda z, t, y: z, DATA, side=14, n_classes=10, null_label=10)
    assert network_notes(make(labels="balanced", guidance=3.0)) == [
        "it denoises the middle 14x14 pixels; the border of 1 is the same in all images, so it is denoised exactly",
        "its labels are balanced: sample i has label i mod 10",
        "classifier-free guidance 3: one evaluation is two passes of its network; check measures its errors "
        "without guidance",
    ]
    assert "all its samples have label 4" in network_notes(make(labels=4))[1]
    assert network_notes(EXACT) == []


def test_the_result_shows_one_image_at_each_level():
    result: CheckResult = check_denoising(EXACT, DATA, "cpu")
    sigma = broadcast_like(result.noisy, torch.tensor(SIGMAS))
    assert result.clean.shape == (10, 1, 16, 16) and (result.clean == result.clean[0]).all()
    assert ((result.noisy - result.clean) / sigma).std() == pytest.approx(1, abs=0.05)
    assert (result.denoised[9] - result.clean[9]).abs().max() < 0.1


def test_a_check_costs_a_bounded_number_of_passes_and_says_how_far_it_is():
    calls, shares, network = list[int](), list[float](), ddpm()
    model = vp(lambda z, t: calls.append(len(z)) or network(z, t))  # type: ignore[func-returns-value]
    assert check_denoising(model, DATA, "cpu", shares.append).doubts == []
    assert sum(calls) <= 10 * (5 * N_IMAGES + 6 * len(hypotheses(model)) + 16)
    assert len(shares) > 20 and shares == sorted(shares) and shares[0] < 0.05 and shares[-1] == 1


MAKES = [
    vp,
    partial(vp, time=COSINE, pixels=(0, 1)),
    edm_of,
    partial(edm_of, time=LogSigma()),
    flow_of,
    partial(flow_of, data_at=1),
    partial(flow_of, predicts="x0"),
]
READINGS = """
blue, green, red
data_at=0
data_at=1
edm(predicts='eps', the same time)
edm(predicts='eps', time=Sigma())
edm(predicts='x0', the same time)
edm(predicts='x0', time=Sigma())
first=1
flow(predicts='eps', data_at=0)
flow(predicts='eps', data_at=1)
flow(predicts='velocity', data_at=0)
flow(predicts='velocity', data_at=1)
flow(predicts='x0', data_at=0)
flow(predicts='x0', data_at=1)
images mirrored left to right
images mirrored upside down
images transposed
images transposed along the second diagonal
images turned by 180 degrees
images turned left by 90 degrees
images turned right by 90 degrees
label +1 for each class
label -1 for each class
negative images
net(z, 0.5 * t)
net(z, 1 - t)
net(z, 1.99 * t)
net(z, 1000 * t)
net(z, 2 * t)
net(z, 3 * t / (1 + 2 * t))
net(z, 999 - t)
net(z, t + 0.02)
net(z, t + 20)
net(z, t - 0.02)
net(z, t - 20)
net(z, t / (3 - 2 * t))
net(z, t / 1000)
pixels standardised by the mean and std of the data
pixels=(-0.4242, 2.8215), which is (v / 255 - 0.1307) / 0.3081,
pixels=(-0.5, 0.5)
pixels=(-1.0, 1.0)
pixels=(0.0, 1.0)
predicts='eps'
predicts='v'
predicts='velocity'
predicts='x0'
the negative
time=CosineVP()
time=LinearVP()
time=LogSigma()
time=LogSigma(0.25)
time=Sigma()
time=from_betas(...) of Stable Diffusion's scaled linear schedule
time=from_betas(...) of a cosine schedule
time=from_betas(...) of a sigmoid schedule
time=linear_betas()
transposed input with the same output
vp(predicts='eps', the same time)
vp(predicts='eps', time=linear_betas())
vp(predicts='v', the same time)
vp(predicts='v', time=linear_betas())
vp(predicts='x0', the same time)
vp(predicts='x0', time=linear_betas())
"""


def test_these_readings_are_tried():
    told = {reading.instead for make in MAKES for reading in hypotheses(make(same, **BALANCED))}
    assert sorted(told) == READINGS.strip().splitlines()


@pytest.mark.parametrize("make", MAKES)
def test_the_text_of_a_reading_is_the_code_that_makes_it(make: Any):
    """It is a call of the network with another time, or the arguments of an adapter."""

    def net(z: Tensor, t: Tensor) -> Tensor:
        return z * broadcast_like(z, t)

    model, z = make(net), CLEAN[:2]
    t = model.times(torch.tensor([1.0, 2.0]))
    names = vars(adapters) | {"net": net, "z": z, "t": t, "DATA": DATA, "make": partial(make, net)}
    for reading in hypotheses(model):
        code, read = reading.instead, reading.read(model)
        if code.startswith("net("):
            torch.testing.assert_close(read.net(z, t), eval(code, names), rtol=1e-2, atol=0)
        elif "=" in code and not any(words in code for words in ("...", "the ", "which", "first")):
            present = f"(net, DATA, pixels={model.convention.pixels}, "
            call = code.replace("(", present, 1) if reading.aspect == "process" else f"make({code})"
            assert read.convention == eval(call, names).convention


@pytest.mark.parametrize("make", MAKES)
def test_every_reading_keeps_the_contract_and_is_told_once(make: Any):
    """So each prediction, time and process is one that an adapter knows."""
    readings = hypotheses(make(lambda z, t: 0.5 * z, **BALANCED))
    assert len({reading.message for reading in readings}) == len(readings)
    x, sigma = torch.randn(2, *DATA.shape), torch.tensor([0.5, 2.0])
    for reading in readings:
        model = reading.read(make(lambda z, t, y: 0.5 * z, **BALANCED))
        assert model(x, sigma, index=torch.tensor([0, 9])).shape == x.shape


@pytest.mark.parametrize("first", [0, 1])
def test_a_table_is_not_asked_beyond_its_ends(first: int):
    """A network with an embedding table fails there. Other tables are as long, and counted as it is."""
    asked: list[Tensor] = []
    table = linear_betas(100, 1e-3, 0.2, whole=True, first=first)
    model = adapters.vp(lambda z, t: asked.append(t) or z, DATA, time=table)  # type: ignore[func-returns-value]
    sigma = torch.tensor([1e-3, 0.03, 1.0, 30.0, 1e6])
    for reading in hypotheses(model):
        asked.clear()
        reading.read(model)(torch.zeros(5, *DATA.shape), sigma)
        if reading.aspect != "process" and not asked[0].is_floating_point():
            lowest = first - (first == 1 and reading.instead == "first=0")
            assert asked[0].min() >= lowest and asked[0].max() <= first + 99
    two_levels = adapters.vp(ddpm(), DATA, time=adapters.from_betas([0.1, 0.2], first=1))
    assert [row.instead for row in hypotheses(two_levels) if "first=" in row.instead] == ["first=0"]


@pytest.mark.parametrize("n", [1, 19])
def test_few_images_are_said_to_be_few(n: int):
    few = replace(DATA, pixels=DATA.pixels[:n], labels=DATA.labels[:n])
    assert check_denoising(EXACT, few, "cpu").doubts == [
        f"the data set has only {n} image(s), so little is known about what a good error is"
    ]


# --- labels, with a network that denoises to the mean of a class ---

SHOWN = WHOLE.pixels.float() / 127.5 - 1
MEANS = torch.stack([*(SHOWN[WHOLE.labels == label].mean(dim=0) for label in range(10)), SHOWN.mean(dim=0)])
WEAK = torch.lerp(MEANS[10], MEANS, 0.05)  # labels change little, and that of no class least: it is between the others
CLASS_9 = "null_label=-2 behaves like class 9, not like the label of no class"


@pytest.mark.parametrize(
    "means, options, doubts",
    [
        (MEANS, GUIDED, []),
        (WEAK, GUIDED, []),
        (MEANS, GUIDED | {"null_label": -1}, []),
        (WEAK, GUIDED | {"null_label": -2}, [CLASS_9]),
        (MEANS, GUIDED | {"null_label": -2, "labels": 3}, [CLASS_9]),
        (MEANS, GUIDED | {"null_label": -2, "guidance": 1.0}, []),  # it is not used
        (MEANS, {"labels": 2, "n_classes": 3, "guidance": 2.0, "null_label": 5},
         ["n_classes=3, but the data have 10 classes"]),
        (MEANS, BALANCED, []),
        (MEANS, {"labels": 3, "n_classes": 11}, []),
    ],
)  # fmt: skip
def test_labels_are_doubted_where_they_are_wrong(means: Tensor, options: dict[str, Any], doubts: list[str]):
    assert check_labels(adapters.edm(lambda z, t, y: means[y], WHOLE, **options), WHOLE, "cpu")[1] == doubts


def test_data_without_labels_say_nothing_about_the_number_of_classes():
    unlabelled = replace(WHOLE, labels=torch.zeros_like(WHOLE.labels))
    model = adapters.edm(lambda z, t, y: MEANS[y], unlabelled, **GUIDED)
    assert check_labels(model, unlabelled, "cpu") == ({}, [])
