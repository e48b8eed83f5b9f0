"""The page of `check-sampler`: does the law of each sampler converge to that of the data if its network is exact?"""

import re
from dataclasses import replace

import pandas as pd

from reports import settings
from reports.details import describe_origin
from reports.formats import capital, missing, number, plural
from reports.page import Axis, Bar, Figure, FigureSection, KeyFigure, Line, Page, Source
from reports.results import LoadedResult
from reports.schema import WORSE

RATIOS = Axis((0.35, 1.65))  # of standard deviations; one beyond is drawn at the edge, and its number says where it is
TICKS = [(RATIOS.place(tick), number(tick)) for tick in (0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6)]
ERRORS = Axis((-1.0, 1.8), log=True)  # per cent: 0.1 to 63
WIDE = 0.1  # directions of a smaller standard deviation only show noise that is left over
FEW, MANY = 28, 400  # steps
WRONG = {  # kind of verdict -> the heading of its samplers
    "wrong limit": "Wrong limit",
    "noise left over": "Noise left over",
    "correlated pixels": "Correlated pixels",
    "depends on its batch": "Depends on its batch",
    "ignores its generator": "Ignores its generator",
    "touches the global generator": "Touches the global generator",
    "ignores its noise": "Ignores its noise",
    "not reproducible": "Not reproducible",
    "irregular in the number of steps": "Irregular in the number of steps",
    "order lost": "Order lost",
    "unlike its reference": "Unlike its reference",
    "undecided": "Undecided",
}
LETTERS = 46  # of a name
NOTE = "Standard deviation of the samples ÷ that of the data"
TERMS = [
    ("Exact network", "The network is the conditional mean of Gaussian data, so every error is the sampler's."),
    (
        "Ratio", "Standard deviation of the samples ÷ that of the data, in the direction where it is farthest from 1. "
        "The data has independent directions of standard deviation 2, 1, 0.5 and 0.2; one of 0.01 only shows noise.",
    ),
    ("Right", "With more steps mean and standard deviations tend to those of the data, to within 1 %."),
    ("Limit", "What the ratio tends to with more steps, extrapolated from chains of N, 2N and 4N steps."),
    (
        "Wrong limit", "They tend to something else. A sampler for distilled, reweighted or sharpened models may do so "
        "on purpose.",
    ),
    ("Noise left over", "Standard deviation of the noise at the end, as where a ladder ends above 0."),
    ("Irregular", "It converges along divisors of 1,000, but is far from that curve for some other numbers of steps."),
    (
        "Batch, generator, noise", "A sample must depend on its own noise and draws alone, and equal calls must agree. "
        "Else its law is not measured.",
    ),
    ("Impulses", "The sampler gets zeros for its draws, and 1 in one draw at a time: mean and variance are exact."),
]  # fmt: skip


def page(result: LoadedResult) -> Page:
    verdicts, budgets = result.verdicts, result.budgets
    wide = budgets[(budgets["data_std"] > WIDE) & budgets["ratio"].notna()]
    worst = wide.groupby(["sampler", "n_steps"], sort=False)["ratio"].agg(farthest)
    one = len(verdicts) == 1
    made = _one(verdicts.iloc[0], wide) if one else _many(verdicts, worst)
    how = ", ".join(f"{plural(n, 'sampler')} by {name}" for name, n in verdicts["how"].value_counts().items())
    cpu = f"{how}; {number(verdicts['seconds'].sum(), 0)} s of CPU."
    files = sorted(path.name for path in result.folder.glob("*.csv*"))
    source = settings.describe_source(result, "exact network on Gaussian data", plural(len(verdicts), "sampler"))
    details = [*TERMS, ("Measured", cpu), *describe_origin(result.info), ("Files", files)]
    return replace(made, source=source, question=result.info["question"], noun="sampler", details=details)


def farthest(ratios: pd.Series) -> float:
    """The ratio that is farthest from 1."""
    return float(ratios.loc[(ratios - 1).abs().idxmax()])


def _many(verdicts: pd.DataFrame, worst: pd.Series) -> Page:
    """Several samplers: a line for each that is not right, and a strip of dots per library for the right ones."""
    right = verdicts["kind"] == "right"
    wrong = verdicts[~right]
    off = (wrong["limit_ratio"] - 1).abs()
    far = int((off > 0.05).sum())
    errors = {name: 100 * abs(worst[name, FEW] - 1) for name in verdicts.loc[right, "sampler"] if (name, FEW) in worst}
    lead = f"{right.sum()} of {len(verdicts)} do."
    count = wrong["kind"].value_counts()
    some, unknown = (int(count.get(kind, 0)) for kind in ("irregular in the number of steps", "undecided"))
    parts = [f"{len(wrong) - some - unknown} do not"] if len(wrong) > some + unknown else []
    parts += [f"{some} only for some numbers of steps"] if some else []
    parts += [f"{unknown} is undecided" if unknown == 1 else f"{unknown} are undecided"] if unknown else []
    rest = f"{', '.join(parts)}." if parts else ""
    share = 100 * len(wrong) / len(verdicts)
    kinds = [f"{n} {kind}" for kind, n in count.items()]
    key_figures = [
        KeyFigure(
            "Not right", f"{len(wrong)} of {len(verdicts)}", kinds[:4],
            lengths=[("before", 100), (WORSE, share)],
        ),
        KeyFigure(
            "Limit off by more than 5 %", str(far), ["of the standard deviation"],
            lengths=[("before", 100), (WORSE, 100 * far / len(verdicts))],
        ),
    ]  # fmt: skip
    if errors:
        median = number(float(pd.Series(errors).median()), 0)
        key_figures.append(
            KeyFigure(f"Right ones, with {FEW} steps", f"{median} %", ["median error of the standard deviation"])
        )
    figures = [_wrong(wrong.assign(off=off), worst)] if len(wrong) else []
    figures += [_right(verdicts, errors)] if errors else []
    return Page(
        Source(), "", lead, rest or "All tend to the data with more steps.", key_figures=key_figures, figures=figures
    )


