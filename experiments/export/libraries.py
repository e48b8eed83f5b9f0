"""A setting as code for other libraries: diffusers and k-diffusion. Each gives the same images for the same noise."""

from experiments.export.target import Target
from experiments.export.torch_loop import step

K_DIFFUSION = {  # sampler -> the function of k_diffusion.sampling and its keywords
    "euler": ("sample_euler_ancestral", ", eta={eta!r}"),
    "heun": ("sample_heun", ""),
    "dpm++2m": ("sample_dpmpp_2m", ""),
}
PREDICTIONS = ("eps", "v")  # that all of diffusers' schedulers know
PLAIN = "sigmas, times[:-1]"
TWICE = (
    "torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(2)]),\n"
    "        torch.cat([times[:1], times[1:].repeat_interleave(2)])[:-1],"
)
MULTISTEP = (
    ', algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint",\n        lower_order_final=False, '
    'euler_at_final=False, final_sigmas_type="sigma_min", thresholding=False'
)
SCHEDULERS = {  # sampler -> scheduler, options that differ from the pipeline's, and its levels and times
    "euler(eta=0)": ("EulerDiscreteScheduler", "", PLAIN),
    "euler(eta=1)": ("EulerAncestralDiscreteScheduler", "", PLAIN),
    "heun(s_churn=0)": ("HeunDiscreteScheduler", ", clip_sample=False", TWICE),
    "dpm++2m": ("DPMSolverMultistepScheduler", MULTISTEP, PLAIN),
}


def k_diffusion(target: Target) -> str | None:
    """Code for k-diffusion; None if it has no such sampler. Its ladder ends above 0, which k-diffusion allows."""
    if step(target) is None:
        return None
    function, keywords = K_DIFFUSION[target.sampler.label]
    eta = getattr(target.sampler, "eta", 0.0)
    if target.sampler.label == "euler" and eta == 0:
        function, keywords = "sample_euler", ""
    return f'''\
# {target.title}
# Units: {target.units}
import torch
from k_diffusion import sampling

{target.lists}


def sample(denoiser, noise):
    """denoiser(x, sigma) returns the clean image, as k-diffusion's wrappers do; noise() draws unit noise."""
    x = {target.start}
    return sampling.{function}(denoiser, x, torch.tensor(SIGMAS, device=x.device){keywords.format(eta=eta)})
'''


def diffusers(target: Target) -> str | None:
    """Code for a network with diffusers' conventions; None for another one, or if diffusers has no such scheduler."""
    if target.process != "vp" or not target.table or target.predicts not in PREDICTIONS:
        return None
    if target.sampler.name not in SCHEDULERS:
        return None
    name, options, ladder = SCHEDULERS[target.sampler.name]
    draws = "" if name == "HeunDiscreteScheduler" else ", generator=generator"
    scaled = name == "DPMSolverMultistepScheduler"  # its x has unit variance
    before, after = (" / (1 + SIGMAS[0] ** 2) ** 0.5", " * (1 + SIGMAS[-1] ** 2) ** 0.5") if scaled else ("", "")
    return f'''\
# {target.title}
# Units: {target.units}
import torch
from diffusers import {name}

{target.lists}


@torch.no_grad()
def sample(net, scheduler_config, noise, generator=None):
    """net(z, time) is unet(z, time).sample, scheduler_config that of your pipeline; noise() draws unit noise."""
    scheduler = {name}.from_config(
        scheduler_config{options}
    )
    scheduler.set_timesteps(len(SIGMAS) - 1)
    scheduler.set_begin_index(0)
    sigmas, times = torch.tensor(SIGMAS), torch.tensor(TIMES)
    scheduler.sigmas, scheduler.timesteps = (
        {ladder}
    )
    x = ({target.start}){before}
    for time in scheduler.timesteps:
        z = scheduler.scale_model_input(x, time)
        out = net(z, time.to(z.device).expand(len(z)))[:, : z.shape[1]]
        x = scheduler.step(out, time, x{draws}).prev_sample
    return x{after}
'''
