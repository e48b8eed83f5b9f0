"""`python -m experiments losses BEFORE AFTER`: at which noise levels is the held-out loss of a network lower?

Images, noises and levels are the same for all networks. Exit status 0 whatever is found, 2 if something is refused.
"""

import inspect
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffusion_core.validation import check_range
from experiments.console import Terminal, progress_bar
from experiments.levels import measure_shares
from experiments.run.compare import Row
from experiments.run.options import Device, option_help
from reports.schema import LOSS, NO_VERDICT

if TYPE_CHECKING:
    from torch import Tensor

    from diffusion_core.data.dataset import DataSet
    from diffusion_core.noise import NoiseDistribution
    from diffusion_core.samplers import Model
    from experiments.distances.intervals import Estimate

HELP = """At which noise levels is a network better than the first? Compares losses on images that training did not see.

Networks, two or more; each is compared with the first:
  python:my_model:after, diffusers:FOLDER, checkpoint:FILE   as --network of other commands: error of the clean image
  my_eval:loss_after                                         loss(index, sigma), or loss(index, sigma, seed): numbers of
                                                             images (B,) and levels (B,) -> losses (B,), in any unit
  after=checkpoint:FILE                                      with a name for the page
  A1,A2,A3,A4,A5 B1,B2,B3,B4,B5                              networks of one recipe that differ in their seed

Examples:
  losses python:my_model:before python:my_model:after --data mnist
  losses my_eval:loss_before my_eval:loss_after --train-noise "log-normal(-0.507, 1.2)"

Exit status: 0 whatever is found, 2 for invalid arguments or a loss that is refused."""
AT_ONCE = 64  # images per call of a loss
RARE = 0.001  # a level is outside training if less of the training noise is above it, or below
HINT = "; draw noise from the argument `seed`, with a generator for each image, and call .eval() on the network"


@dataclass(frozen=True)
class LossesOptions:
    """What is compared, and on which images."""

    networks: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NETWORK NETWORK ...")]
    """Networks or losses, spelt as above."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mnist5k"
    """Data set of the training, whose units hold."""
    held_out: Annotated[str | None, option_help("NAME", "what training held out, else the test part")] = None
    """Images that training did not see, such as folder:PATH."""
    label: Annotated[Literal["balanced"] | None, option_help("balanced", "none")] = None
    """balanced: a class-conditional diffusers network gets the class of each image."""
    train_noise: Annotated[str | None, option_help("NOISE", "that of networks trained here")] = None
    """Noise distribution of training, such as "log-normal(-0.507, 1.2)", for its share at better and worse levels."""
    n: int = 500
    """Number of images. More images give narrower intervals."""
    levels: Annotated[tuple[float, ...], option_help("SIGMA ...", "25 from 100 to 0.01")] = ()
    """Noise levels, falling."""
    draws: int = 1
    """Number of noises per image and level."""
    seed: int = 0
    """Seed of the noise."""
    data_root: Annotated[Path | None, option_help("FOLDER", "$SIGMABENCH_DATA, else ~/.cache/sigmabench")] = None
    """Folder of downloaded data sets."""
    device: Device = "auto"
    """auto: CUDA if there is a CUDA device."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/losses")
    """Folder for the report."""


@dataclass(frozen=True)
class HeldOut:
    """Training data, and `images` in its units that training did not see, except for `n_seen`."""

    data: "DataSet"
    name: str
    x0: "Tensor"
    labels: "Tensor"
    n_seen: int


