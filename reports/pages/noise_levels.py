"""The page of `noise_levels`: which noise levels should training see?"""

from dataclasses import replace

import pandas as pd

from reports import figures
from reports.formats import number, plural
from reports.page import Drawing, Page
from reports.pages import sweep
from reports.results import Result

WORDS = sweep.Words("Train with {}", "sampled with {}", "How the trainings differ")
SETTING = ["weighting", "parameterisation"]  # further parts of a setting's name, where they differ from the first


def page(result: Result) -> Page:
    """The headline is on the sampler with which the baseline scores best."""
    page = sweep.page(result, WORDS, lambda groups: min(groups, key=lambda group: group.contrasts["value_b"].iloc[0]))
    return replace(page, drawing=errors(result) if len(result.curves) and len(result.densities) else None)


def errors(result: Result) -> Drawing:
    """The error on held-out images at each noise level."""
    curves = result.curves
    name = curves["train_noise"].copy()
    for column in SETTING:
        usual = curves[column].iloc[0]
        name += curves[column].map(lambda value, usual=usual: "" if value == usual else f", {value}")
    curves = curves.assign(setting=name)
    means = curves.groupby(["setting", "train_noise", "sigma"], sort=False, as_index=False)["relative_error"].mean()
    text = (
        f"Below 1 a setting denoises better than {means['setting'].iloc[0]} at that level. Means over "
        f"{plural(curves['train_seed'].nunique(), 'network')}, on {number(curves['n_images'].iloc[0], 0)} images that "
        "training did not see, with the same noise for all. Below: how densely training visits the levels."
    )
    return Drawing("errors", "Error at each noise level", text, figures.errors(pd.DataFrame(means), result.densities))
