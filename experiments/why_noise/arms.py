"""The denoisers, ladders and samplers that `why_noise` compares: each arm is sampled with several amounts of noise."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from diffusion_core.samplers import Euler, EulerWithin, Sampler
from experiments.config.config import Ladder
from experiments.config.denoisers import EmpiricalConfig, Machine, ModelConfig
from experiments.config.trained import TrainConfig
from experiments.models.exact import ExactConfig
from experiments.why_noise.blend import BlendConfig
from experiments.why_noise.further import TunedConfig
from experiments.why_noise.settings import WhyStudy
from experiments.why_noise.wrong import WrongConfig

NONE, FULL = "eta 0", "eta 1"
BOTH = (0.0, 1.0)
EVERYWHERE = (0.0, math.inf)
Band = tuple[float, float]


@dataclass(frozen=True)
class Arm:
    """One denoiser on one ladder, and how it is sampled. The first setting puts no noise back.

    Args:
        part: whole, steps, band, dose, split, above, consistent, inconsistent, start, further or where.
        name: in words; it is the mode of its trials.
        settings: label -> sampler.
        kind: what is special in the band: network, exact, or a change of the exact denoiser.
        band: low <= sigma < high, in which the denoiser is special.
        size: of the change of the exact denoiser.
    """

    part: str
    name: str
    model: ModelConfig
    ladder: Ladder
    settings: Mapping[str, Sampler]
    kind: str
    band: Band = EVERYWHERE
    size: float | None = None

    @property
    def images_seen(self) -> int | None:
        """In the training of its network, before any further training."""
        return self.model.networks[0].images_seen if self.model.networks else None

    @property
    def dose(self) -> float:
        """Share of the network's error."""
        return self.model.dose if isinstance(self.model, BlendConfig) else 1.0

    @property
    def fresh_start(self) -> bool:
        """Whether it starts from draws of the data, at the first level of its ladder."""
        return self.part == "start"

    @property
    def main(self) -> bool:
        """Whether additivity, or prediction 1, 2, 3 or 5 of docs/predictions.md, is about its gain."""
        exchanged = self.part in ("whole", "split") or (self.part, self.kind) == ("band", "network")
        return exchanged or (self.part == "inconsistent" and self.kind in ("weights", "missing", "wider"))


def etas(values: tuple[float, ...]) -> dict[str, Sampler]:
    """Label -> sampler."""
    return {f"eta {eta:g}": Euler(eta) for eta in values}


def bands(study: WhyStudy) -> list[Band]:
    """The bands of sigma, from the highest to the lowest."""
    return list(itertools.pairwise((0.0, *study.bands, math.inf)))[::-1]


def high_and_low(study: WhyStudy) -> tuple[Band, Band]:
    """The high noise levels and the low ones."""
    return (study.split, math.inf), (0.0, study.split)


def in_words(band: Band) -> str:
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
    yield from _steps(study, exact, "exact", "exact")
    yield from known_errors(study, seed, exact)
    for images_seen in study.lengths:
        network = replace(study.train, seed=seed, images_seen=images_seen)
        yield from transplants(study, network, exact)
        if images_seen == study.lengths[-1]:
            yield from _steps(study, network, "network", _named(network))
            yield where(study, network)
        yield from starts(study, network)
        for inputs in ("fresh", "visited"):
            tuned = TunedConfig(network, inputs, study.further_images, n_steps=study.main_steps,
                                sigma_min=study.sigma_min, n_paths=study.further_paths)  # fmt: skip
            name = f"{images_seen:,} images, then {study.further_images:,} {inputs} inputs"
            yield Arm("further", name, tuned, ladder, etas(BOTH), inputs)


def _named(network: TrainConfig) -> str:
    return f"network, {network.images_seen:,} images"


def _in_fp32(study: WhyStudy) -> Machine:
    """The machine of exact denoisers: the device of the networks."""
    return replace(study.machine, precision="fp32", compiled=False)


def exact_model(study: WhyStudy, seed: int, error: float = 0.0) -> ExactConfig:
    """The exact denoiser of the mixture."""
    return ExactConfig(study.train.data, error, seed, _in_fp32(study))


def _steps(study: WhyStudy, model: ModelConfig, kind: str, name: str) -> Iterator[Arm]:
    """The same denoiser on shorter and longer ladders."""
    for n_steps in study.n_steps:
        if n_steps != study.main_steps:
            yield Arm("steps", f"{name}, {n_steps} steps", model, study.ladder(n_steps), etas(BOTH), kind)


