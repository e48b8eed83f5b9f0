"""Schedulers of diffusers as samplers: they equal ours on the same levels with the same draws, which are noise()."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from arrays import normal
from refusals import refused
from torch import Tensor
from torch.testing import assert_close

from diffusion_core.exact import Empirical
from diffusion_core.samplers import DPMpp2M, DPMpp2MSDE, Euler, Heun, Sampler, checked_steps, sample
from diffusion_core.schedules import ddpm_table, karras
from diffusion_core.schedules.process_time import leading, linspace, trailing
from experiments.user.diffusers_schedulers import (
    DiffusersScheduler,
    find_n_steps,
    is_scheduler,
    load_scheduler,
    make_scheduler,
)

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")
DATA_STD = 0.4
N_STEPS = 16
SHAPE = (3, 1, 4, 4)
Model = Callable[..., Tensor]


@pytest.fixture(scope="module")
def model() -> Model:
    """The exact denoiser of nine images with noise of standard deviation 0.3, which is not linear."""
    images = Empirical(normal(9, *SHAPE[1:], seed=1).double())

    def eps(x: Tensor, sigma: Tensor) -> Tensor:
        level = (sigma**2 + 0.3**2).sqrt()
        return images(x, level) * (sigma / level).view(-1, 1, 1, 1)

    return eps


class Draws:
    """noise() of a seed, counted."""

    def __init__(self, dtype: torch.dtype = torch.float64, seed: int = 2) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype
        self.taken = 0

    def __call__(self) -> Tensor:
        self.taken += 1
        return torch.randn(SHAPE, dtype=torch.float64, generator=self.generator).to(self.dtype)


def load(text: str) -> DiffusersScheduler:
    return load_scheduler(f"diffusers:{text}", DATA_STD)


def run(sampler: Sampler, model: Model, sigmas: tuple[float, ...], start: float, draws: Draws) -> Tensor:
    *_, x = checked_steps(model, sampler, sigmas, draws() * start, draws)
    return x


# largest difference of samples, which are of size 1. VE: the scheduler keeps x, of sizes up to sigma, in float32; VP:
# its coefficients are; flow: it begins without signal, ours at t = 0.999
VE, VP, FLOW = 1e-4, 2e-6, 1e-2
TWINS = {
    "EulerDiscreteScheduler": (Euler(), VE),
    "EulerDiscreteScheduler(prediction_type=v_prediction)": (Euler(), VE),
    "EulerDiscreteScheduler(use_karras_sigmas=True)": (Euler(), VE),
    "EulerAncestralDiscreteScheduler": (Euler(1.0), VE),
    "HeunDiscreteScheduler": (Heun(), VE),
    "DDIMScheduler(clip_sample=False)": (Euler(), VP),
    "DDIMScheduler(clip_sample=False, prediction_type=v_prediction)": (Euler(), VP),
    "DDIMScheduler(clip_sample=False, prediction_type=sample)": (Euler(), VP),
    "DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)": (Euler(), VP),
    "DDIMScheduler(clip_sample=False, eta=1.0)": (Euler(1.0), VP),
    "DDPMScheduler(clip_sample=False)": (Euler(1.0), VP),
    "DPMSolverMultistepScheduler": (DPMpp2M(), VP),
    "DPMSolverMultistepScheduler(final_sigmas_type=sigma_min)": (DPMpp2M(), 2e-5),
    "DPMSolverMultistepScheduler(algorithm_type=sde-dpmsolver++)": (DPMpp2MSDE(), VP),
    "EDMEulerScheduler": (Euler(), VP),
    "EDMEulerScheduler(prediction_type=v_prediction)": (Euler(), VP),
    "EDMDPMSolverMultistepScheduler": (DPMpp2M(), VP),
    "FlowMatchEulerDiscreteScheduler(shift=3.0)": (Euler(), FLOW),
    "LTXEulerAncestralRFScheduler(eta=0.0)": (Euler(), FLOW),
}


@pytest.mark.parametrize("text", TWINS)
def test_a_scheduler_equals_our_sampler_on_its_levels_with_the_same_draws(text: str, model: Model):
    twin, tolerance = TWINS[text]
    scheduler = load(text)
    sigmas = scheduler.own_levels(N_STEPS)
    pure = sigmas[0] if tolerance in (VE, FLOW) else math.hypot(sigmas[0], 1 / scheduler.scale)  # variance 1, not s^2
    expected = run(twin, model, sigmas, pure, Draws())
    samples = run(scheduler, model, sigmas, sigmas[0], Draws())
    assert_close(samples, expected, rtol=0, atol=tolerance)


def test_two_runs_at_a_time_have_no_state_in_common(model: Model):
    scheduler = load("DPMSolverMultistepScheduler")
    sigmas = scheduler.own_levels(N_STEPS)
    both = [
        scheduler.run(lambda x, sigma: model(x, x.new_full((len(x),), sigma)), Draws()() * sigmas[0], sigmas, Draws())
        for _ in range(2)
    ]
    *_, (first, second) = zip(*both, strict=True)
    alone = run(scheduler, model, sigmas, sigmas[0], Draws())
    assert torch.equal(first, alone) and torch.equal(second, alone)


def test_in_float32_samples_differ_by_rounding(model: Model):
    scheduler = load("DPMSolverMultistepScheduler(algorithm_type=sde-dpmsolver++)")
    sigmas = scheduler.own_levels(N_STEPS)
    single = run(scheduler, model, sigmas, sigmas[0], Draws(torch.float32))
    assert single.dtype == torch.float32
    assert_close(single.double(), run(scheduler, model, sigmas, sigmas[0], Draws()), rtol=0, atol=1e-4)


LINEAR = "beta_start=0.0001, beta_end=0.02"
DRAWS = {  # evaluations with n steps, and draws
    "DDIMScheduler(clip_sample=False)": (lambda n: n, lambda n: 0),
    "DDPMScheduler(clip_sample=False)": (lambda n: n, lambda n: n - 1),
    "EulerDiscreteScheduler": (lambda n: n, lambda n: 0),
    "EulerAncestralDiscreteScheduler": (lambda n: n, lambda n: n),  # that of its last step is multiplied by 0
    "DPMSolverMultistepScheduler": (lambda n: n, lambda n: 0),
    "DPMSolverMultistepScheduler(algorithm_type=sde-dpmsolver++)": (lambda n: n, lambda n: n),
    "FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)": (lambda n: n, lambda n: n),
    "HeunDiscreteScheduler": (lambda n: 2 * n - 1, lambda n: 0),
    "KDPM2AncestralDiscreteScheduler": (lambda n: 2 * n - 1, lambda n: n - 1),
    "PNDMScheduler(skip_prk_steps=True)": (lambda n: n + 1, lambda n: 0),
}


@pytest.mark.parametrize("text", DRAWS)
def test_evaluations_are_counted_and_draws_are_those_of_noise_alone(text: str, model: Model):
    evaluations, draws_of = DRAWS[text]
    scheduler = load(text)
    sigmas = scheduler.own_levels(N_STEPS)
    draws = Draws()
    state = torch.random.get_rng_state()
    first = run(scheduler, model, sigmas, sigmas[0], draws)
    assert torch.equal(torch.random.get_rng_state(), state), "it draws from torch's global generator"
    assert draws.taken - 1 == draws_of(N_STEPS)
    assert scheduler.planned_nfe(sigmas) == evaluations(N_STEPS)
    assert scheduler.adds_noise(sigmas) == (draws.taken > 1)
    torch.manual_seed(3)
    assert torch.equal(run(scheduler, model, sigmas, sigmas[0], Draws()), first)


@pytest.mark.parametrize("text", ["DDPMScheduler(clip_sample=False)", "PNDMScheduler", "UniPCMultistepScheduler"])
def test_the_size_of_a_batch_changes_no_sample(text: str, model: Model):
    scheduler = load(text)
    drawn = [
        sample(model, scheduler.own_levels(N_STEPS), scheduler, shape=SHAPE[1:], n_samples=3, batch_size=size)
        for size in (3, 1)
    ]
    assert_close(*drawn, rtol=0, atol=1e-5)


TABLE = ddpm_table(data_std=DATA_STD)
LEVELS = {
    "DDIMScheduler": [*(TABLE[i] for i in leading(9, 1000)), 0.0],
    "DDIMScheduler(set_alpha_to_one=False, steps_offset=1)": [*(TABLE[i + 1] for i in leading(9, 1000)), TABLE[0]],
    "DDIMScheduler(set_alpha_to_one=False)": [TABLE[i] for i in leading(9, 1000)],  # the step from t = 0 does nothing
    "DDIMScheduler(timestep_spacing=linspace)": [*(TABLE[i] for i in linspace(9, 1000)), 0.0],  # meant, see `DOUBTS`
    "DDPMScheduler(timestep_spacing=trailing)": [*(TABLE[i] for i in trailing(10, 1000)[:-1]), 0.0],
    "DPMSolverMultistepScheduler(timestep_spacing=trailing, final_sigmas_type=sigma_min)": [
        TABLE[i] for i in trailing(10, 1000)],
    f"HeunDiscreteScheduler({LINEAR}, timestep_spacing=trailing)": [*(TABLE[i] for i in trailing(10, 1000)[:-1]), 0.0],
    "EDMEulerScheduler": [*karras(9, 160.0, 0.004), 0.0],  # its sigma_data is 0.5
    "FlowMatchEulerDiscreteScheduler": [
        t / (1 - t) / DATA_STD for t in [0.999, *(1 - 0.999 * k / 9 for k in range(1, 10)), 0]],
    "FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, mu=1.0)": [
        0.999 / 0.001 / DATA_STD,
        *(math.e * t / (1 - t) / DATA_STD for t in [*(1 - 0.999 * k / 9 for k in range(1, 10)), 0])],
}  # fmt: skip


@pytest.mark.parametrize("text", LEVELS)
def test_its_levels_are_those_of_its_evaluations_and_its_end(text: str):
    assert_close(load(text).own_levels(10), tuple(LEVELS[text]), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "text, n_levels",
    [
        ("EulerDiscreteScheduler", 51),
        ("KDPM2DiscreteScheduler", 100),  # it stops between its levels, too
        ("KDPM2AncestralDiscreteScheduler", 51),
        ("DPMSolverMultistepScheduler(use_lu_lambdas=True)", 50),  # two are rounded to one time
        ("DDIMScheduler(set_alpha_to_one=False)", 50),
        ("PNDMScheduler", 53),
    ],
)
def test_the_number_of_steps_follows_from_its_levels(text: str, n_levels: int):
    scheduler = load(text)
    sigmas = scheduler.own_levels(50)
    assert len(sigmas) == n_levels
    assert all(before > after * 1.0005 for before, after in pairwise(sigmas))
    assert find_n_steps(scheduler, sigmas) == 50


def test_on_other_levels_it_takes_as_many_steps():
    assert find_n_steps(load("DDIMScheduler"), (90.0, 20.0, 3.0, 0.1)) == 3


CLIPS = r": {} limits the denoised image to about 1, where .* standard deviation 0.4, .*; give {}=False$"
DOUBTS = {
    "DDIMScheduler": [CLIPS.format("clip_sample", "clip_sample")],
    "DDIMScheduler(clip_sample=False, thresholding=True)": [CLIPS.format("thresholding", "thresholding")],
    "DPMSolverMultistepScheduler(use_karras_sigmas=True)": [": its levels are rounded to whole times: 3.5 % off$"],
    "DDIMScheduler(clip_sample=False, timestep_spacing=linspace)": [
        ": its network is asked at other levels than x has: .* % off$"],
    **{text: [] for text in (
        "DDIMScheduler(clip_sample=False)", "EulerDiscreteScheduler(use_karras_sigmas=True)",
        "DPMSolverMultistepScheduler(algorithm_type=sde-dpmsolver++)", "KDPM2AncestralDiscreteScheduler",
        "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler(shift=3.0)", "PNDMScheduler", "LCMScheduler",
        "EulerDiscreteScheduler(timestep_type=continuous, prediction_type=v_prediction, use_karras_sigmas=True, "
        "sigma_min=0.002, sigma_max=700.0)",
        "EulerDiscreteScheduler(beta_schedule=squaredcos_cap_v2)")},  # float32 rounds its first level, 20,000, coarsely
}  # fmt: skip


@pytest.mark.parametrize("text", DOUBTS)
def test_it_warns_of_limits_of_the_image_and_of_other_levels(text: str):
    scheduler = load(text)
    doubts = scheduler.doubts(scheduler.own_levels(50))
    assert len(doubts) == len(DOUBTS[text])
    for doubt, words in zip(doubts, DOUBTS[text], strict=True):
        assert doubt.startswith(scheduler.name) and re.search(words, doubt), doubt


TEXTS = {  # as typed, and as printed
    "diffusers:DDIMScheduler": "",
    "diffusers:DPMSolverMultistepScheduler(use_karras_sigmas=True)": "",
    "diffusers:DDIMScheduler(eta=0.5, clip_sample=False)": "diffusers:DDIMScheduler(clip_sample=False, eta=0.5)",
    "diffusers:DPMSolverMultistepScheduler(algorithm_type=sde-dpmsolver++)": "",
    "diffusers:DDPMScheduler(trained_betas=[0.1, 0.2], variance_type=None)":
        "diffusers:DDPMScheduler(trained_betas=(0.1, 0.2), variance_type=None)",
    "diffusers:FlowMatchEulerDiscreteScheduler(mu=1.15, use_dynamic_shifting=True)": "",
    "mine_xyz:scheduler": "diffusers:DDIMScheduler(clip_sample=False, timestep_spacing=trailing)",
    "mine_xyz:DDIMScheduler(eta=1)": "diffusers:DDIMScheduler(eta=1)",
    "mine_xyz:Mine(clip_sample=False)": "",
    "mine_xyz:instance": "mine_xyz:Mine(beta_end=0.01)",
    "scheduler_config.json": "diffusers:DDIMScheduler(clip_sample=False, timestep_spacing=trailing)",
}  # fmt: skip
MINE = """
import torch
from diffusers import DDIMScheduler, DDPMScheduler
class Mine(DDIMScheduler):
    pass
