"""`python -m experiments NAME ...`: run an experiment, or tend the store. Exit status 0 only if every run succeeded."""

import sys
from collections.abc import Callable

import pandas as pd
import tyro

from experiments import beta, ladders, noise_levels, run, store_command, why_noise

EXPERIMENTS: dict[str, Callable[..., pd.DataFrame]] = {
    "beta": beta.main,
    "noise_levels": noise_levels.main,
    "ladders": ladders.main,
    "why_noise": why_noise.main,
    "run": run.main,
}


def main() -> int:
    """Parses and runs; says in one line what is wrong with the arguments, if anything is."""
    try:
        outcome = tyro.extras.subcommand_cli_from_dict(
            EXPERIMENTS | {"store": store_command.main},
            prog="python -m experiments",
            description="Each experiment answers one question with a report; `store` looks after what they keep.",
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return outcome if isinstance(outcome, int) else int((outcome["status"] == "failed").any())


if __name__ == "__main__":
    sys.exit(main())
