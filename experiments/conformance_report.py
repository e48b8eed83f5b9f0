"""The work of `check-sampler` on its list: checks one after the other, verdicts as rows, tables and a result folder."""

import json
import math
import re
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from experiments import names
from experiments.conformance import Verdict, check, sampler_specs
from experiments.console import Terminal, progress_bar
from experiments.user.diffusers_schedulers import load_scheduler
from experiments.user.imports import user_code_errors

if TYPE_CHECKING:
    from reports.page import Page

Row = dict[str, Any]
NOISE = "; in a function noise is a tensor, in a class it is called: noise()"
MIXED_UP = r"'Tensor' object is not callable|\bfunction\b"  # what torch says of one that is taken for the other


@dataclass(frozen=True)
class Entry:
    """A sampler of a list."""

    name: str  # as on the command line, as are the next two
    order: int | None = None
    reference: str | None = None
    group: str = ""  # a heading of the table, such as the package that it comes from
    note: str = ""  # what is documented or known about it, in a sentence
    on_purpose: bool = False  # whether its authors mean what the check finds
    link: str = ""  # and where

    def prepare(self, budgets: Sequence[int] = ()) -> Callable[[], Verdict]:
        """Returns the function that makes the verdict. ValueError if a sampler cannot be found."""
        sampler, declared = sampler_specs.load_sampler(self.name)
        reference = sampler_specs.load_sampler(self.reference)[0] if self.reference else None
        order = declared if self.order is None else self.order
        return partial(self._run, partial(check, sampler, order, reference, budgets=budgets or None))

    def _run(self, check: Callable[[], Verdict]) -> Verdict:
        """Its verdict. What it raises becomes a ValueError of one line that begins with the name."""
        try:
            with user_code_errors(self.name):
                verdict = check()
            is_scheduler = self.name.startswith(names.DIFFUSERS)
            if verdict.outcome == "wrong limit" and is_scheduler and (limits := load_scheduler(self.name).limits):
                cause = f"{limits[0]} limits the denoised image; give {limits[0]}=False"
                return replace(verdict, sentence=f"{verdict.sentence.rstrip('.')}; the likely cause: {cause}.")
            return verdict
        except ValueError as error:
            text = " ".join(str(error).split()).removeprefix(f"{self.name}: ")
            if isinstance(error.__cause__, TypeError) and re.search(MIXED_UP, text):
                text += NOISE
            raise ValueError(f"{self.name}: {text}") from error


class Result(NamedTuple):
    """The result of an entry."""

    entry: Entry
    verdict: Verdict
    seconds: float  # of CPU


def read_list(path: Path) -> list[Entry]:
    """The tables [[sampler]] of a TOML file. ValueError if it is no such file."""
    try:
        entries = [Entry(**table) for table in tomllib.loads(path.read_text(encoding="utf-8"))["sampler"]]
        names = [entry.name for entry in entries]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is listed twice")
        return entries
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no list of [[sampler]]: {error}") from error


def run_checks(folder: Path, entries: Sequence[Entry], budgets: Sequence[int] = ()) -> list[Verdict]:
    """Makes the checks, shows and writes the verdicts. What cannot be run is left out, and an interrupt ends it.

    `folder`: the folder of the result, as it was typed. ValueError, at the end, that names each check that could not be
    run, or if others wrote into the folder; SystemExit if it was interrupted after the first verdict.
    """
    began = time.time()
    out = folder.absolute()  # wherever code of the user's goes
    if out.exists():
        from experiments.run import result_folder  # it imports pandas and more: otherwise after the verdict

        result_folder.existing_results(folder)  # raises ValueError if others wrote there
    results, failures, interrupted = _run_all(entries, budgets)
    failed = ValueError("; ".join(failures.values()))
    if not results:
        raise KeyboardInterrupt if interrupted else failed
    if len(entries) > 1:
        print_verdicts(results)
    page = write(out, results, time.time() - began, len(entries), failures)
    from experiments.run import result_folder

    console = Terminal()
    for table in page.tables if len(entries) == 1 else ():
        console.print("\n".join(table.text))
    result_folder.print_page(page, out / "report.html", str(folder / "report.html"), False, console)
    if not sys.stdout.isatty():
        outcomes = {entry.name: verdict.outcome for entry, verdict, _ in results}
        not_run = {"not_run": failures} if failures else {}
        print(json.dumps({"check-sampler": outcomes, "out": str(folder)} | not_run))
    if len(results) < len(entries):
        print(f"the report has only {len(results)} of these {len(entries)} samplers", file=sys.stderr)
        raise SystemExit(130) if interrupted else failed
    return [result.verdict for result in results]


