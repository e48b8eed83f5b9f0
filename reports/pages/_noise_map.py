"""The report on `noise_levels --map`: which P_mean and P_std of the log-normal distribution should training use?"""

import pandas as pd
from matplotlib.patches import Rectangle

from reports import best_sets, components, explorer, figures, openings, tables
from reports.document import Figure, Number, Opening, Section
from reports.formats import SPEECH, cell, metric_name, missing, number, plural
from reports.pages import _noise_map_predictors as predictors
from reports.results import Run
from reports.schema import COLUMNS
from reports.sentences import control_failed, head, pairs

FINE, COARSE = (0.02, 0.1), 1.5  # levels of sigma that make grain, and how much larger an error must be to count
WIDE = 4  # a larger factor between errors is shown on a logarithmic axis
KINDS = {
    "control": "The A/A control.",
    "setting": "Each setting against the default.",
    "noise": "Each setting with noise against without.",
}
FIXED = "predictions fixed beforehand, all else is exploration"


def is_map(run: Run) -> bool:
    """Whether the run compared log-normal distributions after several lengths of training."""
    return bool(len(run.of_kind("noise"))) and "p_mean" in run.rows and run.rows["p_mean"].notna().any()


def sections(run: Run) -> list[Section | None]:
    knobs = [("training and sampler", "mode"), ("P_mean", "p_mean"), ("P_std", "p_std")]
    return [
        profiles(run),
        predictors.predictions(run),
        predictors.gains(run),
        explorer.all_settings(run, knobs, explorer.setting_and_mode),
        best_sets.ties(run),
        components.glossary("p_mean", "p_std", "eta", run.judge, "fd", "precision", "recall"),
        tables.section(run, best_sets.listing(run), KINDS, ("p_mean", "p_std", "images_seen", "eta", "nfe")),
    ]


def opening(run: Run) -> Opening:
    """The verdict over all modes, and the map."""
    sets = best_sets.read(run)
    found = pairs(run.of_kind("setting"))
    if not sets or not found:
        return Opening("Fewer than two settings succeeded with every network.", "No verdict.",
                       status=openings.status(run, None))  # fmt: skip
    usual = str(predictors.of_default(run)["setting"])
    if any(usual not in set(one.settings["setting"]) for one in sets):
        text = f"Runs of the default ({usual}) failed, so nothing is compared with it."
        return Opening(text, "No verdict.", status=openings.status(run, None))
    known = [one for one in sets if len(one.members) and trusted(one, usual)]
    kept = [one for one in known if usual in set(one.members["setting"])]
    last = sets[-1]
    best = last.settings.iloc[0]
    name = metric_name(run.judge, run.features)
    here = [head(pair) for pair in found if head(pair)["mode"] == last.mode]
    row = next((one for one in here if one["a"] == best["setting"]), here[0])
    notes = [last.mode, *(openings.change(row) if row["a"] == best["setting"] else []), *standing(last)]
    default, value = f"{name} of the default, {usual}", whole(last.value(usual, run.judge))
    if best["setting"] == usual:
        large = [Number(value, f"{default}, the lowest", notes)]
    else:
        change = openings.effect(run, row) if row["a"] == best["setting"] else None
        lowest = Number(whole(best[run.judge]), f"{name}, the lowest: {best['setting']}", notes, change)
        large = [Number(value, default, [last.mode]), lowest]
    why_not = f"the samples of the default ({usual}) are no images"
    if not any(len(one.members) for one in sets):
        why_not = sets[0].why_not
    answer = sentence(usual, len(kept), len(known), why_not)
    coarse = blind_spot(run, str(best["setting"]), usual)
    blind = run.features == "digits"  # trained on noisy images
    if blind and coarse is not None and trusted(last, usual) and usual not in set(last.members["setting"]):
        answer = (
            f"{best['setting']} scores best, but its samples are grainy, which these features hardly see: its error at "
            f"sigma {number(FINE[0])} to {number(FINE[1])} is {number(coarse, 1)} times the default's. Judge it "
            "in natural features before you use it."
        )
    lead = "Not established. Measured:" if control_failed(run) and known else ""
    return Opening(
        answer, lead, [*large, openings.sure(run, row)], [],
        openings.key(run, run.judge), status=openings.status(run, row, FIXED),
        warnings=openings.warnings(run, best_sets.closest(run, sets)), figure=grid(run, sets),
    )  # fmt: skip


