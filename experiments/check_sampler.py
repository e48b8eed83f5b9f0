"""`python -m experiments check-sampler SAMPLER`: does a sampler converge to the data if its network is exact?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from experiments.run.options import Folder, option_help

HELP = """Is a sampler right? Its network is replaced by an exact denoiser, so that every error is the sampler's.

A sampler is right if mean and standard deviations of its samples converge to the data's with more steps, and depend on
its own noise and generator alone. It does not see an error at one step whose effect vanishes with more steps, such as
one wrong level: use --order, --reference or `levels`. A check takes about 4 seconds; docs/samplers.md says how.
Your sampler, my_file.py, which run and schedules take as well:
    @dataclass(frozen=True)
    class Mine(Sampler):                             # from experiments import Sampler; its parameters are fields
        def run(self, eps, x, sigmas, noise):        # noise(): unit noise; yields x after each step
            for sigma, after in zip(sigmas, sigmas[1:]):
                x = x + (after - sigma) * eps(x, sigma)
                yield x

Samplers:
  "my_file:Mine(eta=0.5)", my_file:sampler      such a class; or x = sampler(denoiser, n_steps, noise)
  flow-step:my_file:step                        x = step(x, t, dt, velocity), t from 1 (noise) to 0, dt < 0
  k-diffusion:my_file:sample                    x = sample(model, x, sigmas); model(x, sigma) returns x0
  "diffusers:DDIMScheduler(timestep_spacing=trailing, clip_sample=False, eta=1.0)"
  "smalldiffusion:ScheduleDDPM(gam=1, mu=0.5)"
  "euler(eta=1)", heun, ...                     samplers of this package
  my_list.toml                                  many of them, see docs/samplers.md

Exit status: 0 if all are right, 1 if one is not, 2 if one could not be run or for invalid arguments."""


@dataclass(frozen=True)
class CheckSamplerOptions:
    """Options of `check-sampler`."""

    samplers: Annotated[tuple[str, ...], tyro.conf.Positional, option_help("SAMPLER [...]")]
    """Samplers, spelt as above; or one list, FILE.toml."""
    order: Annotated[int | None, option_help("N", "what it declares")] = None
    """Order of convergence that it should have; a lower one is an error. A class declares it: order = 2."""
    reference: Annotated[str | None, option_help("SAMPLER")] = None
    """Sampler that should give the same distribution for every number of steps."""
    budgets: Annotated[tuple[int, ...], option_help("N [...]", "8 to 500")] = ()
    """Numbers of steps, with N, 2N and 4N among them, such as 25 50 100."""
    out: Folder = Path("runs/check-sampler")
    """Folder for the report."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Checks the samplers. Returns 0 if all are right, else 1. Raises as `run_checks` does."""
    options = tyro.cli(CheckSamplerOptions, prog=prog, description=HELP, args=list(arguments))
    from experiments.conformance_report import Entry, read_list, run_checks  # it imports torch

    if not options.samplers:
        raise ValueError("samplers: none is given; --help shows how they are spelt")
    if len(options.samplers) == 1 and options.samplers[0].endswith(".toml"):
        entries = read_list(Path(options.samplers[0]))
    else:
        entries = [Entry(name, options.order, options.reference) for name in options.samplers]
    return int(not all(verdict.right for verdict in run_checks(options.out, entries, options.budgets)))
