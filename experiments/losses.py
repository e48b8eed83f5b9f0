"""`python -m experiments losses BEFORE AFTER`: at which noise levels is the held-out loss of a network lower?

Images, noises and levels are the same for all networks. Exit status 0 whatever is found, 2 if something is refused.
"""

import inspect
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffusion_core.validation import check_range
from experiments.console import Terminal, progress_bar
from experiments.levels import measure_shares
from experiments.run.comparisons import Row
from experiments.run.options import Device, Folder, option_help
from reports.schema import LOSS, NO_VERDICT

if TYPE_CHECKING:
    from torch import Tensor

    from diffusion_core.noise import NoiseDistribution
    from diffusion_core.samplers import Model
    from experiments.distances.intervals import Estimate

HELP = """At which noise levels is a network better than the first? Compares losses on images that training did not see.

Networks, two or more; each is compared with the first:
  python:my_model:after, diffusers:FOLDER, checkpoint:FILE   as --network of other commands: error of the clean image
  my_eval:loss_after                                         loss(index, sigma), or loss(index, sigma, seed): numbers of
                                                             images (B,), levels (B,), seeds (B,) -> losses (B,)
  after=checkpoint:FILE                                      with a name for the page
  A1,A2,A3,A4,A5 B1,B2,B3,B4,B5                              networks of one recipe that differ in their seed

Examples:
  losses python:my_model:before python:my_model:after --data mnist
  losses my_eval:loss_before my_eval:loss_after --train-noise "log-normal(-0.507, 1.2)"

Exit status: 0 whatever is found, 2 for invalid arguments or a loss that is refused."""
NETWORKS = ("python:", "diffusers:", "checkpoint:")  # how networks are spelt; all others are functions
AT_ONCE = 64  # images per call of a loss
RARE = 0.001  # a level is outside training if less of the training noise is above it, or below
NAMING = "before=A1,A2 after=B1,B2 are names"
HINT = "; draw noise from the third argument, with a generator for each image, and call .eval() on the network"


