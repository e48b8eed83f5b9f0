"""The report on a check of samplers: does the law of each converge to the data's if its network is exact?"""

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from reports import figures
from reports.document import About, Figure, Number, Opening, Section, Terms, table
from reports.formats import missing, number, plural
from reports.render import origin, write_pages
from reports.samplers.rows import KINDS, NARROW, Checks, read_checks
from reports.sentences import capital

TERMS = {
    "exact network": "The network is replaced by the conditional mean of Gaussian data, so every error is the "
    "sampler's.",
    "direction": "The data has independent directions of standard deviation 2, 1, 0.5, 0.2 and 0.01, with mean 0.5. "
    "The last one only shows noise that is left at the end.",
    "ratio": "Standard deviation of the samples over that of the data, in the direction where it is farthest from 1.",
    "limit": "What the ratio tends to with more and more steps, extrapolated from chains of N, 2N and 4N steps.",
    "order": "With twice the steps the error falls by 2 to the power of the order. It belongs to this sampler on this "
    "ladder and to the finest chain of steps that shows it; a small term of lower order may take over beyond. It is "
    "empty where it cannot be told from rounding.",
    "right": "Mean and standard deviations tend to those of the data, to within 1 % of a standard deviation.",
    "wrong limit": "They tend to something else. A sampler for distilled, reweighted or sharpened models may do so on "
    "purpose.",
    "noise left over": "The samples end with noise on them, as where a ladder ends above 0.",
    "irregular in the number of steps": "It converges along divisors of 1,000, but for some other numbers of steps it "
    "is far from that curve.",
    "impulses": "In place of its normal draws the sampler gets zeros, and 1 in one draw at a time. A sampler that is "
    "affine in its noise then shows every noise coefficient, so mean and variance are exact. A Monte Carlo run at 50 "
    "steps cross-checks it.",
}


def write_sampler_report(directory: Path) -> Path:
    """The path of report.html, after writing the report on the checks in `directory`. Errors as in `read_checks`."""
    checks = read_checks(directory)
    with figures.style():
        about, answer = first_screen(checks)
        parts = by_budget(checks) if len(checks.verdicts) == 1 else every_sampler(checks)
        read = Section("How to read this", [Terms(TERMS)], folded=True)
        return write_pages(directory, about, [*parts, read], footer(checks), answer)


def first_screen(checks: Checks) -> tuple[About, Opening]:
    """What it is about, and the first screen. Call it under `figures.style()`."""
    one = len(checks.verdicts) == 1
    question = f"Is {checks.verdicts['sampler'].iloc[0]} right?" if one else "Which samplers converge to the data?"
    date, facts = str(checks.info.get("finished_at", ""))[:10], [plural(len(checks.verdicts), "sampler")]
    about = About(question, ["Gaussian data", "exact network"], date, facts)
    return about, opening_of_one(checks) if one else opening(checks)


def opening_of_one(checks: Checks) -> Opening:
    """The verdict on one sampler, its order and ratios, and the ratios against steps."""
    row = checks.verdicts.iloc[0]
    lead, _, text = row["sentence"].partition(": ")
    worst = checks.worst(row["sampler"])
    declared = [] if missing(row.get("declared")) else [f"declared: {number(row['declared'], 0)}"]
    numbers = [Number(number(row["order"], 1) or "not measured", "order of convergence", declared)]
    numbers += [
        Number(number(worst[steps], 3), f"ratio after {plural(steps, 'step')}", ["1 is right"])
        for steps in (28, 400) if steps in worst.index
    ]  # fmt: skip
    numbers.append(Number(number(row["limit_ratio"], 3) or "none", "ratio in the limit", ["1 is right"]))
    drawing, [[ax]] = figures.panels(1, 1, 3.1)
    rows = checks.budgets
    looks = figures.looks(list(rows["data_std"].unique()))
    for std, same in rows.groupby("data_std", sort=False):
        label = f"direction of std {number(std)}{'' if std > NARROW else ': noise left over'}"
        line(ax, same.set_index("n_steps")["ratio"], label, **looks[std])
    finish(ax, rows[rows["data_std"] > NARROW]["ratio"])
    figure = Figure(
        "ratios", figures.named(drawing), "Ratio of standard deviations against the number of steps, by direction.",
        f"Standard deviation of the samples over the data's, by direction of the data. Measured by {row['how']}.",
    )  # fmt: skip
    return Opening(
        f"{capital(text.partition(';')[0].rstrip('.'))}.", f"{capital(lead)}.", numbers, figure=figure,
        key="Ratio: standard deviation of the samples over the data's, in the direction of those wider than "
        f"{NARROW:g} where it is farthest from 1.",
        status=status(checks),
    )  # fmt: skip


