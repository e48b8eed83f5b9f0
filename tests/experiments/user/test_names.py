"""Names of noise distributions, schedules and samplers: what can be typed, read back, and what is refused."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from refusals import refused
from run_spine import forget
from tables import cells

from diffusion_core.noise import NOISE_DISTRIBUTIONS, VP, LogNormal
from diffusion_core.registry import ON_PIXELS
from diffusion_core.samplers import SAMPLERS, Euler, Heun, KadkhodaieSimoncelli
from diffusion_core.schedules import OWN_ENDS, SCHEDULES
from experiments.names import parse_call, parse_noise, parse_sampler
from experiments.noise_levels import NoiseLevels
from experiments.run.identity import identity
from experiments.schedules import Schedules
from experiments.settings import Schedule, Setting, read_schedule


@pytest.mark.parametrize("name", [*NOISE_DISTRIBUTIONS, *SAMPLERS])
def test_a_printed_name_can_be_read_back(name: str):
    if name in NOISE_DISTRIBUTIONS:
        assert parse_noise(parse_noise(name, 0.55).name, 0.123) == parse_noise(name, 0.55)
    else:
        assert parse_sampler(parse_sampler(name).name) == parse_sampler(name)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedules_printed_name_can_be_read_back(name: str):
    schedule, said = read_schedule(name, 7, 0.55)
    assert not said and len(schedule.sigmas()) == 8
    assert read_schedule(schedule.text, 7, 0.55)[0] == schedule
    assert read_schedule(schedule.name, 7, 0.123)[0].sigmas() == schedule.sigmas()


def test_parameters_by_position_and_by_keyword_and_in_the_units_of_the_data():
    assert parse_noise("log-normal(0, p_std=2)", 1.0) == LogNormal(0, 2)
    assert parse_sampler("euler(0.5)") == Euler(0.5) and parse_sampler(" heun") == Heun()
    typed, said = read_schedule("karras(20, 0.1, rho=5, end=0)", 3)
    assert typed == Schedule("karras", 3, 20.0, 0.1, (("rho", 5.0),)) and said["end"] == 0
    assert parse_call("sampler", "mine(1)", {"mine": lambda size: size}) == ("mine", {"size": 1.0})
    assert parse_noise("vp", 0.55) == VP(data_std=0.55) and parse_noise("vp(data_std=0.3)", 0.55) == VP(data_std=0.3)
    assert parse_noise("sd3(3)", 0.55) == LogNormal(1.6964, 1.0)  # ln(3 / 0.55)
    assert read_schedule("cosine", 3, 0.55)[0].name == "cosine(data_std=0.55)"


OWN = """
from dataclasses import dataclass
from experiments import Euler, LogNormal, Sampler, Schedule

@dataclass(frozen=True)
class Mine(Euler):
    eta: float = 1

class Bare(Euler): ...

@dataclass(frozen=True)
class Raises(Euler):
    def __post_init__(self): raise KeyError("eta")

@dataclass(frozen=True)
class Levels(Schedule):
    power: float = 2
    def sigmas(self): return tuple(self.sigma_max / (step + 1) ** self.power for step in range(self.n_steps + 1))

@dataclass(frozen=True)
class Noise(LogNormal):
    p_std: float = 3

