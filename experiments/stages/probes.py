"""Probes of sampling when the data distribution is known: errors on the trajectory, noise level, spread, contraction.

probe_stage   probes/ID/   rows.csv

Each probe is one function. It takes a denoiser, the true distribution and a noise setting, and yields rows. Each row is
an estimate with the standard error of a delete-group jackknife over samples.
"""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.config.identity import identity
from experiments.stages.hardware import use_threads
from experiments.stages.probe_response import response
from experiments.stages.probe_setup import (
    FIRST,
    NAMES,
    PUSHED,
    SECOND,
    SHARED,
    ProbeConfig,
    ProbeSetup,
    Rows,
    estimate,
    pair,
    ratio,
    squared_error,
)
from experiments.store.store import Store

PUSH = 0.01  # size of a perturbation, in units of sigma
COLUMNS = ("probe", "eta", "start", "sigma", "value", "se", "n_samples", "n_steps")


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


def level(setup: ProbeSetup) -> Rows:
    """The samples' actual noise level over the ladder's, by maximum likelihood under the true distribution.

    The log-density of noisy data is summed over samples, at 21 levels within a factor 1.35 of the ladder's level. A
    parabola in ln sigma through the highest three gives the maximum.
    """
    offsets = np.linspace(-0.3, 0.3, 21)
    for eta in setup.config.etas:
        noise = setup.noise(setup.config.seed)
        for step, x in setup.trajectory(eta, noise() * setup.sigmas[0], noise):
            if step in setup.levels or step == len(setup.sigmas) - 1:
                sigma = setup.sigmas[step]
                logs = np.stack([
                    setup.mixture.log_density(x, x.new_full((len(x),), sigma * math.exp(offset))).double().cpu().numpy()
                    for offset in offsets
                ])  # fmt: skip
                yield {"eta": eta, "sigma": sigma} | estimate(
                    logs, lambda part: math.exp(_peak(offsets, part.sum(axis=1)))
                )


def spread(setup: ProbeSetup) -> Rows:
    """Standard deviation of the samples over the true one, along the 16 widest true directions (geometric mean).

    Both include the noise of the ladder's last level. Rows named "mean" have the distance between the means along these
    directions, in true standard deviations (root mean square). For n draws of the truth it would be 1 / sqrt(n).
    """
    mean, covariance = setup.mixture.moments()
    values, vectors = torch.linalg.eigh(covariance.double().cpu())
    truth, directions = values[-16:] + setup.sigmas[-1] ** 2, vectors[:, -16:]
    for eta in setup.config.etas:
        noise = setup.noise(setup.config.seed)
        *_, (_, x) = setup.trajectory(eta, noise() * setup.sigmas[0], noise)
        along = ((x.flatten(1).double().cpu() - mean.double().cpu()) @ directions).T.numpy()
        yield {"eta": eta, "sigma": setup.sigmas[-1]} | estimate(
            along, lambda part: math.exp(0.5 * np.log(part.var(axis=1, ddof=1) / truth.numpy()).mean())
        )
        yield {"probe": "mean", "eta": eta, "sigma": setup.sigmas[-1]} | estimate(
            along, lambda part: math.sqrt((part.mean(axis=1) ** 2 / truth.numpy()).mean())
        )


def contraction(setup: ProbeSetup) -> Rows:
    """Distance between two samples with the same noise, one of them pushed at level `start`, over the push.

    The push is white noise of PUSH sigma per pixel, at the first level and, in other rows, at two lower levels.
    """
    shape = (setup.config.n_samples, *setup.clean.shape[1:])
    for start in (0, len(setup.sigmas) // 3, 2 * len(setup.sigmas) // 3):
        generator = torch.Generator(setup.clean.device).manual_seed(PUSHED + setup.config.seed)
        push = PUSH * setup.sigmas[start] * torch.randn(shape, generator=generator, device=setup.clean.device)
        for eta in setup.config.etas:
            noise = setup.noise(setup.config.seed)
            *_, (_, there) = _take(setup.trajectory(eta, noise() * setup.sigmas[0], noise), start)
            noise_again = setup.noise(SHARED + setup.config.seed)  # from here on, both share this noise
            first = [x.clone() for _, x in setup.trajectory(eta, there.clone(), noise_again, start)]
            noise_again = setup.noise(SHARED + setup.config.seed)
            for (step, x), partner in zip(setup.trajectory(eta, there + push, noise_again, start), first, strict=True):
                if step in setup.levels or step == len(setup.sigmas) - 1:
                    distance = (x - partner).flatten(1).square().mean(dim=1)
                    scale = push.flatten(1).square().mean(dim=1)
                    row = estimate(pair(distance, scale), lambda part: math.sqrt(part[0].mean() / part[1].mean()))
                    yield {"eta": eta, "start": setup.sigmas[start], "sigma": setup.sigmas[step]} | row


PROBES: dict[str, Callable[[ProbeSetup], Rows]] = dict(
    zip(NAMES, (on_trajectory_error, level, spread, contraction, response), strict=True)
)


def _take(trajectory: Iterator[tuple[int, Tensor]], last: int) -> Iterator[tuple[int, Tensor]]:
    """The trajectory up to and including step `last`."""
    for step, x in trajectory:
        yield step, x
        if step == last:
            return


def _peak(places: np.ndarray, heights: np.ndarray) -> float:
    """The place where the parabola through the highest point and its neighbours peaks; an end if that is highest."""
    top = int(heights.argmax())
    if top in (0, len(places) - 1):
        return float(places[top])
    a, b, c = heights[top - 1 : top + 2]
    return float(places[top] + (places[1] - places[0]) * (a - c) / (2 * (a - 2 * b + c)))