def opening(checks: Checks) -> Opening:
    """How many samplers are right, and the ratio of each against steps."""
    kinds = checks.verdicts["kind"].value_counts()
    numbers = [Number(str(kinds[kind]), kind) for kind in KINDS if kind in kinds]
    drawing, [[ax]] = figures.panels(1, 1, 3.4)
    right = checks.verdicts["kind"] == "right"
    for name in checks.verdicts.loc[right, "sampler"]:
        line(ax, checks.worst(name), "", color=figures.FAINT, linewidth=0.6, tip=name)
    for _, row in checks.verdicts[~right].iterrows():
        color = figures.ORANGE if row["kind"] == "wrong limit" else figures.BLUE
        line(ax, checks.worst(row["sampler"]), "", color=color, linewidth=1.0, tip=f"{row['sampler']}: {row['kind']}")
    finish(ax, checks.budgets[checks.budgets["data_std"] > NARROW]["ratio"])
    figure = Figure(
        "ratios", drawing, "Ratio of standard deviations against the number of steps, one line per sampler.",
        "Standard deviation of the samples over the data's, in the direction where it is farthest from 1, one line per "
        "sampler. Grey: right. Orange: wrong limit. Blue: other verdicts. Point at the end of a line for its name.",
    )  # fmt: skip
    return Opening(
        f"With an exact network, {right.sum()} of {len(right)} samplers converge to the data's law.",
        key="The verdicts of the others are in the table. Some samplers have another limit on purpose.",
        numbers=numbers, figure=figure, status=status(checks),
    )  # fmt: skip


def status(checks: Checks) -> list[str]:
    """How it was measured, and with which versions."""
    exact, total = checks.verdicts["how"].eq("impulses").sum(), len(checks.verdicts)
    how = f"{exact} of {total} samplers measured exactly, by impulses" if total > 1 else checks.verdicts["how"].iloc[0]
    versions = checks.info.get("versions", {}).items()
    return [how, *(f"{name} {version}" for name, version in versions if name != "numpy")]


def line(ax: Axes, ratios: pd.Series, label: str, tip: str = "", **look: Any) -> None:
    """Ratios against steps, with a tooltip at each point; with `tip`, for one of many lines, at its end."""
    ratios = finite(ratios)
    points: dict[str, Any] = {} if tip else {"marker": "o", "markersize": 2.5}
    ax.plot(ratios.index, ratios, label=label or None, **points, **look)
    for steps, ratio in (ratios.iloc[-1:] if tip else ratios).items():
        figures.target(ax, float(steps), ratio, f"{tip or label}: {number(ratio, 3)} after {plural(steps, 'step')}")


def finite(ratios: pd.Series) -> pd.Series:
    """The ratios that can be drawn: samples that are not finite have none."""
    return ratios[ratios.abs() < math.inf]


def finish(ax: Axes, ratios: pd.Series) -> None:
    """Axes that are readable where some ratios are extreme."""
    ratios = finite(ratios)
    low, high = ratios.quantile([0.02, 0.98]) if len(ratios) else (1.0, 1.0)
    ax.axhline(1, color=figures.GREEN, linewidth=1, zorder=0.6)
    if not len(ratios):
        ax.set_xlim(8, 500)  # a logarithmic axis without values has no ends
    figures.log_ticks(ax, pd.Series([8, 10, 28, 50, 100, 200, 400]))
    ax.set_ylim(max(0.0, min(low, 0.9) - 0.05), min(max(high, 1.1) + 0.05, 3.0))
    ax.set(xlabel="steps", ylabel="ratio of standard deviations")


