"""What `check-sampler` does: checks the samplers, prints the verdicts, and writes the result folder."""

import json
import math
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from diffusion_core.conformance import SamplerFunction, Verdict, check
from experiments.own.sampler_specs import named
from experiments.terminal import Terminal, is_live

if TYPE_CHECKING:
    from experiments.check_sampler import CheckSampler

NAME = "check_sampler"
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One sampler of a list.

    Args:
        sampler: its name, as on the command line.
        order, reference: as on the command line.
        group: a heading of the table, such as the package that it comes from.
        note: what is documented or known about its law, in a sentence.
        link: where it is documented or discussed.
    """

    sampler: str
    order: int | None = None
    reference: str | None = None
    group: str = ""
    note: str = ""
    link: str = ""


def main(options: "CheckSampler") -> list[Verdict]:
    """Prints the verdicts and writes the report, of the finished ones where a list is interrupted or one fails.

    Raises:
        ValueError: a sampler cannot be found, or returns no samples.
        SystemExit: it was interrupted after the first verdict.
    """
    began, out = time.time(), options.out.absolute()  # wherever code of the user's goes
    if not options.samplers:
        raise ValueError("samplers: none is given; --help shows how they are spelt")
    for name, number in (("order", options.order), *(("budgets", steps) for steps in options.budgets)):
        if number is not None and number < 1:
            raise ValueError(f"{name}={number}: it must be at least 1")
    entries = [Entry(text, options.order, options.reference) for text in options.samplers]
    if len(entries) == 1 and options.samplers[0].endswith(".toml"):
        entries = listed(Path(options.samplers[0]), "sampler", Entry)
    samplers = [named(entry.sampler) for entry in entries]  # all names first: an error comes before the work
    references = [named(entry.reference)[0] if entry.reference else None for entry in entries]
    checks = [
        partial(_checked, entry.sampler, sampler, declared if entry.order is None else entry.order, reference, options)
        for entry, (sampler, declared), reference in zip(entries, samplers, references, strict=True)
    ]

    def shown(verdicts: Sequence[Verdict], seconds: Sequence[float]) -> None:
        if len(entries) == 1:
            show(entries[0], verdicts[0], seconds[0])
        else:
            show_all(entries[: len(verdicts)], verdicts)

    def written(verdicts: Sequence[Verdict], seconds: Sequence[float]) -> None:
        write(out, entries[: len(verdicts)], verdicts, seconds, time.time() - began, len(entries))

    return in_turn(options.out, [entry.sampler for entry in entries], checks, shown, written)


def in_turn(
    place: Path,
    names: Sequence[str],
    checks: Sequence[Callable[[Callable[[float], None]], T]],
    shown: Callable[[Sequence[T], Sequence[float]], None],
    written: Callable[[Sequence[T], Sequence[float]], None],
    noun: str = "samplers",
) -> list[T]:
    """Makes the checks, shows and writes the verdicts, of the finished ones where one fails or is interrupted.

    Args:
        place: the folder of the result, as it was typed.
        names: of what is checked, which are `noun`.
        checks: each is told whom to tell the share of its work that is done.
        shown, written: get the verdicts, which have a `kind`, and seconds of CPU; `written` while the folder is held.

    Raises:
        ValueError: a check failed, or others wrote into the folder.
        SystemExit: it was interrupted after the first verdict.
    """
    out = place.absolute()  # wherever code of the user's goes
    if out.exists():
        from experiments.run.result_folder import earlier  # it imports pandas and more: else only after the verdict

        earlier(place)  # raises ValueError if others wrote there
    torch.set_num_threads(1)  # the tensors are tiny
    verdicts, seconds, console = list[T](), list[float](), Terminal()
    failure: BaseException | None = None
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not is_live(console)) as bar:
        line = bar.add_task("", total=len(names))
        for at, (name, check) in enumerate(zip(names, checks, strict=True)):
            start = time.process_time()

            def progress(share: float, at: int = at, name: str = name) -> None:
                bar.update(line, completed=at + share, description=name)

            progress(0.0)
            try:
                verdicts.append(check(progress))
            except (KeyboardInterrupt, ValueError) as error:
                failure = error
                break
            seconds.append(time.process_time() - start)
    if failure and not verdicts:
        raise failure
    shown(verdicts, seconds)
    from experiments.run.result_folder import held

    with held(out):
        written(verdicts, seconds)
    print(f"report:  {place / 'report.html'}")
    if not sys.stdout.isatty():
        kinds = {name: verdict.kind for name, verdict in zip(names, verdicts, strict=False)}  # type: ignore[attr-defined]
        print(json.dumps({"check-sampler": kinds, "out": str(place)}))
    if failure:
        print(f"the report has only the first {len(verdicts)} of {len(names)} {noun}", file=sys.stderr)
        raise SystemExit(130) if isinstance(failure, KeyboardInterrupt) else failure
    return verdicts


def _checked(
    name: str, sampler: SamplerFunction, order: int | None, reference: SamplerFunction | None, options: "CheckSampler",
    progress: Callable[[float], None],
) -> Verdict:  # fmt: skip
    try:
        return check(sampler, order, reference, budgets=options.budgets or None, progress=progress)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a sampler of the user's may raise anything
        kind = "" if isinstance(error, ValueError) else f"it raised {type(error).__name__}: "
        raise ValueError(f"{name}: {kind}{' '.join(str(error).split())}") from error


def listed(path: Path, kind: str, of: type[T]) -> list[T]:
    """The tables [[kind]] of a TOML file as dataclasses, whose first field is called `name` there.

    Raises:
        ValueError: it is no such file.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))[kind]
        first, *others = (field.name for field in fields(of))  # type: ignore[arg-type]  # a dataclass
        known = {"name", *others}
        if strange := sorted({key for table in tables for key in table} - known):
            raise ValueError(f"{strange[0]}: no such field; there are {', '.join(sorted(known))}")
        return [of(**{first if key == "name" else key: value for key, value in table.items()}) for table in tables]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no list of [[{kind}]]: {error}") from error


