"""The page of `check-sampler --policy`: does the log_prob of each step belong to its noise, and do its samples fit?"""

from dataclasses import replace

import pandas as pd

from reports import settings
from reports.details import describe_origin
from reports.formats import missing, number, plural
from reports.page import Axis, Bar, Column, Figure, FigureSection, KeyFigure, Line, Page, Row, Source, Table
from reports.results import LoadedResult
from reports.schema import WORSE

RATIOS = Axis((0.45, 1.15))  # of standard deviations; one beyond is drawn at the edge, and its number says where it is
TICKS = [(RATIOS.place(tick), number(tick)) for tick in (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1)]
NOTE = "Standard deviation of the samples ÷ that of the data, exactly"
CELLS = {"right": "✓", "wrong": "wrong", "note": "note", "accepted": "accepted", "not checked": "–"}
TERMS = [
    ("Exact velocity", "The network is the conditional mean of Gaussian data, so every error is the step's."),
    (
        "Ratio", "Standard deviation of the samples ÷ that of the data: the lowest and the highest of the directions "
        "of standard deviation 2, 1, 0.5 and 0.2. It is computed from impulses, without sampling.",
    ),
    (
        "log_prob", "Mean and standard deviation of x_next are measured by impulses; log_prob must be the log density "
        "of that Gaussian, summed or averaged over the dimensions.",
    ),
    ("Replay", "log_prob of the stored x_next must be what it was when x_next was drawn, in float32 and in bfloat16."),
    ("Gradient", "log_prob must differentiate through the velocity as that density does."),
    ("ODE", "Without noise it must be the Euler step."),
    ("Batch", "With the same noise, an image alone must be the same as in a batch."),
    ("Generator", "The same generator must repeat a sample, another must not, and the global one must be left alone."),
    ("Law", "With more steps mean and standard deviations tend to those of the data, to within 1 %."),
    ("Last noise", "Standard deviation of the noise that the last step adds. It stays in the samples."),
]  # fmt: skip


def page(result: LoadedResult) -> Page:
    policies = result.policies.copy()
    steps = result.policy_steps.assign(n_steps=result.policy_steps["n_steps"].astype(int)).set_index(
        ["sampler", "n_steps"]
    )
    counts = sorted(set(steps.index.get_level_values("n_steps")))
    policies["off"] = [abs(_worst(steps, name, counts[0]) - 1) if counts else 0.0 for name in policies["sampler"]]
    policies = policies.sort_values("off", kind="stable", na_position="last")
    files = sorted(path.name for path in result.folder.glob("*.csv*"))
    details = [*TERMS, ("Measured", f"{number(policies['seconds'].sum(), 0)} s of CPU."), *describe_origin(result.info)]
    source = settings.describe_source(result, "exact velocity on Gaussian data", plural(len(policies), "step"))
    make = _one if len(policies) == 1 else _many
    made = make(result, policies, steps, counts)
    return replace(made, source=source, question=result.info["question"], details=[*details, ("Files", files)])


def _one(result: LoadedResult, policies: pd.DataFrame, steps: pd.DataFrame, counts: list[int]) -> Page:
    """One step: every check with what it says, and its ratio by the number of steps."""
    row, checks = policies.iloc[0], result.policy_checks
    wrong = checks[checks["verdict"] == "wrong"]
    unchecked = ", but log_prob was not" if missing(row["factor"]) else ""
    answer = "Yes.", f"Nothing is wrong in what was checked{unchecked}."
    if len(wrong):
        more = f" {plural(len(wrong) - 1, 'more check')} found something." if len(wrong) > 1 else ""
        answer = "No.", f"{wrong['sentence'].iloc[0]}{more}"
    share = row["factor"]
    is_mean = share < 1 and abs(1 / share - round(1 / share)) < 0.001
    factor = f"1/{round(1 / share)}" if is_mean else f"{share:.4g}" if share > 0 else "unknown"
    says = f"the mean over {round(1 / share)} dimensions" if is_mean else "1: the sum over dimensions"
    key_figures = [KeyFigure("log_prob ÷ log density", factor, [says])]
    figures = []
    if counts:
        few, last = _worst(steps, row["sampler"], counts[0]), steps["last_noise"].iloc[0]
        key_figures.append(
            KeyFigure(f"Ratio with {counts[0]} steps", number(few, 3), [f"1 is right; last noise {last:.3f}"])
        )
        key_figures.append(KeyFigure("Ratio in the limit", number(row["limit_ratio"], 3) or "none", ["1 is right"]))
        lines = []
        for n in counts:
            low, high = (RATIOS.place(steps.loc[(row["sampler"], n), name]) for name in ("ratio_low", "ratio_high"))
            bar = Bar("", low, high, (("speck", low), ("speck", high)))
            lines.append(Line(plural(n, "step"), bar, _ratios(steps, row["sampler"], n)))
        figures.append(_figure(f"{NOTE}, lowest and highest of four directions.", "By number of steps", lines))
    cells = [Row(line["check"], [line["verdict"], line["sentence"]]) for _, line in checks.iterrows()]
    table = Table("In their order", [Column("Outcome", "n"), Column("What it says")], cells)
    return Page(Source(), "", *answer, key_figures=key_figures, figures=figures, tables=[table], noun="check", order="")


