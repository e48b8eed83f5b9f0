"""The report on `noise_levels`: which noise levels should training see?"""

import pandas as pd

from reports import best_sets, components, explorer, figures, openings, sentences, tables
from reports.document import Figure, Number, Opening, Prose, Section
from reports.formats import cell, listed, plural
from reports.results import Run
from reports.schema import BETTER, ENOUGH_NETWORKS, NO_VERDICT, WORSE
from reports.sentences import Pair, capital, condition, head, pairs, scope

SEEDS = (
    "each setting has its own networks, so a difference includes the seed-to-seed variation of training. Intervals "
    "over fewer than five networks do not cover it. The A/A control, retrained from other seeds, shows how large it "
    "can be."
)
KINDS = {"control": "The A/A control.", "setting": "Each setting against the baseline."}
SETTING = ["train_noise", "weighting", "parameterisation"]


def sections(run: Run) -> list[Section | None]:
    return [
        differences(run),
        errors(run),
        explorer.all_settings(run, [("sampler", "mode"), ("training", "setting")], explorer.setting_and_mode),
        best_sets.ties(run),
        conditions(run),
        components.glossary("eta", run.judge, "fd", "precision", "recall"),
        tables.section(run, best_sets.listing(run), KINDS, (*SETTING, "eta", "nfe")),
    ]


def opening(run: Run) -> Opening:
    """The verdict over all samplers; numbers and pictures of the sampler with which the baseline scores best."""
    found = pairs(run.of_kind("setting"))
    if not found:
        return Opening("No setting was compared with another.", "No verdict.", status=openings.status(run, None))
    usual = baseline(run) or head(found[0])["b"]
    mode = head(min(found, key=lambda pair: head(pair)["value_b"]))["mode"]
    here = [pair for pair in found if head(pair)["mode"] == mode]
    winners = [pair for pair in here if head(pair)["verdict"] == BETTER]
    best = min(winners or here, key=lambda pair: head(pair)["value_a"])
    row = openings.shown_metric(best)
    numbers = [
        openings.score(run, row, "b", f"{usual}, {mode}", openings.floor(run, row, row["metric"])),
        openings.score(run, row, "a", f"{row['a']}, {mode}", openings.change(row)),
        Number(cell("images_seen", row["images_seen"]), "training images", ["the same for every setting"]),
        openings.sure(run, head(best)),
    ]
    labels = {name: f"{name}, {mode}" for name in (usual, row["a"])}
    lead, text = verdict_in_short(found, usual)
    named = [(mode, head(pair)["a"]) for pair in winners if f"“{head(pair)['a']}”" in lead + text]
    text += "" if openings.has_grain(run, mode, usual) else openings.but_grainy(run, named)
    if sentences.control_failed(run) and not lead.startswith("No verdict"):
        lead, text = "Not established. Measured:", f"{lead} {text}"
    return Opening(
        text, lead, numbers, components.strip_of(run, mode, labels),
        openings.key(run, row["metric"]), status=openings.status(run, head(best)),
        warnings=[
            *openings.warnings(run, openings.closer(best)),
            *openings.grainy(run, [(mode, usual), (mode, row["a"])]),
        ],
    )  # fmt: skip


def verdict_in_short(found: list[Pair], usual: str) -> tuple[str, str]:
    """The first words, and a sentence on the settings that are better or worse with every sampler."""
    rows = [head(pair) for pair in found]
    judged = dict.fromkeys(row["mode"] for row in rows if row["verdict"] != NO_VERDICT)
    why = next((capital(str(row["no_verdict"])) for row in rows if row["verdict"] == NO_VERDICT), "")
    if not judged:
        return "No verdict.", f"{why}."
    if unjudged := dict.fromkeys(row["mode"] for row in rows if row["mode"] not in judged):
        answer = " ".join(verdict_in_short([pair for pair in found if head(pair)["mode"] in judged], usual))
        return f"No verdict with {listed(unjudged)}.", f"{why}. With {listed(judged)}: {answer}"
    words: dict[str, list[str]] = {}
    for row in rows:
        words.setdefault(row["a"], []).append(row["verdict"])
    always, once = (
        [name for name, same in words.items() if choose(word == BETTER for word in same)] for choose in (all, any)
    )
    worse = [name for name, same in words.items() if all(word == WORSE for word in same)]
    if always:
        return f"{_named(always)}.", f"{'It is' if len(always) == 1 else 'They are'} better than {usual}."
    if once:
        are = "is" if len(once) == 1 else "are"
        return "It depends on the sampler.", f"{_named(once)} {are} better than {usual} with some samplers only."
    bad = f"; {_named(worse)} {'is' if len(worse) == 1 else 'are'} worse" if worse else ""
    return f"Keep {usual}.", f"No other setting is detectably better{bad}."


