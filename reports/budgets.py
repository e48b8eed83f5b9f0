"""Do more evaluations help? The recommended setting of a small budget against every setting of a larger one.

The run compares settings of one budget only, so intervals here come from the standard errors of both, as if unpaired.
"""

import math
from dataclasses import dataclass, replace

import pandas as pd
from scipy.stats import t as student

from reports import best_sets, openings
from reports.best_sets import BestSet
from reports.document import Opening, Prose, Section
from reports.formats import interval, listed, metric_name, missing, number, percent
from reports.results import Run
from reports.schema import LEVEL
from reports.sentences import FREEDOM


def unpaired(a: pd.DataFrame, b: pd.DataFrame, metric: str, comparisons: int = 1) -> tuple[float, float, float]:
    """The mean score of a minus that of b, with its interval over images, which holds for these networks.

    Args:
        a, b: the runs of two settings, one row of table.csv per network.
        metric: the metric that decides.
        comparisons: how many intervals are looked at together. All of them hold with 95 % (Bonferroni).

    Note: as if the images were independent. Runs that share their noise have a narrower interval in truth.
    """
    level = 1 - (1 - LEVEL) / comparisons
    se = math.hypot(*(math.sqrt((rows[f"{metric}_se"] ** 2).sum()) / len(rows) for rows in (a, b)))
    width = float(student.ppf((1 + level) / 2, FREEDOM * (len(a) + len(b)))) * se
    change = float(a[metric].mean() - b[metric].mean())
    return change, change - width, change + width


def opening(run: Run) -> Opening:
    """The first screen of `best_sets`; its verdict says so if no larger budget is detectably better."""
    usual, answer = best_sets.opening(run), enough(run)
    if not answer:
        return usual
    best = answer[0]
    grain = " But its samples are grainy." if openings.has_grain(run, best.mode, best.simplest) else ""
    return replace(usual, verdict=verdict(*answer) + grain)


@dataclass(frozen=True)
class Larger:
    """A larger budget against the recommended setting of a smaller one.

    Args:
        rival: the setting with the lowest score at the larger budget.
        difference, low, high: the score of `rival` minus that of the recommended setting, corrected for `n` settings.
        gains: some setting of the larger budget is detectably better.
        loses: all of them are detectably worse.
    """

    budget: float
    rival: str
    difference: float
    low: float
    high: float
    n: int
    gains: bool
    loses: bool


def enough(run: Run) -> tuple[BestSet, list[Larger]] | None:
    """The smallest budget such that no larger one has a better setting, and the larger ones.

    No setting of a larger budget may be detectably better, nor have a lower score, or there may be too few images to
    tell. None if the largest budget has one that all smaller ones lack, or if there is nothing to compare.
    """
    sets = [one for one in best_sets.read(run) if one.simplest and not missing(one.budget)]
    known = sorted(sets, key=lambda one: one.budget)
    for at, small in enumerate(known[:-1]):
        larger = [against(run, small, large) for large in known[at + 1 :]]
        if not any(large.gains or large.difference < 0 for large in larger):
            return small, larger
    return None


def against(run: Run, small: BestSet, large: BestSet) -> Larger:
    """Every setting of `large` whose samples are images, against the recommended one of `small`."""
    before, after = (dict(list(run.ok(at.mode).groupby("setting"))) for at in (small, large))
    trusted = [row["setting"] for _, row in large.settings.iterrows() if missing(row["no_verdict"])]
    sizes = {name: unpaired(after[name], before[small.simplest], run.judge, len(trusted)) for name in trusted}
    rival = min(sizes, key=lambda name: sizes[name][0])
    gains, loses = any(high < 0 for _, _, high in sizes.values()), all(low > 0 for _, low, _ in sizes.values())
    return Larger(large.budget, rival, *sizes[rival], len(trusted), gains, loses)


def verdict(one: BestSet, larger: list[Larger]) -> str:
    """What to use, in at most 25 words."""
    budgets = listed((number(other.budget, 0) for other in larger), "or")
    first = f"Use “{one.simplest}” with {number(one.budget, 0)} evaluations: "
    if all(other.loses for other in larger):
        return f"{first}every setting with {budgets} is worse."
    return f"{first}no setting with {budgets} is detectably better."


def section(run: Run) -> Section | None:
    """The section on larger budgets without a detectable gain, if there are any."""
    answer = enough(run)
    if not answer:
        return None
    one, larger = answer
    texts = []
    for other in larger:
        budget = number(other.budget, 0)
        how = "every setting scores worse than" if other.loses else "no setting is detectably better than"
        size = interval(run.judge, other.difference, other.low, other.high, f"{percent(LEVEL)} interval ")
        texts.append(
            f"With {budget} evaluations {how} “{one.simplest}” at {number(one.budget, 0)}. The lowest "
            f"{metric_name(run.judge, run.features)} at {budget} is that of “{other.rival}”, a difference of {size}, "
            f"corrected for {number(other.n, 0)} settings."
        )
    made = (
        "The run compares settings at equal evaluations. These intervals are computed as if the images of both sides "
        "were independent; with shared noise they are too wide rather than too narrow. They hold for these networks. "
        f"“{one.simplest}” was chosen on these images, so it scores a little too well on them."
    )
    return Section("Do more evaluations help?", [Prose(text) for text in (*texts, made)])
