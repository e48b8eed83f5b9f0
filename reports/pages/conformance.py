"""The pages of `check-sampler`: are samplers, or the steps of a policy, right if their network is exact?"""

import math
import re
from dataclasses import dataclass, replace

import pandas as pd

from reports import settings
from reports.details import describe_origin, list_files
from reports.formats import capital, is_missing, is_set, join, number, plural, sentence
from reports.page import Axis, Bar, Column, Figure, FigureSection, KeyFigure, Line, Page, Row, Source, Table
from reports.results import LoadedResult
from reports.schema import WORSE

ERRORS = Axis((-1.0, 1.8), log=True)  # per cent: 0.1 to 63
WIDE = 0.1  # directions of a smaller standard deviation only show noise that is left over
IRREGULAR = "irregular in the number of steps"
NOT_DECIDED = "not decided"
KINDS = {  # of verdicts on samplers, the worst first, with what they mean for images and what to do
    "wrong limit": "Images have less contrast and variety (below 1), more noise (above 1) or another brightness (mean "
    "off), with any number of steps: more steps do not mend it.",
    "noise left over": "Faint grain stays in images. Let the schedule end at 0.",
    "correlated pixels": "Blocks or stripes of an image share their noise. Draw noise in the shape of the images.",
    "depends on its batch": "The same seed gives another image in another batch. Draw the noise of each image alone.",
    "ignores its generator": "A seed does not repeat an image. Pass the generator to every draw.",
    "touches the global generator": "It changes what other code draws. Draw from the generator that it is given.",
    "ignores its noise": "All initial noise gives the same image.",
    "not reproducible": "The same seed gives another image in another call.",
    IRREGULAR: "Some numbers of steps give worse images than fewer steps. Take a divisor of 1,000, such as 25 or 50.",
    "order lost": "Equally good images take more steps than its order promises.",
    "unlike its reference": "With few steps, its images differ from those of its reference.",
    NOT_DECIDED: "Whether images are right with many steps is not known. Try more steps: --budgets.",
}
ON_PURPOSE = "Their authors mean it; each line says what for."
FAULTY_LEVELS = "With few steps, images differ from those of the schedule that was asked for; with many they do not."
WHAT_STEPS_ARE = (
    "A step draws x_next and returns its log_prob: reinforcement learning of diffusion models trains with both. If "
    "they do not belong together, training follows wrong gradients."
)
CHECK_YOURS = {
    "sampler": "Every sampler is in the table under Conditions. To check yours: python -m experiments check-sampler "
    "my_file:MySampler (docs/samplers.md).",
    "step": "To check yours: python -m experiments check-sampler --policy my_file:my_step (docs/policies.md).",
    "pipeline": "To check yours: python -m experiments check-sampler --guided my_file:my_pipeline (docs/samplers.md).",
}
NOTE = "Standard deviation of the samples ÷ that of the data"
OF_SAMPLERS = [
    ("Wrong limit", "With more steps, the mean or standard deviation of the samples tends to another value."),
    ("On purpose", "The authors mean what was found, such as a limit for distilled models, sharpening or exploration."),
    ("Noise left over", "Standard deviation of the noise at the end, as where a schedule ends above 0."),
    ("Irregular", "It converges along divisors of 1,000, but is far from that curve for some other numbers of steps."),
]  # fmt: skip
OF_STEPS = [
    ("log_prob", "Mean and standard deviation of x_next are measured by impulses; log_prob must be the log density of "
     "that Gaussian, summed or averaged over the dimensions."),
    ("Replay", "log_prob of the stored x_next must be what it was when x_next was drawn, in float32 and in bfloat16."),
    ("Gradient", "log_prob must differentiate through the velocity as that density does."),
    ("ODE", "Without noise it must be the Euler step."),
    ("Last noise", "Standard deviation of the noise that the last step adds. It stays in the samples."),
    ("Checks", "docs/policies.md explains each by its name. policy_checks.csv says what each found."),
]  # fmt: skip
OF_GUIDED = [
    ("Exact weights", "The network answers with random numbers. Next inputs are linear in them, so the weights of the "
     "prompt's and of the negative's answer in each prediction are read exactly, whatever the sampler."),
    ("Prompts", "Four requests with the scales 1, 1.5, 3 and 5, each with prompts and negatives of its own, in a batch "
     "of 3 and alone."),
    ("Checks", "docs/samplers.md explains them. policy_checks.csv says what each found."),
]  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What the pages of samplers and of steps share."""

    noun: str
    rows: pd.DataFrame  # one per sampler or step, with its kind, limit_ratio and seconds
    ratios: dict[tuple[str, int], tuple[float, float]]  # (sampler, n_steps) -> ends over the wide directions
    axis: Axis
    ticks: tuple[float, ...]
    few: int  # numbers of steps that are drawn
    many: int

    def worst(self, name: str, n_steps: int) -> float:
        """The ratio that is farthest from 1, NaN if it was not measured."""
        return max(self.ratios.get((name, n_steps), (float("nan"),)), key=lambda ratio: abs(ratio - 1))

    def span(self, name: str, n_steps: int) -> str:
        return "–".join(f"{ratio:.3f}" for ratio in self.ratios.get((name, n_steps), ()))

    def line(self, row: pd.Series, bad: bool, digits: int, word: str) -> Line:
        """A line: the ratio with few steps, with many, and in the limit."""
        few, many = (self.worst(row["sampler"], n) for n in (self.few, self.many))
        ratios = (("open", few), ("grey", many), ("diamond", row["limit_ratio"]))
        marks = tuple((kind, self.axis.place(ratio)) for kind, ratio in ratios if not is_missing(ratio))
        places = [place for _, place in marks] or [self.axis.place(1)]
        bar = Bar(WORSE if bad else "", min(places), max(places), marks)
        label = re.sub(r"([(_=])", "\\1\u200b", short(row["sampler"]))  # where a line may break
        return Line(label, bar, number(row["limit_ratio"], digits) or "none", "", word, row["note"])

    def figure(self, title: str, sections: list[FigureSection], note: str = "") -> Figure:
        """Lines on the axis of ratios. `note`: of a figure on one sampler or step, by its number of steps."""
        ticks = [(self.axis.place(tick), number(tick)) for tick in self.ticks]
        ends = ("too narrow", "too wide")
        marks = [("open", f"{self.few} steps"), ("grey", f"{self.many} steps"), ("diamond", "limit (orange: wrong)")]
        legend = [("speck", "lowest and highest direction")] if note else marks
        usual = ", where it is farthest from 1. The number is the limit. A mark at the edge lies beyond it."
        return Figure(
            title, f"{NOTE}{note or usual}", sections, self.axis.place(1), ends,
            ticks, long=True, label=NOTE.replace(" ÷", "\n÷"), legend=legend,
        )  # fmt: skip


def page(result: LoadedResult) -> Page:
    if result.info["experiment"] == "check_guided":
        return _guided(result)
    of_steps = result.info["experiment"] == "check_policy"
    measured = _of_policies(result) if of_steps else _of_samplers(result)
    rows = measured.rows
    noun = measured.noun
    cpu = f"{number(rows['seconds'].sum(), 0)} s of CPU."
    make = _one if len(rows) == 1 else _steps if of_steps else _samplers
    if not of_steps:
        cpu = f"{', '.join(f'{plural(n, noun)} by {how}' for how, n in rows['how'].value_counts().items())}; {cpu}"
    terms = [
        ("Exact network", f"The network is the conditional mean of Gaussian data, so every error is the {noun}'s."),
        ("Ratio", f"{NOTE}, in the direction where it is farthest from 1. The data has independent directions of "
         "standard deviation 2, 1, 0.5 and 0.2; one of 0.01 only shows noise."),
        ("Right", "With more steps mean and standard deviations tend to those of the data, to within 1 %. An error at "
         "one step whose effect vanishes with more steps is not seen: at a fixed number of steps, --reference or the "
         "command levels shows it."),
        ("Limit", "What the ratio tends to with more steps, extrapolated from chains of N, 2N and 4N steps."),
        ("Batch, generator", "A sample must depend on its own noise and draws alone. The same generator must repeat "
         "it, another must not, and the global one must be left alone. Otherwise its limit is not measured."),
        *(OF_STEPS if of_steps else OF_SAMPLERS),
        ("Impulses", f"The {noun} gets zeros for its draws, and 1 in one draw at a time: mean and variance are exact."),
    ]  # fmt: skip
    links = [*filter(None, dict.fromkeys(rows["link"]))]
    details = [*terms, ("Measured", cpu), *describe_origin(result.info), ("Files", list_files(result))]
    if links:
        details.append(("Sources", links))
    versions = result.info.get("versions", {})
    libraries = [f"{name} {versions[name]}" for name in ("diffusers", "smalldiffusion") if name in versions]
    subject = ("exact network on Gaussian data", plural(len(rows), noun), *libraries)
    source = settings.describe_source(result, *subject)
    return replace(make(result, measured), source=source, question=result.info["question"], details=details)


def _list_samplers(result: LoadedResult, measured: Measured) -> Table:
    """Every sampler by its whole name, with its verdict, its ratios, its library and the whole reason."""
    few = measured.few
    columns = [
        Column("Verdict"), Column("Limit", "n few", "limit "), Column(f"{few} steps", "n few", f"with {few} steps "),
        Column("Library"), Column("Reason", "wide"),
    ]  # fmt: skip
    versions = result.info.get("versions", {})
    rows = []
    for _, row in measured.rows.iterrows():
        group = row["group"].replace("Samplers of this package", "sigmabench")
        verdict = f"{row['kind']}, on purpose" if is_set(row["on_purpose"]) else row["kind"]
        shown = "" if row["kind"] == "right" else row["sentence"].partition(": ")[2]
        texts = (shown, row["note"], row["level_faults"], row["link"])
        reason = " ".join(sentence(capital(text)) if text != row["link"] else text for text in texts if text)
        library = f"{group} {versions.get(group, '')}".strip()
        limit = number(row["limit_ratio"], 3)
        ratio = number(measured.worst(row["sampler"], few), 3)
        rows.append(Row(row["sampler"], [verdict, limit, ratio, library, reason]))
    return Table(f"Every sampler. {NOTE}, in the limit and with {few} steps", columns, rows)


def _guided(result: LoadedResult) -> Page:
    """Pipelines: what was found in each, or what each check of one found."""
    rows = result.policies
    checks = result.policy_checks
    many = len(rows) > 1
    right = (rows["kind"] == "right").sum()
    groups = [(group, members["kind"] == "right") for group, members in rows.groupby("group", sort=False) if group]
    shares = [f"{are_right.sum()} of {len(are_right)}" for _, are_right in groups]
    others = "; ".join(f"{group}: {share}" for (group, _), share in [*zip(groups, shares, strict=True)][1:])
    answer = ("Yes.", "Nothing is wrong in what was checked.")
    if many:
        answer = (f"{right} of {len(rows)} do.", "")
        if groups:  # later groups may hold faults on purpose, and their repaired copies
            name = groups[0][0]
            answer = (f"{shares[0]} {name[:1].lower()}{name[1:]} do.", sentence(others) if others else "")
    elif not right:
        answer = ("No.", checks.loc[checks["verdict"] == "wrong", "sentence"].iloc[0])
    tables = []
    for group, members in rows.groupby("group", sort=False):
        sentences = checks[checks["sentence"] != ""].groupby("sampler")["sentence"].agg(" ".join)
        cells = [
            Row(short(row["sampler"]), [row["kind"], sentences[row["sampler"]], row["note"]])
            for _, row in members.iterrows()
        ]
        head = [Column("Verdict", "n"), Column("What was found"), Column("Note")]
        tables.append(Table(group or "What was found", head, cells))
    if not many:
        cells = [Row(line["check"], [line["verdict"], line["sentence"]]) for _, line in checks.iterrows()]
        tables = [Table("In their order", [Column("Outcome", "n"), Column("What it says")], cells)]
    links = [("Sources", [*filter(None, dict.fromkeys(rows["link"]))])] if rows["link"].any() else []
    source = settings.describe_source(result, "network of random answers", plural(len(rows), "pipeline"))
    cpu = ("Measured", f"{number(rows['seconds'].sum(), 0)} s of CPU.")
    details = [*OF_GUIDED, *links, cpu, *describe_origin(result.info), ("Files", list_files(result))]
    noun = "pipeline" if many else "check"
    also = CHECK_YOURS["pipeline"] if many else ""
    return Page(
        source, result.info["question"], *answer, also=also, tables=tables, noun=noun, order="", details=details
    )


def _of_samplers(result: LoadedResult) -> Measured:
    wide = result.budgets[(result.budgets["data_std"] > WIDE) & result.budgets["ratio"].notna()]
    groups = wide.groupby(["sampler", "n_steps"], sort=False)["ratio"]
    ratios = {(name, int(n)): (low, high) for (name, n), low, high in groups.agg(["min", "max"]).itertuples()}
    return Measured("sampler", result.verdicts, ratios, Axis((0.35, 1.65)), (0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6), 28, 400)


def _of_policies(result: LoadedResult) -> Measured:
    columns = result.policy_steps[["sampler", "n_steps", "ratio_low", "ratio_high"]]
    ratios = {(name, int(n)): (low, high) for name, n, low, high in columns.itertuples(index=False)}
    counts = sorted({n for _, n in ratios}) or (10, 50)
    ticks = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1)
    measured = Measured("step", result.policies, ratios, Axis((0.45, 1.15)), ticks, counts[0], counts[-1])
    off = [abs(measured.worst(name, measured.few) - 1) for name in result.policies["sampler"]]
    rows = result.policies.assign(off=off)
    place = rows["off"].fillna(math.inf) * (2 * (rows["kind"] == "right") - 1)  # wrong ones first, the worst at the top
    return replace(measured, rows=rows.loc[place.sort_values(kind="stable").index])


def _part(label: str, value: str, count: int, rows: pd.DataFrame, notes: list[str]) -> KeyFigure:
    """A number of samplers or steps, next to that of all."""
    return KeyFigure(label, value, notes, lengths=[("before", 100), (WORSE, 100 * count / len(rows))])


def _samplers(result: LoadedResult, measured: Measured) -> Page:
    """Several samplers: a line for each that is not right, and a strip of dots per library for the right ones."""
    rows = measured.rows
    right = rows["kind"] == "right"
    off = (rows["limit_ratio"] - 1).abs()
    meant = rows["on_purpose"].fillna(False)
    wrong = rows.assign(off=off, meant=meant)[~right].sort_values("off", ascending=False, kind="stable")
    far = wrong[wrong["off"] > 0.05]
    errors = {name: 100 * abs(measured.worst(name, measured.few) - 1) for name in rows.loc[right, "sampler"]}
    errors = {name: error for name, error in errors.items() if not is_missing(error)}
    count = wrong["kind"].value_counts()
    some, unknown = (int(count.get(kind, 0)) for kind in (IRREGULAR, NOT_DECIDED))
    n_meant = int(wrong["meant"].sum())
    parts = [f"{len(wrong) - some - unknown} do not"] if len(wrong) > some + unknown else []
    parts += [f"{some} only for some numbers of steps"] if some else []
    parts += [f"{unknown} {'is' if unknown == 1 else 'are'} not decided"] if unknown else []
    rest = f"{', '.join(parts)}." if parts else "All tend to the data with more steps."
    kinds = [f"{n} {kind}" for kind, n in count.items()][:4]
    of_far = ["of the standard deviation"]
    if n_meant:
        kinds.append(f"{n_meant} of them on purpose")
        of_far.append(f"{far['meant'].sum()} of them on purpose")
    key_figures = [
        _part("Not right", f"{len(wrong)} of {len(rows)}", len(wrong), rows, kinds),
        _part("Limit off by more than 5 %", str(len(far)), len(far), rows, of_far),
    ]
    if errors:
        median = number(float(pd.Series(errors).median()), 0)
        note = "median error of the standard deviation"
        key_figures.append(KeyFigure(f"Right ones, with {measured.few} steps", f"{median} %", [note]))
    figures = []
    if len(wrong):
        sections = [
            _section(measured, f"{capital(kind)}, on purpose", ON_PURPOSE, members)
            if on_purpose
            else _section(measured, capital(kind), meaning, members)
            for kind, meaning in KINDS.items()
            for on_purpose, members in wrong[wrong["kind"] == kind].groupby("meant")
        ]
        figures.append(measured.figure("The samplers that are not right", sections))
    faulty = rows.assign(note=rows["level_faults"], meant=meant)[right & (rows["level_faults"] != "")]
    if len(faulty):
        section = _section(measured, "Faulty noise levels", FAULTY_LEVELS, faulty)
        figures.append(measured.figure("Right in the limit, with a fault in the noise levels", [section]))
    if errors:
        figures.append(_right(measured, errors))
    return Page(
        Source(), "", f"{right.sum()} of {len(rows)} do.", rest, also=CHECK_YOURS["sampler"],
        key_figures=key_figures, figures=figures, folded=[_list_samplers(result, measured)], noun="sampler",
    )  # fmt: skip


def _section(measured: Measured, title: str, meaning: str, rows: pd.DataFrame) -> FigureSection:
    """A line for each sampler, below what the finding means for images."""
    lines = [
        measured.line(row, row["kind"] == "wrong limit" and not row["meant"], 2, _word(row))
        for _, row in rows.iterrows()
    ]
    return FigureSection(title, f"{len(lines)}: {meaning}", lines)


def _word(row: pd.Series) -> str:
    """What is wrong with a sampler if its ratio does not say it; otherwise its source."""
    if row["kind"] == "noise left over":
        return f"noise {number(row['left_over'], 3)}"
    if row["kind"] == "wrong limit" and abs(row["limit_mean_error"]) > abs(row["limit_ratio"] - 1):
        return f"mean off by {number(row['limit_mean_error'], 2)}"
    return row["group"].split(",")[0].replace("Samplers of this package", "Sigmabench").replace(" and others", "")


def _right(measured: Measured, errors: dict[str, float]) -> Figure:
    lines = []
    for group, rows in measured.rows.groupby(measured.rows["group"].replace("", "Samplers"), sort=False):
        right = rows.loc[rows["kind"] == "right", "sampler"]
        marks = tuple(("speck", ERRORS.place(errors[name])) for name in right if name in errors)
        lines.append(Line(str(group).split(",")[0], Bar("", 0, 0, marks), str(len(right)), "", f"of {len(rows)} right"))
    note = "Error of the standard deviation in per cent. A dot per sampler; 0.1 % or less is at the left edge."
    ticks = [(ERRORS.place(tick), f"{tick:g} %") for tick in (0.1, 1, 10, 50)]
    title = f"The right ones: how far with {measured.few} steps?"
    return Figure(title, note, [FigureSection("By source", "", lines)], 0, (), ticks, long=True)


def _one(result: LoadedResult, measured: Measured) -> Page:
    """One sampler or step: what is wrong with it, and its ratios by the number of steps."""
    row = measured.rows.iloc[0]
    lines = []
    key_figures = [KeyFigure("Ratio in the limit", number(row["limit_ratio"], 3) or "none", ["1 is right"])]
    for (name, n_steps), ratios in measured.ratios.items():
        if n_steps in (measured.few, measured.many):
            worst = number(measured.worst(name, n_steps), 3)
            key_figures.append(KeyFigure(f"Ratio with {n_steps} steps", worst, ["1 is right"]))
        low, high = (measured.axis.place(ratio) for ratio in ratios)
        bar = Bar("", low, high, (("speck", low), ("speck", high)))
        lines.append(Line(plural(float(n_steps), "step"), bar, measured.span(name, n_steps)))
    sections = [FigureSection("By number of steps", "", lines)]
    note = ", lowest and highest of four directions."
    figures = [measured.figure("The way to the limit", sections, note)] if lines else []
    if measured.noun == "sampler":
        declared = [] if is_missing(row["declared"]) else [f"declared: {number(row['declared'], 0)}"]
        key_figures.append(KeyFigure("Order of convergence", number(row["order"], 1) or "not measured", declared))
        if not is_missing(row["evaluations"]):
            schedule = row["levels"] or "no known schedule"
            key_figures.append(
                KeyFigure(f"Evaluations with {measured.few} steps", number(row["evaluations"], 0), [schedule])
            )
        faults = [f"With {measured.few} steps: {row['level_faults']}."] if row["level_faults"] else []
        tables = [_directions(result)] if lines else []
        verdict, _, more = row["sentence"].partition(". ")
        also = f"{more} {KINDS.get(row['kind'], '')}".strip()
        return Page(
            Source(), "", "", sentence(capital(verdict)), also=also, warnings=faults, key_figures=key_figures,
            figures=figures, tables=tables, noun="number of steps", order="",
        )  # fmt: skip
    share = row["factor"]
    checks = result.policy_checks
    is_mean = share < 1 and abs(1 / share - round(1 / share)) < 0.001
    factor = f"1/{round(1 / share)}" if is_mean else f"{share:.4g}" if share > 0 else "unknown"
    meaning = f"the mean over {round(1 / share)} dimensions" if is_mean else "1: the sum over dimensions"
    key_figures.insert(0, KeyFigure("log_prob ÷ log density", factor, [meaning]))
    if lines:
        last = f"{result.policy_steps['last_noise'].iloc[0]:.3f}"
        key_figures.append(KeyFigure("Noise of the last step", last, [f"with {measured.few} steps"]))
    unchecked = ", but log_prob was not" if is_missing(share) else ""
    answer = "Yes.", f"Nothing is wrong in what was checked{unchecked}."
    if len(wrong := checks[checks["verdict"] == "wrong"]):
        more = f" {plural(len(wrong) - 1, 'more check')} found something." if len(wrong) > 1 else ""
        answer = "No.", f"{row['sentence'] or wrong['sentence'].iloc[0]}{more}"
    cells = [Row(line["check"], [line["verdict"], line["sentence"]]) for _, line in checks.iterrows()]
    tables = [Table("In their order", [Column("Outcome", "n"), Column("What it says")], cells)]
    return Page(Source(), "", *answer, key_figures=key_figures, figures=figures, tables=tables, noun="check", order="")


def _directions(result: LoadedResult) -> Table:
    """The ratio in each direction, by the number of steps."""
    values = result.budgets.pivot(index="n_steps", columns="data_std", values="ratio")
    values = values[values.columns[::-1]]
    rows = [
        Row(f"{n:.0f}", [number(value, 3) for value in row]) for n, row in zip(values.index, values.values, strict=True)
    ]
    return Table(f"{NOTE}, by direction", [Column(f"std {std:.3g}", "n") for std in values.columns], rows)


def count_faults(wrong: pd.DataFrame) -> list[str]:
    """How many steps have a wrong limit, and how many fail another check."""
    limits = int(wrong["kind"].str.contains("wrong limit").sum())
    others = int((wrong["kind"] != "wrong limit").sum())
    meant = int(wrong["on_purpose"].map(is_set).sum())
    on_purpose = f", those of {meant} on purpose" if meant else ""
    parts = [f"The samples of {limits} do not tend to the data{on_purpose}."] if limits else []
    if others:
        both = limits + others - len(wrong)
        more = f" ({both} of them both)" if both else ""
        parts.append(f"{others} {'fails' if others == 1 else 'fail'} {'another' if limits else 'a'} check{more}.")
    return parts


def _steps(result: LoadedResult, measured: Measured) -> Page:
    """Several steps: the samples of each, by group, the wrong ones first; what was found; the checks that all pass."""
    checks = result.policy_checks
    few = measured.few
    failures = checks[checks["verdict"] == "wrong"]
    sentences = failures[failures["check"] != "law"].groupby("sampler")["sentence"].first()
    noted = measured.rows["note"].where(measured.rows["note"] != "", measured.rows["sampler"].map(sentences).fillna(""))
    rows = measured.rows.assign(note=noted)
    wrong = rows[rows["kind"] != "right"]
    parts = count_faults(wrong)
    if (wrong["kind"] == "wrong limit").all() and not rows["factor"].isna().any():
        parts.append("The log_prob of all is that of the noise they draw.")
    first = rows["kind"].replace("right", "").str.removeprefix("log_prob: ")  # it must be short on a phone
    kinds = first.str.replace(r";.*", lambda more: f", {more[0].count(';')} more", regex=True)
    meant = rows["on_purpose"].map(is_set)
    kinds = kinds.where(~meant, kinds + ", on purpose")
    shares = list[str]()
    sections = list[FigureSection]()
    for group in dict.fromkeys(result.policies["group"]):
        members = rows[rows["group"] == group]
        bad = members["kind"] != "right"
        if group:
            shares.append(f"{group}: {bad.sum()} of {len(members)}")
        for title, some in (("Not right", members[bad]), ("Right, closest first", members[~bad])):
            lines = [
                measured.line(row, row["kind"] != "right" and not meant[at], 3, kinds[at])
                for at, row in some.iterrows()
            ]
            title = f"{group}: {title.lower()}" if group else title
            sections += [FigureSection(title, str(len(lines)), lines)] if lines else []
    key_figures = [_part("Not right", f"{len(wrong)} of {len(rows)}", len(wrong), rows, shares)]
    if measured.ratios:
        off = 100 * rows["off"].dropna()
        note = f"median error of the standard deviation; {off.min():.0f} to {off.max():.0f} %"
        key_figures.append(KeyFigure(f"With {few} steps", f"{off.median():.0f} %", [note]))
    outcomes = checks.groupby("check", sort=False)["verdict"].agg(set)
    passed = [check for check, verdicts in outcomes.items() if not verdicts & {"wrong", "not checked"}]
    skipped = checks.loc[checks["verdict"] == "not checked", "check"].value_counts(sort=False)
    also = [WHAT_STEPS_ARE]
    also += [f"All {len(rows)} pass the basic checks ({join(passed)})."] if passed else []
    also += [f"{capital(check)} was not checked for {n}." for check, n in skipped.items()]
    also.append(CHECK_YOURS["step"])
    cells = [Row(short(line["sampler"]), [line["check"], line["sentence"]]) for _, line in failures.iterrows()]
    tables = [Table("What the checks found", [Column("Check", "n"), Column("What it says")], cells)] if cells else []
    tables += [_laws(result, measured)] if measured.ratios else []
    return Page(
        Source(), "", f"{len(rows) - len(wrong)} of {len(rows)} are.", " ".join(parts), key_figures=key_figures,
        also=" ".join(also), figures=[measured.figure("The samples of each step", sections)],
        tables=tables, noun="step", order="",
    )  # fmt: skip


def _laws(result: LoadedResult, measured: Measured) -> Table:
    """The ratios of each step, and the noise of its last step, by the number of steps."""
    counts = sorted({n for _, n in measured.ratios})
    rows = []
    noise = result.policy_steps.set_index(["sampler", "n_steps"])["last_noise"].map("{:.3f}".format)
    for _, row in measured.rows.iterrows():
        name = row["sampler"]
        cells = [*(measured.span(name, n) for n in counts), number(row["limit_ratio"], 3)]
        rows.append(Row(short(name), [*cells, *(noise.get((name, n), "") for n in counts)]))
    columns = [*(Column(f"{n} steps", "n", after=f" with {n} steps") for n in counts), Column("Limit", "n", "limit ")]
    columns += [Column(f"Last noise, {n}", "n few", f"last noise with {n} steps ") for n in counts]
    title = f"{NOTE}, exactly: lowest and highest of four directions; noise of the last step"
    return Table(title, columns, rows)


def short(name: str) -> str:
    """The name without its library or file."""
    place, bracket, options = name.partition("(")
    return place.rpartition(":")[2] + bracket + options
