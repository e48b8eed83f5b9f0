"""`levels` on lists: right ones of papers and libraries are named, and broken or random ones never pass.

The formulas are written anew from the papers: nothing here calls the schedules of this package.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.conformance.known_schedules import find_meant
from experiments.levels import LevelsOptions, read_list

Array = np.ndarray
Print = Callable[[Array], str]


def karras(n: int, high: float, low: float, rho: float = 7) -> Array:
    """Karras et al. 2022, Eq. 5."""
    return np.linspace(high ** (1 / rho), low ** (1 / rho), n) ** rho


def flow(n: int, shift: float, last: float | None = None) -> Array:
    """Esser et al. 2024, Eq. 23."""
    t = np.linspace(1, last or 1 / n, n)
    return shift * t / (1 + (shift - 1) * t)


def cumulate(betas: Array) -> Array:
    return np.cumprod(1 - betas)


ABAR = {
    "linear": cumulate(np.linspace(1e-4, 0.02, 1000)),  # Ho et al. 2020
    "scaled": cumulate(np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2),  # Rombach et al. 2022
}
SIGMAS = {name: np.sqrt(1 / abar - 1) for name, abar in ABAR.items()}
SD = SIGMAS["scaled"]
LEADING = np.arange(50)[::-1] * 20
TRAILING = np.round(np.arange(1000, 0, -1000 / 28)).astype(int) - 1
LINSPACE = np.linspace(999, 0, 25)
MID = np.exp(np.interp(LINSPACE, np.arange(1000), np.log(SD)))
VP = np.sqrt(np.expm1(19.9 * np.linspace(1, 1e-3, 30) ** 2 / 2 + 0.1 * np.linspace(1, 1e-3, 30)))
TANGENT = np.tan(np.linspace(np.arctan(14.6146), np.arctan(0.0292), 20))  # Sabour et al. 2024, Theorem 3.1
LINEAR_QUADRATIC = 1 - np.r_[np.arange(10) * 0.0025, 0.025 + 0.025 * np.arange(10) + 0.00725 * np.arange(10) ** 2]
ALIGNED = np.array([14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029])  # AYS, SD 1.5


def python(values: Array) -> str:
    return str(np.asarray(values).tolist())


def ending(values: Array) -> str:
    """As k-diffusion and diffusers print sigmas: 0 follows."""
    return python(np.append(values, 0.0))


def decimals(n: int) -> Print:
    return lambda values: " ".join(f"{value:.{n}f}" for value in values)


def to_zero(n: int) -> Print:
    return lambda values: decimals(n)(np.append(values, 0.0))


def scientific(values: Array) -> str:
    return "[" + ",\n ".join(f"{value:.4e}" for value in np.append(values, 0)) + "]\n"


def numpy_print(values: Array) -> str:
    return str(np.append(values, 0))


def lines(values: Array) -> str:
    return "\n".join(f"{value:.6g}" for value in np.append(values, 0.0)) + "\n"


RIGHT = {
    "EDM": (ending, karras(18, 80, 0.002), "karras(rho=7, sigma_max=80, sigma_min=0.002)"),
    "EDM, numpy": (numpy_print, karras(40, 80, 0.002), "karras(rho=7)"),
    "karras of Stable Diffusion, 2 decimals": (to_zero(2), karras(20, SD[-1], SD[0]), "karras(rho=7)"),
    "karras, rho 5": (lines, karras(15, 30, 0.03, 5), "karras(rho=5, sigma_max=30, sigma_min=0.03)"),
    "exponential, 2 decimals": (to_zero(2), np.geomspace(14.6146, 0.0292, 10), "geometric"),
    "VP of k-diffusion": (ending, VP, "vp"),
    "arctangent": (to_zero(4), TANGENT, "cosine(offset=0)"),
    "DDIM": (python, LEADING, "ddpm-leading"),
    "DDIM of Stable Diffusion": (decimals(0), LEADING + 1, "ddpm-leading"),
    "trailing": (python, TRAILING, "ddpm-trailing"),
    "linspace, whole": (decimals(0), LINSPACE, "ddpm-linspace"),
    "linspace, between": (decimals(4), LINSPACE, "ddpm-linspace"),
    "lightning": (python, np.array([999, 749, 499, 249]), "ddpm-trailing"),
    "PNDM": (python, np.r_[981, 961, LEADING[1:] + 1], "ddpm-leading"),
    "Heun": (python, np.repeat(np.linspace(999, 0, 28).round().astype(int), 2)[1:], "ddpm-linspace"),
    "Euler of Stable Diffusion": (to_zero(4), MID, "ddpm-linspace(betas=scaled_linear)"),
    "simple": (to_zero(4), SD[999 - (np.arange(20) * 50)], "ddpm-trailing(betas=scaled_linear)"),
    "DDPM's levels, leading": (scientific, SIGMAS["linear"][LEADING], "ddpm-leading(betas=linear)"),
    "alpha-bar": (python, ABAR["linear"][LEADING], "ddpm-leading(betas=linear)"),
    "alpha-bar, 4 decimals": (decimals(4), ABAR["scaled"][TRAILING], "ddpm-trailing"),
    "log SNR": (python, -2 * np.log(MID), "ddpm-linspace(betas=scaled_linear)"),
    "half log SNR": (decimals(4), -np.log(karras(20, 14.6146, 0.0292)), "karras(rho=7)"),
    "ln sigma": (decimals(4), np.log(karras(20, 80, 0.002)), "karras(rho=7)"),
    "c_noise": (decimals(4), np.log(karras(20, 80, 0.002)) / 4, "karras(rho=7, sigma_max=80)"),
    "schnell": (python, np.array([1, 0.75, 0.5, 0.25, 0]), "flow(shift=1, end=1/n)"),
    "flow, times": (decimals(2), 1000 * flow(20, 3), "flow(shift=3, end=1/n)"),
    "flow, whole times": (python, np.floor(1000 * flow(8, 3)).astype(int), "flow(shift=3, end=1/n)"),
    "flow to 1/1000": (ending, flow(24, 3, 1e-3), "flow(shift=3, end=1/1000)"),
    "flow, stretched": (ending, 1 - (1 - flow(30, 3)) * 0.9 / (1 - flow(30, 3)[-1]), "flow(shift=3, end=1/n)"),
}  # fmt: skip
UNNAMED = {"linear-quadratic": LINEAR_QUADRATIC, "align your steps": ALIGNED}


def read(folder: Path, text: str, **options: object):
    file = folder / "log.txt"
    file.write_text(text)
    return read_list(file, LevelsOptions(("log.txt",), **options))


def one(values: Array, at: int, value: float) -> Array:
    changed = np.array(values, dtype=float)
    changed[at] = value
    return changed


EDM = karras(18, 80, 0.002)
SHIFTED = flow(28, 3)
WRONG_SIGMAS = {
    "one level of karras, 1 %": one(EDM, 9, 1.01 * EDM[9]),
    "nan": one(EDM, 7, math.nan),
    "0 within": one(EDM, 7, 0),
    "swapped ends": EDM[[17, *range(1, 17), 0]],
    "a level is there twice": np.insert(EDM, 6, EDM[6]),
    "a level is missing": np.delete(EDM, 6),
    "the first level is missing": SHIFTED[1:],
    "two lists in one": np.tile(np.append(EDM, 0), 2),
    "half in other units": np.r_[EDM[:9], 2 * EDM[9:]],
    "two rules": np.r_[karras(18, 80, 0.002)[:9], karras(18, 80, 0.002, 5)[9:]],
    "1 - t in half": np.r_[SHIFTED[:14], 1 - SHIFTED[14:]],
}
WRONG_TIMES = {
    "one whole time": np.where(LEADING == 400, 410, LEADING),
    "a time is missing": np.delete(LEADING, 20),
    "the last time is missing": LEADING[:-1] + 1,
    "the first time is missing": TRAILING[1:],
    "steps": np.arange(28),
    "steps counted down": np.arange(28)[::-1],
    "half later": LEADING + (np.arange(50) < 25),
    "coarse times": np.floor(1000 * flow(50, 12, 1e-3)).astype(int),
    "betas": np.linspace(0.02, 1e-4, 20)[:-1] + np.arange(19) % 2 / 1e3,
}
WRONG = {
    **{name: (ending, values) for name, values in WRONG_SIGMAS.items()},
    **{name: (python, values) for name, values in WRONG_TIMES.items()},
    "a unit slips": (to_zero(4), one(SHIFTED, 9, 1000 * SHIFTED[9])),
    "a negative level": (to_zero(4), one(EDM, 7, -EDM[7])),
}
REFUSED = {
    "pairs": json.dumps([*enumerate(EDM)]),
    "a log of 20 lines": "\n".join(f"2024-05-01 12:00:{step:02} sigma {sigma:.4f}" for step, sigma in enumerate(EDM)),
    "two lists": f"timesteps {python(LEADING)}\nsigmas {ending(EDM)}",
    "shortened": "[80.0, 57.6, ..., 0.002, 0.0]",
    "a tensor": "tensor([80.0, 57.6, 0.002, 0.0], device='cuda:0')",
    "one number": "[1.0]",
}


def falling(values: Array) -> Array:
    return np.sort(values)[::-1]


def make_random(rule: int, seed: int) -> Array:
    """A random list: uniform, log-uniform, whole, or a schedule with jitter."""
    rng = np.random.default_rng((rule, seed))
    n = int(rng.integers(5, 50))
    base = [flow(n, 3), karras(n, 80, 0.002), np.geomspace(30, 0.03, n)][seed % 3]
    return [
        lambda: np.append(falling(rng.uniform(0, 1, n)), 0),
        lambda: np.append(falling(np.exp(rng.uniform(-4, 4, n))), 0),
        lambda: falling(rng.choice(1000, n, replace=False)),
        lambda: rng.normal(size=n),
        lambda: np.sort(rng.normal(size=n)),
        lambda: np.append(base * np.exp(rng.normal(size=n) * 0.02), 0),
        lambda: np.r_[1, falling(rng.uniform(0, 1, n)), 0],
        lambda: np.sort(rng.uniform(0, 1, n)),
    ][rule]()


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_list_is_named(case: str, tmp_path: Path):
    show, values, expect = RIGHT[case]
    levels = read(tmp_path, show(values))
    assert levels.right and find_meant(levels.names, expect), levels.sentence


@pytest.mark.parametrize("values", UNNAMED.values(), ids=UNNAMED)
def test_a_list_of_no_known_form_has_a_nearest_one(values: Array, tmp_path: Path):
    assert read(tmp_path, ending(values)).nearest


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_list_does_not_pass(case: str, tmp_path: Path):
    show, values = WRONG[case]
    assert not passes(tmp_path, show(values))


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_no_list_is_refused(case: str, tmp_path: Path):
    with pytest.raises(ValueError, match="give the numbers alone, separated by spaces, commas or lines, in"):
        read(tmp_path, REFUSED[case])


@pytest.mark.slow(4)
@pytest.mark.parametrize("rule", range(8))
def test_no_random_list_passes(rule: int, tmp_path: Path):
    for seed in range(9):
        values = make_random(rule, seed)
        show = (python, decimals(2), decimals(1))[seed % 3]
        assert not passes(tmp_path, show(values)), (rule, seed)


def passes(folder: Path, text: str) -> bool:
    try:
        return read(folder, text).right
    except ValueError:
        return False
