"""The first screen of the report on `why_noise`: one sentence, then one line and one small figure per explanation."""

from collections.abc import Callable
from pathlib import Path

from reports import components, openings
from reports.document import Explanation, Number, Opening
from reports.figures import BLUE, FAINT, Mark
from reports.formats import as_precise, cell, metric_name, number, percent
from reports.pages.why_noise.attribution import (
    contrast,
    lengths,
    main_steps,
    networks,
    verdict_on_denoiser,
    verdict_on_steps,
)
from reports.pages.why_noise.mechanisms import (
    SURE,
    ends,
    low_ratio,
    responses,
    verdict_on_contraction,
    verdict_on_corrections,
    verdict_on_inputs,
    verdict_on_response,
)
from reports.results import Run
from reports.sentences import Pair, capital, head, pairs
from reports.tips import of_contrast

BOTH = "Grey: without noise. Blue: with."
BARS = "Bars: 95 % intervals."


def opening(run: Run) -> Opening:
    """One sentence, the changes by noise as numbers, and one line with a small figure per explanation."""
    if not len(run.of_kind("control")):
        text = "The runs that this report compares failed."
        return Opening(text, "No verdict.", status=openings.status(run, None))
    main = f"trained, {main_steps(run)} steps"
    warned = openings.warnings(run)
    pair = contrast(run, main)
    return Opening(
        summary(run), "Not established. Measured:" if warned else "", changes(run), shown(run, main),
        openings.key(run, "kd"), status=openings.status(run, head(pair) if pair else None), warnings=warned,
        explanations=lines(run),
    )  # fmt: skip


def explanations(run: Run) -> dict[str, tuple[str, str]]:
    """Each explanation with its verdict and the sentences on it."""
    return {
        "Are the steps too large?": verdict_on_steps(run),
        "Do networks make errors?": verdict_on_denoiser(run),
        "Do inputs stay as in training?": verdict_on_inputs(run),
        "Does noise shrink earlier errors?": verdict_on_contraction(run),
        "Does error × contraction decide?": verdict_on_response(run),
        "Does a correction do as well?": verdict_on_corrections(run),
    }


def summary(run: Run) -> str:
    """The answer to the title, in a sentence, from the verdicts on steps, denoiser and contraction."""
    steps, denoiser, contraction = (
        verdict.startswith("supported")
        for verdict, _ in (verdict_on_steps(run), verdict_on_denoiser(run), verdict_on_contraction(run))
    )
    shrinks = ", and shrinks some earlier errors" if contraction else ""
    if steps:
        return f"Large steps are part of the cause: noise helps even an exact denoiser{shrinks}."
    if denoiser:
        return f"Networks make errors: noise helps imperfect networks, not an exact denoiser{shrinks}."
    return "Not settled: noise does not help a trained network detectably more than an exact denoiser."


def changes(run: Run) -> list[Number]:
    """The change of KD by noise with the exact denoiser, with the least and with the most trained network."""
    trained = networks(run)
    ends = dict.fromkeys([*list(trained)[:1], *list(trained)[-1:]])
    modes = {f"exact, {main_steps(run)} steps": "exact denoiser"}
    modes |= {mode: f"trained on {trained[mode]} images" for mode in ends}
    out = []
    for mode, words in modes.items():
        if pair := contrast(run, mode):
            row = head(pair)
            size, low, high = as_precise(
                row["metric"], [row["difference"], row["low"], row["high"]], row["low"], row["high"]
            )
            name = metric_name(row["metric"], run.features)
            notes = [f"change of {name} by noise", f"{percent(row['level'])} interval {low} to {high}"]
            out.append(Number(f"+{size}" if row["difference"] > 0 else size, words, notes))
    pair = contrast(run, f"trained, {main_steps(run)} steps")
    return [*out, openings.sure(run, head(pair))] if pair else out


def shown(run: Run, mode: str) -> list[tuple[Path, str]]:
    """The pictures of the first screen: the trained network without and with noise."""
    rows = components.first_network(run.ok(mode))
    names = {0.0: "without noise (eta 0)", 1.0: "with noise (eta 1)"}
    return components.strip(
        run, {row["samples_id"]: names[row["eta"]] for _, row in rows.iterrows() if row["eta"] in names}
    )


