"""The pages of `check-sampler`: are samplers, steps of a policy or pipelines right if their network is known?

One form for all: a count, a table of names, verdicts, numbers and sentences, one figure; of a single one its checks.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from reports import settings
from reports.details import Details, describe_origin, list_files
from reports.formats import capital, is_missing, is_set, join, number, plural, sentence
from reports.page import Axis, Bar, Column, Figure, FigureSection, KeyFigure, Line, Page, Row, Source, Table
from reports.results import LoadedResult
from reports.schema import WORSE

WIDE = 0.1  # directions of a smaller standard deviation only show noise that is left over
TOLERANCE = 0.01  # of a limit that is right
LEVELS = "right in the limit, with a fault in the noise levels"
IRREGULAR, NOT_DECIDED = "irregular in the number of steps", "not decided"
MEANINGS = {  # of verdicts on samplers, the worst first, with what they mean for images and what to do
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
    LEVELS: "With few steps, images differ from those of the schedule that was asked for; with many they do not.",
}
RIGHT, FAULT, ON_PURPOSE = "right", "fault", "on purpose"
STATES = (FAULT, ON_PURPOSE, NOT_DECIDED, LEVELS, RIGHT)  # in the order of a figure
NOTE = "Standard deviation of the samples ÷ that of the data"
OF_LIMITS = [
    ("Exact network", "The network is the conditional mean of Gaussian data, so every error is that of the code."),
    ("Ratio", f"{NOTE}, in the direction where it is farthest from 1. The data has independent directions of standard "
     "deviation 2, 1, 0.5 and 0.2; one of 0.01 only shows noise."),
    ("Right", "With more steps mean and standard deviations tend to those of the data, to within 1 %. An error at one "
     "step whose effect vanishes with more steps is not seen: at a fixed number of steps, --reference or the command "
     "levels shows it."),
    ("Limit", "What the ratio tends to with more steps, extrapolated from chains of N, 2N and 4N steps."),
    ("Batch, generator", "A sample must depend on its own noise and draws alone. The same generator must repeat it, "
     "another must not, and the global one must be left alone. Otherwise its limit is not measured."),
    ("On purpose", "The authors mean what was found, such as a limit for distilled models, sharpening or exploration."),
    ("Impulses", "It gets zeros for its draws, and 1 in one draw at a time: mean and variance are exact."),
]  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """The parts of the page that are for samplers, for steps or for pipelines alone."""

    noun: str
    network: str
    fault: str  # what its card counts
    about: str  # what they are
    yours: str  # how to check one's own
    terms: Details
    n_steps: tuple[int, int]  # few and many, which are drawn
    axis: Axis
    ticks: tuple[float, ...]
    by_group: bool = True  # whether each group is counted on its own


PAGES = {
    "check_sampler": Subject(
        "sampler", "exact network on Gaussian data", "With a fault", "",
        "To check yours: python -m experiments check-sampler my_file:MySampler (docs/samplers.md).",
        [*OF_LIMITS,
         ("Noise left over", "Standard deviation of the noise at the end, as where a schedule ends above 0."),
         ("Irregular", "It converges along divisors of 1,000, but is far from that curve for some other numbers of "
          "steps.")],
        (28, 400), Axis((0.35, 1.65)), (0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6), by_group=False,
    ),
    "check_policy": Subject(
        "step", "exact network on Gaussian data", "With a fault",
        "A step draws x_next and returns its log_prob: reinforcement learning of diffusion models trains with both. If "
        "they do not belong together, training follows wrong gradients.",
        "To check yours: python -m experiments check-sampler --policy my_file:my_step (docs/samplers.md).",
        [*OF_LIMITS,
         ("log_prob", "Mean and standard deviation of x_next are measured by impulses; log_prob must be the log "
          "density of that Gaussian, summed or averaged over the dimensions."),
         ("Replay", "log_prob of the stored x_next must be what it was when x_next was drawn, in float32 and in "
          "bfloat16."),
         ("Gradient", "log_prob must differentiate through the velocity as that density does."),
         ("ODE", "Without noise it must be the Euler step."),
         ("Last noise", "Standard deviation of the noise that the last step adds. It stays in the samples."),
         ("Names of checks", "docs/samplers.md explains each. policy_checks.csv says what each found.")],
        (10, 50), Axis((0.45, 1.15)), (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1),
    ),
    "check_guided": Subject(
        "pipeline", "network of random answers", "Another rule",
        "A network that takes the scale itself must get it.",
        "To check yours: python -m experiments check-sampler --guided my_file:my_pipeline (docs/samplers.md).",
        [("Exact weights", "The network answers with random numbers. Next inputs are linear in them, so the weights of "
          "the prompt's and of the negative's answer in each prediction are read exactly, whatever the sampler."),
         ("Prompts", "Four requests with the scales 1, 1.5, 3 and 5, each with prompts and negatives of its own, in a "
          "batch of 3 and alone."),
         ("Names of checks", "docs/samplers.md explains them. policy_checks.csv says what each found.")],
        (10, 50), Axis((0, 2)), (),
    ),
}  # fmt: skip


def page(result: LoadedResult) -> Page:
    subject = PAGES[result.info["experiment"]]
    rows, ratios = _read_samplers(result) if subject.noun == "sampler" else _read_checks(result)
    ratios["worst"] = ratios["low"].where((ratios["low"] - 1).abs() > (ratios["high"] - 1).abs(), ratios["high"])
    worst = ratios.pivot(index="sampler", columns="n_steps", values="worst")
    rows[["few", "many"]] = worst.reindex(index=rows["sampler"], columns=subject.n_steps).to_numpy(float)
    rows["off"] = (rows["limit_ratio"] - 1).abs()
    rows["state"] = _find_states(rows)
    versions = result.info.get("versions", {})
    libraries = [f"{name} {versions[name]}" for name in ("diffusers", "smalldiffusion") if name in versions]
    source = settings.describe_source(result, subject.network, plural(len(rows), subject.noun), *libraries)
    links = [*filter(None, dict.fromkeys(rows["link"]))]
    details = [
        *subject.terms, *_list_outcomes(result, rows), ("Measured", f"{number(rows['seconds'].sum(), 0)} s of CPU."),
        *describe_origin(result.info), ("Files", list_files(result)), *([("Sources", links)] if links else []),
    ]  # fmt: skip
    page = _describe_one(result, subject, rows.iloc[0], ratios) if len(rows) == 1 else _describe_many(subject, rows)
    return replace(page, source=source, question=result.info["question"], details=details)


def _read_samplers(result: LoadedResult) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows with a word for the figure and a text for the table; the ends of the ratios over the wide directions."""
    wide = result.budgets[(result.budgets["data_std"] > WIDE) & result.budgets["ratio"].notna()]
    ratios = wide.groupby(["sampler", "n_steps"], sort=False)["ratio"].agg(low="min", high="max").reset_index()
    rows = result.verdicts.copy()
    said = rows["sentence"].str.partition(": ")[2].mask(rows["kind"] == RIGHT, "")
    texts = zip(said, rows["note"], rows["level_faults"], strict=True)
    rows["found"] = [_join_texts(map(capital, each)) for each in texts]
    rows["word"] = [_find_word(row) for _, row in rows.iterrows()]
    rows["note"] = rows["note"].mask((rows["kind"] == RIGHT) & (rows["level_faults"] != ""), rows["level_faults"])
    return rows, ratios


