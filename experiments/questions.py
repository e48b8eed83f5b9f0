"""What can be asked on the command line: one dataclass per experiment, whose fields are its options.

This module imports only fast modules, so that --help appears at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffusion_core import catalogue, weightings
from diffusion_core.catalogue import NOISE_DISTRIBUTIONS, PARAMETERISATIONS
from diffusion_core.schedules import SCHEDULES
from experiments.engine.options import shown

LAWS, LADDERS, SAMPLERS = ", ".join(NOISE_DISTRIBUTIONS), ", ".join(SCHEDULES), ", ".join(catalogue.SAMPLERS)
WEIGHTINGS, OUTPUTS = ", ".join(weightings.WEIGHTINGS), ", ".join(PARAMETERISATIONS)
SYNONYMS = "ddim, ddpm, euler-ancestral"  # other names for euler with a certain eta; see config/names.py


def several(default: str, what: str, metavar: str = "NAME") -> Any:
    """How --help shows an option that takes several values and is None unless given."""
    text = f"(default: {default})"
    return tyro.conf.arg(metavar=f"{metavar} [{metavar} ...]", help_behavior_hint=text, help=what)


def several_numbers(default: str, metavar: str = "X") -> Any:
    return tyro.conf.arg(metavar=f"{metavar} [{metavar} ...]", help_behavior_hint=f"(default: {default})")


def named(what: str) -> Any:
    return tyro.conf.arg(metavar="NAME", help=what)


@dataclass(frozen=True)
class Beta:
    """What is varied."""

    n_steps: Annotated[int | None, shown("N", "66")] = None
    """Steps of the primary contrast's ladder. With --setting: one of its budgets, by default the largest."""
    sigma_min: Annotated[float | None, shown("SIGMA", "0.03")] = None
    """Last level of the ladders. Lower it where the features see the noise that is left, as those of photographs do."""
    setting: Annotated[Path | None, shown("FILE", "none: geometric from 30 to 0.03")] = None
    """settings.json of a tune run: compare on the ladder that it recommends, one step per evaluation of its budget."""
    betas: Annotated[tuple[float, ...] | None, several_numbers("0 0.2 0.3 0.35")] = None
    """Values of beta at fixed alpha = 0.1. 0 is always added."""
    etas: Annotated[tuple[float, ...] | None, several_numbers("0 0.5 1 1.4 2")] = None
    """Values of eta on the primary ladder. 0 and 1 are always added."""
    pareto_steps: Annotated[tuple[int, ...] | None, several_numbers("8 16 32 66", "N")] = None
    """Lengths of the ladders on which quality is compared with cost."""
    pareto_etas: Annotated[tuple[float, ...] | None, several_numbers("0 0.5 1")] = None
    """Values of eta on these ladders. 0 is always added."""
    explore_seeds: Annotated[int | None, shown("N", "2")] = None
    """Networks from which all settings but the primary contrast are sampled: the first N."""
    look_every: Annotated[int | None, shown("N", "500")] = None
    """The primary contrast is looked at after every N images per network, up to --n-samples. It ends when it is
    settled. All other settings get N images."""
    only_primary: bool = False
    """Run the primary contrast and its A/A control only."""


@dataclass(frozen=True)
class NoiseLevels:
    """What is varied. The first of each list is the baseline; one thing is changed at a time."""

    laws: Annotated[
        tuple[str, ...] | None,
        several(
            "log-normal log-logistic log-uniform vp",
            f"Noise distributions of training: {LAWS}. With parameters: 'log-normal(-0.507, 1.2)'.",
        ),
    ] = None
    weightings: Annotated[
        tuple[str, ...] | None, several("karras min-snr-1.25", f"Weights of the loss: {WEIGHTINGS}.")
    ] = None
    parameterisations: Annotated[
        tuple[str, ...] | None, several("preconditioned", f"Meaning of the network's output: {OUTPUTS}.")
    ] = None
    cross: bool = False
    """Train every combination, instead of changing one thing at a time."""
    n_steps: Annotated[int | None, shown("N", "32")] = None
    """Steps of the geometric ladder on which samples are drawn."""
    sigma_min: Annotated[float | None, shown("SIGMA", "0.03")] = None
    """Last level of the ladders. Lower it where the features see the noise that is left, as those of photographs do."""
    etas: Annotated[tuple[float, ...] | None, several_numbers("0 1")] = None
    """Samplers that score each network: eta 0 is deterministic (beta = 0), eta 1 is DDPM."""
    map: bool = False
    """Compare log-normal distributions on a grid of P_mean and P_std, after several lengths of training. The other
    lists are not used then."""
    p_means: Annotated[tuple[float, ...] | None, several_numbers("-0.507 -1.7 -1.1 0.1 0.7 1.3")] = None
    """With --map: means of ln sigma, sigma in standard deviations of the data. -0.507 is EDM's -1.2 + ln 2."""
    p_stds: Annotated[tuple[float, ...] | None, several_numbers("1.2 0.8 1.6")] = None
    """With --map: standard deviations of ln sigma."""
    lengths: Annotated[tuple[int, ...] | None, several_numbers("12000 36000", "N")] = None
    """With --map: images seen in training."""


