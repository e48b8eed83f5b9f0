"""Each mistake that people make with an adapter is found, and nothing is found where there is none.

The networks are exact denoisers of a few hundred images, told time and range as a trained network would be.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_core import adapters, load
from diffusion_core.exact import Empirical, GaussianDenoiser
from experiments.models.check import CheckResult, Level, _doubts, examine
from experiments.models.external import remarks
from experiments.models.variants import RANGES

DATA = load("mnist5k")
EXACT = Empirical(DATA.standardised()[:80])  # the check takes the first 16, and eight of each class
MEAN = DATA.standardised().flatten(1).mean(dim=0)
VARIANCES, COMPONENTS = torch.linalg.eigh((DATA.standardised().flatten(1) - MEAN).T.cov(correction=0))
BY_CLASS = [DATA.standardised()[DATA.labels == label][:16] for label in range(10)]
OF_CLASS = [Empirical(some) for some in (*BY_CLASS, torch.cat(BY_CLASS))]  # the last is that of no class
Eps = Callable[[Tensor, Tensor], Tensor]


def ddpm(
    pixels: tuple[float, float] = (-1, 1),
    returns: str = "eps",
    first: int = 0,
    exact: Eps = EXACT,
    level: Callable[[Tensor], Tensor] | None = None,
) -> Eps:
    """An exact network of DDPM on images in a range; `level` is its sigma as a function of its time."""
    low, high = pixels
    scale, shift = (high - low) * DATA.std / 255, low + (high - low) * DATA.mean / 255
    table = adapters.linear_betas(first=first)

    def net(z: Tensor, t: Tensor) -> Tensor:
        sigma = (level or table.sigma)(t.double()).float().view(-1, 1, 1, 1)
        s = (1 + sigma.square()).rsqrt()
        eps = exact((z / s - shift) / scale, sigma.flatten() / scale)
        clean = z / s - sigma * eps
        return {"eps": eps, "x0": clean, "v": s * eps - s * sigma * clean}[returns]

    return net


def flow(returns: str = "velocity", data_at: int = 0, exact: Any = EXACT) -> Callable[..., Tensor]:
    """An exact network of a flow on images in [-1, 1], with labels if `exact` takes them."""
    scale, shift = DATA.std / 127.5, DATA.mean / 127.5 - 1
    time = adapters.FlowTime(data_at)

    def net(z: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        sigma = time.sigma(t.double()).float().view(-1, 1, 1, 1)
        y = z * (1 + sigma)
        eps = exact((y - shift) / scale, sigma.flatten() / scale, *labels)
        return (eps - (y - sigma * eps)) * (1 - 2 * data_at)

    return net


def edm(level: Callable[[Tensor], Tensor], returns: str = "x0", exact: Eps = EXACT) -> Eps:
    """An exact network of the exploding process on images in [-1, 1]; `level` is its sigma, given its time."""
    scale, shift = DATA.std / 127.5, DATA.mean / 127.5 - 1

    def net(z: Tensor, t: Tensor) -> Tensor:
        sigma = level(t.double()).float().view(-1, 1, 1, 1)
        eps = exact((z - shift) / scale, sigma.flatten() / scale)
        return eps if returns == "eps" else z - sigma * eps

    return net


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


def found(model: Any) -> str:
    return "\n".join(examine(model, DATA, "cpu").doubts)


RIGHT = {
    **{f"ddpm on {pixels}": adapters.vp(ddpm(pixels), DATA, pixels=pixels) for pixels in RANGES},
    "v": adapters.vp(ddpm(returns="v"), DATA, predicts="v"),
    "a table from 1": adapters.vp(ddpm(first=1), DATA, time=adapters.linear_betas(first=1)),
    "flow": adapters.flow(flow(), DATA),
    "flow to data": adapters.flow(flow(data_at=1), DATA, data_at=1),
    "labels": adapters.flow(flow(exact=by_label), DATA, labels="balanced", n_classes=10),
    "guided": adapters.flow(flow(exact=by_label), DATA, labels="balanced", n_classes=10, guidance=4.0, null_label=10),
    "one label": adapters.flow(flow(exact=by_label), DATA, labels=3, n_classes=10),
    "a function": lambda x, sigma: EXACT(x, sigma),
}


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_doubted_about_an_exact_denoiser(name: str) -> None:
    result = examine(RIGHT[name], DATA, "cpu")
    assert result.doubts == []
    assert all(level.error < level.linear + 0.002 for level in result.levels if level.known)
    low = 0.0646 if isinstance(model := RIGHT[name], adapters.Adapter) and model.span[0] > 0.03 else 0.03
    assert result.usable == pytest.approx((low, 30.0), rel=1e-2)


WRONG = {
    **{
        f"range {theirs} as {given}": (
            adapters.vp(ddpm(theirs), DATA, pixels=given),
            rf"range may be wrong: it fits pixels=\({theirs[0]:.1f}, {theirs[1]:.1f}\) better",
        )
        for theirs in RANGES
        for given in RANGES
        if theirs != given
    },
    **{
        f"{theirs} as {given}": (
            adapters.vp(ddpm(returns=theirs), DATA, predicts=given),
            f"output may be read wrongly: it fits predicts='{theirs}' better than '{given}'",
        )
        for theirs in ("eps", "x0", "v")
        for given in ("eps", "x0", "v")
        if theirs != given
    },
    "counts from 1": (adapters.vp(ddpm(first=1), DATA), "off by one: it fits first=1 better than first=0, at"),
    "counts from 0": (
        adapters.vp(ddpm(), DATA, time=adapters.linear_betas(first=1)),
        "off by one: it fits first=0 better than first=1",
    ),
    "the other way": (adapters.flow(flow(data_at=1), DATA), "time may run the other way: it fits data_at=1 better"),
    "negative": (
        adapters.vp(lambda z, t: -ddpm()(z, t), DATA),
        "output may have the wrong sign: its negative fits better; the error",
    ),
    "a flow's negative": (
        adapters.flow(lambda z, t: -flow()(z, t), DATA),
        "output may have the wrong sign: its negative fits better; the error",
    ),
    "t / 1000": (
        adapters.vp(ddpm(level=lambda t: adapters.linear_betas().sigma(1000 * t)), DATA),
        r"other units: it fits better as lambda z, t: net\(z, t / 1000\)",
    ),
    "1000 t": (
        adapters.flow(lambda z, t: flow()(z, t / 1000), DATA),
        r"other units: it fits better as lambda z, t: net\(z, 1000 \* t\)",
    ),
    **{
        f"sigma, of which it sees {seen:.2g}": (
            adapters.edm(edm(lambda t, seen=seen: seen * t, exact=linear), DATA),
            rf"other units: it fits better as lambda z, t: net\(z, {better} \* t\)",
        )
        for seen, better in ((DATA.std / 127.5, 1.81), (2.0, 0.5))
    },
    "ln sigma / 4": (adapters.edm(edm(lambda t: (4 * t).exp()), DATA), r"it fits time=LogSigma\(0.25\) better"),
    "cosine betas": (
        adapters.vp(ddpm(level=lambda t: adapters.CosineVP(0.008).sigma((t + 1) / 1000)), DATA),
        r"it fits time=from_betas\(...\) of a cosine schedule better",
    ),
    "another process, same time": (
        adapters.vp(edm(lambda t: t, "eps"), DATA, time=adapters.Sigma()),
        r"another process: edm\(predicts='eps'\) with the same time fits better",
    ),
    "another process": (
        adapters.vp(flow(), DATA),
        r"another process: flow\(predicts='velocity', data_at=0\) fits better",
    ),
    "two mistakes": (
        adapters.vp(ddpm((0, 1), "v"), DATA),
        r"it fits pixels=\(0.0, 1.0\) better than \(-1.0, 1.0\); and .* it fits predicts='v' better",
    ),
    "no reading helps": (
        adapters.vp(lambda z, t: 0.5 * z, DATA),
        r"is it trained, and on data like these\? No other reading fits \(tried: .*sign.*range.*time.*process, table\)",
    ),
    "transposed labels": (
        adapters.flow(
            lambda z, t, labels: flow(exact=by_label)(z, t, torch.tensor([0, 1, 2, 8, 4, 5, 6, 7, 3, 9])[labels]),
            DATA,
            labels="balanced",
            n_classes=10,
        ),
        "labels may be mixed up: it denoises images of class 3 under label 8, images of class 8 under label 3 better",
    ),
    "a null label that is a class": (
        adapters.flow(flow(exact=by_label), DATA, labels=0, n_classes=10, guidance=2.0, null_label=3),
        "null_label=3 behaves like class 3, not like the label of no class",
    ),
    "a null label that means nothing": (
        adapters.flow(flow(exact=untrained_null), DATA, labels="balanced", n_classes=10, guidance=2.0, null_label=10),
        "null_label=10 denoises images worse than the labels of other classes do",
    ),
    "a count of classes with no class in it": (
        adapters.flow(flow(exact=by_label), DATA, labels="balanced", n_classes=11),
        "n_classes=11, but the data have 10 classes: does it count the label of no class",
    ),
    "labels without effect": (
        adapters.flow(lambda z, t, labels: flow()(z, t), DATA, labels="balanced", n_classes=10),
        "its labels change nothing",
    ),
    "a function of a wrong range": (
        lambda x, sigma: adapters.vp(ddpm((0, 1)), DATA)(x, sigma),
        r"it fits better if the network sees \[0.0, 1.0\] where it now sees \[-1.0, 1.0\]",
    ),
    "a function that returns x0": (
        lambda x, sigma: adapters.vp(ddpm(returns="x0"), DATA)(x, sigma),
        r"it fits better as x0 of images in \[-1.0, 1.0\]",
    ),
    "a function with a wrong sign": (lambda x, sigma: -EXACT(x, sigma), "its negative fits better"),
    "an untrained network": (GaussianDenoiser(), "is it trained, and on data like these"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_found_with_its_cause(name: str) -> None:
    model, message = WRONG[name]
    doubts = found(model)
    assert len(doubts.splitlines()) <= 2
    assert re.search(message, doubts), doubts


def test_a_bump_and_an_error_above_1_are_said() -> None:
    def level(sigma: float, error: float) -> Level:
        return Level(sigma, error, 1.0, None, True)

    smooth = [level(10.0, 0.2), level(1.0, 0.3), level(0.1, 0.5)]
    assert not list(_doubts(smooth, None))
    (bump,) = _doubts([smooth[0], level(1.0, 0.8), smooth[0]], None)
    assert bump == "error at sigma 1 is 4 times what its neighbours suggest"
    above = list(_doubts([level(10.0, 1.1), level(1.0, 1.1), level(0.1, 0.5)], None))
    assert above == ["error above 1 at sigma 1 to 10: predicting no noise at all would be better there"]


def test_what_an_adapter_does_is_said() -> None:
    make = partial(adapters.flow, lambda z, t, y: z, DATA, side=28, n_classes=10, null_label=10)
    said = remarks(make(labels="balanced", guidance=3.0))
    assert said == [
        "it denoises the middle 28x28 pixels; the border of 2 is the same in all images, so it is denoised exactly",
        "its labels are balanced: sample i has label i mod 10",
        "classifier-free guidance 3: one evaluation is two passes of its network; check measures its errors "
        "without guidance",
    ]
    assert "all its samples have label 4" in remarks(make(labels=4))[1]
    assert remarks(EXACT) == []


def test_the_result_shows_one_image_at_each_level() -> None:
    result: CheckResult = examine(EXACT, DATA, "cpu")
    sigma = torch.tensor([level.sigma for level in result.levels]).view(-1, 1, 1, 1)
    assert result.clean.shape == (10, 1, 32, 32) and (result.clean == result.clean[0]).all()
    assert ((result.noisy - result.clean) / sigma).std() == pytest.approx(1, abs=0.05)
    assert (result.denoised[5:] - result.clean[5:]).abs().max() < 1e-3


def test_readings_of_the_same_output_cost_no_pass_of_the_network() -> None:
    calls, network = [], ddpm()

    def counted(z: Tensor, t: Tensor) -> Tensor:
        calls.append(len(z))
        return network(z, t)

    assert examine(adapters.vp(counted, DATA), DATA, "cpu").doubts == []
    all_levels, first_look = 10 * 16, 10 * 4
    assert sum(calls) <= all_levels + 3 * first_look + 2 * 5 * 16  # two ranges; two tables at the levels that matter


def test_a_reading_that_leaves_doubts_is_not_named() -> None:
    """The error of this one is 16 times smaller as a prediction of x0 and still far from good."""
    half_trained = adapters.vp(lambda z, t: 0.6 * ddpm(returns="x0")(z, t), DATA)
    doubts = found(half_trained)
    assert "is it trained" in doubts and "better" not in doubts.replace("would be better there", "")


class Embedded(torch.nn.Module):
    """An exact network of DDPM that looks its level up in a table of the given length, as nn.Embedding does."""

    def __init__(self, table: adapters.TableTime) -> None:
        super().__init__()
        self.levels = torch.nn.Embedding.from_pretrained(torch.tensor(table.sigmas).view(-1, 1))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return ddpm(level=lambda index: self.levels(index.long()).flatten())(z, t)


@pytest.mark.parametrize("n", [100, 400])
def test_an_embedding_table_is_not_asked_beyond_its_ends(n: int) -> None:
    table = adapters.linear_betas(n, 1e-3, 0.02 * 1000 / n if n == 100 else 0.02, whole=True)
    assert found(adapters.vp(Embedded(table), DATA, time=table)) == ""


@pytest.mark.parametrize("sign", [1, -1])
def test_a_function_that_takes_an_index_is_read_with_it(sign: int) -> None:
    def eps(x: Tensor, sigma: Tensor, *, index: Tensor) -> Tensor:
        assert len(index) == len(x)
        return sign * EXACT(x, sigma)

    eps.takes_index = True  # type: ignore[attr-defined]
    assert ("its negative fits better" in found(eps)) == (sign == -1)


@pytest.mark.parametrize("n", [1, 2, 19])
def test_few_images_are_said_to_be_few(n: int) -> None:
    few = replace(DATA, pixels=DATA.pixels[:n], labels=DATA.labels[:n])
    doubts = examine(EXACT, few, "cpu").doubts
    assert doubts == [f"the data set has only {n} image(s), so little is known about what a good error is"]