def _wrong(wrong: pd.DataFrame, worst: pd.Series) -> Figure:
    sections = []
    for kind, title in WRONG.items():
        rows = wrong[wrong["kind"] == kind].sort_values("off", ascending=False, kind="stable")
        if len(rows):
            sections.append(FigureSection(title, str(len(rows)), [_line(row, worst) for _, row in rows.iterrows()]))
    note = f"{NOTE}. Open: {FEW} steps. Grey: {MANY} steps. Diamond and number: the limit. At the edge: beyond."
    return Figure(
        "The samplers that are not right", note, sections, RATIOS, RATIOS.place(1), ("too narrow", "too wide"),
        TICKS, long=True,
    )  # fmt: skip


def _line(row: pd.Series, worst: pd.Series) -> Line:
    known = {"open": worst.get((row["sampler"], FEW)), "grey": worst.get((row["sampler"], MANY))}
    known["diamond"] = row["limit_ratio"]
    marks = tuple((kind, RATIOS.place(value)) for kind, value in known.items() if not missing(value))
    places = [place for _, place in marks] or [RATIOS.place(1)]
    word = row["group"].split(",")[0].replace("Samplers of this package", "Sigmabench").replace(" and others", "")
    value = number(row["limit_ratio"], 2)
    if row["kind"] == "noise left over":
        word = f"noise {number(row['left_over'], 3)}"
    elif row["kind"] == "wrong limit" and abs(row["limit_mean_error"]) > abs(row["limit_ratio"] - 1):
        word = f"mean off by {number(row['limit_mean_error'], 2)}"
    bar = Bar(WORSE if row["kind"] == "wrong limit" else "", min(places), max(places), marks)
    return Line(short(row["sampler"]), bar, value or "none", "", word)


def _right(verdicts: pd.DataFrame, errors: dict[str, float]) -> Figure:
    lines = []
    for group, rows in verdicts.groupby(verdicts["group"].replace("", "Samplers"), sort=False):
        right = rows.loc[rows["kind"] == "right", "sampler"]
        marks = tuple(("speck", ERRORS.place(errors[name])) for name in right if name in errors)
        lines.append(Line(str(group).split(",")[0], Bar("", 0, 0, marks), str(len(right)), "", f"of {len(rows)} right"))
    note = "Error of the standard deviation in per cent. A dot per sampler; 0.1 % or less is at the left edge."
    ticks = [(ERRORS.place(tick), f"{tick:g} %") for tick in (0.1, 1, 10, 50)]
    title = f"The right ones: how far with {FEW} steps?"
    return Figure(title, note, [FigureSection("By source", "", lines)], ERRORS, 0, (), ticks, long=True)


def _one(row: pd.Series, wide: pd.DataFrame) -> Page:
    """Of one sampler: its ratio in every direction against the number of steps."""
    verdict = row["sentence"].removeprefix(f"{row['kind']}: ").partition(";")[0].rstrip(".")
    steps = wide.groupby("n_steps")
    far = {n: farthest(rows["ratio"]) for n, rows in steps}
    declared = [] if missing(row["declared"]) else [f"declared: {number(row['declared'], 0)}"]
    key_figures = [KeyFigure("Ratio in the limit", number(row["limit_ratio"], 3) or "none", ["1 is right"])]
    key_figures += [
        KeyFigure(f"Ratio with {n} steps", number(far[n], 3), ["1 is right"]) for n in (FEW, MANY) if n in far
    ]
    key_figures.append(KeyFigure("Order of convergence", number(row["order"], 1) or "not measured", declared))
    lines = []
    for n, rows in steps:
        marks = (*(("speck", RATIOS.place(ratio)) for ratio in rows["ratio"]), ("diamond", RATIOS.place(far[n])))
        places = [place for _, place in marks]
        lines.append(Line(plural(float(n), "step"), Bar("", min(places), max(places), marks), number(far[n], 3)))
    figure = Figure(
        "The way to the limit", f"{NOTE}, a dot per direction. Diamond: the one that is farthest from 1.",
        [FigureSection("By number of steps", "", lines)], RATIOS, RATIOS.place(1), ("too narrow", "too wide"),
        TICKS,
    )  # fmt: skip
    answer = f"{capital(row['kind'])}.", f"{capital(verdict)}."
    return Page(Source(), "", *answer, key_figures=key_figures, figures=[figure] if lines else [])


def short(sampler: str) -> str:
    """The name without its library, cut after some letters."""
    text = sampler.split("published_samplers:")[-1].split("diffusers:")[-1].removeprefix("smalldiffusion:")
    text = text.replace("Scheduler", "")
    if len(text) > LETTERS:
        text = text[:LETTERS].rsplit(",", 1)[0] + ", …)" if "," in text[:LETTERS] else f"{text[: LETTERS - 1]}…"
    return re.sub(r"([(_=])", "\\1\u200b", text)  # where a line may break
