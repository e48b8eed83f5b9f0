"""What can be read before the end: a line per network on the terminal, and a report without intervals or verdict.

Looking early must not decide anything, so no difference is shown before all networks are done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from experiments.run import folder
from experiments.run.cache import Cache
from experiments.run.compare import Contrast
from experiments.run.plan import Run
from experiments.run.study import Say, Study
from experiments.run.tables import Made

SOON = 20.0  # seconds between looks: each reads all that is done
Seen = Callable[[Sequence[Run], Mapping[str, str]], None]  # runs that are done, and by score_id why some failed


def looking(study: Study, runs: Sequence[Run], cache: Cache, out: Path, place: str, say: Say) -> Seen:
    """Tells after networks, but not after the last, what they score, and writes the report so far.

    Args:
        out: the result folder.
        place: its report, as it is shown.
    """
    last = time.time()
    every, told = list(dict.fromkeys(run.number for run in runs if not run.impossible)), list[int]()

    def seen(done: Sequence[Run], failed: Mapping[str, str]) -> None:
        nonlocal last
        numbers = list(dict.fromkeys(run.number for run in done if not run.impossible))
        if not len(told) < len(numbers) < len(every) or time.time() - last < SOON:
            return
        first, made = not told, Made.of(study.page, done, cache, failed)
        for number in numbers[len(told) :]:
            told.append(number)
            scores = _scores(study, made, number)
            say(f"network {len(told)} of {len(every)}{scores}; no verdict before all {len(every)}")
        folder.clear(out)
        folder.write_tables(out, {"table.csv": made.rows.values(), "floors.csv": made.floors}, made.pictures)
        known = {"experiment": study.page, "question": study.question, "preset": ""}
        folder.write(out, known | {"early": [len(numbers), len(every)]})
        if first:
            say(f"its samples: {place}")
        last = time.time()

    return seen


def _scores(study: Study, made: Made, number: int) -> str:
    """FD of both sides of the first comparison, of one network."""
    with suppress(Exception):  # compare() of a user's study may need all networks
        first = next(pair for pair in study.compare(made.sides) if isinstance(pair, Contrast))
        b, a = (f"{side.rows[number]['fd']:.1f} with {side.label}" for side in (first.b, first.a))
        return f": {'FID' if first.a.rows[number]['features'] == 'inception-v3-compat' else 'FD'} {b}, {a}"
    return ""
