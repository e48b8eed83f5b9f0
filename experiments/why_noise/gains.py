"""gains.csv: what noise changes, for every arm and yardstick; claims.csv: comparisons between arms, seed by seed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from experiments.config.config import ReferenceConfig, ScoreConfig
from experiments.config.trial import Trial
from experiments.metrics.distances import METRICS, Array
from experiments.metrics.intervals import LEVEL, pooled_scores
from experiments.models.exact import mixture_images, mixture_of
from experiments.results.claims import NUMBERS
from experiments.results.contrasts import stored_scores
from experiments.results.floors import REPEATS, floor_of
from experiments.results.table import write_rows
from experiments.stages.score import load_each, load_reference
from experiments.store.store import Store
from experiments.why_noise.arms import EVERYWHERE, FULL, NONE, Arm, arms, bands, high_and_low
from experiments.why_noise.copies import write_copies
from experiments.why_noise.measurements import write_probes
from experiments.why_noise.page.tables import EXACT_ABOVE, HALF_LEFT, TABLES
from experiments.why_noise.settings import WhyStudy
from experiments.why_noise.yardsticks import Whitened, class_chi2, log_density_gap, root_above, whitened_kd
from reports.schema import FURTHER

YARDSTICKS = (*METRICS, *FURTHER)
OF_TRUTH = 20_000  # draws that the yardsticks' truth is known from
TRUTH_SEED = 80_000
Values = dict[str, Array]  # yardstick -> (1 + GROUPS,): its value, then its jackknife replicates


@dataclass(frozen=True)
class Gains:
    """The values of every arm, and their changes by noise."""

    values: Mapping[tuple[str, str, int], Values]  # (arm, setting, seed) -> its values
    arms: Sequence[Arm]  # of the first seed

    def gain(self, arm: str, metric: str, setting: str = FULL) -> dict[int, Array]:
        """setting minus no noise, for each seed of an arm: the gain, then its replicates."""
        gains = {}
        for (name, label, seed), values in self.values.items():
            before = self.values.get((arm, NONE, seed), {})
            if (name, label) == (arm, setting) and metric in values and metric in before:
                gains[seed] = values[metric] - before[metric]
        return gains


def write_gains(
    study: WhyStudy, data_root: Path | None, directory: Path, store: Store, done: Sequence[Trial], console: Console
) -> None:
    """Writes gains.csv, claims.csv, probes.csv and, on real data, copies.csv."""
    measured = measure(study, store, done, console)
    write_rows(directory / "gains.csv", list(gain_rows(study, measured)), TABLES["gains.csv"])
    write_rows(directory / "claims.csv", list(claim_rows(study, measured)))
    if study.real:
        write_copies(done, store, data_root, directory, console)
    else:
        write_probes(study, store, data_root, directory, done)


def measure(study: WhyStudy, store: Store, done: Sequence[Trial], console: Console) -> Gains:
    """All yardsticks of all runs that succeeded."""
    known = {(trial.mode, trial.setting, trial.model.seed): trial for trial in done if trial.mode != "control"}
    values = {
        key: yardsticks(trial.score, store)
        for key, trial in track(known.items(), "yardsticks", console=console, disable=not console.is_terminal)
    }
    return Gains(values, list(arms(study, study.seeds[0])))


def yardsticks(config: ScoreConfig, store: Store) -> Values:
    """The yardsticks of one scored run, and their jackknife replicates."""
    out, each = dict(stored_scores(config, store)), load_each(config, store)
    features = each["features"].double().numpy()
    floor = floor_of(config.reference, store, len(features), REPEATS)  # known already: it is in floors.csv
    out["root"] = root_above(out["fd"], float(floor["fd"].mean()))
    out["whitened"] = whitened_kd(features, _whitened(config.reference, store, len(features)))
    if "log_density" in each:
        shares, density = _truth(config.samples.model.data, config.samples.ladder.sigmas()[-1])
        out["class_chi2"] = class_chi2(each["component"].numpy(), shares)
        out["log_density"] = log_density_gap(each["log_density"].double().numpy(), density)
    return out


@lru_cache(maxsize=4)
def _whitened(reference: ReferenceConfig, store: Store, n: int) -> Whitened:
    return Whitened.of(load_reference(reference, store, n))


@lru_cache(maxsize=2)
def _truth(data: str, sigma: float) -> tuple[Array, Array]:
    """Draws of a mixture plus the noise of the last level: the share of each component, and the log densities."""
    mixture = mixture_of(data)
    x = mixture_images(mixture, (1, 1, mixture.dim), OF_TRUTH, TRUTH_SEED).double()
    x += sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(TRUTH_SEED), dtype=x.dtype)
    levels = [(part, part.new_full((len(part),), sigma)) for part in x.split(1000)]
    components = torch.cat([mixture.responsibilities(*level).argmax(dim=1) for level in levels])
    shares = components.bincount(minlength=mixture.n_components).double() / len(x)
    return shares.numpy(), torch.cat([mixture.log_density(*level) for level in levels]).numpy()


def _numbers(gains: Sequence[Array]) -> dict[str, Any]:
    estimate = pooled_scores(gains)
    return {name: getattr(estimate, name) for name in NUMBERS} | {"level": LEVEL, "n_networks": len(gains)}


def gain_rows(study: WhyStudy, measured: Gains) -> Iterator[dict[str, Any]]:
    """One row per arm, setting and yardstick over all networks, and one per network."""
    n_samples = _n_samples(study, measured.arms)
    for arm in measured.arms:
        shared = {
            "part": arm.part, "arm": arm.name, "kind": arm.kind, "band_low": arm.band[0], "dose": arm.dose,
            "band_high": None if math.isinf(arm.band[1]) else arm.band[1], "images_seen": arm.images_seen,
            "size": arm.size, "n_steps": arm.ladder.n_steps, "fresh_start": arm.fresh_start,
            "n_samples": n_samples[arm.name],
        }  # fmt: skip
        for setting in list(arm.settings)[1:]:
            for metric in YARDSTICKS:
                gains = measured.gain(arm.name, metric, setting)
                labels = shared | {"setting": setting, "metric": metric}
                for seed, gain in gains.items():
                    yield labels | {"train_seed": seed} | _numbers([gain])
                if gains:
                    values = {
                        name: float(np.mean([measured.values[arm.name, label, seed][metric][0] for seed in gains]))
                        for name, label in (("value_0", NONE), ("value", setting))
                    }
                    yield labels | values | _numbers(list(gains.values()))


def _n_samples(study: WhyStudy, known: Sequence[Arm]) -> dict[str, int]:
    """The number of samples of each arm by name: a denoiser that belongs to two parts has those of its first arm."""
    return {arm.name: study.of(arm.main).n_samples for arm in reversed(known)}


def claim_rows(study: WhyStudy, measured: Gains) -> Iterator[dict[str, Any]]:
    """Sums of gains with factors, for each yardstick: what the predictions and additivity say about the arms."""
    for claim in claims(study, measured.arms):
        for metric in YARDSTICKS:
            each = [(factor, measured.gain(arm, metric, setting)) for factor, arm, setting in claim.terms]
            seeds = [seed for seed in study.seeds if all(seed in gains for _, gains in each)]
            if total := [np.sum([factor * gains[seed] for factor, gains in each], axis=0) for seed in seeds]:
                labels = {name: getattr(claim, name) for name in ("arm", "kind", "band_low", "images_seen")}
                yield {"claim": claim.name, "metric": metric} | labels | _numbers(total)


Term = tuple[float, str, str]  # factor, arm, setting


@dataclass(frozen=True)
class Claim:
    """A sum of gains. predictions.toml says what it should be.

    Args:
        name: of all claims of its form.
        terms: its gains with their factors.
        images_seen: in the training of its networks.
        band_low: the level above which its denoiser is exact.
        arm: the denoiser that is compared with the exact one.
        kind: of the known error that it is about.
    """

    name: str
    terms: Sequence[Term]
    images_seen: int | None = None
    band_low: float | None = None
    arm: str = ""
    kind: str = ""


def claims(study: WhyStudy, known: Sequence[Arm]) -> Iterator[Claim]:
    """All claims of a study about its arms."""
    names = {(arm.part, arm.kind, arm.band, arm.images_seen, arm.dose): arm.name for arm in reversed(known)}
    high, low = high_and_low(study)
    for seen in study.lengths[-1:] if study.real else study.lengths:
        network = names["whole", "network", EVERYWHERE, seen, 1.0]
        exact_above = names["split", *(("exact", high) if study.real else ("network", low)), seen, 1.0]
        half_of_all = (-0.5, network, FULL)
        yield Claim(HALF_LEFT, [(1, exact_above, FULL), half_of_all], seen, study.split)
        if not study.real:
            only_above = names["split", "network", high, seen, 1.0]
            half = names["split", "network", high, seen, study.dose]
            yield Claim("network above − 0.5 everywhere", [(1, only_above, FULL), half_of_all], seen)
            yield Claim("half of the error above", [(1, half, FULL)], seen)
            yield Claim("half − all of the error above", [(1, half, FULL), (-1, only_above, FULL)], seen)
            parts = [names["band", "network", band, seen, 1.0] for band in bands(study)]
            # the gains beyond that of the exact denoiser: sum over bands minus that of the whole network
            beyond = [*((1.0, part, FULL) for part in parts), (1.0 - len(parts), "exact", FULL), (-1.0, network, FULL)]
            yield Claim("sum of the bands − network", beyond, seen)
            for arm in dict.fromkeys(arm.name for arm in known if arm.main and arm.images_seen == seen):
                yield Claim("denoiser − exact", _beyond_exact(arm), seen, arm=arm)
        if seen == study.lengths[-1]:
            levels = names["where", "network", EVERYWHERE, seen, 1.0]
            terms = [(1, levels, f"noise below sigma {study.split:g}"), (-0.75, levels, "noise everywhere")]
            yield Claim("noise below − 0.75 everywhere", terms, seen)
            yield from _exact_above(study, known, seen, levels)
        tuned = {arm.kind: arm.name for arm in known if (arm.part, arm.images_seen) == ("further", seen)}
        if tuned:
            terms = [(1, tuned["visited"], FULL), (-1, tuned["fresh"], FULL)]
            yield Claim("visited − fresh inputs", terms, seen)
    for kind, _ in () if study.real else study.wrong:
        for band, side in ((high, "above"), (low, "below")):
            arm = names["inconsistent", kind, band, None, 1.0]
            yield Claim(f"wrong {side} − exact", _beyond_exact(arm), kind=kind)


def _beyond_exact(arm: str) -> list[Term]:
    return [(1, arm, FULL), (-1, "exact", FULL)]


def _exact_above(study: WhyStudy, known: Sequence[Arm], seen: int, levels: str) -> Iterator[Claim]:
    """Denoisers that are exact above a level: against the network, and against its noise below that level only.

    With an exact denoiser above the level, noise there changes next to nothing. A denoiser that belongs to another part
    too may have more samples than the others. Then it is left out, because FD falls with their number.
    """
    n_samples = _n_samples(study, known)
    for arm in known:
        if (arm.part, arm.images_seen) == ("above", seen) and n_samples[arm.name] == study.of(False).n_samples:
            edge = arm.band[0]
            if edge != study.split:  # that one is a claim already
                terms = [(1, arm.name, FULL), (-0.5, levels, "noise everywhere")]
                yield Claim(HALF_LEFT, terms, seen, edge)
            terms = [(1, arm.name, FULL), (-1, levels, f"noise below sigma {edge:g}")]
            yield Claim(EXACT_ABOVE, terms, seen, edge)