@dataclass(frozen=True)
class Candidate:
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
    from diffusion_core.schedules.sigma import check_ladder
    from experiments.run import result_folder
    from experiments.run.stages import LEVELS, noise_rows

    check_range("draws", options.draws, 1)
    sigmas = options.levels or LEVELS
    check_ladder(sigmas)
    if options.data_root:
        os.environ["SIGMABENCH_DATA"] = str(options.data_root)
    groups = name_groups(options.networks)
    networks = [network for group in groups.values() for network in group]
    with result_folder.lock_folder(options.out), progress_bar(len(networks)) as advance:
        held_out = load_held_out(options, networks)
        candidates = [measure(name, group, sigmas, options, held_out, advance) for name, group in groups.items()]
        noises = dict.fromkeys(candidate.train_noise for candidate in candidates if candidate.train_noise)
        first, *others = groups
        info = {
            "experiment": "losses",
            "question": f"At which noise levels is {' or '.join(others)} better than {first}?",
            "held_out": held_out and held_out.name,
            "n_seen": held_out.n_seen if held_out else 0,
            "reports": find_reports(networks, options.out),
        }
        tables = {
            "curves.csv": curve_rows(candidates, sigmas),
            "contrasts.csv": compare_levels(candidates, sigmas),
            "densities.csv": noise_rows(noises),
        }
        page = result_folder.write_finished(options.out, info, tables, time.time() - began)
    console = Terminal()
    for line in page.figures[0].lines:
        console.print(f"{line.label:36} {line.value:>6} % ({line.interval}) {line.word}")
    result_folder.print_page(page, options.out / "report.html", f"{options.out}/report.html", False, console)
    if not sys.stdout.isatty():
        print(json.dumps({"losses": page.headline, "out": str(options.out)}))
    return 0


def name_groups(words: Sequence[str]) -> dict[str, list[str]]:
    """Name -> the networks of one recipe. ValueError unless there are two names or more, each of as many networks."""
    groups = dict[str, list[str]]()
    for word in words:
        match = re.match(r"([^:=,/]+)=", word)
        group = word[match.end() if match else 0 :].split(",")
        name = match[1] if match else re.split("[:/]", group[0])[-1].removesuffix(".safetensors")
        if name in groups:
            raise ValueError(f"networks: two are called {name!r}; give them names: before={group[0]} after=...")
        groups[name] = group
    if len(groups) < 2 or len({len(group) for group in groups.values()}) > 1:
        raise ValueError(f"networks={words}: it must be two recipes or more, each of the same number of networks")
    return groups


def load_held_out(options: LossesOptions, networks: Sequence[str]) -> HeldOut | None:
    """The images on which networks are compared; None for functions, which have images of their own.

    ValueError if there are no such images, or if they do not suit the networks.
    """
    from diffusion_core.data.load import load
    from experiments.user.pretrained import SPELLINGS, training_config

    kinds = {spelling.partition(":")[0] for spelling in SPELLINGS}
    functions = [network for network in networks if network.partition(":")[0] not in kinds]
    if functions and (len(functions) < len(networks) or options.held_out):
        raise ValueError(f"networks: {functions[0]} is a loss on its own images; leave out networks and --held-out")
    if functions:
        return None
    configs = [training_config(network) for network in networks]
    data = load(options.data)
    if others := {config["data"] for config in configs if config} - {data.name}:
        raise ValueError(f"data={data.name!r}: a network was trained on {others.pop()!r}, in whose units it computes")
    n_held_out = min(config.get("held_out", 0) for config in configs)
    n_training = data.n_training(n_held_out)
    images = data
    chosen = slice(n_training, n_training + options.n)
    if options.held_out or not n_held_out:
        try:
            images = load(options.held_out or options.data, train=bool(options.held_out))
        except ValueError as error:
            raise ValueError(f"{error}; --held-out names images that training did not see") from None
        chosen = slice(options.n)
    if images.shape != data.shape:
        raise ValueError(f"held_out={images.name!r}: its shape is {images.shape}, that of the data {data.shape}")
    x0 = (images.numbers[chosen].float() - data.mean) / data.std
    training = {row.tobytes() for row in data.numbers[:n_training].numpy()}
    n_seen = sum(row.tobytes() in training for row in images.numbers[chosen].numpy())
    return HeldOut(data, images.name, x0, images.labels[chosen], n_seen)