def _run_all(entries: Sequence[Entry], budgets: Sequence[int]) -> tuple[list[Result], dict[str, str], bool]:
    """The results; by name, why others could not be run; whether it was interrupted."""
    torch.set_num_threads(1)  # the tensors are tiny
    results = list[Result]()
    failures = dict[str, str]()
    with progress_bar(len(entries)) as advance:
        for entry in entries:
            start = time.process_time()
            advance(entry.name)
            try:
                verdict = entry.prepare(budgets)()
            except ValueError as error:
                failures[entry.name] = str(error)
                continue
            except KeyboardInterrupt:
                return results, failures, True
            results.append(Result(entry, verdict, time.process_time() - start))
    return results, failures, False


def tabulate(results: Sequence[Result]) -> dict[str, list[Row]]:
    """The rows of each file: one per sampler; one per number of steps and direction."""
    rows = [
        vars(entry) | _describe_levels(verdict) | {
            "sampler": entry.name, "kind": verdict.outcome, "seconds": seconds,
            "sentence": verdict.sentence, "declared": verdict.declared, "order": verdict.order,
            "left_over": verdict.left_over, "how": verdict.method, "limit_ratio": _farthest(verdict.ratios, 1.0),
            "limit_mean_error": _farthest(verdict.mean_errors, 0.0),
        }
        for entry, verdict, seconds in results
    ]  # fmt: skip
    budgets = [
        {
            "sampler": entry.name, "n_steps": moments.n_steps, "data_std": float(std),
            "ratio": _finite(moments.std[at] / std), "mean_error": _finite((moments.mean[at] - data.mean) / std),
            "ratio_se": _finite(moments.std_error[at] / std),
        }
        for entry, verdict, _ in results for data in (verdict.oracle,)
        for moments in verdict.moments for at, std in enumerate(data.true_stds.numpy())
    ]  # fmt: skip
    return {"verdicts.csv": rows, "budgets.csv": budgets}


def _describe_levels(verdict: Verdict) -> Row:
    """The columns on the levels that a sampler visits, none where they are not known."""
    if (levels := verdict.levels) is None:
        return {}
    return {
        "levels": levels.form, "evaluations": len(levels.log_sigmas), "level_faults": "; ".join(levels.faults)
    }  # fmt: skip


def write(
    out: Path, results: Sequence[Result], wall_seconds: float, n_listed: int, failures: Mapping[str, str]
) -> "Page":
    """Writes the tables, run.json and the report. Returns its page. The list had `n_listed`, with these `failures`."""
    from experiments.run import result_folder

    which = f"these {n_listed}" if n_listed == len(results) else f"{len(results)} of these {n_listed}"
    entries = [result.entry for result in results]
    question = f"Do {which} samplers converge to the data?" if n_listed > 1 else f"Is {entries[0].name} right?"
    packages = {entry.name.partition(":")[0] for entry in entries} & {"diffusers", "smalldiffusion"}
    with result_folder.lock_folder(out):
        versions = result_folder.provenance(("sigmabench", "torch", "numpy", *sorted(packages)))["versions"]
        info = {"experiment": "check_sampler", "question": question, "versions": versions}
        info["notes"] = [f"not run: {reason}" for reason in failures.values()]
        return result_folder.write_finished(out, info, tabulate(results), wall_seconds)


def _finite(value: float) -> float | None:
    """The value for a table, which lacks what is not finite."""
    return float(value) if math.isfinite(value) else None


def _farthest(values: Sequence[float], right: float) -> float | None:
    """The value that is farthest from what it should be, if there is one."""
    return max(filter(math.isfinite, values), key=lambda value: abs(value - right), default=None)


def print_verdicts(results: Sequence[Result]) -> None:
    console = Terminal()
    for entry, verdict, _ in results:
        text = verdict.sentence
        if faults := _describe_levels(verdict).get("level_faults"):
            text += f" Its levels: {faults}."
        console.print(f"{entry.name}: {text}", style="" if verdict.right else "red")
