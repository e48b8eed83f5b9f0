"""The report on `noise_levels`: which noise levels should training see?"""

import pandas as pd

from reports import best_setting, components, figures, tables
from reports.document import Figure, Prose, Section
from reports.formats import listed, plural
from reports.results import Run
from reports.sentences import FEW, Pair, condition, control, control_failed, head, pairs, scope

LUCK = (
    "each setting has networks of its own, so a difference holds the luck of their training too, of which intervals "
    "over fewer than five networks know nothing. The control, retrained from other seeds, shows how large it can be."
)
WORDS = {
    "better": "clearly better",
    "no clear difference": "no clear difference",
    "worse": "clearly worse",
    "undecided: the metrics disagree": "undecided, as the metrics disagree",
}
SETTING = ["train_noise", "weighting", "parameterisation"]


def sections(run: Run) -> list[Section | None]:
    """The report from top to bottom; a part that the run did not measure is left out."""
    return [
        Section("Answer", answer(run)),
        differences(run),
        errors(run),
        Section("The choice against the others", best_setting.against_others(run)),
        samples(run),
        classes(run),
        components.glossary("eta", "fd", "kd", "precision", "recall"),
        numbers(run),
    ]


def answer(run: Run) -> list[Prose]:
    """One verdict for each sampler; then what the intervals are, the control, and failures."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs(run.of_kind("setting")):
        found.setdefault(head(pair)["mode"], []).append(pair)
    if not found:
        return [Prose("no setting was compared with another.", "No verdict"), *components.failures(run)]
    every = [pair for same in found.values() for pair in same]
    count = (
        f"Everything here explores: there are {plural(len(every), 'comparison')} in these sentences, and about one "
        "interval in 20 misses the truth."
    )
    out = [verdict(run, mode, same) for mode, same in found.items()]
    out.append(Prose(f"Measured on {scope(every[0])}. {condition(every[0])} {count}"))
    luck = [Prose(LUCK, "Mind")] if head(every[0])["n_networks"] < FEW else []
    return [*out, *luck, *control(run), *components.failures(run)]


def verdict(run: Run, mode: str, found: list[Pair]) -> Prose:
    """What is better, worse or not told apart from the baseline under one sampler."""
    usual = baseline(run)
    by_word: dict[str, list[str]] = {}
    for pair in sorted(found, key=lambda pair: head(pair)["difference"]):
        shown = best_setting.amount(run, pair, first=not by_word)
        by_word.setdefault(head(pair)["verdict"], []).append(f"{head(pair)['a']} {shown}")
    phrases = [f"{WORDS[word]}: {listed(by_word[word])}" for word in WORDS if word in by_word]
    best = min(found, key=lambda pair: head(pair)["difference"])
    better = head(best)["verdict"] == "better"
    lead = f"{head(best)['a']} is best" if better else f"nothing is clearly better than {usual}"
    unsure = "not established, since the A/A control failed: " if control_failed(run) else ""
    both = dict.fromkeys((usual, head(best)["a"]))
    places = [best_setting.standing(run, mode, label, ("setting",)) for label in both]
    return Prose(
        f"against {usual}, {'; '.join(phrases)}. {'; '.join(places)}.", f"{mode[0].upper()}{mode[1:]}: {unsure}{lead}"
    )


def baseline(run: Run) -> str:
    """The setting that is changed one thing at a time, as contrasts call it."""
    control = run.of_kind("control")
    return control["b"].iloc[0] if len(control) else ""


def differences(run: Run) -> Section:
    """The main figure: every setting against the baseline."""
    rows = run.of_kind("setting")
    groups = {f"{mode}: against {baseline(run)}": same for mode, same in rows.groupby("mode", sort=False)}
    groups["A/A control"] = run.of_kind("control")
    text = "What another law, weighting or parameterisation changes; below 0 is better than the baseline."
    return Section("Differences", components.forest(run, "differences", groups, text))


def errors(run: Run) -> Section | None:
    """Held-out error against sigma, over the baseline's, above the densities of the laws."""
    if not len(run.curves):
        return None
    curves = run.curves.assign(setting=name_of(run.curves))
    mean = curves.groupby(["setting", "train_noise", "sigma"], sort=False, as_index=False)["relative_error"].mean()
    usual = mean[mean["setting"] == mean["setting"].iloc[0]].set_index("sigma")["relative_error"]
    ratio = mean.assign(relative_error=mean["relative_error"] / mean["sigma"].map(usual))
    looks = figures.looks(list(mean["setting"].unique()))
    figure, axes = figures.panels(3, 1, 8.2, (3, 3, 1.6))
    [error_ax], [ratio_ax], [density_ax] = axes
    figures.lines(mean, "sigma", "relative_error", "setting", looks, error_ax)
    error_ax.set_yscale("log")
    figures.plain_ticks(error_ax)
    error_ax.set_title("error of eps on held-out images, relative to knowing only the variance of the data")
    figures.lines(ratio, "sigma", "relative_error", "setting", looks, ratio_ax)
    ratio_ax.set(title=f"the same over that of {usual_name(mean)}", ylabel="ratio", yscale="log")
    figures.plain_ticks(ratio_ax)
    laws = mean.drop_duplicates("train_noise").set_index("train_noise")["setting"]
    peaks = run.densities.groupby("train_noise")["density"].transform("max")
    density = run.densities.assign(density=run.densities["density"] / peaks)
    figures.lines(
        density, "sigma", "density", "train_noise", {law: looks[name] for law, name in laws.items()}, density_ax
    )
    density_ax.set(
        title="density of ln sigma under each training law over its own peak, in the line of its first setting",
        ylabel="density",
    )
    for ax in (error_ax, ratio_ax, density_ax):
        figures.log_ticks(ax)
        ax.set_xlim(mean["sigma"].min(), mean["sigma"].max())
    figure.legend(*error_ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    text = (
        "Where a setting gains and where it loses. The error is (1 + sigma²) times the mean squared error of eps: 1 is "
        "what a denoiser scores that knows only the variance of the data. Means over "
        f"{plural(curves['train_seed'].nunique(), 'network')}, on {components.values(curves, 'n_images')} images that "
        "training did not see, the same noise for all."
    )
    alt = "Held-out error against noise level for each training setting, above the densities of the training laws."
    return Section("Where each setting errs", [Figure("errors", figure, alt, text)])


def usual_name(mean: pd.DataFrame) -> str:
    """The first setting's name."""
    return str(mean["setting"].iloc[0])


def name_of(rows: pd.DataFrame) -> pd.Series:
    """The law, then weighting and parameterisation where they are not those of the first row."""
    names = rows["train_noise"].copy()
    for column in SETTING[1:]:
        names += rows[column].map(lambda value, usual=rows[column].iloc[0]: "" if value == usual else f", {value}")
    return names


def samples(run: Run) -> Section:
    """The first samples of one network a setting, for each sampler."""
    blocks = []
    for mode in run.rows.loc[run.rows["mode"] != "control", "mode"].unique():
        rows = run.ok(mode)
        if len(rows):
            shown = components.first_network(rows.assign(setting=name_of(rows)))
            labels = dict(zip(shown["samples_id"], shown["setting"], strict=True))
            text = f"{mode}. Samples at the same place start from the same noise."
            blocks += components.gallery(run, shown, labels, text)
            first = shown.iloc[:1]
            blocks += components.films(run, first, {first["samples_id"].iloc[0]: mode}, "The way of one sampler.")
    return Section("Samples", blocks)


def classes(run: Run) -> Section | None:
    """Are all classes drawn as often as they should be, under each setting and the last sampler?"""
    modes = [mode for mode in run.rows["mode"].unique() if mode != "control"]
    rows = run.ok(*modes[-1:])
    if not modes or not len(rows):
        return None
    settings = dict(list(rows.groupby(name_of(rows), sort=False)))
    return Section("Classes", components.histograms(run, "classes", settings, f"Samples a class, {modes[-1]}."))


def numbers(run: Run) -> Section:
    """The numbers."""
    blocks = []
    for kind, text in (
        ("best", "The choice under each sampler against all others, on the half of the images that did not choose."),
        ("control", "The A/A control."),
        ("setting", "Each setting against the baseline."),
    ):
        if len(found := run.of_kind(kind)):
            blocks.append(tables.contrast_list(run, found, f"{text} Pooled over networks."))
    every = tables.runs(run, (*SETTING, "eta", "nfe"))
    return Section("Tables", [*blocks, tables.setting(run), *tables.floors(run), *every])