def rows(name: str, verdict: Verdict) -> list[dict[str, Any]]:
    """One row per number of steps and direction."""
    true = verdict.oracle.true_stds.numpy()
    return [
        {
            "sampler": name, "n_steps": law.n_steps, "data_std": float(std), "ratio": _finite(law.std[at] / std),
            "mean_error": _finite((law.mean[at] - verdict.oracle.mean) / std),
            "ratio_se": _finite(law.std_error[at] / std),
        }
        for law in verdict.laws for at, std in enumerate(true)
    ]  # fmt: skip


def question(entries: Sequence[Entry], n_listed: int) -> str:
    """The question that is answered."""
    if n_listed == 1:
        return f"Is {entries[0].sampler} right?"
    which = f"these {n_listed}" if n_listed == len(entries) else f"the first {len(entries)} of {n_listed}"
    return f"Do {which} samplers converge to the data?"


def write(
    out: Path, entries: Sequence[Entry], verdicts: Sequence[Verdict], seconds: Sequence[float], wall_seconds: float,
    n_listed: int,
) -> None:  # fmt: skip
    """Writes a result folder, which is held (run/result_folder.py), after so many seconds. The list had `n_listed`."""
    verdict_rows = [
        {
            "sampler": entry.sampler, "group": entry.group, "kind": verdict.kind, "sentence": verdict.sentence,
            "declared": entry.order, "order": verdict.order, "left_over": verdict.left_over, "how": verdict.how,
            "limit_ratio": farthest(verdict.ratios, 1.0), "limit_mean_error": farthest(verdict.mean_errors, 0.0),
            "seconds": taken, "note": entry.note, "link": entry.link,
        }
        for entry, verdict, taken in zip(entries, verdicts, seconds, strict=True)
    ]  # fmt: skip
    pairs = zip(entries, verdicts, strict=True)
    budgets = [row for entry, verdict in pairs for row in rows(entry.sampler, verdict)]
    tables = {"verdicts.csv": verdict_rows, "budgets.csv": budgets}
    write_result(out, NAME, question(entries, n_listed), tables, wall_seconds, [entry.sampler for entry in entries])


def write_result(
    out: Path, experiment: str, question: str, tables: dict[str, list[dict[str, Any]]], wall_seconds: float,
    names: Sequence[str],
) -> None:  # fmt: skip
    """Writes the tables, run.json and the report into a folder that is held. `names` are those of what was checked.

    ValueError if the folder has what no run wrote.
    """
    from experiments.run import result_folder

    result_folder.clear(out)
    for file, lines in tables.items():
        result_folder.write_rows(out / file, lines)
    packages = {name.partition(":")[0] for name in names} & {"diffusers", "smalldiffusion"}
    versions = result_folder.origin(("sigmabench", "torch", "numpy", *sorted(packages)))["versions"]
    info = {"experiment": experiment, "preset": "", "question": question, "notes": [], "versions": versions}
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    result_folder.write(out, info | {"wall_seconds": round(wall_seconds, 1), "finished_at": finished})


def _finite(value: float) -> float | None:
    """The value for a table, which lacks what is not finite."""
    return float(value) if math.isfinite(value) else None


def farthest(values: Sequence[float], right: float) -> float | None:
    """The value that is farthest from what it should be, if there is one."""
    return max(filter(math.isfinite, values), key=lambda value: abs(value - right), default=None)


def show(entry: Entry, verdict: Verdict, seconds: float) -> None:
    """The verdict, and a table by number of steps."""
    console = Terminal()
    console.print(verdict.sentence, style="green" if verdict.right else "bold red")
    if not verdict.laws:
        return
    stds = [float(std) for std in verdict.oracle.true_stds]
    table = Table(title=entry.sampler, title_justify="left", caption_justify="left", caption=(
        f"Standard deviation over the true one, by direction. By {verdict.how}; {seconds:.1f} s of CPU."))  # fmt: skip
    heads = ("steps", *(f"std {std:.3g}" for std in stds), "mean error", "worst")
    for head in heads:
        table.add_column(head, justify="right")
    wide = [at for at, std in enumerate(verdict.oracle.stds) if std > 0.1]
    for law in verdict.laws:
        ratios, means = law.std / np.array(stds), np.abs(law.mean - verdict.oracle.mean) / np.array(stds)
        worst = max(np.abs(ratios[wide] - 1).max(), means[wide].max())
        table.add_row(
            f"{law.n_steps}", *(f"{ratio:.3f}" for ratio in ratios), f"{means[wide].max():.3f}", f"{100 * worst:.1f} %"
        )
    console.print(table, soft_wrap=False)


def show_all(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> None:
    """How many are right, and a line for each sampler."""
    console = Terminal()
    n_right = sum(verdict.right for verdict in verdicts)
    console.print(f"{n_right} of {len(verdicts)} samplers are right.", style="bold")
    for entry, verdict in zip(entries, verdicts, strict=True):
        console.print(f"{entry.sampler}: {verdict.sentence}", style="" if verdict.right else "red")
