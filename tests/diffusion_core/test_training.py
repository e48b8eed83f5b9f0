"""The training loop: determinism, the order of images, averages, the schedule, stable targets, and its errors."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from arrays import column, normal
from refusals import argument, refused
from torch import Tensor, nn
from torch.testing import assert_close

from diffusion_core import training
from diffusion_core.data.load import load
from diffusion_core.exact import Empirical
from diffusion_core.networks import PARAMETERISATIONS, build
from diffusion_core.noise import LogNormal, LogUniform
from diffusion_core.training import WEIGHTINGS, StableTargets, TrainingStep, lr_factor, train


class Recorder(nn.Module):
    """eps = gain * x, and a record of the images seen (told apart by their mean, as sigma is next to nothing)."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.seen: list[float] = []
        self.gains: list[float] = []
        self.sigmas: list[Tensor] = []

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.seen += x.mean(dim=(1, 2, 3)).tolist()
        self.gains.append(self.gain.item())
        self.sigmas.append(sigma)
        return self.gain * x


QUIET = LogUniform(1e-6, 2e-6)


def numbered(n: int) -> Tensor:
    """n constant images (n, 1, 8, 8), standardised: image i has the pixels of `read_numbers`'s i."""
    numbers = torch.arange(float(n))
    return column((numbers - numbers.mean()) / numbers.std()).expand(n, 1, 8, 8).contiguous()


def read_numbers(seen: list[float], n: int) -> list[int]:
    """Which of the n numbered images were seen, by their means."""
    numbers = np.arange(n)
    return [int(number) for number in np.rint(np.array(seen) * numbers.std(ddof=1) + numbers.mean())]


def smooth(side: int = 32) -> Tensor:
    """Smooth images (32, 1, side, side) with mean 0 and standard deviation 1."""
    coarse = normal(32, 1, 4, 4, seed=7)
    images = nn.functional.interpolate(coarse, size=side, mode="bilinear")
    return (images - images.mean()) / images.std()


def run(model: nn.Module, images: Tensor, **changes: Any) -> list[TrainingStep]:
    options: dict[str, Any] = {"noise": LogNormal(), "n_images": 256, "batch_size": 16, "warmup_images": 32, **changes}
    return list(train(model, images, **options))


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build("small")


def test_every_image_is_visited_once_an_epoch():
    model = Recorder()
    run(model, numbered(10), noise=QUIET, n_images=30, batch_size=4)
    epochs = np.reshape(read_numbers(model.seen, 10), (3, 10))
    assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(10))] * 3
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3, "each epoch has an order of its own"


def test_batch_may_exceed_the_data_and_the_last_one_is_cut_to_fit_and_no_global_state_is_touched():
    model, before = Recorder(9.0), torch.get_rng_state()
    steps = run(model, numbered(3), noise=QUIET, n_images=20, batch_size=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert [step.images_seen for step in steps] == [8, 16, 20]
    assert len(model.seen) == 20 and not model.training
    assert steps[-1].gradient > 1 >= model.gain.grad, "it is clipped"  # type: ignore[operator]
    seen = read_numbers(model.seen, 3)
    assert sorted(seen[:3]) == sorted(seen[3:6]) == [0, 1, 2]


def test_averages_match_a_numpy_loop():
    model, last = Recorder(gain=0.5), Recorder(gain=0.5)
    for each, decay in ((model, 0.8), (last, 0.0)):
        run(each, numbered(4), noise=QUIET, n_images=120, batch_size=4, ema_decay=decay, lr=0.05, warmup_images=20)
    final = model.gain.item()
    assert len(model.gains) == 30
    weights = [*model.gains, last.gain.item()]
    average = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        decay = min(0.8, step / (step + 9))
        average = decay * average + (1 - decay) * weight
    assert final == pytest.approx(average, rel=1e-5)
    assert abs(final - last.gain.item()) > 1e-4, "the average differs from the last weights"


def test_the_same_arguments_give_the_same_weights_bit_for_bit_and_others_give_others():
    def weights(**changes: Any) -> Tensor:
        model = small()
        run(model, smooth(), n_images=64, precision="bf16", **changes)
        return torch.cat([weight.flatten() for weight in model.state_dict().values()])

    plain = weights(seed=1)
    assert torch.equal(plain, weights(seed=1, stratified=False)), "independent draws are the default"
    assert not torch.equal(plain, weights(seed=1, stratified=True)) and not torch.equal(plain, weights(seed=2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, parameterisation, side, n_images, weighting",
    [*(("small", name, 32, 320, "unit-eps") for name in PARAMETERISATIONS),
     ("paper", "mixture-input", 16, 192, "karras")],
)  # fmt: skip
def test_every_network_and_every_parameterisation_learns(
    name: str, parameterisation: str, side: int, n_images: int, weighting: str
):
    torch.manual_seed(0)
    model = build(name, parameterisation=parameterisation)
    model.fit(smooth(side))
    steps = run(model, smooth(side), noise=LogUniform(0.3, 1.0), n_images=n_images, weighting=weighting)
    losses = [step.loss.item() for step in steps]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:3])


