"""The primary contrast at each look, from stored scores -> looks.csv; and whether the run goes on."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.config.comparison import Contrast, Looks, Stop
from experiments.config.trial import Row
from experiments.metrics.distances import METRICS
from experiments.metrics.looks import levels, why_stop
from experiments.results.contrasts import measure
from experiments.store.store import Store


def contrast_at(looks: Looks, look: int, rows: Sequence[Row], store: Store) -> Contrast:
    """The primary contrast at a look (from 0), with the level of its interval and the reason to stop there.

    The reason is "" if the run should go on.
    """
    sizes, contrast = looks.sizes, looks.contrasts[look]
    level = levels(tuple(size / sizes[-1] for size in sizes))[look]
    stop = Stop(level, look + 1, len(sizes), "failed", looks.smallest)
    ok = {row["run_id"]: row for row in rows if row["status"] == "ok"}
    found = measure(replace(contrast, stop=stop), ok, store)
    if found is None or len(ok) < len({row["run_id"] for row in rows if row["status"] != "infeasible"}):
        return replace(contrast, stop=stop)
    why = why_stop(found.whole["kd"], looks.smallest * found.value("b", "kd"), look == len(sizes) - 1)
    return replace(contrast, stop=replace(stop, why=why))


def look_rows(contrasts: Sequence[Contrast], rows: Sequence[Row], store: Store) -> list[Row]:
    """Rows of looks.csv, from the primary contrast at each look that was taken."""
    ok = {row["run_id"]: row for row in rows if row["status"] == "ok"}
    out: list[Row] = []
    for contrast in contrasts:
        found = measure(contrast, ok, store)
        if found is None or contrast.stop is None:
            continue
        for metric in METRICS:
            numbers = vars(found.whole[metric])
            out.append(
                {name: numbers[name] for name in ("difference", "se", "low", "high")}
                | {
                    "look": contrast.stop.look,
                    "n_samples": contrast.pairs[0][0].samples.n_samples,
                    "n_networks": len(found.pairs),
                    "metric": metric,
                    "level": contrast.stop.level,
                    "smallest": contrast.stop.smallest * found.value("b", "kd") if metric == "kd" else None,
                    "stopped": contrast.stop.why or None,
                }
            )
    return out
