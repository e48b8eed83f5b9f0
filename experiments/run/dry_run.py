"""`--dry-run`: prints the plan of a study, and estimates its time and the difference that it could detect."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from scipy.special import stdtrit

from experiments.console import duration, plural
from experiments.distances.intervals import CONFIDENCE, ENOUGH_NETWORKS, POWER
from experiments.run.autotune import SAMPLING, ComputeMode, forward_call, time_call
from experiments.run.cache import Cache
from experiments.run.identity import uses_user_code
from experiments.run.networks import TRAIN_COST
from experiments.run.runner import missing_files, needed_files
from experiments.run.runs import Run
from experiments.user.memory import halve_until_it_fits
from reports.schema import PRIMARY_METRIC

SHOWN_TIMES = 1000  # MMD is small: pages and terminal show it times this
# Standard error of MMD over images times the square root of their number, where no score is stored yet: measured for
# network small after 100,000 images.
TYPICAL_SE = {"digits": 0.046}


def print_plan(runs: Sequence[Run], cache: Cache, workers: int, notify: Callable[[str], object]) -> dict[str, Any]:
    """Prints what would be run. Returns the same numbers as a dict."""
    needed = needed_files(runs, cache)
    missing = missing_files(runs, cache)
    out = dict[str, Any]()
    notify(f"{len(runs)} runs; store: {cache.root}")
    notify(f"{'':12}{'all':>8}{'done':>8}{'left':>8}")
    for stage, paths in needed.items():
        if paths:
            left = len(missing[stage])
            notify(f"{stage:12}{len(paths):8,}{len(paths) - left:8,}{left:8,}")
            out[stage] = {"unique": len(paths), "left": left}
    costs = {work: sum(missing[stage].values()) for work, stage in (("training", "networks"), ("sampling", "samples"))}
    cost = sum(costs.values())
    seconds = None
    text = f"about {cost:,.0f} network evaluations, one training image counted as {TRAIN_COST:g}"
    if cost and (rate := measure_pace(runs)):
        times = {work: evaluations / rate / workers for work, evaluations in costs.items()}
        seconds = sum(times.values())
        of_each = f" for each of {workers} workers" if workers > 1 else ""
        split = ", ".join(f"{work} {duration(took)}" for work, took in times.items())
        pace = f"at {rate:,.0f} a second{of_each}, timed on this machine just now"
        text += f"; {duration(seconds)} plus scoring, {pace}: {split}"
    notify(text)
    size, words = detectable_difference(runs, cache) or (None, "")
    if words:
        notify(words)
    return out | {"evaluations": cost, "seconds": seconds, "detectable": size}


def detectable_difference(runs: Sequence[Run], cache: Cache) -> tuple[float, str] | None:
    """The difference that a comparison of two settings would detect with 80 % power, as a number and in words.

    It uses the standard errors of stored scores, else what was measured for this feature space; None without either.
    Networks are taken to differ by the variation over images only, so over five or more the result is the least.
    """
    runs = [run for run in runs if not run.impossible]
    scores = [(run.n, score.facts) for run in runs if (score := cache.load("scores", run.scored))]
    if not runs or not (scores or runs[0].reference.features in TYPICAL_SE):
        return None
    first = runs[0]
    ses = [facts[f"{PRIMARY_METRIC}_se"] * math.sqrt(n) for n, facts in scores]
    of_one_image = statistics.median(ses) if ses else TYPICAL_SE[first.reference.features]
    section = [run for run in runs if run.setting.section == first.setting.section]
    networks = len({run.network.seed for run in section if run.setting.label == first.setting.label})
    freedom = networks - 1 if networks >= ENOUGH_NETWORKS else first.n * networks - 1
    quantiles = stdtrit(freedom, (1 + CONFIDENCE) / 2) + stdtrit(freedom, POWER)
    size = float(quantiles * math.sqrt(2 / (first.n * networks)) * of_one_image)
    at_best = "at best "
    if networks >= ENOUGH_NETWORKS:
        remark = "the spread between networks is not known yet"
    elif len({run.network for run in section if run.seed == first.seed}) > 1:
        remark = f"settings with networks of their own get a verdict from {ENOUGH_NETWORKS} networks on"
    else:
        at_best = ""
        remark = "half of that takes four times the images"
    source = "from scores in the store" if ses else "as for network small after 100,000 digits"
    return size, (
        f"{plural(networks, 'network')} with {first.n:,} images each would detect a difference in MMD ×{SHOWN_TIMES} "
        f"of {at_best}about {SHOWN_TIMES * size:.0f} with {POWER:.0%} power ({source}); {remark}"
    )


def measure_pace(runs: Sequence[Run]) -> float | None:
    """Network evaluations per second, timed on one batch; None if what is sampled is exact."""
    run = next((run for run in runs if not run.impossible and (run.network.cost or uses_user_code(run.network))), None)
    if run is None:
        return None
    network: Any = run.network
    model = network.untrained()
    machine = run.machine

    def per_second(n: int) -> float:
        mode = ComputeMode(SAMPLING, n, machine.threads, machine.precision)
        forward = forward_call(model, network.shape, machine.device, mode)
        return n / time_call(forward, machine.threads)

    return halve_until_it_fits(run.batch_size, per_second)[0]