def in_short(verdict: str) -> str:
    """The first sentence of a verdict."""
    return capital(f"{verdict.split('. ')[0].removesuffix('.')}.")


def lines(run: Run) -> list[Explanation]:
    """Each explanation with its verdict and its evidence."""
    name = metric_name("kd", run.features)
    change = f"Change of {name} by noise"
    shown: dict[str, tuple[Callable[[Run], list[Mark]], float, str]] = {
        "Are the steps too large?": (of_steps, 0, f"{change} with an exact denoiser. {BARS}"),
        "Do networks make errors?": (of_networks, 0, f"{change}, by images seen in training. {BARS}"),
        "Do inputs stay as in training?": (
            of_inputs,
            1,
            f"Error at samples ÷ at training inputs, low levels. {BOTH}",
        ),
        "Does noise shrink earlier errors?": (of_pushes, 0, f"Share of a push that is left at the end. {BOTH}"),
        "Does error × contraction decide?": (
            of_sums,
            1,
            "Predicted error left: with noise ÷ without. Below 1, noise should win.",
        ),
        "Does a correction do as well?": (
            of_rivals,
            0,
            f"{name}: correction − noise. {BARS}",
        ),
    }
    return [
        components.explanation(title, in_short(verdict), marks(run), reference, label)
        for (title, (verdict, _)), (marks, reference, label) in zip(
            explanations(run).items(), shown.values(), strict=True
        )
    ]


def of_steps(run: Run) -> list[Mark]:
    """The change of KD by noise with the exact denoiser, for each number of steps."""
    return of_pairs({f"{n} steps": contrast(run, f"exact, {n} steps") for n in lengths(run)})


def of_networks(run: Run) -> list[Mark]:
    """The change of KD by noise with the exact denoiser and with each network."""
    found = {"exact": contrast(run, f"exact, {main_steps(run)} steps")}
    return of_pairs(found | {images: contrast(run, mode) for mode, images in networks(run).items()})


def of_rivals(run: Run) -> list[Mark]:
    """The chosen correction against noise, for each network."""
    return of_pairs({f"{cell('images_seen', head(p)['images_seen'])} images": p for p in pairs(run.of_kind("rival"))})


def of_pairs(found: dict[str, Pair | None]) -> list[Mark]:
    """The deciding metric of contrasts (line -> contrast)."""
    return [components.mark(line, head(pair), of_contrast(head(pair))) for line, pair in found.items() if pair]


def of_inputs(run: Run) -> list[Mark]:
    """The error ratio at low noise levels, for each network without and with noise."""
    sides = {(seed, eta): value for eta in (0.0, 1.0) for seed, value in low_ratio(run, eta).items()}
    return [spread(f"seed {seed}", eta, *sides[seed, eta], "error ratio") for seed, eta in sorted(sides)]


def of_pushes(run: Run) -> list[Mark]:
    """The share of a push that is left at the end, for each level and network without and with noise."""
    found = {(start, seed, eta): value for eta in (0.0, 1.0) for (seed, start), value in ends(run, eta).items()}
    return [
        spread(f"sigma {number(start)}", eta, *found[start, seed, eta], f"network of seed {seed}, share left")
        for start, seed, eta in sorted(found, key=lambda key: (-key[0], key[1:]))
    ]


def of_sums(run: Run) -> list[Mark]:
    """The sum of the errors left with noise, divided by the sum without: the cases that decide, or else all."""
    found = responses(run)
    decided = [one for one in found if one.winner and one.predicted != "undecided"]
    return [
        spread(one.label.removeprefix("trained on "), 1.0, ratio, se, "with ÷ without noise")
        for one in decided or found
        for ratio, se in one.ratios
    ]


def spread(line: str, eta: float, value: float, se: float, what: str) -> Mark:
    """A value with two standard errors; grey without noise, blue with noise."""
    text = f"{line}, eta {number(eta)}: {what} {number(value)} ± {number(SURE * se, 2)} ({number(SURE)} s.e.)"
    return Mark(line, value, value - SURE * se, value + SURE * se, text, BLUE if eta else FAINT)
