"""`--dry-run`: prints the plan of a study, and estimates its time and the difference that it could detect."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from scipy import stats

from experiments.distances.intervals import ENOUGH_NETWORKS, LEVEL, POWER
from experiments.own.memory import halve_until_it_fits
from experiments.run.autotune import SAMPLING, ComputeMode, forward, timed
from experiments.run.cache import Cache
from experiments.run.identity import uses_user_code
from experiments.run.networks import TRAIN_COST
from experiments.run.runner import missing, needed
from experiments.run.runs import Run
from experiments.terminal import duration, plural
from reports.schema import JUDGE

SHOWN_TIMES = 1000  # MMD is small: pages and terminal show it times this
# Standard error of MMD over images times the square root of their number, where no score is stored yet: measured for
# network small after 100,000 images.
TYPICAL_SE = {"digits": 0.046}


def show(
    runs: Sequence[Run], cache: Cache, workers: int, uncounted: str, say: Callable[[str], object]
) -> dict[str, Any]:
    """Says what would be run. Returns the same numbers as a dict."""
    every, left, out = needed(runs, cache), missing(runs, cache), dict[str, Any]()
    say(f"{len(runs)} runs; store: {cache.root}")
    say(f"{'':12}{'all':>8}{'done':>8}{'left':>8}")
    for kind, paths in every.items():
        if paths:
            to_do = len(left[kind])
            say(f"{kind:12}{len(paths):8,}{len(paths) - to_do:8,}{to_do:8,}")
            out[kind] = {"unique": len(paths), "left": to_do}
    cost = sum(sum(paths.values()) for paths in left.values())
    rate = pace(runs) if cost else None
    seconds = cost / rate / workers if rate else None
    text = f"about {cost:,.0f} network evaluations, one training image counted as {TRAIN_COST:g}"
    if rate and seconds is not None:
        who = f" for each of {workers} workers" if workers > 1 else ""
        text += f"; {duration(seconds)} at {rate:,.0f} a second{who}, timed on this machine just now"
    say(text)
    if uncounted:
        say(f"not counted above: {uncounted}")
    size, words = detectable(runs, cache) or (None, "")
    if words:
        say(words)
    return out | {"evaluations": cost, "seconds": seconds, "detectable": size}


def detectable(runs: Sequence[Run], cache: Cache) -> tuple[float, str] | None:
    """The difference that a comparison of two settings would detect with 80 % power, before anything is run; in words.

    It uses the standard errors of stored scores, else what was measured for this feature space; None without either.
    From five networks on the interval is a t interval over networks. Their spread is not known beforehand, so the
    result is the least that is possible: as if networks differed by the variation over images only.
    """
    first = next((run for run in runs if not run.impossible), None)
    if first is None:
        return None
    alike = [
        run for run in runs if (run.setting.section, run.setting.label) == (first.setting.section, first.setting.label)
    ]
    networks = len({run.network.seed for run in alike})
    known = list[float]()
    for run in runs:
        if not run.impossible and (score := cache.read("scores", run.scored)):
            known.append(score.facts[f"{JUDGE}_se"] * math.sqrt(run.n))
    features = first.reference.features
    if not known and features not in TYPICAL_SE:
        return None
    of_one_image = statistics.median(known) if known else TYPICAL_SE[features]
    freedom = networks - 1 if networks >= ENOUGH_NETWORKS else first.n * networks - 1
    quantiles = stats.t.ppf((1 + LEVEL) / 2, freedom) + stats.t.ppf(POWER, freedom)
    size = float(quantiles * math.sqrt(2 / (first.n * networks)) * of_one_image)
    same = {run.network for run in runs if run.setting.section == first.setting.section and run.seed == first.seed}
    at_best, remark = "at best ", "the spread between networks is not known yet"
    if networks < ENOUGH_NETWORKS and len(same) > 1:
        remark = f"settings with networks of their own get a verdict from {ENOUGH_NETWORKS} networks on"
    elif networks < ENOUGH_NETWORKS:
        at_best, remark = "", "half of that takes four times the images"
    source = "from scores in the store" if known else "as for network small after 100,000 digits"
    shown = f"MMD ×{SHOWN_TIMES} of {at_best}about {SHOWN_TIMES * size:.0f}"
    return size, (
        f"{plural(networks, 'network')} with {first.n:,} images each would detect a difference in {shown} with "
        f"{POWER:.0%} power ({source}); {remark}"
    )


def pace(runs: Sequence[Run]) -> float | None:
    """Network evaluations per second, timed on one batch; None if what is sampled is exact."""
    run = next((run for run in runs if not run.impossible and (run.network.cost or uses_user_code(run.network))), None)
    if run is None:
        return None
    network: Any = run.network
    model, machine, shape = network.untrained(), run.machine, run.network.shape

    def per_second(n: int) -> float:
        mode = ComputeMode(SAMPLING, n, machine.threads, machine.precision)
        return n / timed(forward(model, shape, machine.device, mode), machine.threads)

    return halve_until_it_fits(run.batch_size, per_second)[0]