@dataclass(frozen=True)
class LossesOptions:
    """The losses to compare, and the images to compare them on."""

    networks: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NETWORK NETWORK ...")]
    """Networks or losses, spelt as above."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mnist5k"
    """Data set of the training, whose units hold."""
    held_out: Annotated[str | None, option_help("NAME", "what training held out, else the test part")] = None
    """Images that training did not see, such as folder:PATH."""
    label: Annotated[Literal["balanced"] | None, option_help("balanced", "none")] = None
    """balanced: a class-conditional diffusers network gets the class of each image."""
    train_noise: Annotated[str | None, option_help("NOISE", "that of networks trained here")] = None
    """Noise distribution of training in the unit of the levels, such as "log-normal(-0.507, 1.2)"."""
    n: int = 500
    """Number of images. More images give narrower intervals."""
    levels: Annotated[tuple[float, ...], option_help("SIGMA ...", "25 from 100 to 0.01")] = ()
    """Noise levels, falling."""
    draws: int = 1
    """Number of noises per image and level."""
    seed: int = 0
    """Seed of the noise."""
    device: Device = "auto"
    """auto: CUDA if there is a CUDA device."""
    out: Folder = Path("runs/losses")
    """Folder for the report."""


@dataclass(frozen=True)
class HeldOut:
    """Images on which networks are compared, in the units of the training's data.

    Args:
        warning: that training saw some of them, or may have; "" if it saw none.
        no_verdict: why no level has a verdict; "" if levels may have one.
    """

    name: str
    x0: "Tensor"
    labels: "Tensor"
    warning: str = ""
    no_verdict: str = ""


@dataclass(frozen=True)
class NetworkGroup:
    """The networks of one recipe.

    Args:
        losses: float64 (networks, levels, images), means over draws.
        outside: for each level whether it is outside the training.
    """

    name: str
    losses: "Tensor"
    train_noise: "NoiseDistribution | None"
    outside: Sequence[bool]


def command(arguments: Sequence[str], prog: str) -> int:
    """Compares networks. Returns 0. ValueError for what cannot be compared."""
    began = time.time()
    options = tyro.cli(LossesOptions, prog=prog, description=HELP, args=list(arguments))
    from diffusion_core.schedules.sigma import check_schedule
    from experiments.run import result_folder
    from experiments.run.stages import LEVELS, noise_rows

    sigmas = options.levels or LEVELS
    check_schedule(sigmas)
    groups = name_groups(options.networks)
    networks = [network for group in groups.values() for network in group]
    with result_folder.lock_folder(options.out), progress_bar(len(networks)) as advance:
        held_out = load_held_out(options, networks)
        measured = [measure(name, group, sigmas, options, held_out, advance) for name, group in groups.items()]
        info = {
            "experiment": "losses",
            "question": f"At which noise levels is the loss lower than that of {measured[0].name}?",
            "held_out": held_out.name,
            "warnings": [*filter(None, (held_out.warning, warn_of_unknown_noise(options, networks)))],
            "reports": find_reports(networks, options.out),
        }
        tables = {
            "curves.csv": curve_rows(measured, sigmas),
            "contrasts.csv": contrast_levels(measured, sigmas, held_out.no_verdict),
            "densities.csv": noise_rows(dict.fromkeys(group.train_noise for group in measured if group.train_noise)),
        }
        page = result_folder.write_finished(options.out, info, tables, time.time() - began)
    console = Terminal()
    for line in page.figures[0].lines:
        console.print(f"{line.label:36} {line.value:>6} % ({line.interval}) {line.word}")
    result_folder.print_page(page, options.out / "report.html", f"{options.out}/report.html", False, console)
    if not sys.stdout.isatty():
        print(json.dumps({"losses": page.headline, "warnings": page.warnings, "out": str(options.out)}))
    return 0


def name_groups(words: Sequence[str]) -> dict[str, list[str]]:
    """Name -> the networks of one recipe. ValueError unless there are two names or more, each of as many networks."""
    groups = dict[str, list[str]]()
    for word in words:
        name, _, networks = word.rpartition("=")
        groups[name or word] = networks.split(",")
    if len(groups) < max(len(words), 2) or len({len(group) for group in groups.values()}) > 1:
        raise ValueError(
            f"networks={words}: it must be two or more of different names, each of as many networks; {NAMING}"
        )
    return groups


def load_held_out(options: LossesOptions, networks: Sequence[str]) -> HeldOut:
    """The images on which networks are compared; no images for functions, which have their own.

    ValueError if there are no such images, or if they do not suit the networks.
    """
    import torch

    from diffusion_core.data.load import load, resolve
    from experiments.user.pretrained import training_config

    are_networks = {network.startswith(NETWORKS) for network in networks}
    if len(are_networks) > 1 or (options.held_out and False in are_networks):
        raise ValueError("networks: a function brings its own images and units; leave out networks and --held-out")
    if False in are_networks:
        return HeldOut("images of the functions", torch.empty(options.n), torch.empty(0))
    configs = [training_config(network) for network in networks]
    data = load(resolve(options.data))
    if others := {config["data"] for config in configs if config} - {data.name}:
        raise ValueError(f"data={data.name!r}: a network was trained on {others.pop()!r}, in whose units it computes")
    n_training = data.n_training(min(config.get("held_out", 0) for config in configs))
    images = data
    chosen = slice(n_training, n_training + options.n)
    if options.held_out or n_training == len(data):
        try:
            images = load(options.held_out or options.data, train=bool(options.held_out))
        except ValueError as error:
            raise ValueError(f"{error}; --held-out NAME names images that training did not see") from error
        chosen = slice(options.n)
    if images.shape != data.shape:
        raise ValueError(f"held_out={images.name!r}: its shape is {images.shape}, that of the data {data.shape}")
    numbers = images.numbers[chosen]
    training = {row.tobytes() for row in data.numbers[:n_training].numpy()}
    n_seen = sum(row.tobytes() in training for row in numbers.numpy())
    warning = no_verdict = ""
    if n_seen and not any(configs):  # what those saw who trained the networks is not known
        warning = f"{n_seen} of these {len(numbers)} images are part of --data: did training see them?"
    elif n_seen:
        warning = f"Training saw {n_seen} of these {len(numbers)} images."
        no_verdict = "training saw most of these images" if n_seen > len(numbers) / 2 else ""
    x0 = (numbers.float() - data.mean) / data.std
    return HeldOut(images.name, x0, images.labels[chosen], warning, no_verdict)


def measure(
    name: str, networks: Sequence[str], sigmas: Sequence[float], options: LossesOptions, held_out: HeldOut,
    advance: Callable[[str], None],
) -> NetworkGroup:  # fmt: skip
    """The losses of the networks of one recipe, and what is known of their training. Errors as in `measure_loss`."""
    import torch

    from experiments.run.machine import Machine
    from experiments.run.networks import data_of
    from experiments.user.imports import load_object
    from experiments.user.parsing import parse_noise
    from experiments.user.pretrained import load_network

    machine = Machine.resolve(options.device)
    machine.pin()
    losses = list["Tensor"]()
    low, high = 0.0, math.inf
    noise = None
    noises = list["NoiseDistribution | None"]()
    for network in networks:
        advance(network)
        if network.startswith(NETWORKS):
            model = load_network(network, data_of(options.data), options.label, machine.device)
            low, high = getattr(model, "span", (low, high))
            noise = read_train_noise(network)
            noises.append(noise)
            loss = make_loss(model, held_out, machine.device)
        else:
            loss = load_object(network)
        losses.append(measure_loss(network, loss, len(held_out.x0), sigmas, options))
    if options.train_noise:
        noise = parse_noise(options.train_noise, data_std=1.0)
    elif len({noise and noise.name for noise in noises}) > 1:
        raise ValueError(f"networks={name}: they were trained on different noise distributions; give --train-noise")
    outside = [not low <= sigma <= high for sigma in sigmas]
    if noise:
        above = itertools.accumulate(measure_shares(noise.name, sigmas)[:-1])
        outside = [not RARE <= share <= 1 - RARE for share in above]
    return NetworkGroup(name, torch.stack(losses), noise, outside)


def make_loss(model: "Model", held_out: HeldOut, device: str) -> "Callable[..., Tensor]":
    """loss(index, sigma, seed): the relative errors of a network, (1 + sigma^2) |eps - noise|^2 per pixel.

    They are the squared errors of the clean image over those of the best denoiser that knows only the variance of the
    data. Each image has its own label, and there is no guidance.
    """
    import torch

    from diffusion_core.adapters import Adapter
    from diffusion_core.samplers.checked import CheckedModel
    from diffusion_core.samplers.sampling import bind_index
    from diffusion_core.tensors import broadcast_like
    from experiments.user.noisy_batch import squared_errors

    if isinstance(model, Adapter):
        labels = None if model.convention.labels is None else "balanced"
        model = model.with_convention(guidance=1.0, labels=labels)

    def loss(index: "Tensor", sigma: "Tensor", seed: "Tensor") -> "Tensor":
        x0 = held_out.x0[index]
        generators = [torch.Generator().manual_seed(value) for value in seed.tolist()]
        noise = torch.stack([torch.randn(x0.shape[1:], generator=generator) for generator in generators])
        x = x0 + broadcast_like(x0, sigma) * noise
        checked = CheckedModel(bind_index(model, held_out.labels[index].to(device)))
        eps = checked(x.to(device), sigma.to(device)).cpu()
        return squared_errors(eps, noise) * (1 + sigma.double() ** 2)

    return loss


def measure_loss(
    name: str, loss: "Callable[..., Tensor]", n: int, sigmas: Sequence[float], options: LossesOptions
) -> "Tensor":
    """Measures a loss at all levels for images 0 to n - 1, float64 (levels, n), the mean over draws of the noise.

    ValueError for fewer than 40 images, or if it is not finite and above 0, or depends on more than its input.
    """
    import torch

    from experiments.distances.intervals import MIN_SAMPLES
    from experiments.user.imports import user_code_errors
    from experiments.user.memory import halve_until_it_fits
    from experiments.user.network_io import ALONE, FEW
    from experiments.user.repeatable import N_INPUTS, check_repeatable

    check_range("n, the number of images,", n, MIN_SAMPLES)
    check_range("draws", options.draws, 1)
    n_arguments = len(inspect.signature(loss).parameters)
    places = torch.arange(options.draws * len(sigmas) * n)

    @torch.no_grad()
    def call(place: "Tensor") -> "Tensor":
        sigma = torch.tensor(sigmas)[place // n % len(sigmas)]
        arguments = (place % n, sigma, options.seed * len(places) + place)
        with user_code_errors(name):
            losses: Any = loss(*arguments[:n_arguments])
            if losses.shape != place.shape or not (losses.isfinite() & (losses > 0)).all():
                raise ValueError(f"{name}: it must return a finite loss above 0 for each image; sigma={sigma}")
        return losses.double().cpu()

    spread = places[:: len(places) // N_INPUTS]
    check_repeatable(name, lambda which: call(spread[which]), tolerance=ALONE, few=FEW, hint=HINT)
    losses, _ = halve_until_it_fits(AT_ONCE, lambda at_once: torch.cat([*map(call, places.split(at_once))]))
    return losses.view(options.draws, len(sigmas), n).mean(dim=0)


def read_train_noise(network: str) -> "NoiseDistribution | None":
    """The noise distribution with which a network was trained here; None for others, and for a user's class."""
    from diffusion_core.registry import NOISE_DISTRIBUTIONS
    from experiments.user.pretrained import training_config

    parameters = dict(training_config(network).get("noise", {}))
    noise_class = {made.__name__: made for made in NOISE_DISTRIBUTIONS.values()}.get(parameters.pop("class", ""))
    return noise_class(**parameters) if noise_class else None


