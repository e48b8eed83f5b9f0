"""probes.csv: errors and inputs of denoisers along the ladder (see probes.py); ratios.csv of them."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.stats import t

from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.metrics.intervals import LEVEL
from experiments.results.table import write_rows
from experiments.stages.probe import probe_stage
from experiments.store.store import Store
from experiments.why_noise.arms import Arm, arms
from experiments.why_noise.page.tables import TABLES
from experiments.why_noise.probes import MixtureProbe, Norm, Size, Visited
from experiments.why_noise.residual import Residual
from experiments.why_noise.settings import WhyStudy


def probes(study: WhyStudy) -> Iterator[tuple[Arm, MixtureProbe]]:
    """Yields (arm, probe).

    Every network, whole, gets visited, norm and size. Every known error of the first seed gets size and residual, and
    the exact denoiser residual. The smooth field gets no residual: second derivatives of convolutions take hours.
    """
    eager, ladder = replace(study.machine, compiled=False), study.ladder()
    for seed in study.seeds:
        first = seed == study.seeds[0]
        for arm in arms(study, seed):
            if arm.ladder != ladder:
                continue
            network = (arm.part, arm.kind) == ("whole", "network")
            known = not arm.model.networks and first
            how: dict[str, Any] = {
                "seed": arm.model.seed,
                "machine": eager if network else replace(eager, precision="fp32"),
            }
            if network:
                for kind in (Visited, Norm):
                    yield arm, kind(arm.model, ladder, study.probe_samples, study.probe_etas, **how)
            if network or (known and arm.kind != "exact"):
                yield arm, Size(arm.model, ladder, study.probe_samples, **how)
            if known and arm.kind != "field":
                yield arm, Residual(arm.model, ladder, study.residual_samples, **how)


def write_probes(study: WhyStudy, store: Store, data_root: Path | None, directory: Path, done: Sequence[Trial]) -> None:
    """Writes the rows of all probes that succeeded."""
    sampled = {trial.model for trial in done}
    rows: list[dict[str, Any]] = []
    for arm, config in probes(study):
        if config.model in sampled and store.has("probes", identity(config)):
            shared = {"arm": arm.name, "train_seed": config.seed, "images_seen": arm.images_seen}
            rows += [shared | row for row in probe_stage(config, store, data_root)]
    write_rows(directory / "probes.csv", rows, TABLES["probes.csv"])
    write_rows(directory / "ratios.csv", list(ratio_rows(rows)), TABLES["ratios.csv"])


def ratio_rows(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each value along the trajectories over that without noise of the same network and level, over all networks.

    The ratio is a geometric mean. At the first level x is the same with any noise, so it has no ratio. The limits hold
    for all levels and etas of one probe and training length together: Student's t of the logarithms over networks, with
    Bonferroni's correction. One network gives no limits.
    """
    values = {
        (row["probe"], row["images_seen"], row["train_seed"], row["sigma"], row["eta"]): row["value"]
        for row in rows
        if row.get("eta", -1.0) >= 0
    }
    logs: dict[tuple[str, int, float, float], list[float]] = {}
    for (probe, seen, seed, sigma, eta), value in values.items():
        if eta > 0 and (plain := values.get((probe, seen, seed, sigma, 0.0))):
            logs.setdefault((probe, seen, eta, sigma), []).append(math.log(value / plain))
    logs = {key: each for key, each in logs.items() if any(each)}
    for (probe, seen, eta, sigma), each in logs.items():
        n, n_tests, mean = len(each), sum(key[:2] == (probe, seen) for key in logs), statistics.mean(each)
        row = {"probe": probe, "images_seen": seen, "eta": eta, "sigma": sigma, "value": math.exp(mean),
               "level": LEVEL, "n_networks": n}  # fmt: skip
        if n > 1:
            half = float(t.ppf(1 - (1 - LEVEL) / 2 / n_tests, n - 1)) * statistics.stdev(each) / n**0.5
            row |= {"low": math.exp(mean - half), "high": math.exp(mean + half)}
            row["interval"] = f"t over {n} networks, Bonferroni for {n_tests} ratios"
        yield row
