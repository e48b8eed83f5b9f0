"""Do more evaluations help? The recommended setting of a small budget against every setting of a larger one.

The run compares settings of one budget only, so the intervals here come from `unpaired`.
"""

from dataclasses import dataclass, replace

from reports import best_sets, unpaired
from reports.best_sets import BestSet
from reports.document import Opening, Prose, Section
from reports.formats import interval, listed, metric_name, missing, number, percent
from reports.results import Run
from reports.schema import LEVEL, METRICS


def opening(run: Run) -> Opening:
    """The first screen of `best_sets`; its verdict says so if no larger budget is detectably better."""
    usual = best_sets.opening(run)
    found = enough(run, best_sets.read(run))
    return replace(usual, verdict=verdict(*found)) if found else usual


@dataclass(frozen=True)
class Larger:
    """A larger budget against the recommended setting of a smaller one.

    Args:
        rival: the setting with the lowest KD at the larger budget.
        difference, low, high: KD of `rival` minus that of the recommended setting, corrected for all `n` settings.
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


def enough(run: Run, sets: list[BestSet]) -> tuple[BestSet, list[Larger]] | None:
    """The smallest budget such that no larger one has a better setting, and the larger ones.

    No setting of a larger budget may be detectably better, nor have a lower score, or there may be too few images to
    tell. None if the largest budget has one that all smaller ones lack, or if there is nothing to compare.
    """
    known = sorted((one for one in sets if one.simplest and not missing(one.budget)), key=lambda one: one.budget)
    for at, one in enumerate(known[:-1]):
        larger = [against(run, one, other) for other in known[at + 1 :]]
        if not any(other.gains or other.difference < 0 for other in larger):
            return one, larger
    return None


def against(run: Run, small: BestSet, large: BestSet) -> Larger:
    """Every setting of `large` whose samples are images, against the recommended one of `small`."""
    rows = {one.mode: dict(list(run.ok(one.mode).groupby("setting", sort=False))) for one in (small, large)}
    trusted = [row["setting"] for _, row in large.settings.iterrows() if missing(row["untrusted"])]
    base = unpaired.mean(rows[small.mode][small.simplest])
    found = {name: unpaired.difference(unpaired.mean(rows[large.mode][name]), base, len(trusted)) for name in trusted}
    rival = min(found, key=lambda name: found[name][0])
    ends = list(found.values())
    gains, loses = any(high < 0 for _, _, high in ends), all(low > 0 for _, low, _ in ends)
    return Larger(large.budget, rival, *found[rival], len(trusted), gains, loses)


def verdict(one: BestSet, larger: list[Larger]) -> str:
    """What to use, in at most 25 words."""
    budgets = listed((number(other.budget, 0) for other in larger), "or")
    first = f"Use “{one.simplest}” with {number(one.budget, 0)} evaluations: "
    if all(other.loses for other in larger):
        return f"{first}every setting with {budgets} is worse."
    return f"{first}no setting with {budgets} is detectably better."


def section(run: Run) -> Section | None:
    """The section on larger budgets without a detectable gain, if there are any."""
    found = enough(run, best_sets.read(run))
    if not found:
        return None
    one, larger = found
    name, at = metric_name(METRICS[0], run.features), number(one.budget, 0)
    texts = []
    for other in larger:
        budget = number(other.budget, 0)
        how = f"every setting scores worse than “{one.simplest}” at {at}" if other.loses else (
            f"no setting is detectably better than “{one.simplest}” at {at}")  # fmt: skip
        note = f"{percent(LEVEL)} interval "
        size = interval(METRICS[0], other.difference, other.low, other.high, note)
        texts.append(
            f"With {budget} evaluations {how}. The lowest {name} at {budget} is that of “{other.rival}”, a "
            f"difference of {size}, corrected for {number(other.n, 0)} settings."
        )
    made = (
        "The run compares settings at equal evaluations. These intervals are computed as if the images of both sides "
        "were independent; with shared noise they are too wide rather than too narrow. They hold for these networks. "
        f"“{one.simplest}” was chosen on these images, so it scores a little too well on them."
    )
    return Section("Do more evaluations help?", [Prose(text) for text in (*texts, made)])