def _find_word(row: pd.Series) -> str:
    """Names what is wrong with a sampler, short, with a number if its ratio does not say it; "" if it is right."""
    if row["kind"] == "noise left over":
        return f"noise {number(row['left_over'], 3)}"
    if row["kind"] == "wrong limit" and abs(row["limit_mean_error"]) > abs(row["limit_ratio"] - 1):
        return f"mean off by {number(row['limit_mean_error'], 2)}"
    return {RIGHT: "", IRREGULAR: "irregular"}.get(row["kind"], row["kind"])


def _read_checks(result: LoadedResult) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of steps and pipelines with a word for the figure and a text for the table; the ends of their ratios."""
    rows = result.policies.copy()
    checks = result.policy_checks.sort_values("verdict", key=lambda verdicts: verdicts != "wrong", kind="stable")
    sentences = checks.groupby("sampler")["sentence"].agg(_join_texts)
    rows["found"] = [*map(_join_texts, zip(rows["sampler"].map(sentences), rows["note"], strict=True))]
    embedded = checks[checks["check"].eq("embedded") & checks["verdict"].eq(RIGHT)]
    rows["passes_scale"] = rows["sampler"].isin(embedded["sampler"])  # of guidance: the network takes it as an input
    first = rows["kind"].replace(RIGHT, "").str.removeprefix("log_prob: ")  # it must be short on a phone
    rows["word"] = first.str.replace(r";.*", lambda more: f", {more[0].count(';')} more", regex=True)
    return rows, result.policy_steps.rename(columns={"ratio_low": "low", "ratio_high": "high"})


def _join_texts(texts: Iterable[str]) -> str:
    return " ".join(sentence(text) for text in texts if text)


def _find_states(rows: pd.DataFrame) -> pd.Series:
    states = rows["kind"].where(rows["kind"].isin((RIGHT, NOT_DECIDED)), FAULT)
    if "level_faults" in rows:
        states = states.mask((states == RIGHT) & (rows["level_faults"] != ""), LEVELS)
    return states.mask((states == FAULT) & rows["on_purpose"].map(is_set), ON_PURPOSE)


def _list_outcomes(result: LoadedResult, rows: pd.DataFrame) -> Details:
    """The row of the fold on which checks all steps or pipelines pass, and which were not made."""
    outcomes = result.policy_checks.groupby("check", sort=False)["verdict"].agg(list)
    passed = [check for check, verdicts in outcomes.items() if not {*verdicts} & {"wrong", "not checked"}]
    texts = [f"All {len(rows)} pass {join(passed)}."] if passed else []
    texts += [f"Not checked: {check}, {n}." for check, every in outcomes.items() if (n := every.count("not checked"))]
    return [("Checks", " ".join(texts))] if texts else []


def _make_figure(
    subject: Subject, title: str, note: str, sections: list[FigureSection], *legend: tuple[str, str]
) -> Figure:
    """Lines on the axis of ratios."""
    axis = subject.axis
    return Figure(
        title, f"{NOTE}, {note}", sections, axis.place(1), ("too narrow", "too wide"),
        [(axis.place(tick), number(tick)) for tick in subject.ticks], long=True, label=NOTE.replace(" ÷", "\n÷"),
        legend=legend,
    )  # fmt: skip


def _count_faults(subject: Subject, rows: pd.DataFrame, group: str = "") -> str:
    """ "20 of 121 samplers have a fault; 17 more are meant not to tend to the data; 84 tend to it." """
    faults, meant, unknown = (int((rows["state"] == state).sum()) for state in (FAULT, ON_PURPOSE, NOT_DECIDED))
    right = len(rows) - faults - meant - unknown
    heading = f"{group}: " if group else ""
    parts = [f"{heading}{faults or 'none'} of {len(rows)} {subject.noun}s {_verb(faults, 'has', 'have')} a fault"]
    if subject.noun == "pipeline":
        passing = int(((rows["state"] == RIGHT) & rows["passes_scale"]).sum())
        follow = f"{right - passing} of {len(rows)}{'' if group else ' pipelines'}"
        follow += (
            f" {_verb(right - passing, 'follows', 'follow')} u + w (c - u) (u: negative prompt, c: prompt, w: scale)"
        )
        parts = [f"{heading}{follow}"]
        parts += [f"{passing} {_verb(passing, 'passes', 'pass')} w on to the network"] if passing else []
        parts += [f"{faults + meant} {_verb(faults + meant, 'does', 'do')} otherwise"] if faults + meant else []
    elif meant:
        parts.append(f"{meant} {'more ' if faults else ''}{_verb(meant, 'is', 'are')} meant not to tend to the data")
        parts.append(f"{right} {_verb(right, 'tends', 'tend')} to it")
    if unknown:
        parts.append(f"{unknown} {_verb(unknown, 'is', 'are')} not decided")
    return sentence(capital("; ".join(parts)))


def _verb(count: int, singular: str, plural: str) -> str:
    return plural if count > 1 else singular


def _describe_many(subject: Subject, rows: pd.DataFrame) -> Page:
    """Several: how many have a fault, a line for each unless they are many and right, and the table of all."""
    groups = dict([*rows.groupby("group", sort=False)]) if subject.by_group else {"": rows}
    counts = [_count_faults(subject, members, group) for group, members in groups.items()]
    key_figures = [_show_faults(subject, rows, groups)]
    figures = []
    measured = list[Column]()
    if rows[["few", "limit_ratio"]].notna().any(axis=None):
        few, many = (f"{n} steps" for n in subject.n_steps)
        error = 100 * (rows.loc[rows["kind"] == RIGHT, "few"] - 1).abs().median()
        note = "median error of the standard deviation"
        key_figures.append(KeyFigure(f"Right ones, with {few}", f"{number(error, 0) or '–'} %", [note]))
        note = "where it is farthest from 1. The number is the limit. A mark at the edge lies beyond it."
        marks = (("open", few), ("grey", many), ("diamond", "limit (orange: wrong)"))
        figures = [
            _make_figure(subject, f"The samples of each {subject.noun}", note, _sections(subject, groups), *marks)
        ]
        measured = [Column("Limit", "n few", "limit "), Column(few, "n few", after=f" with {few}")]
    columns = [Column("Verdict"), *measured, Column("What was found", "found")]
    right, others = list[Table](), list[Table]()  # those that are right are folded, if others are not
    for group, members in rows.groupby("group", sort=False):
        for is_right, alike in members.groupby(members["state"] == RIGHT):
            title = ", ".join(filter(None, [group or "What was found", RIGHT if is_right else ""]))
            cells = [
                _list_cells(row, bool(measured)) for _, row in alike.sort_values("state", kind="stable").iterrows()
            ]
            (right if is_right else others).append(Table(title, columns, cells))
    tables, folded = (others, right) if others else (right, [])
    if figures and len(rows) > settings.ROWS:
        tables, folded = [], [*others, *right]
    return Page(
        Source(), "", counts[0], " ".join(counts[1:] if subject.noun != "pipeline" else []),
        also="\n".join(filter(None, [subject.about, *_list_meanings(subject, rows), subject.yours])),
        key_figures=key_figures, figures=figures, noun=subject.noun, order="", tables=tables, folded=folded,
    )  # fmt: skip


def _show_faults(subject: Subject, rows: pd.DataFrame, groups: dict[str, pd.DataFrame]) -> KeyFigure:
    """How many have a fault: by fault, or by group if there are several."""
    faulty = rows[rows["state"] == FAULT]
    notes = [f"{n} {name}" for name, n in faulty["kind"].value_counts().items()][:4]
    if len(groups) > 1:
        notes = [f"{group}: {(members['state'] == FAULT).sum()} of {len(members)}" for group, members in groups.items()]
    lengths = [("before", 100.0), (WORSE, 100 * len(faulty) / len(rows))]
    return KeyFigure(subject.fault, f"{len(faulty)} of {len(rows)}", notes, lengths=lengths)


def _list_cells(row: pd.Series, is_measured: bool) -> Row:
    verdict = f"{row['kind']}{', on purpose' if row['state'] == ON_PURPOSE else ''}"
    numbers = [number(row[name], 3) for name in ("limit_ratio", "few") if is_measured]
    name = re.sub(r"^\w+\(name=(\w+)\)$", "\\1", short(row["sampler"]))  # of one function that makes several
    return Row(name, [verdict, *numbers, " ".join(filter(None, [row["found"], row["link"]]))])


def _sections(subject: Subject, groups: dict[str, pd.DataFrame]) -> list[FigureSection]:
    """The lines of each group by state, the worst first; right ones only if all are few."""
    sections = []
    is_short = sum(map(len, groups.values())) <= settings.ROWS
    order = {name: place for place, name in enumerate(MEANINGS)}
    for group, members in groups.items():
        far = members["off"].where(members["state"] != RIGHT, -members["off"]).fillna(0)
        members = members.assign(place=members["kind"].map(order).fillna(0), near=-far).sort_values(["place", "near"])
        for state in STATES if is_short else STATES[:-1]:
            lines = [_line(subject, row) for _, row in members[members["state"] == state].iterrows()]
            title = f"{group}: {state}" if group else capital(state)
            sections += [FigureSection(title, str(len(lines)), lines)] if lines else []
    return sections


def _line(subject: Subject, row: pd.Series) -> Line:
    """The ratio with few steps, with many, and in the limit, which is orange if it is wrong."""
    ratios = (("open", row["few"]), ("grey", row["many"]), ("diamond", row["limit_ratio"]))
    marks = tuple((look, subject.axis.place(ratio)) for look, ratio in ratios if not is_missing(ratio))
    places = [place for _, place in marks] or [subject.axis.place(1)]
    is_wrong = row["state"] == FAULT and ("wrong limit" in row["kind"] or row["off"] > TOLERANCE)
    bar = Bar(WORSE if is_wrong else "", min(places), max(places), marks)
    label = re.sub(r"([(_=])", "\\1\u200b", short(row["sampler"]))  # where a line may break
    return Line(label, bar, number(row["limit_ratio"], 3) or "none", "", row["word"], row["note"])


def _list_meanings(subject: Subject, rows: pd.DataFrame) -> list[str]:
    """Lists what the verdicts on samplers mean for images, the worst first."""
    if subject.noun != "sampler":
        return []
    counts = rows["kind"].where(rows["state"].isin((FAULT, NOT_DECIDED)), rows["state"]).value_counts()
    return [f"{capital(name)} ({counts[name]}): {meaning}" for name, meaning in MEANINGS.items() if name in counts]


def _describe_one(result: LoadedResult, subject: Subject, row: pd.Series, ratios: pd.DataFrame) -> Page:
    """A single one: what is wrong with it, its ratios by the number of steps, and its checks or directions."""
    texts = {} if subject.noun == "pipeline" else {"Ratio in the limit": number(row["limit_ratio"], 3) or "none"}
    for name, n_steps in zip(("few", "many"), subject.n_steps, strict=True):
        texts[f"Ratio with {n_steps} steps"] = number(row[name], 3)
    key_figures = [KeyFigure(label, text, ["1 is right"]) for label, text in texts.items() if text]
    page = (
        _describe_sampler(result, subject, row)
        if subject.noun == "sampler"
        else _describe_checked(result, subject, row)
    )
    page = replace(page, key_figures=[*key_figures, *page.key_figures], order="")
    if ratios.empty:
        return page
    lines = []
    for _, ratio in ratios.iterrows():
        low, high = (subject.axis.place(ratio[name]) for name in ("low", "high"))
        bar = Bar("", low, high, (("speck", low), ("speck", high)))
        lines.append(Line(plural(ratio["n_steps"], "step"), bar, f"{ratio['low']:.3f}–{ratio['high']:.3f}"))
    sections = [FigureSection("By number of steps", "", lines)]
    note = "lowest and highest of four directions."
    figure = _make_figure(subject, "The way to the limit", note, sections, ("speck", "lowest and highest direction"))
    return replace(page, figures=[figure])


def _describe_sampler(result: LoadedResult, subject: Subject, row: pd.Series) -> Page:
    verdict, _, more = row["sentence"].partition(". ")
    return Page(
        Source(), "", "", sentence(capital(verdict)), also=f"{more} {MEANINGS.get(row['kind'], '')}".strip(),
        warnings=[f"With {subject.n_steps[0]} steps: {row['level_faults']}."] if row["level_faults"] else [],
        key_figures=_order_and_evaluations(row, subject), noun="number of steps",
        tables=[_directions(result)] if result.budgets["ratio"].notna().any() else [],
    )  # fmt: skip


def _describe_checked(result: LoadedResult, subject: Subject, row: pd.Series) -> Page:
    """A step or a pipeline."""
    checks = result.policy_checks
    cells = [Row(line["check"], [line["verdict"], line["sentence"]]) for _, line in checks.iterrows()]
    return Page(
        Source(), "", *_answer(row, checks),
        key_figures=_log_prob(result, row, subject) if subject.noun == "step" else [],
        tables=[Table("In their order", [Column("Outcome", "n"), Column("What it says")], cells)], noun="check",
    )  # fmt: skip


def _answer(row: pd.Series, checks: pd.DataFrame) -> tuple[str, str]:
    """The answer on a step or a pipeline."""
    wrong = checks.loc[checks["verdict"] == "wrong", "sentence"]
    if len(wrong):
        more = f" {plural(len(wrong) - 1, 'more check')} found something." if len(wrong) > 1 else ""
        return "No.", f"{row.get('sentence') or wrong.iloc[0]}{more}"
    was_skipped = "log_prob" in set(checks["check"]) and is_missing(row["factor"])
    return "Yes.", f"Nothing is wrong in what was checked{', but log_prob was not' if was_skipped else ''}."


def _order_and_evaluations(row: pd.Series, subject: Subject) -> list[KeyFigure]:
    declared = [] if is_missing(row["declared"]) else [f"declared: {number(row['declared'], 0)}"]
    figures = [KeyFigure("Order of convergence", number(row["order"], 1) or "not measured", declared)]
    if not is_missing(row["evaluations"]):
        label, levels = f"Evaluations with {subject.n_steps[0]} steps", row["levels"] or "no known schedule"
        figures.append(KeyFigure(label, number(row["evaluations"], 0), [levels]))
    return figures


def _log_prob(result: LoadedResult, row: pd.Series, subject: Subject) -> list[KeyFigure]:
    """Returns the figures of log_prob as a share of the log density, and of the noise of the last step."""
    share = row["factor"]
    is_mean = share < 1 and abs(1 / share - round(1 / share)) < 0.001
    factor = f"1/{round(1 / share)}" if is_mean else f"{share:.4g}" if share > 0 else "unknown"
    meaning = f"the mean over {round(1 / share)} dimensions" if is_mean else "1: the sum over dimensions"
    figures = [KeyFigure("log_prob ÷ log density", factor, [meaning])]
    for noise in result.policy_steps["last_noise"].head(1):
        figures.append(KeyFigure("Noise of the last step", f"{noise:.3f}", [f"with {subject.n_steps[0]} steps"]))
    return figures


def _directions(result: LoadedResult) -> Table:
    """The ratio in each direction, by the number of steps."""
    values = result.budgets.pivot(index="n_steps", columns="data_std", values="ratio")
    values = values[values.columns[::-1]]
    rows = [
        Row(f"{n:.0f}", [number(value, 3) for value in row]) for n, row in zip(values.index, values.values, strict=True)
    ]
    return Table(f"{NOTE}, by direction", [Column(f"std {std:.3g}", "n") for std in values.columns], rows)


def short(name: str) -> str:
    """The name without its library or file."""
    place, bracket, options = name.partition("(")
    return place.rpartition(":")[2] + bracket + options