def _named(settings: list[str]) -> str:
    """Up to three settings, and how many more there are. Quoted: their names may have commas."""
    more = [f"{len(settings) - 2} more"] if len(settings) > 3 else []
    return listed([f"“{name}”" for name in settings[: 2 if more else 3]] + more)


def conditions(run: Run) -> Section:
    """Where the settings were measured, what the intervals leave out, and the control. Folded."""
    found = pairs(run.of_kind("setting"))
    if not found:
        return sentences.conditions(run)
    ways = [str(pair.get("adjusted")) for pair in map(head, found)]
    how = (  # results from before the intervals were simultaneous
        f"Verdicts are corrected for {plural(len(found), 'comparison')} (Holm), intervals are not: about one interval "
        "in 20 misses the truth."
    )
    if any(way.startswith("simultaneous") for way in ways):
        how = "Its intervals hold all at once."
    where = Prose(f"Measured on {scope(found[0])}. {condition(found[0])} All of this is exploration. {how}")
    few = head(found[0])["n_networks"] < ENOUGH_NETWORKS
    return sentences.conditions(run, where, *([Prose(SEEDS, "Caution")] if few else []))


def baseline(run: Run) -> str:
    """The label of the baseline, from which each setting differs in one thing."""
    control = run.of_kind("control")
    return control["b"].iloc[0] if len(control) else ""


def differences(run: Run) -> Section:
    """The main figure: every setting against the baseline."""
    rows = run.of_kind("setting")
    groups = {f"{mode}: against {baseline(run)}": same for mode, same in rows.groupby("mode", sort=False)}
    groups["A/A control"] = run.of_kind("control")
    text = (
        "Effect of another noise distribution, weighting or parameterisation. Below 0, it is better than the baseline."
    )
    return Section("Differences", components.forest(run, "differences", groups, text))


def errors(run: Run) -> Section | None:
    """Held-out error against sigma, its ratio to the baseline, and the densities of the noise distributions."""
    if not len(run.curves):
        return None
    curves = run.curves.assign(setting=name_of(run.curves))
    mean = curves.groupby(["setting", "train_noise", "sigma"], sort=False, as_index=False)["relative_error"].mean()
    usual = mean[mean["setting"] == mean["setting"].iloc[0]].set_index("sigma")["relative_error"]
    ratio = mean.assign(relative_error=mean["relative_error"] / mean["sigma"].map(usual))
    looks = figures.looks(list(mean["setting"].unique()))
    figure, [[error_ax], [ratio_ax], [density_ax]] = figures.panels(3, 1, 8.2, (3, 3, 1.6))
    figures.lines(mean, "sigma", "relative_error", "setting", looks, error_ax)
    error_ax.set_yscale("log")
    figures.plain_ticks(error_ax)
    error_ax.set_title("error of eps on held-out images (1: a denoiser that knows only the variance of the data)")
    figures.lines(ratio, "sigma", "relative_error", "setting", looks, ratio_ax)
    ratio_ax.set(title=f"the same, divided by that of {mean['setting'].iloc[0]}", ylabel="ratio", yscale="log")
    figures.plain_ticks(ratio_ax)
    noises = mean.drop_duplicates("train_noise").set_index("train_noise")["setting"]
    peaks = run.densities.groupby("train_noise")["density"].transform("max")
    density = run.densities.assign(density=run.densities["density"] / peaks)
    own = {noise: looks[name] for noise, name in noises.items()}
    figures.lines(density, "sigma", "density", "train_noise", own, density_ax)
    peak = "density of ln sigma under each training noise distribution, divided by its peak"
    density_ax.set(title=peak, ylabel="density")
    for ax in (error_ax, ratio_ax, density_ax):
        figures.log_ticks(ax)
        ax.set_xlim(mean["sigma"].min(), mean["sigma"].max())
    figure.legend(*error_ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    text = (
        "Noise levels at which a setting gains or loses. The error is (1 + sigma²) times the mean squared error of "
        "eps. A denoiser that knows only the variance of the data scores 1. In the bottom panel, each noise "
        "distribution is drawn like its first setting. "
        f"Means over {plural(curves['train_seed'].nunique(), 'network')}, on "
        f"{components.values(curves, 'n_images')} images not seen in training, with the same noise for all."
    )
    alt = (
        "Held-out error against noise level for each training setting, above the densities of the noise distributions."
    )
    return Section("Error at each noise level", [Figure("errors", figure, alt, text)])


def name_of(rows: pd.DataFrame) -> pd.Series:
    """Names of settings: the noise distribution, then what differs from the first row in weighting and output."""
    names = rows["train_noise"].copy()
    for column in SETTING[1:]:
        names += rows[column].map(lambda value, usual=rows[column].iloc[0]: "" if value == usual else f", {value}")
    return names