def standing(one: best_sets.BestSet) -> list[str]:
    """How the setting of the lowest score stands in its map."""
    if one.settings["setting"].iloc[0] not in set(one.members["setting"]):
        return ["its samples are no images"]
    unclear = len(one.members) - len(one.tied)
    ties = f"one of {len(one.tied)} of {len(one.settings)} settings that cannot be told from the best"
    return [
        ties if len(one.tied) > 1 else f"best of {len(one.settings)} settings",
        *([f"{unclear} more cannot be placed: their networks differ too much"] if unclear else []),
    ]


def trusted(one: best_sets.BestSet, setting: str) -> bool:
    """Whether the samples of a setting are images, so that it can be compared."""
    rows = one.settings[one.settings["setting"] == setting]
    return bool(rows["no_verdict"].map(missing).all())


def blind_spot(run: Run, setting: str, usual: str) -> float | None:
    """How many times as large as the default's the error of a setting is at the lowest levels, if it is much larger.

    Samples of such networks keep more noise. Feature spaces that were trained on noisy images hardly see it.
    """
    if (curves := longest(run)) is None:
        return None
    means = curves[curves["sigma"].between(*FINE)].groupby("setting", sort=False)["relative_error"].mean()
    if setting not in means or usual not in means:
        return None
    ratio = float(means[setting] / means[usual])
    return ratio if ratio > COARSE else None


def longest(run: Run) -> pd.DataFrame | None:
    """The error profiles after the longest training, with the setting of each network; None without any."""
    if not len(run.curves) or "images_seen" not in run.curves:
        return None
    of_model = run.rows.drop_duplicates("model_id").set_index("model_id")
    setting = {name: run.curves["model_id"].map(of_model[name]) for name in ("setting", "p_mean", "p_std")}
    return run.curves.assign(**setting)[lambda curves: curves["images_seen"] == curves["images_seen"].max()]


def whole(kd: float) -> str:
    """A kernel distance without decimals."""
    return number(kd * COLUMNS["kd"].scale, 0)


def sentence(usual: str, kept: int, modes: int, why_not: str) -> str:
    """The answer: is the default among the best?"""
    if not modes:
        return f"No verdict: {why_not}."
    if kept == modes:
        return f"Keep the default ({usual}): it cannot be told from the best anywhere."
    if not kept:
        return f"Change the default ({usual}): other settings are detectably better everywhere."
    return (
        f"It depends: the default ({usual}) cannot be told from the best in {kept} of {modes} cases (length, sampler)."
    )