def warn_of_unknown_noise(options: LossesOptions, networks: Sequence[str]) -> str:
    """The warning about a noise distribution that is a user's class; "" if there is none, or --train-noise is given."""
    from experiments.user.pretrained import training_config

    for network in networks if not options.train_noise else ():
        noise = training_config(network).get("noise") if network.startswith(NETWORKS) else None
        if noise and not read_train_noise(network):
            name = noise["class"].partition("@")[0]
            return f"{network}: {name} is unknown here, so no level counts as outside its training; give --train-noise."
    return ""


def curve_rows(measured: Sequence[NetworkGroup], sigmas: Sequence[float]) -> list[Row]:
    """Rows of curves.csv: the loss at each level, a mean over networks and images."""
    rows = list[Row]()
    for group in measured:
        noise = group.train_noise and group.train_noise.name
        for sigma, loss in zip(sigmas, group.losses.mean(dim=(0, 2)).tolist(), strict=True):
            rows.append({"model_id": group.name, "train_noise": noise, "sigma": sigma, "relative_error": loss})
    return rows


def contrast_levels(measured: Sequence[NetworkGroup], sigmas: Sequence[float], no_verdict: str = "") -> list[Row]:
    """Rows of contrasts.csv: each group against the first at each level, with Holm's correction for all of them.

    There is no verdict at a level that is outside the training of both, and none at all if `no_verdict` says why.
    """
    from experiments.distances.intervals import CONFIDENCE, holm, verdict

    first, *others = measured
    edges = [(above * below) ** 0.5 for above, below in itertools.pairwise(sigmas)]
    pairs = [*itertools.product(others, range(len(sigmas)))]
    estimates = [estimate_ratio(other.losses[:, level], first.losses[:, level]) for other, level in pairs]
    corrected = holm([estimate.p_value for estimate in estimates])
    rows = list[Row]()
    for (other, level), estimate, p_adjusted in zip(pairs, estimates, corrected, strict=True):
        estimate = estimate.corrected("levels", p_adjusted, len(pairs))
        outside = "outside the training" if other.outside[level] and first.outside[level] else ""
        reason = no_verdict or outside
        n_networks, _, n_images = other.losses.shape
        rows.append(vars(estimate) | {
            "experiment": "losses", "kind": "level", "section": "levels", "metric": LOSS, "level": CONFIDENCE,
            "a": other.name, "b": first.name, "sigma": sigmas[level], "n_networks": n_networks, "n_samples": n_images,
            "value_a": other.losses[:, level].mean().item(), "value_b": first.losses[:, level].mean().item(),
            "share": measure_shares(other.train_noise.name, edges)[level] if other.train_noise else None,
            "verdict": NO_VERDICT if reason else verdict(estimate), "no_verdict": reason or None,
        })  # fmt: skip
    return rows