def _many(result: LoadedResult, policies: pd.DataFrame, steps: pd.DataFrame, counts: list[int]) -> Page:
    """Several steps: the law of each, and every check."""
    wrong = policies[policies["kind"] != "right"]
    limits = int((wrong["kind"] == "wrong limit").sum())
    parts = [f"The samples of {limits} do not tend to the data."] if limits else []
    others = len(wrong) - limits
    parts += [f"{others} fail{'s' * (others == 1)} {'another' if limits else 'a'} check."] if others else []
    if not others and not policies["factor"].isna().any():
        parts.append("The log_prob of all is that of the noise they draw.")
    share, off = 100 * len(wrong) / len(policies), 100 * policies["off"].dropna()
    key_figures = [
        KeyFigure("Not right", f"{len(wrong)} of {len(policies)}", lengths=[("before", 100), (WORSE, share)])
    ]
    if counts:
        note = f"median error of the standard deviation; {off.min():.0f} to {off.max():.0f} %"
        key_figures.append(KeyFigure(f"With {counts[0]} steps", f"{off.median():.0f} %", [note]))
    lines = []
    for _, row in policies.iterrows():
        known = [("open", _worst(steps, row["sampler"], n)) for n in counts[:1]]
        known += [("grey", _worst(steps, row["sampler"], n)) for n in counts[1:][-1:]] + [
            ("diamond", row["limit_ratio"])
        ]
        marks = tuple((kind, RATIOS.place(value)) for kind, value in known if not missing(value))
        if marks:
            places, bad = [place for _, place in marks], row["kind"] != "right"
            bar, word = Bar(WORSE if bad else "", min(places), max(places), marks), row["kind"] if bad else ""
            lines.append(Line(short(row["sampler"]), bar, number(row["limit_ratio"], 3) or "none", "", word))
    looks = f"Open: {counts[0]} steps. Grey: {counts[-1]}. Diamond and number: the limit." if counts else ""
    figures = [_figure(f"{NOTE}, where it is farthest from 1. {looks}", "Closest first", lines)] if lines else []
    checks = [*dict.fromkeys(result.policy_checks["check"])]
    outcomes = result.policy_checks.pivot(index="sampler", columns="check", values="verdict")
    laws, found = [], []
    for _, row in policies.iterrows():
        name, title = row["sampler"], short(row["sampler"])
        noises = [f"{steps.loc[(name, n), 'last_noise']:.3f}" if (name, n) in steps.index else "" for n in counts]
        ratios = [_ratios(steps, name, n) for n in counts]
        laws.append(Row(title, [*ratios, number(row["limit_ratio"], 3), *noises]))
        found.append(Row(title, [CELLS[outcomes.loc[name, check]] for check in checks]))
    columns = [*(Column(f"{n} steps", "n", after=f" with {n} steps") for n in counts), Column("Limit", "n", "limit ")]
    columns += [Column(f"Last noise, {n}", "n few", f"last noise with {n} steps ") for n in counts]
    tables = [Table(f"{NOTE}: lowest and highest of four directions; noise of the last step", columns, laws)]
    heads = [Column(check, "mid", f"{check} ") for check in checks]
    tables.append(Table("Every check", heads, found))
    return Page(
        Source(), "", f"{len(policies) - len(wrong)} of {len(policies)} are.", " ".join(parts), key_figures=key_figures,
        figures=figures, tables=tables if counts else tables[1:], noun="step",
        note="What each check says is in policy_checks.csv.",
    )  # fmt: skip


def _figure(note: str, title: str, lines: list[Line]) -> Figure:
    ends = "too narrow", "too wide"
    sections = [FigureSection(title, "", lines)]
    return Figure("The law of the samples", note, sections, RATIOS, RATIOS.place(1), ends, TICKS, long=True)


def _worst(steps: pd.DataFrame, name: str, n_steps: int) -> float:
    """The ratio that is farthest from 1, NaN if it was not measured."""
    if (name, n_steps) not in steps.index:
        return float("nan")
    low, high = steps.loc[(name, n_steps), ["ratio_low", "ratio_high"]]
    return float(low if abs(low - 1) > abs(high - 1) else high)


def _ratios(steps: pd.DataFrame, name: str, n_steps: int) -> str:
    """The lowest and the highest ratio."""
    if (name, n_steps) not in steps.index:
        return ""
    low, high = steps.loc[(name, n_steps), ["ratio_low", "ratio_high"]]
    return f"{low:.3f}–{high:.3f}"


def short(name: str) -> str:
    """The name without its file."""
    place, bracket, options = name.partition("(")
    return place.rpartition(":")[2] + bracket + options
