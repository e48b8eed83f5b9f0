"""Selects a part of a sweep: --only by the columns of its trials, --shard by their networks."""

import re
from collections.abc import Sequence

import pandas as pd

from experiments.config.identity import identity
from experiments.config.trial import Infeasible, Trial, described
from experiments.engine.tasks import TRAIN_COST

Planned = Sequence[Trial | Infeasible]
EXAMPLE = """--only 'mode == "same-ladder" and seed == 0'"""


def only(planned: Planned, query: str) -> list[Trial | Infeasible]:
    """The trials that match a pandas query (DataFrame.query).

    Its columns are the columns of table.csv that are known before the run, and `seed` for train_seed. After == and !=,
    a value of the column needs no quotes: mode==same-ladder.

    Raises:
        ValueError: the query cannot be read, or holds for no trial.
    """
    rows = [described(trial) for trial in planned]
    frame = pd.DataFrame(rows).assign(seed=[row.get("train_seed") for row in rows])
    try:
        holds = frame.eval(_quoted(query, frame), engine="python")
    except Exception as error:  # pandas and Python raise many types for a bad query
        reason = " ".join(str(error).split())
        raise ValueError(f"only={query!r}: {reason}; quote text as in {EXAMPLE}. {_columns(frame)}") from None
    if not isinstance(holds, pd.Series) or holds.dtype != bool:
        raise ValueError(f"only={query!r}: it is no condition; write one as in {EXAMPLE}. {_columns(frame)}")
    chosen = [trial for trial, keep in zip(planned, holds, strict=True) if keep]
    if not any(isinstance(trial, Trial) for trial in chosen):
        raise ValueError(f"only={query!r}: it holds for none of {len(rows)} planned trials. {_columns(frame)}")
    return chosen


def shard(planned: Planned, text: str) -> list[Trial | Infeasible]:
    """Part i of n, for the text i/n with i from 1. No network is trained in two parts; the parts cost about the same.

    Trials whose network is not trained here are split by their samples.

    Raises:
        ValueError: `text` is not i/n, or there are fewer than n groups of trials to distribute.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"shard={text!r}: it must be i/n with i from 1 to n, such as 1/4")
    number, n = int(match[1]), int(match[2])
    costs: dict[str, float] = {}
    samples: set[str] = set()
    for trial in (trial for trial in planned if isinstance(trial, Trial)):
        if _group(trial) not in costs:
            costs[_group(trial)] = sum(network.images_seen for network in trial.model.networks) * TRAIN_COST
        if (name := identity(trial.samples)) not in samples:
            costs[_group(trial)] += trial.samples.evaluations
            samples.add(name)
    if n > len(costs):
        raise ValueError(f"shard={text!r}: there are only {len(costs)} parts to share out; use --shard i/{len(costs)}")
    loads, home = [0.0] * n, dict[str, int]()
    for group in sorted(costs, key=lambda group: (-costs[group], group)):  # most expensive first, to the cheapest part
        home[group] = loads.index(min(loads))
        loads[home[group]] += costs[group]
    return [trial for trial in planned if isinstance(trial, Trial) and home[_group(trial)] == number - 1]


def _group(trial: Trial) -> str:
    """The group of a trial, which stays in one part: trials of one network trained here, else of the same samples."""
    return identity(next(iter(trial.model.networks), trial.samples))


def _quoted(query: str, frame: pd.DataFrame) -> str:
    """`query` with quotes around known values of text columns, if these follow == or != without quotes."""
    for name in [name for name in frame if frame[name].map(lambda value: isinstance(value, str)).any()]:
        values = sorted({re.escape(str(value)) for value in frame[name].dropna()}, key=len, reverse=True)
        bare = rf"\b({name}\s*[=!]=\s*)({'|'.join(values)})(?![\w.(-])"
        query = re.sub(bare, lambda found: f"{found[1]}{found[2]!r}", query)
    return query


def _columns(frame: pd.DataFrame) -> str:
    """A list of the columns for messages. Columns with 2 to 12 different values are listed with the values."""
    parts = []
    for name in [name for name in frame if not name.endswith("_id")]:
        values = list(dict.fromkeys(frame[name].dropna()))
        if 1 < len(values) <= 12:
            name += f" ({', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)})"
        parts.append(name)
    return f"Columns: {', '.join(parts)}"