def estimate_ratio(a: "Tensor", b: "Tensor") -> "Estimate":
    """Mean loss a over mean loss b, minus 1, of losses (networks, images) with the same noise, with its interval.

    With five networks or more it holds for networks in general: its variance is that over images plus that over
    networks, which counts what is special to a network on an image twice, and so is not too small; the degrees of
    freedom are Satterthwaite's (1946). With fewer it holds for these networks: the variance is that over images.
    The variance of a ratio is that of its linear part (Cochran 1977, Sampling Techniques, Section 2.11).
    """
    from experiments.distances.intervals import ENOUGH_NETWORKS, estimate

    ratio = a.mean() / b.mean()
    linear = (a - ratio * b) / b.mean()
    means = [linear.mean(dim=0)]
    in_general = len(a) >= ENOUGH_NETWORKS
    if in_general:
        means.append(linear.mean(dim=1))
    variances = [float(values.var()) / len(values) for values in means]
    spread = sum(variance**2 / (len(values) - 1) for variance, values in zip(variances, means, strict=True))
    freedom = sum(variances) ** 2 / spread if spread > 0 else 1.0
    method = "t over images and networks" if in_general else "t over images"
    result = estimate(float(ratio) - 1, sum(variances) ** 0.5, freedom, method)
    return replace(result, holds_for=None if in_general else len(a))


def find_reports(networks: Sequence[str], out: Path) -> list[str]:
    """The reports beside this one that score samples of all these networks, if they were trained here."""
    if not all(network.startswith("checkpoint:") for network in networks):
        return []
    ids = {Path(network).stem for network in networks}
    tables = [path for path in sorted(out.parent.glob("*/table.csv")) if all(name in path.read_text() for name in ids)]
    return [f"../{path.parent.name}/report.html" for path in tables]
