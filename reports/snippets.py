"""Code for a page's advice: lines of torch for a reader's code; "" for names that have none here. A test runs them."""

from typing import Any

import pandas as pd

from reports.page import Code

SCHEDULES = {
    "linear": "torch.linspace({first}, {last}, {n_levels})",
    "geometric": "torch.linspace(math.log({first}), math.log({last}), {n_levels}).exp()",
    "karras": "torch.linspace({first} ** (1 / 7), {last} ** (1 / 7), {n_levels}) ** 7",
}
EULER = """\
for s, t in zip(sigmas, sigmas[1:]):  # x begins as sigmas[0] * noise
    D, up = x - s * eps(x, s), {eta:g} * t * (1 - (t / s) ** 2).sqrt()
    x = D + (t**2 - up**2).sqrt() / s * (x - D) + up * torch.randn_like(x)"""
SECOND_ORDER = """\
D_old, s_old = 0, sigmas[0]  # x begins as sigmas[0] * noise
for s, t in zip(sigmas, sigmas[1:]):
    D = x - s * eps(x, s)
    more = {more} / (s_old / s).log() * (D - D_old) if s_old > s and t > 0 else 0
    x, D_old, s_old = D + {keep} * (x - D) + more{noise}, D, s"""
SAMPLERS = {
    "res-2m": {"more": "(t / s - 1 + (s / t).log())", "keep": "t / s", "noise": ""},
    "dpm++2m": {"more": "(1 - t / s) * (s / t).log() / 2", "keep": "t / s", "noise": ""},
    "dpm++2m-sde": {
        "more": "(1 - (t / s) ** 2) * (s / t).log() / 2", "keep": "(t / s) ** 2",
        "noise": " + t * (1 - (t / s) ** 2).sqrt() * torch.randn_like(x)",
    },
}  # fmt: skip
TRAINING = """\
{first}sigma = ({p_mean:g} + {p_std:g} * torch.randn(len(x0), 1, 1, 1)).exp()  # in standard deviations of the data x0
x = x0 + sigma * torch.randn_like(x0)
D = denoise({input}, sigma)
loss = ((1 + 1 / sigma**2) * (D - x0) ** 2).mean()"""

INPUTS = {  # parameterisation -> what comes first, and what the network is given
    "preconditioned": {"first": "", "input": "x"},
    "mixture-input": {
        "first": "mixture = TiedMixture.fit(images)  # of diffusion_core.exact.tied_mixture; all training images\n",
        "input": "torch.cat([x, x - sigma * mixture(x, sigma.flatten())], 1)",
    },
}  # fmt: skip


def write_sampling(row: pd.Series) -> str:
    """Schedule and sampler of a setting."""
    if row["schedule"] not in SCHEDULES:
        return ""
    text = SCHEDULES[row["schedule"]].format(
        first=f"{row['sigma_max']:g}", last=f"{row['sigma_min']:g}", n_levels=f"{row['n_steps'] + 1:.0f}"
    )
    text = f"sigmas = torch.cat([{text}, torch.zeros(1)])" if row["final_denoise"] else f"sigmas = {text}"
    if row["sampler"] in ("euler", f"euler(eta={row['eta']:g})"):
        return f"{text}\n{EULER.format(eta=row['eta'])}"
    return f"{text}\n{SECOND_ORDER.format(**SAMPLERS[row['sampler']])}" if row["sampler"] in SAMPLERS else ""


def write_training(row: pd.Series) -> str:
    """The noise levels and the loss of a training, of log-normal levels with the weights of Karras et al."""
    known = row["weighting"] == "karras" and row["parameterisation"] in INPUTS and pd.notna(row["p_std"])
    return TRAINING.format(**row, **INPUTS[row["parameterisation"]]) if known else ""


def show(text: str) -> list[tuple[str, Any]]:
    """The fact of a first screen; none without a text."""
    return [("In your code", Code("", text))] if text else []