def measure(
    name: str, networks: Sequence[str], sigmas: Sequence[float], options: LossesOptions, held_out: HeldOut | None,
    advance: Callable[[str], None],
) -> Candidate:  # fmt: skip
    """The losses of the networks of one recipe. ValueError as in `measure_loss`."""
    import torch

    from diffusion_core.adapters import Adapter
    from diffusion_core.data.dataset import Images
    from experiments.run.machine import Machine
    from experiments.user.imports import load_object
    from experiments.user.parsing import parse_noise
    from experiments.user.pretrained import load_network

    machine = Machine.resolve(options.device)
    machine.pin()
    losses = list["Tensor"]()
    low, high = 0.0, math.inf
    data_std = 1.0
    noise = None
    for network in networks:
        advance(network)
        if held_out is None:
            losses.append(measure_loss(network, load_object(network), options.n, sigmas, options))
            continue
        model = load_network(network, held_out.data, options.label, machine.device)
        if isinstance(model, Adapter):
            low, high = model.span
        loss = make_loss(network, model, held_out, machine.device)
        losses.append(measure_loss(network, loss, len(held_out.x0), sigmas, options))
        noise = read_train_noise(network)
        data_std = held_out.data.std / 127.5 if isinstance(held_out.data, Images) else 1.0
    if options.train_noise:
        noise = parse_noise(options.train_noise, data_std)
    outside = [not low <= sigma <= high for sigma in sigmas]
    if noise is not None:
        above = accumulate(measure_shares(noise.name, sigmas))
        outside = [not RARE <= share <= 1 - RARE for share, _ in zip(above, sigmas, strict=False)]
    return Candidate(name, torch.stack(losses), noise, outside)


def make_loss(network: str, model: "Model", held_out: HeldOut, device: str) -> "Callable[..., Tensor]":
    """loss(index, sigma, seed): the relative errors of a network, (1 + sigma^2) |eps - noise|^2 per pixel.

    They are the squared errors of the clean image over those of the best denoiser that knows only the variance of the
    data. ValueError for an adapter that gives all images one label.
    """
    import torch

    from diffusion_core.adapters import Adapter
    from diffusion_core.samplers.checked import CheckedModel
    from diffusion_core.samplers.sampling import bind_index
    from diffusion_core.tensors import broadcast_like

    if isinstance(model, Adapter):
        if isinstance(model.convention.labels, int):
            raise ValueError(f"{network}: its labels must be 'balanced', so that each image has its own")
        model = model.with_convention(guidance=1.0)

    def loss(index: "Tensor", sigma: "Tensor", seed: "Tensor") -> "Tensor":
        x0 = held_out.x0[index]
        generators = [torch.Generator().manual_seed(number) for number in seed.tolist()]
        noise = torch.stack([torch.randn(x0.shape[1:], generator=generator) for generator in generators])
        x = (x0 + broadcast_like(x0, sigma) * noise).to(device)
        eps = CheckedModel(bind_index(model, held_out.labels[index].to(device)))(x, sigma.to(device)).cpu()
        return (eps - noise).double().square().flatten(1).mean(dim=1) * (1 + sigma.double() ** 2)

    return loss


def measure_loss(
    name: str, loss: "Callable[..., Tensor]", n: int, sigmas: Sequence[float], options: LossesOptions
) -> "Tensor":
    """What a loss gives at all levels for images 0 to n - 1, float64 (levels, n).

    ValueError for fewer than 40 images, or if it is not finite, negative, or depends on more than its input.
    """
    import torch

    from experiments.distances.intervals import MIN_SAMPLES
    from experiments.user.imports import user_code_errors
    from experiments.user.memory import halve_until_it_fits
    from experiments.user.network_io import ALONE, FEW
    from experiments.user.repeatable import N_INPUTS, check_repeatable

    check_range(f"n, the images of {name}", n, MIN_SAMPLES)
    takes_seed = "seed" in inspect.signature(loss).parameters
    if options.draws > 1 and not takes_seed:
        raise ValueError(f"draws={options.draws}: {name} must have an argument `seed` for other noise")

    @torch.no_grad()
    def call(index: "Tensor", level: "Tensor", draw: int) -> "Tensor":
        arguments = [index, torch.tensor(sigmas)[level]]
        if takes_seed:
            arguments.append(((options.seed * options.draws + draw) * len(sigmas) + level) * n + index)
        with user_code_errors(f"{name}, for images 0 to {n - 1}"):
            values: Any = loss(*arguments)
        if not isinstance(values, torch.Tensor) or values.shape != index.shape:
            raise ValueError(f"{name}: it must return a loss for each image, a tensor ({len(index)},)")
        if not (values.isfinite() & (values >= 0)).all():
            raise ValueError(f"{name}: its losses must be finite and at least 0, at all levels")
        return values.double().cpu()

    spread = torch.arange(N_INPUTS) * len(sigmas) // N_INPUTS
    check_repeatable(name, lambda which: call(which, spread[which], 0), tolerance=ALONE, few=FEW, hint=HINT)
    levels = torch.arange(len(sigmas)).repeat_interleave(n)
    images = torch.arange(n).repeat(len(sigmas))

    def measure_draw(draw: int) -> "Tensor":
        def in_batches(at_once: int) -> "Tensor":
            batches = zip(images.split(at_once), levels.split(at_once), strict=True)
            return torch.cat([call(index, level, draw) for index, level in batches])

        return halve_until_it_fits(AT_ONCE, in_batches)[0]

    return torch.stack([measure_draw(draw) for draw in range(options.draws)]).mean(dim=0).view(len(sigmas), n)