@dataclass(frozen=True)
class Ladders:
    """What is varied. All settings of one budget take at most that number of network evaluations."""

    ladders: Annotated[
        tuple[str, ...] | None,
        several(
            "geometric karras cosine vp linear",
            f"Noise schedules; the first is the baseline: {LADDERS}. With parameters: 'karras(rho=5)'.",
        ),
    ] = None
    n_steps: Annotated[tuple[int, ...] | None, several_numbers("8 16 32", "N")] = None
    """Budgets: network evaluations per image. A sampler with two evaluations per step gets half as many steps."""
    etas: Annotated[tuple[float, ...] | None, several_numbers("0 1")] = None
    """Noise of the sampler euler: 0 is DDIM (beta = 0), 1 is DDPM."""
    samplers: Annotated[
        tuple[str, ...] | None,
        several(
            "heun dpm++2m",
            f"Further samplers: {SAMPLERS}, {SYNONYMS}. 'heun(s_churn=10)' works.",
        ),
    ] = None
    sigma_max: Annotated[float | None, shown("SIGMA", "30")] = None
    """First level of all ladders but ddpm's, in standard deviations of the data."""
    sigma_min: Annotated[float | None, shown("SIGMA", "0.03")] = None
    """Last level."""


@dataclass(frozen=True)
class Tune:
    """What is tried, each at exactly the budget: ladders x samplers, single settings, then proposals near the best."""

    budgets: Annotated[tuple[int, ...] | None, several_numbers("8 16 32", "N")] = None
    """Network evaluations per image."""
    ladders: Annotated[
        tuple[str, ...] | None,
        several(
            "vp karras geometric cosine",
            f"Noise schedules, the simplest first; with eta 0 and 1, the first gives the defaults: {LADDERS}.",
        ),
    ] = None
    etas: Annotated[tuple[float, ...] | None, several_numbers("0 0.5 1")] = None
    """Noise of the sampler euler. 0 (DDIM) and 1 (DDPM) are always added."""
    samplers: Annotated[
        tuple[str, ...] | None,
        several("heun dpm++2m", f"Further samplers: {SAMPLERS}, {SYNONYMS}. 'heun(s_churn=10)' works."),
    ] = None
    sigma_max: Annotated[float | None, shown("SIGMA", "30")] = None
    """First level of all ladders but ddpm's, in standard deviations of the data; lower if the network ends before."""
    sigma_min: Annotated[float | None, shown("SIGMA", "0.03")] = None
    """Last level; higher if the network ends before."""
    settings: Annotated[
        tuple[str, ...] | None,
        several(
            "7 with noise in other forms or ending at 0",
            "Single settings besides, LADDER, SAMPLER: 'karras(rho=5) from 20 to 0.05, heun(s_churn=1)'. With "
            "', ending at 0' the last evaluation is a step to sigma 0. Without a value: none.",
            "TEXT",
        ),
    ] = None
    refine: Annotated[int | None, shown("N", "8")] = None
    """New settings per budget, proposed near the best by Optuna (pip install -e '.[tune]') and raced too; 0: none."""
    time: Annotated[str | None, shown("TIME", "no limit")] = None
    """Begin no further block of the race and no further proposals after this time, such as 10min. The first block and
    the confirmation are always run."""
    search_seed: Annotated[int | None, shown("N", "0")] = None
    """Another seed searches and confirms on other images."""
    export: Annotated[
        tuple[Literal["torch", "diffusers", "k-diffusion", "comfyui", "json"], ...] | None,
        several("all that apply", "Code to write besides settings.json, which is json: torch, diffusers, k-diffusion, "
                "comfyui.", "LIBRARY"),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class WhyNoise:
    """What is varied."""

    real: bool = False
    """Use the data themselves. The exact denoiser is then that of the training images."""
    lengths: Annotated[tuple[int, ...] | None, several_numbers("15000 45000", "N")] = None
    """Images that the networks see in training. With --real: the longest of noise_levels --map."""
    bands: Annotated[tuple[float, ...] | None, several_numbers("0.09 0.285 0.9 2.85 9", "SIGMA")] = None
    """Ends of the bands of noise levels in which denoisers are exchanged."""
    etas: Annotated[tuple[float, ...] | None, several_numbers("0 0.5 1 1.4")] = None
    """Amounts of noise with whole and with exchanged denoisers. 0 and 1 are always added."""
    n_others: Annotated[int | None, shown("N", "512")] = None
    """Images per run of further denoisers. Those that predictions are about get --n-samples images (2,048)."""
    sigma_min: Annotated[float | None, shown("SIGMA", "0.03")] = None
    """Last level of the ladders. Lower it where the features see the noise that is left, as those of photographs do."""
    n_steps: Annotated[tuple[int, ...] | None, several_numbers("16 32 66 132", "N")] = None
    """Lengths of the geometric ladders of the exact denoiser and of the longest trained network."""


@dataclass(frozen=True)
class Run:
    """The setting."""

    law: Annotated[
        str, named(f"Noise distribution of training: {LAWS}. With parameters: 'log-uniform(0.03, 100)'.")
    ] = "log-normal"
    weighting: Annotated[str, named(f"Weights of the loss: {WEIGHTINGS}.")] = "karras"
    parameterisation: Annotated[str, named(f"Meaning of the network's output: {OUTPUTS}.")] = "preconditioned"
    network: Annotated[str, named("small, or paper (for GPUs).")] = "small"
    stratified: bool = False
    """Spread the noise levels of a batch evenly over the noise distribution."""
    ladder: Annotated[str, named(f"Noise schedule: {LADDERS}. With parameters: 'karras(rho=7)'.")] = "geometric"
    n_steps: int = 32
    """Steps of the ladder."""
    sigma_max: float = 30.0
    """First level, in standard deviations of the data."""
    sigma_min: float = 0.03
    """Last level."""
    sampler: Annotated[str, named(f"Sampler: {SAMPLERS}, {SYNONYMS}. With parameters: 'heun(s_churn=10)'.")] = (
        "euler(eta=1)"
    )
    final_denoise: bool = False
    """End with x - sigma*eps at the last level: one more evaluation."""


@dataclass(frozen=True)
class Sweep:
    """The file."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.py")] = tyro.MISSING
    """Python file with QUESTION, a text, and runs(), which yields an experiments.sweep.Setting per setting. See
    docs/sweeps.md."""
