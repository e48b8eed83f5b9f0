"""What is believed: a part of what is stored is made again, and a user's code is asked again, as it is used.

An identity cannot foresee everything that changes a result: a file that a user's code reads, a helper that it imports,
a function of ours that it replaces, a version of a library. So a part of a stored file is made again before it is
believed (`compare`). Of a stored network these are the first steps of its training, of samples ten to 16, of real
images the features of some. A difference condemns the code that made the file (`Cache.condemn`).

A user's code must give the same for the same, whatever was asked before or beside it. So it is asked again after it was
used: a full batch of the beginning in another order, and a few alone (`ask_again`).
"""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.noise import NoiseDistribution
from diffusion_core.samplers import Sampler, follow
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.weightings import WEIGHTINGS
from experiments.own.user_code import defaults_kept, of_user
from experiments.run.cache import Differs
from experiments.run.identity import identity

FEWEST, MOST, SHARE = 10, 16, 50  # samples: one of SHARE, so that a check costs a few per cent of the run
# Twice what rounding makes at least, between batches and threads: of features, relative to their size
USUAL, WORST = 0.02, {"fp32": 0.02, "bf16": 0.2}  # median, largest
AGREE = {"fp32": 1e-4, "bf16": 0.02}  # relative difference of means up to which stored and new values may meet
ALONE = {"fp32": 0.005, "bf16": 0.1}  # largest relative difference of an image between batches
FEW, N_DRAWN, SEED = 3, 10_000, 20_262
SQUARABLE = (1e-18, 1e18)  # levels whose squares are float32


