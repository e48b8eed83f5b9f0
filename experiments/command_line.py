"""The command line of `python -m experiments`, read with tyro.

This module imports only fast modules, so that --help appears at once. A new experiment adds its dataclass in
questions.py and a line in `COMMANDS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any

import tyro

from experiments.engine.options import Budget, Cluster, ModelAndData, Options, Running, Size
from experiments.questions import Beta, Ladders, NoiseLevels, Run, Sweep, Tune, WhyNoise

SYMBOLS = """One step from noise level sigma:  x <- x - alpha*sigma*eps + beta*sigma*z,  sigma <- r*sigma
  sigma  standard deviation of the noise in x, in standard deviations of the data
  alpha  share of the estimated noise (eps) that a step removes
  beta   fresh noise (z) that it puts back, as a share of sigma; 0 is the deterministic sampler (DDIM)
  eta    beta on a scale that does not depend on the step: 0 is DDIM, 1 is DDPM"""


@dataclass(frozen=True)
class Command:
    """An experiment on the command line: its module, its options and its help text."""

    module: str
    question: type
    title: str
    text: str
    presets: str
    examples: Sequence[str]

    def description(self, name: str) -> str:
        examples = "\n".join(f"  python -m experiments {name}{' ' * bool(line)}{line}" for line in self.examples)
        presets = f"Presets: smoke: about half a minute at most, proves nothing; {self.presets}."
        return f"{self.title}\n\n{self.text}\n\n{presets}\n\n{SYMBOLS}\n\nExamples:\n{examples}"


COMMANDS = {
    "beta": Command(
        "experiments.beta",
        Beta,
        "Is beta > 0 better than beta = 0?",
        "Trains networks, samples with and without fresh noise, scores the samples and writes a report. Compares at "
        "equal alpha, on one ladder, and at equal cost. An interrupted run goes on with the same command.",
        "laptop: 5 networks, 100,000 images each, 500 to 1,500 samples per run, 5 to 8 minutes on two cores; "
        "gpu: 5 networks, 3,000,000 images, 10,000 to 20,000 samples",
        (
            "",
            "--preset smoke",
            "--etas 0 0.5 1 --seeds 5",
            "--only-primary --data mnist",
            "--model python:my_model:eps --setting runs/tune-laptop/settings.json --n-steps 16",
        ),
    ),
    "noise_levels": Command(
        "experiments.noise_levels",
        NoiseLevels,
        "Which noise levels should training see?",
        "Trains networks under several noise distributions and loss weights at an equal budget, scores their samples, "
        "and measures their error on held-out images at each noise level.",
        "laptop: 5 networks per setting, 30,000 images each, 500 samples per run, about 7 minutes on two cores; "
        "gpu: 5 networks per setting, 3,000,000 images, 10,000 samples",
        ("", '--laws log-normal "log-normal(0, 1)" vp', "--weightings karras unit-eps --cross", "--map"),
    ),
    "ladders": Command(
        "experiments.ladders",
        Ladders,
        "Which noise levels should sampling visit, and with which sampler?",
        "Compares noise schedules and samplers at equal numbers of network evaluations. A schedule is a rule; a ladder "
        "is the list of noise levels that it gives.",
        "laptop: 2 networks, 200,000 images each, 500 samples per run, about 5 minutes on two cores; "
        "gpu: 5 networks, 3,000,000 images, 10,000 samples",
        ("", '--ladders geometric "karras(rho=5)" --n-steps 10 20 --samplers heun dpm++2m'),
    ),
    "tune": Command(
        "experiments.tune.experiment",
        Tune,
        "Which sampler settings are best for this network, at each number of evaluations?",
        "1. The settings that people use race in blocks of images; a setting that is worse leaves. 2. New settings "
        "near the best are proposed and raced (--refine). 3. The finalists are confirmed on images that no race saw, "
        "against DDIM and DDPM. 4. The simplest of the best is recommended and exported, so that it can be pasted "
        "(--export). After an interrupt the same command goes on.",
        "laptop: 2 networks, 200,000 images each, at most 500 samples per run, minutes on two cores; "
        "gpu: 5 networks, 3,000,000 images, 10,000 samples",
        (
            "--model python:my_model:eps --budgets 8 16",
            "--preset smoke",
            "--n-samples 1500 --budgets 8 --refine 24 --time 20min",
            '--settings "karras(rho=5) from 20 to 0.05, heun(s_churn=1)" --refine 0 --export torch comfyui',
        ),
    ),
    "why_noise": Command(
        "experiments.why_noise.experiment",
        WhyNoise,
        "Why does putting noise back help?",
        "Fits a mixture of Gaussians to the digits, whose exact denoiser is known, and trains networks on its draws. "
        "Exchanges networks for the exact denoiser at some noise levels, and compares the gains from noise. --real "
        "does so on the data themselves.",
        "laptop: 5 networks, 15,000 and 45,000 images each, 512 to 2,048 samples per run, 2 to 3 hours on two cores; "
        "gpu: 5 networks, 3,000,000 images, 2,000 to 6,000 samples",
        ("", "--preset smoke", "--real"),
    ),
    "run": Command(
        "experiments.run",
        Run,
        "How good is this one setting?",
        "Trains, samples, scores and times one setting, without a comparison.",
        "laptop: 2 networks, 200,000 images each, 500 samples per run; "
        "gpu: 5 networks, 3,000,000 images, 10,000 samples",
        ('--ladder karras --n-steps 18 --sampler "heun(s_churn=10)"', "--model diffusers:FOLDER --data mnist"),
    ),
    "sweep": Command(
        "experiments.sweep",
        Sweep,
        "Your own question: FILE.py says which settings to compare.",
        "Runs each setting that runs() of the file yields with each network. In each mode, all settings are compared "
        "with the first.",
        "laptop: 2 networks, 200,000 images each, 500 samples per run; gpu: 5 networks, 3,000,000 images, 10,000 "
        "samples; PRESETS in FILE.py may say otherwise",
        ("my_sweep.py --dry-run", "my_sweep.py --preset smoke"),
    ),
}


GROUPS = {"size": Size, "model_and_data": ModelAndData, "budget": Budget, "running": Running, "cluster": Cluster}


def parse(name: str, arguments: Sequence[str], prog: str) -> tuple[Any, Options]:
    """The question and the options of an experiment. On --help and on invalid arguments tyro ends the program."""
    command = COMMANDS[name]
    parts = {"question": command.question} | GROUPS  # each is one box in --help
    form = make_dataclass("Form", [(part, Annotated[kind, tyro.conf.OmitArgPrefixes]) for part, kind in parts.items()])
    config = (tyro.conf.FlagCreatePairsOff,)
    found: Any = tyro.cli(
        form, prog=f"{prog} {name}", description=command.description(name), args=list(arguments), config=config
    )
    shared = (vars(getattr(found, part)) for part in GROUPS)
    return found.question, Options(**{key: value for values in shared for key, value in values.items()})