def test_a_network_that_needs_fit_is_not_trained_without_it():
    model, loaded = (build("small", parameterisation="mixture-input") for _ in range(2))
    with refused(r"^model: call model.fit\(images\) first"):
        run(model, smooth())
    model.fit(smooth())
    loaded.load_state_dict(model.state_dict())
    for network in (model, loaded, copy.deepcopy(loaded)):
        assert len(run(network, smooth(), n_images=4, batch_size=4)) == 1


def test_stratified_batches_hold_one_noise_level_of_each_stratum():
    def strata(stratified: bool) -> list[list[int]]:
        model, law = Recorder(), LogUniform(1e-2, 1e2)
        run(model, numbered(4), noise=law, n_images=40, batch_size=16, stratified=stratified)
        assert [len(sigma) for sigma in model.sigmas] == [16, 16, 8]
        shares = [(sigma.double().log10() + 2) / 4 for sigma in model.sigmas]  # the law's distribution function
        return [sorted((share * len(share)).floor().int().tolist()) for share in shares]

    one_each = [list(range(n)) for n in (16, 16, 8)]
    assert strata(stratified=True) == one_each
    assert all(seen != even for seen, even in zip(strata(stratified=False), one_each, strict=True))


def test_the_loss_of_an_untrained_network_is_the_closed_form():
    """With F = 0 on unit Gaussian data the error of eps is 1 / (1 + sigma^2), and the Karras weight makes it 1."""
    images = normal(64, 1, 32, 32, seed=5)
    (step,) = run(small(), images, weighting="karras", noise=LogUniform(2.0, 2.0001), n_images=64, batch_size=64)
    assert step.loss.item() == pytest.approx(1.0, rel=0.03)


ON_X0: dict[str, Callable[[float], float]] = {
    "unit-eps": lambda snr: snr,
    "karras": lambda snr: snr + 1,
    "x0": lambda snr: 1,
    "min-snr-5": lambda snr: min(snr, 5),
    "min-snr-1.25": lambda snr: min(snr, 1.25),
    "soft-min-snr-1": lambda snr: snr / (snr + 1),  # 1 / (sigma^2 + sigma_data^2) with sigma_data = 1
}


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weightings_are_the_papers_weights_on_the_error_of_x0(weighting: str):
    """The error of x0 is sigma times that of eps, so a weight on the former is sigma^2 times it on the latter."""
    sigma = torch.logspace(-2, 2, 9, dtype=torch.float64)
    by_hand = [level**2 * ON_X0[weighting](1 / level**2) for level in sigma.tolist()]
    assert WEIGHTINGS[weighting](sigma).tolist() == pytest.approx(by_hand, rel=1e-12)


def test_bf16_loss_is_close_to_fp32_but_not_the_same():
    wide, narrow = (
        np.array([step.loss.item() for step in run(small(), smooth(), n_images=160, precision=precision)])
        for precision in ("fp32", "bf16")
    )
    np.testing.assert_allclose(narrow, wide, rtol=0.03)
    assert not np.array_equal(narrow, wide)