def transplants(study: WhyStudy, network: TrainConfig, exact: ModelConfig) -> Iterator[Arm]:
    """The network, and denoisers that are the network at some noise levels and exact at the others."""
    name, ladder, every_eta = _named(network), study.ladder(), etas(study.etas)
    high, low = high_and_low(study)
    yield Arm("whole", name, network, ladder, every_eta, "network")
    for band in (high, low):
        blend = BlendConfig(network, exact, *band)
        yield Arm("split", f"{name}, {in_words(band)} only", blend, ladder, every_eta, "network", band)
    for part, band in (("split", EVERYWHERE), ("split", high), *(("dose", band) for band in bands(study))):
        blend = BlendConfig(network, exact, *band, dose=study.dose)
        dosed = f"{study.dose:g} of the error of the {name}, {in_words(band)}"
        yield Arm(part, dosed, blend, ladder, etas(BOTH), "network", band)
    for band in bands(study):
        only, without = BlendConfig(network, exact, *band), BlendConfig(exact, network, *band)
        yield Arm("band", f"{name}, {in_words(band)} only", only, ladder, every_eta, "network", band)
        yield Arm("band", f"{name}, but exact {in_words(band)}", without, ladder, every_eta, "exact", band)
    for edge in reversed(study.bands):
        blend, words = BlendConfig(network, exact, 0.0, edge), in_words((0.0, edge))
        yield Arm("above", f"{name}, {words} only", blend, ladder, etas(BOTH), "exact", (edge, math.inf))


def known_errors(study: WhyStudy, seed: int, exact: ExactConfig) -> Iterator[Arm]:
    """The exact denoiser with consistent and inconsistent errors of known form."""
    ladder, fine, shown = study.ladder(), study.ladder(study.fine_steps), etas(BOTH)
    high, low = high_and_low(study)

    def wrong(kind: str, size: float, change: int = 0) -> WrongConfig:
        return WrongConfig(exact.data, kind, size, change, seed, exact.machine)

    def inconsistent(name: str, kind: str, size: float, model: ModelConfig, *where: Band) -> Iterator[Arm]:
        for band in where:
            blend = BlendConfig(model, exact, *band)
            yield Arm("inconsistent", f"{name} {in_words(band)}", blend, ladder, shown, kind, band, size)

    yield Arm("consistent", f"exact, {study.fine_steps} steps", exact, fine, shown, "exact")
    for kind, size in study.wrong:
        model, name = wrong(kind, size), f"{kind} {size:+g}"
        for at in (ladder, fine):
            yield Arm("consistent", f"{name}, {at.n_steps} steps", model, at, shown, kind, size=size)
        yield from inconsistent(name, kind, size, model, high, low)
        if kind == "weights":
            varied: ModelConfig = exact
            for number, band in enumerate(bands(study)):
                varied = BlendConfig(wrong(kind, size, number), varied, *band)
            name = f"{name}, another change in each band"
            yield Arm("inconsistent", name, varied, ladder, shown, "weights, varied", size=size)
    for size in study.scaled:
        yield from inconsistent(f"eps × {1 + size:g}", "scaled", size, wrong("scaled", size), EVERYWHERE, high, low)
    for size in study.errors:
        model_with_field = exact_model(study, seed, size)
        yield from inconsistent(f"smooth field {size:g}", "field", size, model_with_field, EVERYWHERE, high, low)


def where(study: WhyStudy, network: TrainConfig) -> Arm:
    """The network, with noise put back at some noise levels only."""
    settings: dict[str, Sampler] = {NONE: Euler(0.0), "noise everywhere": Euler(1.0)}
    high, low = high_and_low(study)
    for band in (*bands(study), low, high, *((0.0, edge) for edge in reversed(study.bands))):
        settings[f"noise {in_words(band)}"] = EulerWithin(1.0, *band)
    name = f"noise at some levels, {network.images_seen:,} images"
    return Arm("where", name, network, study.ladder(), settings, "network")


def starts(study: WhyStudy, network: TrainConfig) -> Iterator[Arm]:
    """The network, started at lower levels from new draws of the data plus noise."""
    sigmas = study.ladder().sigmas()
    for edge in reversed(study.bands):
        first = next(step for step, sigma in enumerate(sigmas) if sigma < edge)
        ladder = replace(study.ladder(study.main_steps - first), sigma_max=sigmas[first])
        name = f"{_named(network)}, from data at sigma {sigmas[first]:.3g}"
        yield Arm("start", name, network, ladder, etas(BOTH), "network", (0.0, sigmas[first]))


def real_arms(study: WhyStudy, seed: int) -> Iterator[Arm]:
    """On real data, the exact denoiser is that of the training images."""
    network = replace(study.train, seed=seed, images_seen=study.lengths[-1])
    exact = EmpiricalConfig(network.data, network.held_out, seed, _in_fp32(study))
    ladder = study.ladder()
    yield Arm("whole", _named(network), network, ladder, etas(study.etas), "network")
    above = [("above", (edge, math.inf)) for edge in reversed(study.bands)]
    for part, band in (*(("split", band) for band in high_and_low(study)), *above):
        name = f"{_named(network)}, but exact {in_words(band)}"
        yield Arm(part, name, BlendConfig(exact, network, *band), ladder, etas(BOTH), "exact", band)
    yield where(study, network)
