"""`python -m experiments check-sampler SAMPLER`: does a sampler converge to the data if its network is exact?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.run.options import option_help

HELP = """Is a sampler right? Its network is replaced by an exact denoiser, so that every error is the sampler's.

First, three samples are drawn alone and together, with the same noise and the same generator: they must agree. The data
has directions of standard deviation 2, 1, 0.5, 0.2 and 0.01, with mean 0.5. The sampler runs with 3 to 500 steps. If
its mean and standard deviations converge to those of the data, it is right. Nearly every sampler is affine in its
noise; its mean and variance are then exact, without any statistics. The check takes about a second of CPU, and the
command three more to import torch and to write the report. Else they are drawn, in five seconds more, and the verdict
says so. A sampler with an argument `generator` is also given one, and a list of them if it takes that. The ten lines of
a sampler of your own, in my_file.py:

    def sampler(denoiser, n_steps, noise):                 # noise: unit noise, the start; more by torch.randn_like
        x, times = noise, torch.linspace(1, 0, n_steps + 1)
        for t, after in zip(times, times[1:]):
            x = x + (after - t) * denoiser.velocity(x, t)  # flow matching, x = (1 - t) x0 + t z
        return x                                           # others: .denoised(x, sigma), .eps(x, sigma), .v(x, s, a)

Samplers:
  my_file:sampler                                     samples = sampler(denoiser, n_steps, noise)
  "my_file:sampler(eta=0.5)"                          the same, with an argument eta
  flow-step:my_file:step                              x = step(x, t, dt, velocity), from t = 1 (noise) to t = 0, dt < 0
  k-diffusion:my_file:sample                          x = sample(model, x, sigmas), where model(x, sigma) returns x0
  "diffusers:DDIMScheduler(timestep_spacing=trailing, clip_sample=False, eta=1.0)"
  "smalldiffusion:ScheduleDDPM(gam=1, mu=0.5)"
  "euler(eta=1)", heun, ...                           samplers of this package
  my_list.toml                                        many of them, see docs/samplers.md

Exit status: 0 if all are right, 1 if one is not, 2 for invalid arguments."""


@dataclass(frozen=True)
class CheckSamplerOptions:
    """What to check."""

    samplers: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SAMPLER [SAMPLER ...]")]
    """Samplers, spelt as above; or one list of them, FILE.toml."""
    order: Annotated[int | None, option_help("N", "what it declares")] = None
    """The order of convergence that it should have. A lower one is then an error."""
    reference: Annotated[str | None, option_help("SAMPLER", "none")] = None
    """A sampler that should give the same law for all numbers of steps. It finds errors that vanish with more steps."""
    budgets: Annotated[tuple[int, ...], option_help("N [N ...]", "8 to 500")] = ()
    """Numbers of steps. They must hold N, 2N and 4N: 25 50 100, 50 100 200, 125 250 500 or 250 500 1000."""
    policy: Annotated[str | None, option_help("FILE:STEP", "none")] = None
    """Instead of samplers: a stochastic step of a flow model with a log-probability, as in reinforcement learning:
    x_next, log_prob[, mean, std] = step(x, t, t_next, velocity, ...), x = (1 - t) x0 + t z, t falling. Options that it
    has are used: generator, and x_next or prev_sample (a stored sample). Or a list, FILE.toml. See docs/policies.md."""
    noise: Annotated[str | None, option_help("NAME", "not checked")] = None
    """Of --policy: the argument that sets the noise. With 0 the step must be the Euler step."""
    replay: Annotated[str | None, option_help("FILE:STEP", "--policy")] = None
    """Of --policy: the trainer's step, which computes log_prob of stored samples."""
    levels: Annotated[str | None, option_help("FILE:LEVELS", "uniform")] = None
    """Of --policy: levels(n_steps) returns its n_steps + 1 times, from 1 to 0."""
    replay_levels: Annotated[str | None, option_help("FILE:LEVELS", "--levels")] = None
    """Of --policy: the trainer's times."""
    accept: tuple[Literal["mean", "normaliser", "variance", "bfloat16"], ...] = ()
    """Of --policy, what is meant so: log_prob is the mean over dimensions; lacks its normaliser; is not divided by the
    variance; is not that of a rounded x_next, as x is never bfloat16."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/check-sampler")
    """Folder of the report."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Checks the samplers. Returns 0 if all are right, else 1. Raises as `run_checks` does."""
    options = tyro.cli(CheckSamplerOptions, prog=prog, description=HELP, args=list(arguments))
    kind, typed = ("policy", (options.policy,)) if options.policy else ("sampler", options.samplers)
    of_policies = ("noise", "replay", "levels", "replay_levels", "accept")
    for name in ("samplers", "order", "reference", "budgets") if kind == "policy" else of_policies:
        if getattr(options, name):
            raise ValueError(f"{name}: it {'cannot be combined with' if kind == 'policy' else 'needs'} --policy")
    if not typed:
        raise ValueError("samplers: none is given; --help shows how they are spelt")
    from experiments.conformance_report import FIELDS, Entry, read_list, run_checks  # it imports torch

    if len(typed) == 1 and typed[0].endswith(".toml"):
        entries = read_list(Path(typed[0]), kind)
    else:
        entries = [Entry(kind, name, {field: getattr(options, field) for field in FIELDS[kind]}) for name in typed]
    return int(not all(verdict.right for verdict in run_checks(options.out, entries, options.budgets)))