def test_learning_rate_rises_and_falls_in_straight_lines():
    steps = run(Recorder(), numbered(4), n_images=80, batch_size=4, lr=0.1, warmup_images=16)
    by_hand = [0.1 * min(step / 4, (21 - step) / 17) for step in range(1, 21)]
    assert [step.lr for step in steps] == pytest.approx(by_hand, rel=1e-12)
    assert [step.step for step in steps] == list(range(1, 21))
    assert lr_factor(1, 1, 0) == lr_factor(1, 1, 1e9) == 1, "a run of one step takes it in full"
    assert max(lr_factor(step, 10, 1e9) for step in range(1, 11)) == 1, "the warm-up is cut to half of the run"


def test_loss_that_is_not_finite_stops_and_names_step_and_lr():
    with refused(r"loss is (nan|inf) at step 1 of 2 \(lr=0\.\d+\)"):
        run(Recorder(math.inf), numbered(8), n_images=8, batch_size=4, lr=0.25)


PIXELS = load("mnist5k").pixels[:640]


@pytest.mark.parametrize(
    "images, mean",
    [(PIXELS, "2"), (PIXELS.float(), "2"), (PIXELS / 255, "0.1"), (PIXELS / 127.5 - 1, "-0.[78]")],
    ids=["uint8", "0 to 255", "0 to 1", "-1 to 1"],
)
def test_images_of_another_scale_are_refused_by_their_mean_and_deviation(images: Tensor, mean: str):
    with refused(rf"^images: their mean is {mean}.* standard deviation .*standardised\(\)"):
        run(Recorder(), images)


@pytest.mark.parametrize(
    "message",
    [
        "n_images=0",
        "lr=0.0",
        "ema_decay=1.0",
        "weighting='none': it must be one of unit-eps, karras",
        "precision='fp8': it must be one of fp32, bf16",
        "stable_above=nan",
    ],
)
def test_bad_argument_is_named(message: str):
    with refused(message):
        run(Recorder(), numbered(4), **argument(message))


def test_no_images_are_refused():
    with refused("0 images"):
        run(Recorder(), numbered(4)[:0])


def images(n: int = 20) -> Tensor:
    return normal(n, 1, 4, 4)


def batch(x0: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    eps = normal(*x0.shape, seed=1)
    return x0 + column(sigma) * eps, eps


def test_above_the_level_the_target_is_the_exact_denoiser_of_the_images():
    sigma = torch.tensor([0.5, 1.0, 3.0, 30.0])
    x, eps = batch(images()[:4], sigma)
    targets = StableTargets(images(), above=1.0)(x, sigma, eps, torch.arange(4))
    assert_close(targets[2:], Empirical(images())(x[2:], sigma[2:]))
    assert torch.equal(targets[:2], eps[:2])
    assert not torch.isclose(targets[2:], eps[2:]).all()


@pytest.mark.parametrize("n", [3, 9])
def test_of_many_images_those_that_are_visited_together_count(n: int, monkeypatch: pytest.MonkeyPatch):
    """At low noise only the own image can have made x. So the target is the noise, if that image is in the block."""
    monkeypatch.setattr(training, "BLOCK", 8)
    targets, order = StableTargets(images(), above=0.01), torch.empty(0, dtype=torch.long)
    for _ in range(20):
        while len(order) < targets.ahead(n):
            order = torch.cat([order, torch.randperm(20)])
        sigma = torch.full((n,), 0.02)
        x, eps = batch(images()[order[:n]], sigma)
        assert_close(targets(x, sigma, eps, order), eps, rtol=1e-3, atol=1e-3)
        assert len(targets.exact.points) == max(n, 8)
        order = order[n:]


def test_training_visits_the_same_images_and_levels_and_its_loss_falls():
    """The loss of the same network on the same x falls by the variance of the targets."""

    def losses(above: float) -> list[float]:
        law = LogUniform(2.0, 2.0001)
        options = {"noise": law, "n_images": 64, "batch_size": 8, "lr": 1e-12, "stable_above": above}
        return [step.loss.item() for step in run(Recorder(0.0), images(), **options)]

    plain, stable = losses(math.inf), losses(1.0)
    assert sum(stable) < 0.9 * sum(plain)
