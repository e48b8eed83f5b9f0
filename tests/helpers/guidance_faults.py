"""Pipelines that guide right, and pipelines with one fault each: name -> pipeline, and what the check must call it."""

import math
from functools import partial
from itertools import pairwise

import torch

SIGMAS = [*torch.linspace(1, 0.05, 10).pow(3).mul(14).tolist(), 0.0]
STEPS = [*enumerate(pairwise(SIGMAS))]


def flow(predict, x):
    for k in range(10):
        x = x - predict(x, 1 - k / 10, k) / 10
    return x


def heun(predict, x):
    x, k = x * SIGMAS[0], 0
    for sigma, after in pairwise(SIGMAS):
        slope = predict(x, sigma, k)
        guess, k = x + (after - sigma) * slope, k + 1
        if after > 0:
            slope, k = (slope + predict(guess, after, k)) / 2, k + 1
        x = x + (after - sigma) * slope
    return x


def from_x0(predict, x, multistep=False):
    """The network predicts x0; by DDIM or DPM-Solver++(2M)."""
    x, old = x * SIGMAS[0], None
    for k, (sigma, after) in STEPS:
        x0 = predict(x, sigma, k)
        mean = 1.5 * x0 - 0.5 * old if multistep and old is not None and after > 0 else x0
        x, old = after / sigma * x + (1 - after / sigma) * mean, x0
    return x


def noisy(predict, x, fresh=0.6):
    """Ancestral; with fresh = 1 all noise is put back."""
    x = x * SIGMAS[0]
    for k, (sigma, after) in STEPS:
        down = after * (1 - fresh**2) ** 0.5
        x = x + (down - sigma) * predict(x, sigma, k) + fresh * after * torch.randn(x.shape, dtype=x.dtype)
    return x


euler = partial(noisy, fresh=0.0)


def adams(predict, x):
    old = None
    for k in range(10):
        slope = predict(x, 1 - k / 10, k)
        x, old = x - (slope if old is None else 1.5 * slope - 0.5 * old) / 10, slope
    return x


def by_angle(predict, x):
    """The network predicts v."""
    for k in range(10):
        now, after = math.pi / 2 * (1 - k / 10), math.pi / 2 * (0.9 - k / 10)
        v = predict(x, now, k)
        x0, eps = math.cos(now) * x - math.sin(now) * v, math.sin(now) * x + math.cos(now) * v
        x = math.cos(after) * x0 + math.sin(after) * eps
    return x


def by_scheduler(name, predict, x, **options):
    import diffusers

    scheduler = getattr(diffusers, name)(**options)
    scheduler.set_timesteps(10)
    x = x * scheduler.init_noise_sigma
    for k, t in enumerate(scheduler.timesteps):
        x = scheduler.step(predict(scheduler.scale_model_input(x, t), t, k), t, x, return_dict=False)[0]
    return x


def two_calls(network, x, level, u, c, k):
    return network(x, level, u), network(x, level, c)


def joined(network, x, level, u, c, k):
    return network(torch.cat([x, x]), level, torch.cat([u, c])).chunk(2)


def shuffled(network, x, level, u, c, k):
    both, out = torch.cat([x, x]), torch.empty(2 * len(x), *x.shape[1:])
    order = torch.randperm(len(both), generator=torch.Generator().manual_seed(k))
    out[order] = network(both[order], level, torch.cat([u, c])[order])
    return out.chunk(2)


def combine(u, c, w):
    return u + w * (c - u)


def make(ask=two_calls, mix=combine, loop=euler, change=lambda w, k, level: w, cast=torch.float32):
    """A pipeline that asks for (u, c), mixes them with a scale, and walks; at scale 1 it asks for the prompt alone."""

    def pipeline(network, n_steps, noise, scale, prompt, negative):
        def predict(x, level, k):
            w = change(scale, k, level)
            if w == 1:
                return network(x, level, prompt)
            return mix(*ask(network, x, level, negative, prompt, k), w)

        return loop(predict, noise.to(cast))

    return pipeline


def plain(pass_on=lambda scale: scale, null=None):
    """A network that gets pass_on(scale); or that is asked without condition too."""

    def pipeline(network, n_steps, noise, scale, prompt):
        def predict(x, level, k):
            if null is None:
                return network(x, level, prompt, guidance=pass_on(scale))
            return combine(network(x, level, null(prompt)), network(x, level, prompt), scale)

        return flow(predict, noise)

    return pipeline