class Dice(DDPMScheduler):
    def step(self, *arguments, **options):
        torch.randint(6, ())
        return super().step(*arguments, **options)
class OneNumber(DDPMScheduler):
    def step(self, output, t, x, **options):
        return (x + torch.randn(len(x), 1, 1, 1),)
scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
instance = Mine(beta_end=0.01)
number = 3
def function(): pass
"""


@pytest.fixture
def mine(own_modules: None):
    Path("mine_xyz.py").write_text(MINE)
    config = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    config.save_config(".")
    text = Path("scheduler_config.json").read_text()
    Path("scheduler_config.json").write_text(text.replace("{", '{"of_another_version": 1,', 1))
    yield
    make_scheduler.cache_clear()  # classes of modules that are forgotten


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_printed_can_be_typed(text: str):
    scheduler = load_scheduler(text, DATA_STD)
    assert scheduler.name == (TEXTS[text] or text)
    assert load_scheduler(scheduler.name, DATA_STD) == scheduler
    assert hash(scheduler) == hash(replace(scheduler)) and scheduler.data_std == DATA_STD


REFUSED = {
    "diffusers:DDIM": "^diffusers:DDIM: there is no such scheduler$",
    "diffusers:UNet2DModel": "^diffusers:UNet2DModel: there is no such scheduler$",
    "diffusers:DDIMScheduler(et=1)": "^diffusers:DDIMScheduler: et: it has no such option$",
    "diffusers:DDIMScheduler(device=cpu)": "device: it has no such option$",
    "diffusers:DDIMScheduler(eta)": r"must read like DDIMScheduler\(option=value, option=value\)",
    "diffusers:EulerDiscreteScheduler(use_karras_sigmas=True, use_beta_sigmas=True)":
        r"^diffusers:EulerDiscreteScheduler\(use_beta_sigmas=True, use_karras_sigmas=True\): ValueError: Only one of",
    "diffusers:DDIMScheduler(trained_betas={})": "unhashable type: 'dict'",
    "mine_xyz:function": "^mine_xyz:function: it must be a scheduler of diffusers",
    "mine_xyz:Mine(et=1)": "^mine_xyz:Mine: et: it has no such option$",
}  # fmt: skip


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_scheduler_is_named(text: str):
    with refused(REFUSED[text]) as error:
        load_scheduler(text)
    assert "\n" not in str(error.value)


def test_the_standard_deviation_of_the_data_must_be_positive():
    with refused("^data_std=0"):
        load_scheduler("diffusers:DDIMScheduler", 0)


NO_LEVELS = {
    "DDIMInverseScheduler": "^diffusers:DDIMInverseScheduler: ValueError: its levels rise",
    "IPNDMScheduler": "^diffusers:IPNDM.*: what the network of IPNDMScheduler receives or predicts is unknown here",
    "FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)": "^diffusers:FlowMatch.*: ValueError: `mu` must be",
    "LCMScheduler": "^diffusers:LCMScheduler: ValueError: The combination",
    "DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type=flow_prediction)": "network is asked at .* 0$",
}


@pytest.mark.parametrize("text", NO_LEVELS)
def test_why_it_has_no_levels_is_named(text: str):
    with refused(NO_LEVELS[text]):
        load(text).own_levels(1000)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    "name, words", [("Dice", "it draws with randint; it must draw noise with torch.randn"), ("OneNumber", r"\(3, 1, 1")]
)
def test_other_random_numbers_are_refused(name: str, words: str, model: Model):
    scheduler = load_scheduler(f"mine_xyz:{name}(clip_sample=False)")
    with refused(words):
        run(scheduler, model, (100.0, 1.0, 0.0), 100.0, Draws())


def test_without_diffusers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with refused(r'^diffusers:PNDMScheduler: diffusers is not installed .*; pip install "sigmabench\[diffusers\]"$'):
        load_scheduler("diffusers:PNDMScheduler(steps_offset=7)")


def test_a_scheduler_is_an_instance_or_a_class():
    assert is_scheduler(diffusers.DDIMScheduler) and is_scheduler(diffusers.DDIMScheduler())
    assert (
        not is_scheduler(Euler())
        and not is_scheduler(SimpleNamespace(set_timesteps=print))
        and not is_scheduler(diffusers.UNet2DModel)
    )
