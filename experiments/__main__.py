"""`python -m experiments NAME ...`: run an experiment, or tend the store.

Exit status 0 only if every run succeeded; 1 if one failed, 2 for arguments that do not do, 130 if it was interrupted.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pandas as pd
import tyro

from experiments import beta, ladders, noise_levels, run, sweep
from experiments.store import cli
from experiments.why_noise import experiment as why_noise

EXPERIMENTS: dict[str, Callable[..., pd.DataFrame]] = {
    "beta": beta.main,
    "noise_levels": noise_levels.main,
    "ladders": ladders.main,
    "why_noise": why_noise.main,
    "run": run.main,
    "sweep": sweep.main,
}


def main() -> int:
    """Parses and runs; says in one line what is wrong with the arguments, if anything is."""
    try:
        with _terminated_as_interrupted():
            outcome = tyro.extras.subcommand_cli_from_dict(
                EXPERIMENTS | {"store": cli.main},
                prog="python -m experiments",
                description="Each experiment answers one question with a report; `store` looks after what they keep.",
            )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    if isinstance(outcome, int):
        return outcome
    return int((outcome["status"] == "failed").any() or outcome.attrs.get("failed_probes", 0) > 0)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill, ends a run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
