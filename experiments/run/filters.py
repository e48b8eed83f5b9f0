"""`--only seed=1,2 section=control`: a part of a study, by the columns of its runs."""

from collections.abc import Sequence

from experiments.run.runs import Run

COLUMNS = {"seed": "train_seed"}  # what may be typed for a column of table.csv


def filter_runs(planned: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """The runs whose columns of table.csv have these values: COLUMN=VALUE, or several values with commas.

    ValueError for a column or a value that there is not, or if no run is left that is possible.
    """
    rows, chosen = [run.row() for run in planned], list(planned)
    for condition in conditions:
        name, _, value = (part.strip() for part in condition.partition("="))
        texts = [_text(row.get(COLUMNS.get(name, name))) for row in rows]
        wanted = {value} if value in texts else {part.strip() for part in value.split(",")}  # a value may have commas
        if not value or not wanted <= {*texts}:
            there, columns = ", ".join(dict.fromkeys(filter(None, texts))), ", ".join(dict.fromkeys(COLUMNS | rows[0]))
            known = f"{name} is {there}" if there else f"columns: {columns}"
            raise ValueError(f"only={condition!r}: write COLUMN=VALUE, as in --only seed=1 section=control; {known}")
        same = {run for run, text in zip(planned, texts, strict=True) if text in wanted}
        chosen = [run for run in chosen if run in same]
    if all(run.impossible for run in chosen):
        raise ValueError(f"only={' '.join(conditions)!r}: it holds for none of {len(rows)} planned runs")
    return chosen


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