def between(levels, scale):
    return [scale if 3 < level < 9 else 1.0 for level in levels]


def ask_pooled(network, x, level, u, c, k, of=lambda u, c: (u, c)):
    return tuple(network(x, level, own, pooled=pooled.flatten(1)) for own, pooled in zip((u, c), of(u, c), strict=True))


def three(network, x, level, u, c, k):
    none = network(x, level, None)
    return none + 1.5 * (network(x, level, u) - none), network(x, level, c) - network(x, level, u)


RIGHT = {
    "two calls": make(),
    "shuffled rows": make(shuffled),
    "lists": make(lambda network, x, level, u, c, k: network([x, x], level, [u, c])),
    "c + (w - 1)(c - u)": make(mix=lambda u, c, w: c + (w - 1) * (c - u)),
    "Heun": make(joined, loop=heun),
    "x0": make(loop=from_x0),
    "DPM++ 2M": make(loop=partial(from_x0, multistep=True)),
    "ancestral": make(loop=noisy),
    "all noise put back": make(loop=partial(noisy, fresh=1.0)),
    "Adams": make(loop=adams),
    "v": make(loop=by_angle),
    "bfloat16": make(loop=flow, cast=torch.bfloat16),
    "Heun, interval": make(loop=heun, change=lambda w, k, level: w if 3 < level < 9 else 1),
    "pooled": make(ask_pooled),
    "distilled": plain(),
    "distilled, times 1000": plain(lambda scale: 1000 * scale),
    "no condition": plain(null=lambda prompt: None),
    "zeros": plain(null=torch.zeros_like),
    "branches": make(three, lambda a, b, w: a + w * b),
    **{name: make(joined, loop=partial(by_scheduler, f"{name}Scheduler"))
       for name in ("PNDM", "UniPCMultistep", "EulerAncestralDiscrete")},
}  # fmt: skip


def skipping(which, kept, network, x, level, u, c, k):
    """Evaluations 3 to 9 reuse the answer of the negative, or of the prompt, of the 2nd."""
    for name, own in {"u": u, "c": c}.items():
        if name != which or not 2 <= k <= 8:
            kept[name] = network(x, level, own)
    return kept["u"], kept["c"]


def late(first_only, kept, network, x, level, u, c, k):
    """The negative's answer is that of the call before; or at first that of the request before."""
    now = network(x, level, u)
    old = kept.get(len(x), now)
    kept[len(x)] = now
    return now if first_only and k else old, network(x, level, c)


def forecast(kept, network, x, level, u, c, k):
    """Each third answer of the negative is extrapolated."""
    kept.append(2 * kept[-1] - kept[-2] if k % 3 == 2 else network(x, level, u))
    return kept[-1], network(x, level, c)


def delta(kept, network, x, level, u, c, k):
    """Evaluations 4 to 6 reuse c - u."""
    answer = network(x, level, c)
    if not 3 <= k <= 5:
        kept["difference"] = answer - network(x, level, u)
    return answer - kept["difference"], answer


def keep_first(pipeline):
    kept = {}

    def with_first(network, n_steps, noise, scale, prompt, negative):
        return pipeline(network, n_steps, noise, scale, kept.setdefault(len(prompt), prompt), negative)

    return with_first


def alter(prompt=lambda c: c, negative=lambda u: u):
    return make(lambda network, x, level, u, c, k: two_calls(network, x, level, negative(u), prompt(c), k))


def rescale(u, c, w):
    out = combine(u, c, w)
    std = [of.std(dim=(1, 2, 3), keepdim=True) for of in (c, out)]
    return out * (0.3 + 0.7 * std[0] / std[1])


def rescale_rows(u, c, w):
    out = combine(u, c, w)
    return out * c.norm(dim=-1, keepdim=True) / out.norm(dim=-1, keepdim=True)


def zero_star(u, c, w):
    factor = (c * u).sum((1, 2, 3), True) / (u * u).sum((1, 2, 3), True)
    return combine(factor * u, c, w)


def cfg_plus_plus(network, n_steps, noise, scale, prompt, negative):
    x = noise * SIGMAS[0]
    for sigma, after in pairwise(SIGMAS):
        u, c = network(x, sigma, negative), network(x, sigma, prompt)
        x = x - sigma * combine(u, c, scale) + after * u
    return x


