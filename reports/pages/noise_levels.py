"""The report on `noise_levels`: which noise levels should training see?"""

import pandas as pd

from reports import best_setting, components, figures, tables
from reports.document import Figure, Prose, Section
from reports.formats import metric_name, plural
from reports.results import Run
from reports.sentences import FEW, Pair, condition, control, control_failed, detectable, head, pairs, scope

SEEDS = (
    "each setting has its own networks, so a difference includes the seed-to-seed variation of training. Intervals "
    "over fewer than five networks do not cover it. The A/A control, retrained from other seeds, shows how large it "
    "can be."
)
WORDS = {
    "better": "Better",
    "no clear difference": "No detectable difference",
    "worse": "Worse",
    "undecided: the metrics disagree": "Undecided, because the metrics disagree",
}
SETTING = ["train_noise", "weighting", "parameterisation"]


def sections(run: Run) -> list[Section | None]:
    """The sections of the report from top to bottom. A part that the run did not measure is left out."""
    return [
        Section("Answer", answer(run)),
        differences(run),
        errors(run),
        Section("The chosen setting against all others", best_setting.against_others(run)),
        samples(run),
        classes(run),
        components.glossary("eta", "fd", "kd", "precision", "recall"),
        numbers(run),
    ]


def answer(run: Run) -> list[Prose]:
    """One verdict for each sampler; then the conditions, the control and the failures."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs(run.of_kind("setting")):
        found.setdefault(head(pair)["mode"], []).append(pair)
    if not found:
        return [Prose("no setting was compared with another.", "No verdict"), *components.failures(run)]
    every = [pair for same in found.values() for pair in same]
    count = best_setting.exploration(len(every))
    out = [verdict(run, mode, same) for mode, same in found.items()]
    out.append(Prose(f"Measured on {scope(every[0])}. {condition(every[0])} {count}"))
    seeds = [Prose(SEEDS, "Caution")] if head(every[0])["n_networks"] < FEW else []
    return [*out, *seeds, *control(run), *components.failures(run)]


def verdict(run: Run, mode: str, found: list[Pair]) -> Prose:
    """The settings that are better, worse or not detectably different from the baseline under one sampler."""
    usual = baseline(run) or head(found[0])["b"]
    texts = [f"Differences from “{usual}” in {metric_name(head(found[0])['metric'], run.features)}"]
    for word, phrase in WORDS.items():
        here = [pair for pair in found if head(pair)["verdict"] == word]
        named = [
            f"“{head(pair)['a']}” {best_setting.amount(run, pair, first=len(texts) == 1 and at == 0)}"
            for at, pair in enumerate(sorted(here, key=lambda pair: head(pair)["difference"]))
        ]
        texts += [f"{phrase}: {'; '.join(named)}"] if named else []
    unsure_of = [pair for pair in found if head(pair)["verdict"] == "no clear difference"]
    texts += [text.removesuffix(".") for text in detectable(run, unsure_of)]
    winners = [pair for pair in found if head(pair)["verdict"] == "better"]
    best = min(winners or found, key=lambda pair: head(pair)["difference"])
    lead = f"{head(best)['a']} is better than {usual}" if winners else f"no setting is detectably better than {usual}"
    unsure = "not established, because the A/A control failed. Measured: " if control_failed(run) else ""
    for start, label in (("The baseline ", usual), ("", head(best)["a"])):
        if scores := best_setting.standing(run, mode, label, ("setting",)):
            texts.append(f"{start}{scores}")
    return Prose(f"{'. '.join(texts)}.", f"{mode[0].upper()}{mode[1:]}: {unsure}{lead}.")


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
    figure, axes = figures.panels(3, 1, 8.2, (3, 3, 1.6))
    [error_ax], [ratio_ax], [density_ax] = axes
    figures.lines(mean, "sigma", "relative_error", "setting", looks, error_ax)
    error_ax.set_yscale("log")
    figures.plain_ticks(error_ax)
    error_ax.set_title("error of eps on held-out images (1: a denoiser that knows only the variance of the data)")
    figures.lines(ratio, "sigma", "relative_error", "setting", looks, ratio_ax)
    ratio_ax.set(title=f"the same, divided by that of {usual_name(mean)}", ylabel="ratio", yscale="log")
    figures.plain_ticks(ratio_ax)
    noises = mean.drop_duplicates("train_noise").set_index("train_noise")["setting"]
    peaks = run.densities.groupby("train_noise")["density"].transform("max")
    density = run.densities.assign(density=run.densities["density"] / peaks)
    figures.lines(
        density, "sigma", "density", "train_noise", {noise: looks[name] for noise, name in noises.items()}, density_ax
    )
    density_ax.set(
        title="density of ln sigma under each training noise distribution, divided by its peak",
        ylabel="density",
    )
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


def usual_name(mean: pd.DataFrame) -> str:
    """The name of the first setting."""
    return str(mean["setting"].iloc[0])


def name_of(rows: pd.DataFrame) -> pd.Series:
    """Names of settings: the noise distribution, then what differs from the first row in weighting and output."""
    names = rows["train_noise"].copy()
    for column in SETTING[1:]:
        names += rows[column].map(lambda value, usual=rows[column].iloc[0]: "" if value == usual else f", {value}")
    return names


def samples(run: Run) -> Section:
    """The first samples of one network per setting, for each sampler."""
    blocks = []
    for mode in run.rows.loc[run.rows["mode"] != "control", "mode"].unique():
        rows = run.ok(mode)
        if len(rows):
            shown = components.first_network(rows.assign(setting=name_of(rows)))
            labels = dict(zip(shown["samples_id"], shown["setting"], strict=True))
            text = f"{mode}. Samples at the same position start from the same noise."
            blocks += components.gallery(run, shown, labels, text)
            first = shown.iloc[:1]
            blocks += components.films(run, first, {first["samples_id"].iloc[0]: mode}, "From noise to images.")
    return Section("Samples", blocks)


def classes(run: Run) -> Section | None:
    """Class histograms of each setting under the last sampler."""
    modes = [mode for mode in run.rows["mode"].unique() if mode != "control"]
    rows = run.ok(*modes[-1:])
    if not modes or not len(rows):
        return None
    settings = dict(list(rows.groupby(name_of(rows), sort=False)))
    return Section("Classes", components.histograms(run, "classes", settings, f"Samples per class, {modes[-1]}."))


def numbers(run: Run) -> Section:
    """The tables."""
    blocks = []
    for kind, text in (
        (
            "best",
            "The setting chosen for each sampler against all others, on the images not used for the choice.",
        ),
        ("control", "The A/A control."),
        ("setting", "Each setting against the baseline."),
    ):
        if len(found := run.of_kind(kind)):
            blocks.append(tables.contrast_list(run, found, f"{text} Means over networks."))
    every = tables.runs(run, (*SETTING, "eta", "nfe"))
    return Section("Tables", [*blocks, tables.setting(run), *tables.floors(run), *every])
