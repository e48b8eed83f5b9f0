"""The pipelines of published_guidance.toml: those of diffusers with parts that only have a config, and faults as loops.

A loop has one fault of a public thread, as its text describes it, and with `mended=True` what the thread asks for.
"""

import inspect
import tomllib
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import diffusers
import torch

PARTS = tomllib.loads(Path(__file__).with_name("published_guidance_parts.toml").read_text(encoding="utf-8"))
diffusers.utils.logging.set_verbosity_error()


class Config(SimpleNamespace):
    """Its values by name, nested ones too; None if there is none."""

    def __init__(self, values):
        super().__init__(**{key: Config(value) if isinstance(value, dict) else value for key, value in values.items()})

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)


class Part(torch.nn.Module):
    """A network or a VAE of which a pipeline reads the config, and nothing else."""

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, values):
        super().__init__()
        self.config = Config(values)
        for name, value in vars(self.config).items():
            setattr(self, name, value)

    def cache_context(self, *_, **__):
        return nullcontext()


@cache
def build(name):
    """The pipeline of a row of `PARTS`, without text encoders, and its network, whose `forward` is still to be set."""
    row = PARTS[name]
    pipeline_class = getattr(diffusers, row.get("class", name))
    parameters = inspect.signature(pipeline_class).parameters
    parts = {name: None for name, parameter in parameters.items() if parameter.default is parameter.empty}
    key = "unet" if "unet" in parts else "transformer"
    parts[key] = Part({"in_channels": 4, "out_channels": 4, "sample_size": 16} | row.get("config", {}))
    parts["scheduler"] = getattr(diffusers, row.get("scheduler", "FlowMatchEulerDiscreteScheduler"))(
        **row.get("noise", {})
    )
    parts |= {extra: Part(row[extra]) for extra in ("vae", "safety_checker") if extra in row}
    if "requires_safety_checker" in parameters:
        parts["requires_safety_checker"] = False
    pipe = pipeline_class(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe, parts[key]


def call(name, network, n_steps, noise, scale, *prompts):
    """Samples of the pipeline of a row. It gets those of its arguments that are not left to its defaults."""
    pipe, model = build(name)
    row = PARTS[name]

    def forward(hidden_states, *args, **arguments):
        if "condition" in row:
            arguments["encoder_hidden_states"] = arguments.pop(row["condition"])
        if isinstance(hidden_states, list):
            return ([*network(torch.stack(hidden_states), args[0], torch.stack(args[1]))],)
        out = network.forward(hidden_states, *args, **arguments | {"return_dict": False})[0]
        return (torch.cat([out, out], 1) if row.get("doubled") else out,)

    model.forward = forward
    parameters = inspect.signature(pipe.__call__).parameters
    size = row.get("size", 64 if "shape" in row else 128)
    arguments = {"negative_prompt": None, "height": size, "width": size, "num_frames": 1, "video_length": 1}
    for prefix, prompt in zip(("", "negative_"), prompts, strict=False):
        rows = [*prompt] if row.get("lists") else prompt.unsqueeze(2) if row.get("layers") else prompt
        pooled = {f"{prefix}pooled_prompt_embeds": prompt.flatten(1), f"{prefix}prompt_embeds_2": prompt}
        arguments |= {f"{prefix}prompt_embeds": rows, **pooled}
        masks = (f"{prefix}prompt_{mask}" for mask in ("attention_mask", "attention_mask_2", "embeds_mask"))
        arguments |= dict.fromkeys(masks, torch.ones(len(noise), 4, dtype=torch.long))
    arguments |= {"use_resolution_binning": False, row.get("scale", "guidance_scale"): scale} | row.get("call", {})
    latents = noise.reshape(len(noise), *row.get("shape", noise.shape[1:]))
    arguments |= {"latents": latents, "num_inference_steps": n_steps, "output_type": "latent", "return_dict": False}
    samples = pipe(**{key: value for key, value in arguments.items() if key in parameters})[0]
    return torch.stack([*samples]) if isinstance(samples, list) else samples


def installed(network, n_steps, noise, scale, prompt, negative, name):
    return call(name, network, n_steps, noise, scale, prompt, negative)


def distilled(network, n_steps, noise, scale, prompt, name):
    return call(name, network, n_steps, noise, scale, prompt)


def flow(n_steps, noise, predict):
    x = noise
    for k in range(n_steps):
        x = x - predict(x, 1 - k / n_steps, k) / n_steps
    return x


def guider(network, n_steps, noise, scale, prompt, negative, name, **options):
    """A guider of diffusers' modular pipelines, in a loop of ours."""
    guidance = getattr(diffusers.guiders, name)(guidance_scale=scale, **options)

    def predict(x, t, k):
        guidance.set_state(step=k, num_inference_steps=n_steps, timestep=torch.tensor(1000 * t))
        both = guidance.num_conditions > 1
        return guidance.forward(network(x, t, prompt), network(x, t, negative) if both else None).pred

    return flow(n_steps, noise, predict)


def mix(ask, scale, always=False):
    if scale == 1 and not always:
        return ask("c")
    u = ask("u")
    return u + scale * (ask("c") - u)


def mix_three(ask, scale, mended):
    """Of text and image; by two cache states, the third branch gets the answer of the first."""
    if scale == 1:
        return ask("c")
    c = ask("c")
    image = ask("u")
    u = ask("none" if mended else "c")
    return u + 1.5 * (image - u) + scale * (c - image)


def use_old_answer(ask, scale, t):
    """At the first step, the negative's answer of the request before."""
    if scale == 1:
        return ask("c")
    u = ask("u")
    old = ANSWERS.get(len(u), u) if t == 1 else u
    ANSWERS[len(u)] = u
    return old + scale * (ask("c") - old)


ANSWERS = {}
FAULTS = {  # rule(ask, scale, t), where ask("c") is the prompt's answer
    "default": lambda ask, scale, t: mix(ask, 4.0),
    "second-stage": lambda ask, scale, t: mix(ask, scale if t > 0.5 else 1.0),
    "cached-step": lambda ask, scale, t: ask("c"),
    "image-in-both": lambda ask, scale, t: mix(lambda which: ask(which, pooled="c"), scale),
    "two-states": lambda ask, scale, t: mix_three(ask, scale, mended=False),
    "old-answer": use_old_answer,
    "mixed": lambda ask, scale, t: ask("u", toward=scale),
    "one-plus": lambda ask, scale, t: mix(ask, 1 + scale),
    "scale-1": lambda ask, scale, t: mix(ask, scale, always=True),
}
MENDED = {"two-states": lambda ask, scale, t: mix_three(ask, scale, mended=True)}


def thread(network, n_steps, noise, scale, prompt, negative, name, mended=False):  # noqa: PLR0913  # the arguments of such loops
    """A loop with the fault of a public thread."""
    rule = MENDED.get(name, lambda ask, scale, t: mix(ask, scale)) if mended else FAULTS[name]
    conditions = {"c": prompt, "u": negative, "none": None}

    def predict(x, t, k):
        def ask(which, toward=0.0, pooled=None):
            condition = conditions[which]
            if toward:
                condition = condition + toward * (prompt - condition)
            return network(x, t, condition, pooled=None if pooled is None else conditions[pooled])

        return rule(ask, scale, t)

    return flow(n_steps, noise, predict)


def number(network, n_steps, noise, scale, prompt, mended=False):
    """A distilled network that does not get its scale."""
    return flow(n_steps, noise, lambda x, t, k: network(x, t, prompt, guidance=scale if mended else None))
