"""Steps with planted bugs: name -> (step, what the check must call it, options of the check).

Those that were found in public code name their thread.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.published_policies import cps, dance_grpo, density, finish, flow_grpo, sample_noise, wide
from experiments.conformance.policy.steps import uniform

Step = Callable[..., Any]


def changed(base, **changes):
    """`base` with another log_prob, reported mean or reported std: functions of (x_next, mean, std, t, u)."""

    def step(x, t, u, v, generator=None, x_next=None, noise_level=0.5):
        y, log_p, m, s = base(x, t, u, v, generator, x_next, noise_level)
        new = {name: change(y.to(m.dtype), m, s, t, u) for name, change in changes.items()}
        return y, *({"log_prob": log_p, "mean": m, "std": s} | new).values()

    return step


def called(base=flow_grpo, **changes):
    """`base`, called with another v, generator, x_next or noise_level: functions of the own one, x and t."""

    def step(x, t, u, v, generator=None, x_next=None, noise_level=0.7):
        arguments = {"v": v, "generator": generator, "x_next": x_next, "noise_level": noise_level}
        return base(x, t, u, **arguments | {name: change(arguments[name], x, t) for name, change in changes.items()})

    return step


def drawn(noise=sample_noise, law=lambda x, m, s, t, u, v: (m, s), after=lambda y, x: y, noise_level=0.7):
    """Flow-GRPO with the mean and std that `law` makes of its own, and `after` of x_next, where noise(x, generator)."""
    a = noise_level

    def step(x, t, u, v, generator=None, x_next=None, noise_level=a):
        _, _, *own = flow_grpo(x, t, u, v, None, x, noise_level)
        mean, std = law(x, *own, t, u, v)
        if x_next is None:
            x_next = after(mean + std * noise(x, generator), x).to(x.dtype)
        return finish(x, mean, std, None, x_next)

    return step


def held(y, m, s, t, u):
    """The std of Flow-GRPO with t held at 0.99."""
    return 0.5 * (t / (1 - t.clamp(max=0.99)) * (t - u)) ** 0.5


def seeded(generator, *_):
    return torch.manual_seed(generator.initial_seed()) if isinstance(generator, torch.Generator) else generator


def unrounded(x, t, u, v, generator=None, x_next=None, noise_level=0.7):
    y, *rest = flow_grpo(x.float(), t, u, v.float(), generator, x_next, noise_level)
    return y.to(x.dtype), *rest


def low(x, t, u, v, generator=None, x_next=None, noise_level=0.5):
    mean = (1 - u) * (x - t * v) + u * math.cos(noise_level * math.pi / 2) * (x + (1 - t) * v)
    return finish(x, mean, u * math.sin(noise_level * math.pi / 2), generator, x_next)


def antithetic(x, generator):
    half = torch.randn((len(x) + 1) // 2, *x.shape[1:], generator=generator)
    return torch.cat([half, -half])[: len(x)]


def uncompensated(x, mean, std, t, u, v):
    y, w = wide(x, v)
    return y + (u - t) * w, std


TWICE = 2**0.5  # times the std


def uneven(y, m, s):
    """The density, of which some elements get no gradient and others get it twice."""
    return density(y, torch.cat([m[:, :2].detach(), 2 * m[:, 2:] - m[:, 2:].detach()], dim=1), s)


def log_prob(make, base=flow_grpo):
    return changed(base, log_prob=lambda y, m, s, t, u: make(y, m, s))


IGNORED = "ignores its generator"
CONVERGENCE = {"convergence": True}
TABLE = [
    ("Flow's std for CPS (UniRL#38)", "reported std", changed(cps, std=held)),
    ("reported mean lacks a term", "reported mean", changed(flow_grpo, mean=lambda y, m, s, t, u: m + 0.1 * s)),
    ("14 points replayed on 15 (verl-omni#279)", "replay", flow_grpo,
     {"n_steps": 13, "replay_levels": lambda n: uniform(n + 1)}),
    ("whole timesteps in the replay (Flow-Factory#61)", "replay", flow_grpo,
     {"levels": lambda n: uniform(n, 3.0), "replay_levels": lambda n: (uniform(n, 3.0) * 1000).round() / 1000}),
    ("replay draws anew", "replay", called(x_next=lambda *_: None)),
    ("normaliser dropped (verl-omni#209)", "log_prob: normaliser",
     log_prob(lambda y, m, s: -((y - m) ** 2 / (2 * s**2)).flatten(1).mean(1))),
    ("CPS not divided by the variance (NeMo-RL#3408)", "log_prob: not divided by the variance",
     log_prob(lambda y, m, s: -((y - m) ** 2).flatten(1).mean(1), cps)),
    ("std is at least 0.17 (Diffusion-Planner#50)", "log_prob: wrong std",
     log_prob(lambda y, m, s: density(y, m, s.clamp(min=0.17)), dance_grpo)),
    ("variance in place of std", "log_prob: wrong std", log_prob(lambda y, m, s: density(y, m, s**2), dance_grpo)),
    ("drawn with twice the variance", "log_prob: wrong std",
     changed(drawn(lambda x, g: TWICE * sample_noise(x, g)), std=lambda y, m, s, t, u: TWICE * s)),
    ("around another mean", "log_prob: wrong mean", log_prob(lambda y, m, s: density(y, m + 0.3 * s, s))),
    ("one log_prob for the batch", "log_prob: shape", log_prob(lambda y, m, s: density(y, m, s).mean())),
    ("mean over channels, sum over pixels", "log_prob: factor",
     log_prob(lambda y, m, s: 15 * density(y, m, s))),
    ("detached from the middle", "gradient",
     changed(dance_grpo, log_prob=lambda y, m, s, t, u: density(y, m if t > 0.5 else m.detach(), s))),
    ("gradient right on average", "gradient", log_prob(uneven)),
    ("log_prob in float16", "log_prob: rounded", log_prob(lambda y, m, s: density(y, m, s).half())),
    ("sign of log_prob", "log_prob: not Gaussian", log_prob(lambda y, m, s: -density(y, m, s))),
    ("sets a seed if there is none", IGNORED,
     called(generator=lambda g, *_: g or torch.manual_seed(0))),
    ("noise in bfloat16", "rounded noise", drawn(lambda x, g: sample_noise(x, g).bfloat16())),
    ("noise image by image", "shape of the noise",
     drawn(lambda x, g: torch.stack([torch.randn(x.shape[1:], generator=g) for _ in x]))),
    ("under no_grad", "gradient", torch.no_grad()(changed(flow_grpo))),
    ("NaN in the middle", "not finite at step 6, t = 0.5",
     called(v=lambda v, x, t: v * math.nan if 0.4 < t < 0.55 else v)),
    ("NaN only with more than 20 steps", "not finite with 25 steps",
     called(v=lambda v, x, t: v * math.nan if 0 < t < 0.05 else v), CONVERGENCE),
    ("infinite noise at t = 1", "not finite at the first step, t = 1",
     called(noise_level=lambda a, x, t: a if t < 1 else math.inf)),
    ("generator ignored (diffusers#13678)", IGNORED,
     called(generator=lambda *_: None)),
    ("sets the global seed", "touches the global generator",
     called(generator=seeded)),
    ("first generator for the whole batch (diffusers#6222)", IGNORED,
     called(generator=lambda g, *_: g[0] if isinstance(g, list) else g)),
    ("scaled by the batch's maximum", "depends on its batch",
     called(v=lambda v, x, t: v * (1 + 1e-3 * x.abs().amax()))),
    ("log_prob centred over the batch", "depends on its batch",
     log_prob(lambda y, m, s: density(y, m, s) - density(y, m, s).mean())),
    ("one noise for all images", "one noise for all", drawn(lambda x, g: sample_noise(x[:1], g))),
    ("antithetic pairs", "not a Gaussian step", drawn(antithetic)),
    ("one number for all pixels", "shape of the noise",
     drawn(lambda x, g: torch.randn(len(x), 1, 1, 1, generator=g))),
    ("clipped", "not a Gaussian step", drawn(after=lambda y, x: y.clamp(-1, 1))),
    ("noise from numpy", "other randomness",
     drawn(lambda x, g: torch.from_numpy(np.random.default_rng().normal(size=x.shape)).float())),
    ("changes x in place", "changes its input", drawn(after=lambda y, x: x.copy_(y))),
    ("CPS: sine and cosine exchanged", "not the ODE at noise 0",
     called(cps, noise_level=lambda a, *_: 1 - a)),
    ("log_prob before rounding (Flow-Factory#61)", "replay in bfloat16", unrounded),
    ("computed in bfloat16", "computed in bfloat16", low),
    ("noise not compensated (zea#551)", "wrong limit", drawn(law=uncompensated), CONVERGENCE),
    ("std lacks sqrt(dt) everywhere", "wrong limit",  # its mean is that of the true std
     drawn(law=lambda x, m, s, t, u, v: (m, s / (t - u) ** 0.5), noise_level=0.2), CONVERGENCE),
    ("drift twice as large", "wrong limit",
     drawn(law=lambda x, m, s, t, u, v: (2 * m - wide(x, v)[0], s)), CONVERGENCE),
    ("noise after the last step", "noise left over",
     drawn(law=lambda x, m, s, t, u, v: (m, s if u > 0 else 0 * s + 0.05)), CONVERGENCE),
]  # fmt: skip
BUGS = {
    name: (step, expected, {"noise": "noise_level", "convergence": False} | dict(*options))
    for name, expected, step, *options in TABLE
}