number = 3
"""


def write_own(text: str = OWN):
    """The module `own_xyz`, which is imported anew."""
    Path("own_xyz.py").write_text(text)
    forget()


@pytest.mark.usefixtures("own_modules")
def test_a_class_of_the_users_is_typed_as_ours_and_known_by_its_text():
    write_own()
    typed = [parse_sampler(f"own_xyz:Mine{options}") for options in ("", "(1)", "(eta=0.5)")]
    assert [sampler.name for sampler in typed] == ["own_xyz:Mine"] * 2 + ["own_xyz:Mine(eta=0.5)"]
    first = [identity(Setting("one", Schedule(), sampler)) for sampler in typed]
    assert first[0] == first[1] != first[2]
    write_own(f"{OWN}# edited")
    assert identity(Setting("one", Schedule(), parse_sampler("own_xyz:Mine"))) != first[0]


@pytest.mark.usefixtures("own_modules")
def test_schedules_and_noise_distributions_of_the_users_are_typed_as_ours():
    write_own()
    levels, said = read_schedule("own_xyz:Levels(8, 0.03, power=3, end=0)", 2, 1.0)
    assert "end" in said and levels.name == "own_xyz:Levels(power=3)" and levels.sigmas() == (8.0, 1.0, 8 / 27)
    assert parse_noise("own_xyz:Noise(p_std=2)", 1.0).name == "own_xyz:Noise(-0.507, 2)"
    for study in (Schedules(schedules=("own_xyz:Levels",)), NoiseLevels(train_noise=("own_xyz:Noise",))):
        assert study.provenance["formulas"]
    ids = identity(levels), identity(parse_noise("own_xyz:Noise", 1.0))
    write_own(f"{OWN}# edited")
    edited = read_schedule("own_xyz:Levels(8, 0.03, power=3)", 2, 1.0)[0], parse_noise("own_xyz:Noise", 1.0)
    assert not {*ids} & {*map(identity, edited)}


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize(
    "text, message",
    [
        ("own_xyz:Mine(b=1)", "the parameters of own_xyz:Mine are eta"),
        ("own_xyz:Bare", "sampler='own_xyz:Bare': it must be a subclass of Sampler; write it at the top"),
        ("own_xyz:dataclass", "it must be a subclass of Sampler"),
        ("own_xyz:number", "number is a int, but it must be"),
        ("own_xyz:Raises(0.5)", r"sampler='own_xyz:Raises\(0.5\)': KeyError: 'eta'"),
        ("own_xyz:Absent", "own_xyz:Absent: own_xyz defines no 'Absent'"),
    ],
)
def test_what_is_no_class_of_samplers_says_why(text: str, message: str):
    write_own()
    with refused(message):
        parse_sampler(text)


def test_one_and_one_point_zero_are_one_setting():
    assert len({identity(parse_sampler(text)) for text in ("euler(1)", "euler(eta=1)", "euler(1.0)")}) == 1
    for steps in ("50", "50.0"):
        typed = parse_sampler(f"kadkhodaie-simoncelli(max_steps={steps})")
        assert identity(typed) == identity(KadkhodaieSimoncelli(max_steps=50))


REFUSED: dict[Callable[..., object], dict[str, str]] = {  # what reads it -> what is typed -> what the error says
    partial(parse_noise, data_std=1): {
        "gaussian": "train_noise='gaussian': it must be one of edm, edm2, jit, sd3",
        "log-normal(0, 1": r"it must read like log-normal\(p_mean=1\), with numbers",
        "log-normal(open('x'))": "it must read like",
        "log-normal(0, -1)": "p_std=-1.0: it must be above 0",
        "ddpm(1000.5)": "n_table=1000.5: it must be a whole number",
    },
    partial(read_schedule, n_steps=3): {
        "spiral": "schedule='spiral': it must be one of geometric, karras",
        "karras(7)": r"it must read like karras\(30, 0.03, end=0\)",
        "karras(30, 0.03, 7)": r"it must read like karras\(30, 0.03, end=0\)",
        "karras(roh=7)": "the parameters of karras are sigma_max, sigma_min, rho, end",
        "karras(end=0.1)": "end=0.1: it must be 0, for a last step to 0",
        "flow(sigma_max=3)": "flow sets its own ends, so sigma_max cannot be given",
    },
    parse_sampler: {
        "rk45": r"sampler='rk45': it must be one of euler, euler-within",
        "euler(1, 2)": "the parameters of euler are eta",
        "restart(((2, 1, 3, 4),))": "sigma_min=2",
        "kadkhodaie-simoncelli(0.5, 0.01, 2.5)": "max_steps=2.5: it must be a whole number",
    },
}


@cells(REFUSED)
def test_what_cannot_be_read_says_why(row: Callable[..., object], cell: str):
    with refused(REFUSED[row][cell]):
        row(cell)


def test_every_schedule_has_exact_ends_or_its_own():
    for name in SCHEDULES:
        sigmas = Schedule(name, 5, 20.0, 0.1).sigmas()
        assert ((sigmas[0], sigmas[-1]) == (20.0, 0.1)) == (name not in OWN_ENDS)


def test_levels_of_pixels_follow_the_data():
    """The processes of the other two are defined on data of variance 1."""
    usual = {name: inspect.signature(make).parameters.get("data_std") for name, make in NOISE_DISTRIBUTIONS.items()}
    assert {name for name, option in usual.items() if option} == {*ON_PIXELS, "cosine", "logit-normal"}
