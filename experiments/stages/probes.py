"""Probes of denoisers when the data distribution is known: errors and norms on trajectories, sizes, residuals.

probe_stage   probes/ID/   rows.csv

Each probe is one function. It takes a denoiser, the true distribution and a noise setting, and yields rows. Each row is
an estimate with the standard error of a delete-group jackknife over samples.
"""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from experiments.config.identity import identity
from experiments.stages.hardware import use_threads
from experiments.stages.probe_residual import residual
from experiments.stages.probe_setup import (
    FIRST,
    NAMES,
    SECOND,
    ProbeConfig,
    ProbeSetup,
    Rows,
    estimate,
    pair,
    ratio,
    squared_error,
)
from experiments.store.store import Store

COLUMNS = ("probe", "eta", "sigma", "value", "se", "n_samples", "n_steps")


def probe_stage(config: ProbeConfig, store: Store, data_root: Path | None) -> list[dict[str, Any]]:
    """The rows of a probe (`COLUMNS`), computed once."""
    name = identity(config)
    if not store.has("probes", name):
        use_threads(config.machine.threads)
        setup = ProbeSetup.of(config, store, data_root)
        with store.writing("probes", name) as folder, (folder / "rows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for row in PROBES[config.probe](setup):
                writer.writerow(
                    {"probe": config.probe, "n_samples": config.n_samples, "n_steps": config.ladder.n_steps} | row
                )
    with (store.path("probes", name) / "rows.csv").open() as file:
        return [
            {key: text if key == "probe" else float(text) for key, text in line.items() if text}
            for line in csv.DictReader(file)
        ]


def on_trajectory_error(setup: ProbeSetup) -> Rows:
    """Squared error of eps on the samples, over the error on fresh x0 + sigma n at the same sigma; 1 = as in training.

    Rows with eta = -1 are the control: a second fresh stream instead of the samples.
    """
    fresh_noise, other_noise = (setup.noise(purpose + setup.config.seed) for purpose in (FIRST, SECOND))
    n = setup.config.n_samples
    fresh_error: dict[int, Tensor] = {}
    for step in range(len(setup.sigmas) - 1):
        first, second = fresh_noise().clone(), other_noise().clone()
        if step in setup.levels:
            sigma = setup.sigmas[step]
            fresh_error[step] = squared_error(setup, setup.clean[:n] + sigma * first, sigma)
            control = squared_error(setup, setup.clean[n:] + sigma * second, sigma)
            yield {"eta": -1.0, "sigma": sigma} | ratio(control, fresh_error[step])
    for eta in setup.config.etas:
        noise = setup.noise(setup.config.seed)
        for step, x in setup.trajectory(eta, noise() * setup.sigmas[0], noise):
            if step in fresh_error:
                sigma = setup.sigmas[step]
                yield {"eta": eta, "sigma": sigma} | ratio(squared_error(setup, x, sigma), fresh_error[step])


def norm(setup: ProbeSetup) -> Rows:
    """Root mean square of eps on the samples, over that on fresh x0 + sigma n at the same sigma; 1 = as in training.

    Source: the norm of eps along sampling, Ning et al. 2023, arXiv 2308.15321, Fig. 2.
    """
    fresh_noise, n = setup.noise(FIRST + setup.config.seed), setup.config.n_samples
    fresh: dict[int, Tensor] = {}
    for step in range(len(setup.sigmas) - 1):
        noise = fresh_noise()
        if step in setup.levels:
            sigma = setup.sigmas[step]
            fresh[step] = _squares(setup.eps(setup.model, setup.clean[:n] + sigma * noise, sigma))
    for eta in setup.config.etas:
        noises = setup.noise(setup.config.seed)
        for step, x in setup.trajectory(eta, noises() * setup.sigmas[0], noises):
            if step in fresh:
                sigma = setup.sigmas[step]
                both = pair(_squares(setup.eps(setup.model, x, sigma)), fresh[step])
                row = estimate(both, lambda part: math.sqrt(part[0].mean() / part[1].mean()))
                yield {"eta": eta, "sigma": sigma} | row


def size(setup: ProbeSetup) -> Rows:
    """Root mean square error of F, sqrt(1 + sigma^2) |eps - exact eps|, on fresh x0 + sigma n."""
    fresh_noise, n = setup.noise(FIRST + setup.config.seed), setup.config.n_samples
    for step, sigma in enumerate(setup.sigmas[:-1]):
        noise = fresh_noise()
        if step in setup.levels:
            error = (1 + sigma**2) * squared_error(setup, setup.clean[:n] + sigma * noise, sigma)
            yield {"sigma": sigma} | estimate(pair(error, error), lambda part: math.sqrt(part[0].mean()))


PROBES: dict[str, Callable[[ProbeSetup], Rows]] = dict(
    zip(NAMES, (on_trajectory_error, norm, size, residual), strict=True)
)


def _squares(x: Tensor) -> Tensor:
    """Mean square (n,) of each sample."""
    return x.flatten(1).square().mean(dim=1)