def grid(run: Run, sets: list[best_sets.BestSet]) -> Figure:
    """One map per mode: mean score of each P_mean and P_std, the best outlined, and what is not judged hatched."""
    rows = run.compared()
    columns = min(len(sets), 2)
    height = -(-len(sets) // columns)
    figure, axes = figures.panels(height, columns, 1.75 * height)
    for ax in axes.flat[len(sets) :]:
        ax.set_visible(False)
    for ax, one in zip(axes.flat, sets, strict=False):
        here = rows[rows["mode"] == one.mode].groupby(["p_mean", "p_std", "setting"], as_index=False)[run.judge].mean()
        tied, members = set(one.tied["setting"]), set(one.members["setting"])
        hatched = {name: "no images" for name in one.settings["setting"] if not trusted(one, name)}
        hatched |= dict.fromkeys(members - tied, "its networks differ too much to place it")
        judged = here[run.judge].mask(here["setting"].isin(hatched))
        ranked = here.assign(rank=judged.rank(pct=True))
        ranks = ranked.pivot_table(index="p_std", columns="p_mean", values="rank", dropna=False)
        ax.imshow(ranks, cmap="Blues_r", aspect="auto", vmin=-0.3, vmax=1.2)
        for _, row in here.iterrows():
            x, y = ranks.columns.get_loc(row["p_mean"]), ranks.index.get_loc(row["p_std"])
            weight = "bold" if row["setting"] in tied else "normal"
            ax.text(x, y, whole(row[run.judge]), ha="center", va="center", fontsize=8, fontweight=weight)
            if row["setting"] in hatched:
                ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fc="#f4f4f4", ec="#cfcfcf", hatch="///", linewidth=0))
            if row["setting"] in tied:
                ax.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, ec=figures.ORANGE, linewidth=1.8))
            star = " (default)" if row["setting"] == predictors.of_default(run)["setting"] else ""
            why = f"; {hatched[row['setting']]}" if row["setting"] in hatched else ""
            value = f"{COLUMNS[run.judge].label} {cell(run.judge, row[run.judge])}, mean{why}"
            figures.target(ax, x, y, f"{row['setting']}{star}, {one.mode}: {value}")
        ax.set_xticks(range(len(ranks.columns)), [number(value) for value in ranks.columns])
        ax.set_yticks(range(len(ranks.index)), [number(value) for value in ranks.index])
        ax.set(title=one.mode, xlabel=COLUMNS["p_mean"].label, ylabel=COLUMNS["p_std"].label)
        ax.grid(visible=False)
    text = (
        f"Mean {metric_name(run.judge, run.features)} of each log-normal distribution; lower and darker is better. "
        "Outlined: the settings that cannot be told from the best of their map. Hatched: not judged, since the samples "
        "are no images, or since the networks of the setting differ too much to place it. "
        f"{plural(rows['train_seed'].nunique(), 'network')} per setting, {components.values(rows, 'n_samples')} "
        f"samples each. {components.place(run)}"
    )
    alt = f"Quality, as {SPEECH[run.judge]}, for each P_mean and P_std, one map per length of training and sampler."
    return Figure("map", figure, alt, text)


def profiles(run: Run) -> Section | None:
    """The error profile of each P_mean, one panel per P_std, after the longest training."""
    if (curves := longest(run)) is None:
        return None
    first = predictors.of_default(run)
    mean = curves.groupby(["p_std", "p_mean", "sigma"], as_index=False)["relative_error"].mean()
    is_usual = (mean["p_mean"] == first["p_mean"]) & (mean["p_std"] == first["p_std"])
    usual = mean[is_usual].set_index("sigma")["relative_error"]
    mean = mean.assign(relative_error=mean["relative_error"] / mean["sigma"].map(usual))
    mean["line"] = [f"P_mean {number(value)}" for value in mean["p_mean"]]
    colors = figures.shades(mean["p_mean"])
    styles = {f"P_mean {number(value)}": {"color": color} for value, color in colors.items()}
    p_stds = sorted(mean["p_std"].unique())
    figure, [axes] = figures.panels(1, len(p_stds), 3.0)
    for ax, p_std in zip(axes, p_stds, strict=True):
        figures.lines(mean[mean["p_std"] == p_std], "sigma", "relative_error", "line", styles, ax)
        figures.log_ticks(ax, pd.Series([0.01, 0.1, 1.0, 10.0]))
        ax.set(title=f"P_std {number(p_std)}", ylabel="")
        if mean["relative_error"].max() > WIDE * mean["relative_error"].min():
            ax.set_yscale("log")
            figures.plain_ticks(ax)
        ax.sharey(axes[0])
    axes[0].set_ylabel("error ÷ that of the default")
    text = (
        "Held-out error of eps, divided by that of the default "
        f"({first['setting']}). {cell('images_seen', curves['images_seen'].max())} training images. Means over "
        f"{plural(curves['train_seed'].nunique(), 'network')}, on {components.values(curves, 'n_images')} images not "
        "seen in training, with the same noise for all."
    )
    alt = "Error against noise level for several P_mean, relative to the default."
    return Section("Error at each noise level", [Figure("profiles", figures.named(figure), alt, text)])