def read_train_noise(network: str) -> "NoiseDistribution | None":
    """The noise distribution with which a network was trained here; None for others, and for a user's class."""
    from diffusion_core import noise
    from experiments.user.pretrained import training_config

    parameters = dict(training_config(network).get("noise", {}))
    kind = getattr(noise, parameters.pop("class", ""), None)
    return kind(**parameters) if kind else None


def curve_rows(candidates: Sequence[Candidate], sigmas: Sequence[float]) -> list[Row]:
    """Rows of curves.csv: the mean loss of each network at each level."""
    return [
        {"model_id": candidate.name, "train_noise": candidate.train_noise and candidate.train_noise.name}
        | {"train_seed": number, "sigma": sigma, "relative_error": of_images.mean().item(), "n_images": len(of_images)}
        for candidate in candidates
        for number, losses in enumerate(candidate.losses, 1)
        for sigma, of_images in zip(sigmas, losses, strict=True)
    ]


def compare_levels(candidates: Sequence[Candidate], sigmas: Sequence[float]) -> list[Row]:
    """Rows of contrasts.csv: each candidate against the first at each level.

    Verdicts are Holm's over all levels and candidates, without the levels that are outside the training of both.
    """
    from experiments.distances.intervals import CONFIDENCE, holm, verdict

    first, *others = candidates
    edges = [(above * below) ** 0.5 for above, below in pairwise(sigmas)]
    rows = list[Row]()
    estimates = list["Estimate"]()
    for candidate in others:
        noise = candidate.train_noise
        shares = measure_shares(noise.name, edges) if noise else [None] * len(sigmas)
        for level, sigma in enumerate(sigmas):
            a = candidate.losses[:, level]
            b = first.losses[:, level]
            estimates.append(estimate_ratio(a, b))
            outside = candidate.outside[level] and first.outside[level]
            rows.append({
                "experiment": "losses", "kind": "level", "section": "levels", "metric": LOSS, "level": CONFIDENCE,
                "a": candidate.name, "b": first.name, "sigma": sigma, "share": shares[level],
                "value_a": a.mean().item(), "value_b": b.mean().item(), "n_networks": len(a), "n_samples": len(a[0]),
                "train_noise": noise and noise.name, "no_verdict": "outside the training" if outside else None,
            })  # fmt: skip
    judged = [place for place, row in enumerate(rows) if not row["no_verdict"]]
    corrected = dict(zip(judged, holm([estimates[place].p_value for place in judged]), strict=True))
    for place, row in enumerate(rows):
        estimate = estimates[place].corrected("levels", corrected.get(place), len(judged))
        row |= vars(estimate) | {"verdict": NO_VERDICT if row["no_verdict"] else verdict(estimate)}
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
    means = {"images": linear.mean(dim=0)}
    if len(a) >= ENOUGH_NETWORKS:
        means["networks"] = linear.mean(dim=1)
    variances = {name: float(values.var()) / len(values) for name, values in means.items()}
    variance = sum(variances.values())
    spread = sum(variances[name] ** 2 / (len(values) - 1) for name, values in means.items())
    freedom = variance**2 / spread if spread > 0 else 1.0
    method = "t over " + " and ".join(f"{len(values)} {name}" for name, values in means.items())
    return replace(
        estimate(float(ratio) - 1, variance**0.5, freedom, method),
        holds_for=None if "networks" in means else len(a),
    )


def find_reports(networks: Sequence[str], out: Path) -> list[str]:
    """The reports beside this one that score samples of all these networks, if they were trained here."""
    ids = {Path(network).stem for network in networks}
    if not all(network.startswith("checkpoint:") for network in networks):
        return []
    texts = {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(out.parent.glob("*/table.csv"))}
    return [f"../{folder}/report.html" for folder, text in texts.items() if all(name in text for name in ids)]
