"""`levels` on lists: right ones of papers and libraries are named, and broken or random ones never pass.

The formulas are written anew from the papers: nothing here calls the schedules of this package.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.conformance.known_schedules import fits_spelling
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


def decimals(n: int, zero: bool = True):
    def show(values: Array) -> str:
        return " ".join(f"{value:.{n}f}" for value in np.append(values, [0.0] * zero))

    return show


def scientific(values: Array) -> str:
    return "[" + ",\n ".join(f"{value:.4e}" for value in np.append(values, 0)) + "]\n"


def numpy_print(values: Array) -> str:
    return str(np.append(values, 0))


def lines(values: Array) -> str:
    return "\n".join(f"{value:.6g}" for value in np.append(values, 0.0)) + "\n"


RIGHT: dict[str, tuple[Print, Array, str]] = {
    "EDM": (ending, karras(18, 80, 0.002), "karras(rho=7, sigma_max=80, sigma_min=0.002)"),
    "EDM, numpy": (numpy_print, karras(40, 80, 0.002), "karras(rho=7)"),
    "karras of Stable Diffusion, 2 decimals": (decimals(2), karras(20, SD[-1], SD[0]), "karras(rho=7)"),
    "karras, rho 5": (lines, karras(15, 30, 0.03, 5), "karras(rho=5, sigma_max=30, sigma_min=0.03)"),
    "exponential, 2 decimals": (decimals(2), np.geomspace(14.6146, 0.0292, 10), "geometric"),
    "VP of k-diffusion": (ending, VP, "vp"),
    "arctangent": (decimals(4), TANGENT, "cosine(offset=0)"),
    "DDIM": (python, LEADING, "ddpm-leading"),
    "DDIM of Stable Diffusion": (decimals(0, zero=False), LEADING + 1, "ddpm-leading"),
    "trailing": (python, TRAILING, "ddpm-trailing"),
    "linspace, whole": (decimals(0, zero=False), LINSPACE, "ddpm-linspace"),
    "linspace, between": (decimals(4, zero=False), LINSPACE, "ddpm-linspace"),
    "lightning": (python, np.array([999, 749, 499, 249]), "ddpm-trailing"),
    "PNDM": (python, np.r_[981, 961, LEADING[1:] + 1], "ddpm-leading"),
    "Heun": (python, np.repeat(np.linspace(999, 0, 28).round().astype(int), 2)[1:], "ddpm-linspace"),
    "Euler of Stable Diffusion": (decimals(4), MID, "ddpm-linspace(betas=scaled_linear)"),
    "simple": (decimals(4), SD[999 - (np.arange(20) * 50)], "ddpm-trailing(betas=scaled_linear)"),
    "DDPM's levels, leading": (scientific, SIGMAS["linear"][LEADING], "ddpm-leading(betas=linear)"),
    "alpha-bar": (python, ABAR["linear"][LEADING], "ddpm-leading(betas=linear)"),
    "alpha-bar, 4 decimals": (decimals(4, zero=False), ABAR["scaled"][TRAILING], "ddpm-trailing"),
    "log SNR": (python, -2 * np.log(MID), "ddpm-linspace(betas=scaled_linear)"),
    "half log SNR": (decimals(4, zero=False), -np.log(karras(20, 14.6146, 0.0292)), "karras(rho=7)"),
    "ln sigma": (decimals(4, zero=False), np.log(karras(20, 80, 0.002)), "karras(rho=7)"),
    "c_noise": (decimals(4, zero=False), np.log(karras(20, 80, 0.002)) / 4, "karras(rho=7, sigma_max=80)"),
    "schnell": (python, np.array([1, 0.75, 0.5, 0.25, 0]), "flow(shift=1, end=1/n)"),
    "flow, times": (decimals(2, zero=False), 1000 * flow(20, 3), "flow(shift=3, end=1/n)"),
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
WRONG: dict[str, tuple[Print, Array]] = {
    "one level of karras, 1 %": (ending, one(EDM, 9, 1.01 * EDM[9])),
    "one whole time": (python, np.where(LEADING == 400, 410, LEADING)),
    "a unit slips": (decimals(4), one(SHIFTED, 9, 1000 * SHIFTED[9])),
    "a negative level": (decimals(4), one(EDM, 7, -EDM[7])),
    "nan": (ending, one(EDM, 7, math.nan)),
    "0 within": (ending, one(EDM, 7, 0)),
    "swapped ends": (ending, EDM[[17, *range(1, 17), 0]]),
    "a level is there twice": (ending, np.insert(EDM, 6, EDM[6])),
    "a level is missing": (ending, np.delete(EDM, 6)),
    "a time is missing": (python, np.delete(LEADING, 20)),
    "the last time is missing": (python, LEADING[:-1] + 1),
    "the first time is missing": (python, TRAILING[1:]),
    "the first level is missing": (ending, SHIFTED[1:]),
    "steps": (python, np.arange(28)),
    "steps counted down": (python, np.arange(28)[::-1]),
    "two lists in one": (ending, np.tile(np.append(EDM, 0), 2)),
    "half in other units": (ending, np.r_[EDM[:9], 2 * EDM[9:]]),
    "half later": (python, LEADING + (np.arange(50) < 25)),
    "two rules": (ending, np.r_[karras(18, 80, 0.002)[:9], karras(18, 80, 0.002, 5)[9:]]),
    "coarse times": (python, np.floor(1000 * flow(50, 12, 1e-3)).astype(int)),
    "betas": (python, np.linspace(0.02, 1e-4, 20)[:-1] + np.arange(19) % 2 / 1e3),
    "1 - t in half": (ending, np.r_[SHIFTED[:14], 1 - SHIFTED[14:]]),
}
REFUSED = {
    "pairs": json.dumps([*enumerate(EDM)]),
    "a log of 20 lines": "\n".join(f"2024-05-01 12:00:{step:02} sigma {sigma:.4f}" for step, sigma in enumerate(EDM)),
    "two lists": f"timesteps {python(LEADING)}\nsigmas {ending(EDM)}",
    "shortened": "[80.0, 57.6, ..., 0.002, 0.0]",
    "a tensor": "tensor([80.0, 57.6, 0.002, 0.0], device='cuda:0')",
    "one number": "[1.0]",
}


def draw(kind: int, seed: int) -> Array:
    """A random list: uniform, log-uniform, whole, or a schedule with jitter."""
    rng = np.random.default_rng((kind, seed))
    n = int(rng.integers(5, 50))
    base = [flow(n, 3), karras(n, 80, 0.002), np.geomspace(30, 0.03, n)][seed % 3]
    return [
        lambda: np.append(np.sort(rng.uniform(0, 1, n))[::-1], 0),
        lambda: np.append(np.sort(np.exp(rng.uniform(-4, 4, n)))[::-1], 0),
        lambda: np.sort(rng.choice(1000, n, replace=False))[::-1],
        lambda: rng.normal(size=n),
        lambda: np.sort(rng.normal(size=n)),
        lambda: np.append(base * np.exp(rng.normal(size=n) * 0.02), 0),
        lambda: np.r_[1, np.sort(rng.uniform(0, 1, n))[::-1], 0],
        lambda: np.sort(rng.uniform(0, 1, n)),
    ][kind]()


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_list_is_named(case: str, tmp_path: Path):
    show, values, expect = RIGHT[case]
    levels = read(tmp_path, show(values))
    assert levels.right and any(fits_spelling(name, expect) for name in levels.names), levels.sentence


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
@pytest.mark.parametrize("kind", range(8))
def test_no_random_list_passes(kind: int, tmp_path: Path):
    for seed in range(9):
        values = draw(kind, seed)
        show = (python, decimals(2, zero=False), decimals(1, zero=False))[seed % 3]
        assert not passes(tmp_path, show(values)), (kind, seed)


def passes(folder: Path, text: str) -> bool:
    try:
        return read(folder, text).right
    except ValueError:
        return False