def mixed(network, n_steps, noise, scale, prompt, negative):
    return euler(lambda x, level, k: network(x, level, negative + scale * (prompt - negative)), noise)


def share_between(network, x, level, u, c, k):
    answer = network(x, level, c)
    return (answer if 2 <= k <= 8 else network(x, level, u)), answer


MIXES = {  # of u and c with the scale w
    "rows mixed": (lambda u, c, w: combine(u.roll(1, 0), c, w), "answers of another sample"),
    "batch mean": (lambda u, c, w: u + w * (c - u.mean(0)), "answers of another sample"),
    "not used": (lambda u, c, w: c, "negative not used"),
    "swapped": (lambda u, c, w: combine(c, u, w), "branches swapped"),
    "1 + w": (lambda u, c, w: c + w * (c - u), "convention 1 + w"),
    "twice": (lambda u, c, w: combine(u, combine(u, c, w), w), "guidance applied twice"),
    "root of w": (lambda u, c, w: combine(u, c, w**0.5), "other scale"),
    "rescaled": (rescale, "rescaled"),
    "rows rescaled": (rescale_rows, "rescaled by place"),
    "CFG-Zero*": (zero_star, "negative rescaled"),
    "clipped": (lambda u, c, w: combine(u, c, w).clamp(-3, 3), "not decided"),
    "projected": (lambda u, c, w: c + (w - 1) * (c - u) * 0.5 - u / 4, "other weights"),
}
WRONG = {
    **{name: (make(mix=mix), expected) for name, (mix, expected) in MIXES.items()},
    "always 4": (make(change=lambda w, k, level: 4.0), "scale ignored"),
    "branch-blind cache": (make(share_between), "negative missing"),
    "second stage at 1": (make(change=lambda w, k, level: w if k < 5 else 1), "negative missing"),
    "scale not passed on": (plain(lambda scale: None), "negative missing"),
    "None": (alter(negative=lambda u: None), "negative ignored"),
    "zeros": (alter(negative=lambda u: 0 * u), "negative ignored"),
    "prompt dropped": (alter(prompt=lambda c: 0 * c), "prompt ignored"),
    "cached negative": (make(partial(skipping, "u", {})), "answer reused"),
    "cached prompt": (make(partial(skipping, "c", {})), "answer reused"),
    "forecast": (make(partial(forecast, [])), "answer reused"),
    "cached difference": (make(partial(delta, {})), "answer reused"),
    "one late": (make(partial(late, False, {})), "answer reused"),
    "not reset": (make(partial(late, True, {})), "state of the request before"),
    "first prompt kept": (keep_first(make()), "prompt of the request before"),
    "prompts shifted": (alter(prompt=lambda c: c.roll(1, 0)), "prompt of another sample"),
    "one negative": (alter(negative=lambda u: u[:1].expand_as(u)), "negative of another sample"),
    "always 3.5": (plain(lambda scale: 3.5), "embedded scale"),
    "times 100": (plain(lambda scale: 100 * scale), "embedded scale"),
    "mixed": (mixed, "mixed before the network"),
    "other x": (
        make(lambda network, x, level, u, c, k: (network(x + 0.1 * level, level, u), network(x, level, c))),
        "branches at different x",
    ),
    "other level": (
        make(lambda network, x, level, u, c, k: (network(x, 0.9 * level, u), network(x, level, c))),
        "branches at different levels",
    ),
    "pooled of the prompt": (make(partial(ask_pooled, of=lambda u, c: (c, c))), "pooled embedding of another branch"),
    "pooled shifted": (make(partial(ask_pooled, of=lambda u, c: (u, c.roll(1, 0)))), "pooled prompt of another sample"),
    "interval": (
        make(loop=heun, change=lambda w, k, level: w if 1 < level < 9 else 1),
        "guidance at other evaluations",
    ),
    "zero init": (make(lambda *asked: [(asked[-1] > 0) * each for each in two_calls(*asked)]), "prediction is 0"),
    "CFG++": (cfg_plus_plus, "as CFG++"),
    "three branches": (make(three, lambda a, b, w: a + w * b), "more than two conditions"),
}
OPTIONS = {"interval": {"scales": between}, "Heun, interval": {"scales": between}, "branches": {"accept": ["branches"]}}
