"""`--dry-run`: prints the plan of a sweep, and estimates its time and the difference that it could detect."""

import math
import statistics
from collections.abc import Sequence

from rich.console import Console
from scipy import stats

from experiments.config.comparison import Race
from experiments.config.config import SampleConfig
from experiments.config.denoisers import ModelConfig
from experiments.config.trial import Trial
from experiments.engine.options import Options
from experiments.engine.plan import Plan, Remaining
from experiments.engine.tasks import STAGES, RunContext
from experiments.metrics.intervals import ENOUGH_NETWORKS, LEVEL, POWER
from experiments.own.memory import halve_until_it_fits
from experiments.own.user_code import of_user
from experiments.stages.calibration import SAMPLING, Mode, forward, timed
from experiments.stages.common import StoreLoader, images_of, load_meta
from experiments.store.store import Store
from reports.formats import duration, plural
from reports.schema import COLUMNS, GROUPS, JUDGE

NOUNS = {
    "references": "references", "models": "trainings", "samples": "samplings", "scores": "scorings", "probes": "probes"
}  # fmt: skip
# Standard error of MMD over images times the square root of their number, where no score is stored yet: measured for
# network small after 100,000 images.
TYPICAL_SE = {"digits": 0.046}


def show(
    remaining: Remaining, context: RunContext, options: Options, console: Console, race: Race | None = None
) -> dict[str, object]:
    """Prints the plan. Returns the same numbers as a dict."""
    console.print(f"{len(remaining.plan.trials)} trials; store: {options.shown(options.store)}", soft_wrap=True)
    console.print(f"{'':12}{'unique':>8}{'done':>8}{'left':>8}")
    counts: dict[str, object] = {}
    for kind in STAGES:
        unique, to_do = remaining.counts(kind)
        if not unique:
            continue
        console.print(f"{NOUNS[kind]:12}{unique:8,}{unique - to_do:8,}{to_do:8,}", soft_wrap=True)
        counts[NOUNS[kind]] = {"unique": unique, "left": to_do}
    rate = pace(remaining.plan, context) if remaining.cost else None
    seconds = remaining.cost / rate / (options.workers or 1) if rate else None
    text = f"about {remaining.cost:,.0f} network evaluations, one training image counted as 3.5"
    if rate and seconds is not None:
        who = f" for each of {options.workers} workers" if options.workers else ""
        text += f"; {duration(seconds)} at {rate:,.0f} a second{who}, timed on this machine just now"
    console.print(text, soft_wrap=True)
    size, words = detectable(remaining.plan.trials, context.store, race) or (None, "")
    if words:
        console.print(words, soft_wrap=True)
    if race is not None:
        later = f"the confirmation of the best {race.keep} on other images"
        console.print(f"not counted above: {later}", soft_wrap=True)
    return counts | {"evaluations": remaining.cost, "seconds": seconds, "detectable": size}


def detectable(trials: Sequence[Trial], store: Store, race: Race | None) -> tuple[float, str] | None:
    """The difference that a comparison of two settings would detect with 80 % power, before anything is run; in words.

    It uses the standard errors of stored scores, else what was measured for this feature space; None without either.
    From five networks on the interval is a t interval over networks. Their spread is not known beforehand, so the
    result is the least that is possible: as if networks differed by the variation over images only.
    """
    n = (race.confirmation if race else trials)[0].samples.n_samples
    first = trials[0]
    alike = [trial for trial in trials if (trial.mode, trial.setting) == (first.mode, first.setting)]
    networks = len({trial.model.seed for trial in alike})
    known = [
        load_meta("scores", trial.score, store)[f"{JUDGE}_se"] * math.sqrt(trial.samples.n_samples)
        for trial in trials
        if store.has("scores", trial.run_id)
    ]
    features = first.score.reference.features
    if not known and features not in TYPICAL_SE:
        return None
    of_one_image = statistics.median(known) if known else TYPICAL_SE[features]
    freedom = networks - 1 if networks >= ENOUGH_NETWORKS else (GROUPS - 1) * networks
    quantiles = stats.t.ppf((1 + LEVEL) / 2, freedom) + stats.t.ppf(POWER, freedom)
    size = float(quantiles * math.sqrt(2 / (n * networks)) * of_one_image)
    retrained = len({trial.model for trial in trials if _compared(trial) == _compared(first)}) > 1
    at_best, remark = "at best ", "the spread between networks is not known yet"
    if networks < ENOUGH_NETWORKS and retrained:
        remark = f"settings with networks of their own get a verdict from {ENOUGH_NETWORKS} networks on"
    elif networks < ENOUGH_NETWORKS:
        at_best, remark = "", "half of that takes four times the images"
    source = "from scores in the store" if known else "as for network small after 100,000 digits"
    return size, (
        f"{plural(networks, 'network')} with {n:,} images each would detect a difference in {COLUMNS[JUDGE].label} of "
        f"{at_best}about {COLUMNS[JUDGE].scale * size:.0f} with {POWER:.0%} power ({source}); {remark}"
    )


def _compared(trial: Trial) -> tuple[str, int]:
    """Trials that share these are compared with each other. They share a network, unless settings have their own."""
    return trial.mode, trial.model.seed


def pace(plan: Plan, context: RunContext) -> float | None:
    """Network evaluations per second, timed on one batch; None if all denoisers are exact."""
    timed = ((trial.samples, network) for trial in plan.trials for network in trial.model.timed)
    return next((_pace(samples, network, context) for samples, network in timed), None)


def _pace(samples: SampleConfig, model: ModelConfig, context: RunContext) -> float:
    machine, shape = samples.machine, images_of(model.data, context.data_root).shape
    network = model.untrained(StoreLoader(context.store, context.data_root, machine.device))

    def per_second(n: int) -> float:
        mode = Mode(SAMPLING, n, machine.threads, machine.precision)
        return n / timed(forward(network, shape, machine.device, mode), machine.threads)

    with of_user("model"):
        return halve_until_it_fits(samples.batch, per_second)[0]