def choose(n: int, n_classes: int) -> list[int]:
    """Ten to 16 of n indices: one near a random place in each part, and evenly over the labels i mod n_classes."""
    chance = random.SystemRandom()  # whatever a user's code seeds
    n_classes = n_classes if n_classes <= n else 1
    chosen, parts = set(), min(max(n // SHARE, FEWEST), MOST)
    for label, part in enumerate(chance.sample(range(parts), parts), start=chance.randrange(n_classes)):
        place = int((part + chance.random()) * n / parts)
        index = place - (place - label) % n_classes
        chosen.add(index if index >= 0 else index + n_classes)
    return sorted(index for index in chosen if index < n)


def compare(
    what: str, features: Tensor, stored: Tensor, makers: dict[str, Any], precision: str = "fp32", mixed: bool = False
) -> None:
    """Raises Differs if features (n, d) differ from the stored ones by more than rounding.

    `mixed`: new values are to meet the stored ones, so their means must agree too.
    """
    size, worst = stored.double().square().sum(dim=1).mean().sqrt(), WORST[precision]
    change = features.double() - stored.double()
    difference = (change.square().sum(dim=1).sqrt() / size).nan_to_num(torch.inf)
    if difference.max() > worst or difference.median() > USUAL:
        size_of = f"by up to {difference.max():.2g} of the size of their features (up to {worst} is rounding)"
        raise Differs(f"{what} differ from what was stored, {size_of}", makers)
    if mixed and (shift := float(change.mean(dim=0).norm() / size)) > AGREE[precision]:
        raise Differs(f"{what} differ from what was stored on average, by {shift:.2g} (new values join them)", makers)


def ask_again(what: str, ask: Callable[[Tensor], Tensor], given: Tensor, batch: int, most: float) -> None:
    """Raises ValueError unless a user's code answers as before to the first batch in another order, and to a few alone.

    Args:
        ask: answers to the questions with these indices, in order.
        given: (n, ...) its answers so far.
        most: largest relative difference of an answer.
    """
    first = torch.tensor(random.SystemRandom().sample(range(min(batch, len(given))), min(batch, len(given))))
    few = torch.tensor(choose(len(given), 1)[:: max(FEWEST // FEW, 1)])
    for order, how in ((first, "in another order after all others"), (few, "with fewer others")):
        again, before = ask(order), given[order.to(given.device)]
        if again.shape != before.shape:
            raise ValueError(f"{what}: asked for {len(order)}, it gave {tuple(again.shape)}, not {tuple(before.shape)}")
        size = before.double().flatten(1).norm(dim=1) + torch.finfo(torch.float32).tiny
        change = ((again.double() - before.double()).flatten(1).norm(dim=1) / size).nan_to_num(torch.inf).max()
        if change > most:
            raise ValueError(
                f"{what}: asked again {how}, it gives other results, by up to {change:.2g}. An image must depend on "
                "its own input and noise only, not on earlier calls, its place or the rest of the batch"
            )


def rehearse(sampler: Sampler, sigmas: tuple[float, ...], shape: tuple[int, ...]) -> None:
    """Runs a sampler on an exact denoiser, before anything is trained for it.

    ValueError if the same noise gives other samples, if a sample depends on the others of its batch, or if the sampler
    changes its own fields. One that fails passes here: its runs fail with its message.
    """
    before = identity(sampler)

    def drawn(samples: range) -> Tensor | None:
        noise = BlockNoise(SEED, samples, shape, torch.device("cpu"))
        with torch.no_grad(), suppress(Exception), defaults_kept(f"sampler {sampler.name}"):
            *_, last = follow(GaussianDenoiser(), sampler, sigmas, noise() * sigmas[0], noise)
            return last.clone()
        return None

    first, again, alone = drawn(range(FEW)), drawn(range(FEW)), drawn(range(FEW - 1, FEW))
    what = f"sampler {sampler.name}"
    if identity(sampler) != before:
        raise ValueError(f"{what}: it changes its own fields while it runs")
    if first is None or again is None or alone is None:
        return
    if not torch.equal(first, again):
        raise ValueError(
            f"{what}: run twice with the same noise, it gave different samples, by up to "
            f"{(first - again).abs().max():.2g}; it must take all random numbers from noise(), and keep nothing"
        )
    if not torch.allclose(first[-1:], alone, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"{what}: a sample depends on the others of its batch, by up to {(first[-1:] - alone).abs().max():.2g}; "
            "then results would depend on the batch size"
        )


def levels_of(law: NoiseDistribution, stratified: bool, batch: int, last: int) -> Tensor:
    """Noise levels and densities that a law gives for a full batch, the last one and 10,000 images, always the same.

    Raises:
        ValueError: it fails, gives another shape than (n,), no levels or densities, or it draws random numbers that do
            not come from the generator; a density depends on the others.
    """
    needs = "it needs sample(n, generator, stratified), the levels, and log_density(log_sigma), of ln sigma"
    parts = []
    for n in (batch, last, N_DRAWN):
        with of_user(f"noise {law.name}: {needs}", ValueError):
            first, second = (law.sample(n, torch.Generator().manual_seed(SEED), stratified) for _ in range(2))
        _check_form(f"noise {law.name}: sample", first, n, torch.float32)
        if not torch.equal(first, second):
            raise ValueError(f"noise {law.name}: it must draw all random numbers from the generator that it is given")
        parts.append(first)
    low, high = SQUARABLE
    if not ((low < parts[-1]) & (parts[-1] < high)).all():
        raise ValueError(f"noise {law.name}: its levels must be finite, above {low:g} and below {high:g}")
    with of_user(f"noise {law.name}: {needs}", ValueError):
        density = _by_element(f"noise {law.name}: log_density", law.log_density, torch.linspace(-3, 3, batch).double())
    if density.isnan().any() or density.isposinf().any():
        raise ValueError(f"noise {law.name}: its log density must be no NaN and not infinite")
    return torch.cat([*parts, density])


def weights_of(name: str, batch: int) -> Tensor:
    """The weights (batch,) of the loss at levels from 0.01 to 100, in the order of a batch. ValueError if unfit."""
    with of_user(f"weighting {name}", ValueError):
        weights = _by_element(f"weighting {name}", WEIGHTINGS[name], torch.logspace(-2, 2, batch))
    if not (weights.isfinite() & (weights >= 0)).all() or not weights.any():
        raise ValueError(f"weighting {name}: its weights must be finite, at least 0, and not all 0")
    return weights


def _by_element(what: str, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x) for x (n,). ValueError unless it has the shape (n,), and each element depends on its own alone."""
    out = function(x.clone())
    _check_form(what, out, len(x), x.dtype)
    for order in (torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED)), torch.arange(len(x))[:FEW]):
        again = function(x[order])
        _check_form(what, again, len(order), x.dtype)
        if not torch.allclose(again, out[order], rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ValueError(f"{what}: a value depends on the others of its batch, or on earlier calls")
    return out


def _check_form(what: str, value: object, n: int, kind: torch.dtype) -> None:
    if not isinstance(value, Tensor) or (value.shape, value.dtype) != ((n,), kind):
        form = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{what} gave {form}; it must give a tensor ({n},) {kind}")