def by_budget(checks: Checks) -> list[Section]:
    """The numbers of one sampler, by steps."""
    rows = checks.budgets
    wide = rows.pivot(index="n_steps", columns="data_std", values="ratio")
    wide = wide[sorted(wide.columns, reverse=True)]
    means = rows[rows["data_std"] > NARROW].groupby("n_steps")["mean_error"].agg(lambda errors: errors.abs().max())
    shown = pd.DataFrame({
        "steps": [number(steps, 0) for steps in wide.index],
        **{f"ratio, std {number(std)}": [number(value, 4) for value in wide[std]] for std in wide},
        "mean error": [number(means[steps], 4) for steps in wide.index],
    })  # fmt: skip
    text = "Ratio of standard deviations by direction of the data; largest error of the mean, in standard deviations."
    return [Section("By number of steps", [table(shown, text, file=checks.directory / "budgets.csv")])]


def every_sampler(checks: Checks) -> list[Section]:
    """A table per group: verdict, order, ratios, and what is documented."""
    sections: list[Section] = []
    groups = checks.verdicts.assign(group=checks.verdicts["group"].fillna("Samplers"))
    for group, rows in groups.groupby("group", sort=False):
        lines = []
        for _, row in rows.iterrows():
            worst = checks.worst(row["sampler"])
            about = [capital(row["note"])] if not missing(row["note"]) else []
            about += [short(row["link"])] if not missing(row["link"]) else []
            lines.append({
                "sampler": row["sampler"].split("(")[0].split(":")[-1] + "".join(row["sampler"].partition("(")[1:]),
                "verdict": row["kind"].partition(" in the")[0], "order": number(row["order"], 1),
                **{f"{steps} steps": number(worst.get(steps), 3) for steps in (28, 400)},
                "limit": shown_limit(row), "about it": ". ".join(about),
            })  # fmt: skip
        caption = (
            f"{plural(len(rows), 'sampler')}. Ratio of standard deviations after 28 and 400 steps and in the limit, "
            "where it is farthest from 1. If noise or the mean is what is wrong: noise left over, error of the mean."
        )
        file = None if sections else checks.directory / "verdicts.csv"
        words = ("sampler", "verdict", "about it")
        sections.append(Section(str(group), [table(pd.DataFrame(lines), caption, words=words, file=file)]))
    return sections


def short(link: str) -> str:
    """A link in a few letters, such as owner/name#12 for an issue and arXiv 2209.03003 for a paper."""
    if match := re.fullmatch(r"https://github\.com/(.+)/(?:issues|pull)/(\d+)", link):
        return f"{match[1]}#{match[2]}"
    return re.sub(r"^https://(?:arxiv\.org/abs|huggingface\.co/papers)/", "arXiv ", link).removeprefix("https://")


def shown_limit(row: pd.Series) -> str:
    """The ratio in the limit; or what is wrong, if that is the mean or noise."""
    if row["kind"] == "noise left over":
        return f"noise {number(row['left_over'], 4)}"
    if row["kind"] == "wrong limit" and abs(row["limit_mean_error"]) > abs(row["limit_ratio"] - 1):
        return f"mean {number(row['limit_mean_error'], 3)}"
    return number(row["limit_ratio"], 3)


def footer(checks: Checks) -> list[tuple[str, str]]:
    """The origin of the numbers."""
    cpu = f"{number(checks.verdicts['seconds'].sum(), 0)} s" if "seconds" in checks.verdicts else "unknown"
    return [*origin(checks.info), ("Finished", checks.info.get("finished_at", "unknown")), ("CPU time", cpu)]
