"""Why does DPM++ 2M on the linear ladder score better with 8 evaluations than with 16 or 32?

    python -m bench.few_steps --workers 2 --rows docs/data/few_steps.csv

Data are the mixture of `why_noise`, whose exact denoiser is known, and networks those of `why_noise --lengths 45000`.
The settings are sampled with the exact denoiser, with the networks, and with networks on one side of sigma 2.85 and the
exact denoiser on the other. If more evaluations help the exact denoiser and hurt the networks, errors of the networks
are the cause. docs/predictions.md has the results; docs/data/few_steps.csv, means over networks from its contrasts.csv.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from diffusion_core.samplers import DPMpp2M, Euler
from experiments.config.config import Ladder
from experiments.config.denoisers import ModelConfig
from experiments.config.trial import Infeasible, Trial
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.models.exact import ExactConfig
from experiments.sweep import contrasts
from experiments.why_noise.blend import BlendConfig
from experiments.why_noise.experiment import on_a_mixture
from experiments.why_noise.settings import PRESETS, WhyStudy

QUESTION = "Why do 8 evaluations beat 16 on the linear ladder?"
BUDGETS = (16, 8, 32)  # the first is the baseline
SAMPLERS = {"dpm++2m": DPMpp2M(), "eta 0": Euler()}
COLUMNS = "kind mode a b metric value_a value_b difference low high interval verdict n_networks".split()


def denoisers(study: WhyStudy, seed: int) -> dict[str, ModelConfig]:
    """What is sampled, by its name in the report."""
    network, exact = replace(study.train, seed=seed), ExactConfig(study.data, seed=seed)
    return {
        "exact": exact,
        "network": network,
        f"network above sigma {study.split:g} only": BlendConfig(network, exact, study.split, math.inf),
        f"network below sigma {study.split:g} only": BlendConfig(network, exact, 0.0, study.split),
    }


def trials(study: WhyStudy) -> Iterator[Trial | Infeasible]:
    """All runs, for each network in turn, and the A/A control."""
    for seed in study.seeds:
        for mode, model in denoisers(study, seed).items():
            for label, sampler in SAMPLERS.items():
                for n in BUDGETS:
                    what = (f"{label}, {n} evaluations", model, Ladder("linear", n), sampler)
                    yield study.trial("sweep", mode, *what)
                    if (mode, label, n) == ("exact", "dpm++2m", BUDGETS[0]):
                        yield study.trial("sweep", "control", *what, control=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--store", type=Path, default=Path("runs/store"))
    parser.add_argument("--out", type=Path, default=Path("runs/few_steps"))
    parser.add_argument("--rows", type=Path, help="csv file to write, of means over networks in MMD and FD")
    args = parser.parse_args()
    options = Options(out=args.out, store=args.store, workers=args.workers, precision="fp32")
    study = replace(PRESETS["laptop"], train_seeds=args.networks, n_samples=args.samples)
    study = on_a_mixture(options.apply(study), options)
    planned = list(trials(study))
    data = f"draws from a mixture fitted to {PRESETS['laptop'].data}"
    run_experiment(Experiment("sweep", QUESTION, planned, list(contrasts(planned)), data=data), options)
    if args.rows:
        rows = pd.read_csv(args.out / "contrasts.csv")
        rows = rows[rows["train_seed"].isna() & rows["metric"].isin(["mmd", "fd"])]
        rows[COLUMNS].round(6).to_csv(args.rows, index=False)


if __name__ == "__main__":
    main()
