"""The denoisers, ladders and samplers that `why_noise` compares: each arm is sampled with several amounts of noise."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from diffusion_core.samplers import Euler, EulerWithin, Sampler
from experiments.config.config import Ladder
from experiments.config.denoisers import EmpiricalConfig, ModelConfig, TrainConfig
from experiments.models.exact import ExactConfig
from experiments.why_noise.blend import BlendConfig
from experiments.why_noise.further import TunedConfig
from experiments.why_noise.settings import WhyStudy
from experiments.why_noise.wrong import WrongConfig

NONE, FULL = "eta 0", "eta 1"
BOTH = (0.0, 1.0)


@dataclass(frozen=True)
class Arm:
    """One denoiser on one ladder, and how it is sampled. The first setting puts no noise back.

    Args:
        part: whole, steps, band, dose, split, above, consistent, inconsistent, start, further or where.
        name: in words; it is the mode of its trials.
        settings: label -> sampler.
        kind: what is special in the band: network, exact, or a change of the exact denoiser.
        band: low <= sigma < high, in which the denoiser is special.
        dose: share of the network's error.
        images_seen: in the training of its network.
        size: of the change of the exact denoiser.
        fresh_start: whether it starts from draws of the data, at the first level of its ladder.
    """

    part: str
    name: str
    model: ModelConfig
    ladder: Ladder
    settings: Mapping[str, Sampler]
    kind: str = ""
    band: tuple[float, float] = (0.0, math.inf)
    dose: float = 1.0
    images_seen: int | None = None
    size: float | None = None
    fresh_start: bool = False

    @property
    def main(self) -> bool:
        """Whether additivity, or prediction 1, 2, 3 or 5 of docs/predictions.md, is about its gain."""
        exchanged = self.part in ("whole", "split") or (self.part, self.kind) == ("band", "network")
        return exchanged or (self.part == "inconsistent" and self.kind in ("weights", "missing", "wider"))


def etas(values: tuple[float, ...]) -> dict[str, Sampler]:
    """Label -> sampler."""
    return {f"eta {eta:g}": Euler(eta) for eta in values}


def bands(study: WhyStudy) -> list[tuple[float, float]]:
    """The bands of sigma, from the highest to the lowest."""
    return list(itertools.pairwise((0.0, *study.bands, math.inf)))[::-1]


def said(band: tuple[float, float]) -> str:
    low, high = band
    if low == 0:
        return "everywhere" if math.isinf(high) else f"below sigma {high:g}"
    return f"above sigma {low:g}" if math.isinf(high) else f"at sigma {low:g} to {high:g}"


def arms(study: WhyStudy, seed: int) -> Iterator[Arm]:
    """All arms of one seed. Those of one network follow each other, so that it is loaded once."""
    if study.real:
        yield from real_arms(study, seed)
        return
    exact, ladder = exact_model(study, seed), study.ladder()
    yield Arm("whole", "exact", exact, ladder, etas(study.etas), "exact")
    yield from _steps(study, "exact", exact, "exact")
    yield from known_errors(study, seed, exact)
    for images_seen in study.lengths:
        network = trained(study, seed, images_seen)
        yield from transplants(study, network, exact)
        if images_seen == study.lengths[-1]:
            yield from _steps(study, "network", network, f"network, {images_seen:,} images")
            yield from where(study, network)
        yield from starts(study, network)
        for inputs in ("fresh", "visited"):
            tuned = TunedConfig(
                network, inputs, study.further_images, n_steps=study.main_steps, sigma_min=study.sigma_min
            )
            name = f"{images_seen:,} images, then {study.further_images:,} {inputs} inputs"
            yield Arm("further", name, tuned, ladder, etas(BOTH), inputs, images_seen=images_seen)


def trained(study: WhyStudy, seed: int, images_seen: int) -> TrainConfig:
    return replace(study.train, seed=seed, images_seen=images_seen)


def exact_model(study: WhyStudy, seed: int, error: float = 0.0) -> ExactConfig:
    """The exact denoiser of the mixture, on the device of the networks, in fp32."""
    return ExactConfig(study.train.data, error, seed, machine=replace(study.machine, precision="fp32", compiled=False))


def _steps(study: WhyStudy, kind: str, model: ModelConfig, name: str) -> Iterator[Arm]:
    """The same denoiser on shorter and longer ladders."""
    for n_steps in study.n_steps:
        if n_steps != study.main_steps:
            seen = model.images_seen or None
            yield Arm("steps", f"{name}, {n_steps} steps", model, study.ladder(n_steps), etas(BOTH), kind,
                      images_seen=seen)  # fmt: skip


def transplants(study: WhyStudy, network: TrainConfig, exact: ModelConfig) -> Iterator[Arm]:
    """The network, and denoisers that are the network at some noise levels and exact at the others."""
    seen, ladder = network.images_seen, study.ladder()
    yield Arm("whole", f"network, {seen:,} images", network, ladder, etas(study.etas), "network", images_seen=seen)
    high, low = (study.split, math.inf), (0.0, study.split)
    for band in (high, low):
        blend = BlendConfig(network, exact, *band)
        name = f"network, {seen:,} images, {said(band)} only"
        yield Arm("split", name, blend, ladder, etas(study.etas), "network", band, images_seen=seen)
    for part, band in (("split", (0.0, math.inf)), ("split", high), *(("dose", band) for band in bands(study))):
        blend = BlendConfig(network, exact, *band, dose=study.dose)
        name = f"{study.dose:g} of the error of the network, {seen:,} images, {said(band)}"
        yield Arm(part, name, blend, ladder, etas(BOTH), "network", band, study.dose, seen)
    for band in bands(study):
        only, without = BlendConfig(network, exact, *band), BlendConfig(exact, network, *band)
        name = f"network, {seen:,} images, {said(band)} only"
        yield Arm("band", name, only, ladder, etas(study.etas), "network", band, images_seen=seen)
        name = f"network, {seen:,} images, but exact {said(band)}"
        yield Arm("band", name, without, ladder, etas(study.etas), "exact", band, images_seen=seen)
    for edge in reversed(study.bands):
        name = f"network, {seen:,} images, {said((0.0, edge))} only"
        yield Arm("above", name, BlendConfig(network, exact, 0.0, edge), ladder, etas(BOTH), "exact",
                  (edge, math.inf), images_seen=seen)  # fmt: skip


def known_errors(study: WhyStudy, seed: int, exact: ExactConfig) -> Iterator[Arm]:
    """The exact denoiser with consistent and inconsistent errors of known form."""
    machine, data, ladder = exact.machine, study.train.data, study.ladder()
    everywhere, high, low = (0.0, math.inf), (study.split, math.inf), (0.0, study.split)
    shown = etas(BOTH)

    def wrong(kind: str, size: float, change: int = 0) -> WrongConfig:
        return WrongConfig(data, kind, size, change, seed, machine)

    fine = study.ladder(study.fine_steps)
    yield Arm("consistent", f"exact, {study.fine_steps} steps", exact, fine, shown, "exact")
    for kind, size in study.wrong:
        model = wrong(kind, size)
        for n_steps in (study.main_steps, study.fine_steps):
            name = f"{kind} {size:+g}, {n_steps} steps"
            yield Arm("consistent", name, model, study.ladder(n_steps), shown, kind, size=size)
        for band in (high, low):
            blend = BlendConfig(model, exact, *band)
            yield Arm("inconsistent", f"{kind} {size:+g} {said(band)}", blend, ladder, shown, kind, band, size=size)
        if kind == "weights":
            varied: ModelConfig = exact
            for number, band in enumerate(bands(study)):
                varied = BlendConfig(wrong(kind, size, number), varied, *band)
            name = f"weights {size:+g}, another change in each band"
            yield Arm("inconsistent", name, varied, ladder, shown, "weights, varied", everywhere, size=size)
    for size in study.scaled:
        for band in (everywhere, high, low):
            blend = BlendConfig(wrong("scaled", size), exact, *band)
            name = f"eps × {1 + size:g} {said(band)}"
            yield Arm("inconsistent", name, blend, ladder, shown, "scaled", band, size=size)
    for size in study.errors:
        for band in (everywhere, high, low):
            blend = BlendConfig(exact_model(study, seed, size), exact, *band)
            name = f"smooth field {size:g} {said(band)}"
            yield Arm("inconsistent", name, blend, ladder, shown, "field", band, size=size)


def where(study: WhyStudy, network: TrainConfig) -> Iterator[Arm]:
    """The network, with noise put back at some noise levels only."""
    levels: dict[str, Sampler] = {NONE: Euler(0.0), "noise everywhere": Euler(1.0)}
    below = [(0.0, edge) for edge in reversed(study.bands)]
    for low, high in (*bands(study), (0.0, study.split), (study.split, math.inf), *below):
        levels[f"noise {said((low, high))}"] = EulerWithin(1.0, low, high)
    ladder, seen = study.ladder(), network.images_seen
    yield Arm("where", f"noise at some levels, {seen:,} images", network, ladder, levels, "network", images_seen=seen)


def starts(study: WhyStudy, network: TrainConfig) -> Iterator[Arm]:
    """The network, started at lower levels from new draws of the data plus noise."""
    sigmas, seen = study.ladder().sigmas(), network.images_seen
    for edge in reversed(study.bands):
        first = next(step for step, sigma in enumerate(sigmas) if sigma < edge)
        ladder = replace(study.ladder(study.main_steps - first), sigma_max=sigmas[first])
        name = f"network, {seen:,} images, from data at sigma {sigmas[first]:.3g}"
        yield Arm("start", name, network, ladder, etas(BOTH), "network", (0.0, sigmas[first]),
                  images_seen=seen, fresh_start=True)  # fmt: skip


def real_arms(study: WhyStudy, seed: int) -> Iterator[Arm]:
    """On real data, the exact denoiser is that of the training images."""
    network = trained(study, seed, study.lengths[-1])
    machine = replace(study.machine, precision="fp32", compiled=False)
    exact = EmpiricalConfig(study.train.data, study.train.held_out, seed, machine)
    seen, ladder = network.images_seen, study.ladder()
    yield Arm("whole", f"network, {seen:,} images", network, ladder, etas(study.etas), "network", images_seen=seen)
    split = [("split", (study.split, math.inf)), ("split", (0.0, study.split))]
    for part, band in (*split, *(("above", (edge, math.inf)) for edge in reversed(study.bands))):
        blend = BlendConfig(exact, network, *band)
        name = f"network, {seen:,} images, but exact {said(band)}"
        yield Arm(part, name, blend, ladder, etas(BOTH), "exact", band, images_seen=seen)
    yield from where(study, network)
