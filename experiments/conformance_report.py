"""The work of `check-sampler` on its list: checks one after the other, verdicts as rows, tables and a result folder."""

import json
import math
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from experiments.conformance import check, check_guidance, check_policy, guidance, policy, sampler_specs
from experiments.console import Terminal, progress_bar
from experiments.user import imports
from experiments.user.imports import user_code_errors

if TYPE_CHECKING:
    from reports.page import Page

Row = dict[str, Any]
FIELDS = {
    "sampler": ("order", "reference"), "policy": ("noise", "replay", "levels", "replay_levels", "accept"),
    "guided": ("scales", "accept"),
}  # fmt: skip
FUNCTIONS = {  # options that name a function, by the name that the check has for it
    "levels": "levels", "replay": "replayed_by", "replay_levels": "replay_levels", "scales": "scales"
}  # fmt: skip
NOISE = "; in a function noise is a tensor, in a class it is called: noise()"
MIXED_UP = r"'Tensor' object is not callable|\bfunction\b"  # what torch says of one that is taken for the other


@dataclass(frozen=True)
class Subject:
    """Code that can be checked."""

    noun: str
    about_one: str  # the question
    about_many: str
    check: Callable[..., Any]
    checks: Iterable[str] = ()  # those that have names


SUBJECTS = {
    "sampler": Subject("samplers", "Is {} right?", "Do {} samplers converge to the data?", check),
    "policy": Subject(
        "steps", "Is {} right as a policy?", "Are {} steps right as policies?", check_policy, policy.CHECKS),
    "guided": Subject(
        "pipelines", "Does {} guide as it is asked to?", "Do {} pipelines guide as they are asked to?", check_guidance,
        guidance.CHECKS),
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A sampler, a policy's step or a pipeline of a list."""

    subject: str  # a key of `SUBJECTS`
    name: str  # as on the command line
    options: Row = field(default_factory=dict)  # as on the command line; the keys are `FIELDS`
    group: str = ""  # a heading of the table, such as the package that it comes from
    note: str = ""  # what is documented or known about it, in a sentence
    on_purpose: bool = False  # whether its authors mean what the check finds
    link: str = ""  # and where

    @property
    def title(self) -> str:
        """Its name, and those of the levels, of the replay and of the scales if it has some of its own."""
        specs = (self.options.get(name) for name in FUNCTIONS)
        return ", ".join([self.name, *(spec.rpartition(":")[2] for spec in specs if spec)])

    def prepare(self, budgets: Sequence[int] = ()) -> Callable[[], Any]:
        """Returns the function that makes the verdict. ValueError if a function cannot be found."""
        options = {name: value for name, value in self.options.items() if value not in (None, "", ())}
        for name in options.keys() & FUNCTIONS.keys():
            options[FUNCTIONS[name]] = _load_function(options.pop(name))
        if self.subject == "sampler":
            checked, declared = sampler_specs.load_sampler(self.name)
            if "reference" in options:
                options["reference"], _ = sampler_specs.load_sampler(options["reference"])
            options = {"order": declared, "budgets": budgets or None} | options
        else:
            checked = _load_function(self.name)
        return partial(self._run, partial(SUBJECTS[self.subject].check, checked, **options))

    def _run(self, check: Callable[[], Any]) -> Any:
        """Its verdict. What it raises becomes a ValueError of one line that begins with the title."""
        try:
            with user_code_errors(self.title):
                return check()
        except ValueError as error:
            text = " ".join(str(error).split()).removeprefix(f"{self.title}: ")
            if isinstance(error.__cause__, TypeError) and re.search(MIXED_UP, text):
                text += NOISE
            raise ValueError(f"{self.title}: {text}") from error


class Result(NamedTuple):
    """The result of an entry."""

    entry: Entry
    verdict: Any
    seconds: float  # of CPU


def _load_function(spec: str) -> Callable[..., Any]:
    """The function at my_file:function or my_file:function(option=value). ValueError if there is none."""
    name, options = sampler_specs.split_call(spec, spec)
    function: Callable[..., Any] = imports.load_object(name)
    return partial(function, **options) if options else function


def read_list(path: Path, subject: str) -> list[Entry]:
    """The tables [[subject]] of a TOML file. ValueError if it is no such file."""
    try:
        entries = []
        for table in tomllib.loads(path.read_text(encoding="utf-8"))[subject]:
            options = {name: table.pop(name) for name in FIELDS[subject] if name in table}
            entries.append(Entry(subject, options=options, **table))
        titles = [entry.title for entry in entries]
        if twice := [title for title in titles if titles.count(title) > 1]:
            raise ValueError(f"{twice[0]} is listed twice")
        return entries
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no list of [[{subject}]]: {error}") from error


def run_checks(folder: Path, entries: Sequence[Entry], budgets: Sequence[int] = ()) -> list[Any]:
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
        outcomes = {entry.title: verdict.outcome for entry, verdict, _ in results}
        not_run = {"not_run": failures} if failures else {}
        print(json.dumps({"check-sampler": outcomes, "out": str(folder)} | not_run))
    if len(results) < len(entries):
        noun = SUBJECTS[entries[0].subject].noun
        print(f"the report has only {len(results)} of these {len(entries)} {noun}", file=sys.stderr)
        raise SystemExit(130) if interrupted else failed
    return [result.verdict for result in results]


def _run_all(entries: Sequence[Entry], budgets: Sequence[int]) -> tuple[list[Result], dict[str, str], bool]:
    """The results; by title, why others could not be run; whether it was interrupted."""
    torch.set_num_threads(1)  # the tensors are tiny
    results = list[Result]()
    failures = dict[str, str]()
    with progress_bar(len(entries)) as advance:
        for entry in entries:
            start = time.process_time()
            advance(entry.title)
            try:
                verdict = entry.prepare(budgets)()
            except ValueError as error:
                failures[entry.title] = str(error)
                continue
            except KeyboardInterrupt:
                return results, failures, True
            results.append(Result(entry, verdict, time.process_time() - start))
    return results, failures, False


def sampler_tables(results: Sequence[Result]) -> dict[str, list[Row]]:
    """The rows of each file: one per sampler; one per number of steps and direction."""
    rows = [
        _describe(result) | _describe_levels(result.verdict) | {
            "sentence": verdict.sentence, "declared": verdict.declared, "order": verdict.order,
            "left_over": verdict.left_over, "how": verdict.method, "limit_ratio": _farthest(verdict.ratios, 1.0),
            "limit_mean_error": _farthest(verdict.mean_errors, 0.0),
        }
        for result in results for verdict in (result.verdict,)
    ]  # fmt: skip
    budgets = [
        {
            "sampler": entry.title, "n_steps": moments.n_steps, "data_std": float(std),
            "ratio": _finite(moments.std[at] / std), "mean_error": _finite((moments.mean[at] - data.mean) / std),
            "ratio_se": _finite(moments.std_error[at] / std),
        }
        for entry, verdict, _ in results for data in (verdict.oracle,)
        for moments in verdict.moments for at, std in enumerate(data.true_stds.numpy())
    ]  # fmt: skip
    return {"verdicts.csv": rows, "budgets.csv": budgets}


def _describe(result: Result) -> Row:
    """The columns of all subjects."""
    entry, verdict, seconds = result
    return vars(entry) | {"sampler": entry.title, "kind": verdict.outcome, "seconds": seconds}


def _describe_levels(verdict: Any) -> Row:
    """The columns on the levels that a sampler visits, none where they are not known."""
    if (levels := getattr(verdict, "levels", None)) is None:
        return {}
    return {
        "levels": levels.form, "evaluations": len(levels.log_sigmas), "level_faults": "; ".join(levels.faults)
    }  # fmt: skip


def policy_tables(results: Sequence[Result]) -> dict[str, list[Row]]:
    """The rows of each file: one per step; one per number of steps; one per check."""
    rows = [
        _describe(result) | {
            "factor": verdict.factor, "sentence": str(verdict.errors[0]) if verdict.errors else "",
            "limit_ratio": _farthest(verdict.convergence.ratios, 1.0) if verdict.convergence else None,
        }
        for result in results for verdict in (result.verdict,)
    ]  # fmt: skip
    steps = [
        {"sampler": entry.title, "n_steps": n, "ratio_low": low, "ratio_high": high, "last_noise": of.last_noise.get(n)}
        for entry, of, _ in results for n, (low, high) in of.ratios.items()
    ]  # fmt: skip
    checks = [
        {
            "sampler": entry.title, "check": check, "verdict": verdict.outcome_of(check),
            "sentence": " ".join(str(finding) for finding in verdict.findings if finding.check == check)
            or (verdict.words if check == "weights" and verdict.right else ""),
        }
        for entry, verdict, _ in results for check in SUBJECTS[entry.subject].checks
    ]  # fmt: skip
    return {"policies.csv": rows, "policy_steps.csv": steps, "policy_checks.csv": checks}


def write(
    out: Path, results: Sequence[Result], wall_seconds: float, n_listed: int, failures: Mapping[str, str]
) -> "Page":
    """Writes the tables, run.json and the report. Returns its page. The list had `n_listed`, with these `failures`."""
    from experiments.run import result_folder

    which = f"these {n_listed}" if n_listed == len(results) else f"{len(results)} of these {n_listed}"
    entries = [result.entry for result in results]
    name = entries[0].subject
    subject = SUBJECTS[name]
    question = subject.about_many.format(which) if n_listed > 1 else subject.about_one.format(entries[0].title)
    packages = {entry.name.partition(":")[0] for entry in entries} & {"diffusers", "smalldiffusion"}
    if name == "guided":
        packages |= {"diffusers"} & {*sys.modules}
    with result_folder.lock_folder(out):
        tables = policy_tables(results) if subject.checks else sampler_tables(results)
        versions = result_folder.provenance(("sigmabench", "torch", "numpy", *sorted(packages)))["versions"]
        info = {"experiment": f"check_{name}", "question": question, "versions": versions}
        info["notes"] = [f"not run: {reason}" for reason in failures.values()]
        return result_folder.write_finished(out, info, tables, wall_seconds)


def _finite(value: float) -> float | None:
    """The value for a table, which lacks what is not finite."""
    return float(value) if math.isfinite(value) else None


def _farthest(values: Sequence[float], right: float) -> float | None:
    """The value that is farthest from what it should be, if there is one."""
    return max(filter(math.isfinite, values), key=lambda value: abs(value - right), default=None)


def print_verdicts(results: Sequence[Result]) -> None:
    console = Terminal()
    for entry, verdict, _ in results:
        text = " ".join(verdict.sentence.splitlines())
        if faults := _describe_levels(verdict).get("level_faults"):
            text += f" Its levels: {faults}."
        console.print(f"{entry.title}: {text}", style="" if verdict.right else "red")
