"""The sampling stage: from a network to pixels and their sampling time.

samples/ID/     samples.safetensors (uint8 `pixels`; `film`, the trajectories of the first few, and `denoised`, the
                estimates x - sigma eps on the way), meta.json
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion_core.data import Images
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Model, Sampler, sample
from diffusion_core.samplers.sampling import at_samples
from experiments.config.config import SampleConfig
from experiments.config.identity import identity
from experiments.own.behaviour import check_batch, is_random
from experiments.own.memory import halve_until_it_fits
from experiments.run.hardware import SHARED_ABOVE, BusyClock, device_name, use_threads
from experiments.run.recorder import CountingModel, TrajectoryRecorder
from experiments.stages.common import Advance, images_of, load_model, write_meta
from experiments.stages.compilation import maybe_compile
from experiments.store.store import Store

LOG = logging.getLogger(__name__)
ASKED = 16  # images that a network from elsewhere is asked for before and after each run


def sample_stage(
    config: SampleConfig, store: Store, data_root: Path | None, advance: Advance, *, shared: bool = False
) -> str:
    """The identity of a sampling run. Samples from its network; stores uint8 pixels and the time of the loop.

    A batch that does not fit into memory is halved. `shared` means that other runs use the device at the same time, so
    the measured time says nothing about speed.
    """
    name = identity(config)
    if store.has("samples", name):
        return name
    store.check_writable()
    use_threads(config.machine.threads)
    device, images = config.machine.device, images_of(config.model.data, data_root)
    network = load_model(config.model, store, data_root, device)
    model = CountingModel(network)
    counted: list[float] = []  # evaluations of this attempt

    def count(evaluations: float) -> None:
        counted.append(evaluations)
        advance(evaluations)

    def timed(batch_size: int) -> tuple[Tensor, TrajectoryRecorder, float, float]:
        """The samples and the recorded film; the seconds, and the cores that others kept busy."""
        advance(-sum(counted))  # of an attempt that ran out of memory
        counted.clear()
        model.model = maybe_compile(network, batch_size, config.machine)
        with torch.no_grad():  # warm-up, outside the clock
            blank = torch.zeros(batch_size, *images.shape, device=device)
            every = torch.arange(batch_size, device=device)
            at_samples(model, every)(blank, torch.ones(len(blank), device=device))
        model.images = 0
        _synchronise(device)
        before = BusyClock.now()
        film = TrajectoryRecorder(config.ladder.sigmas())
        model.watch = film.evaluated
        every_sample = range(config.n_samples)
        x = draw(model, config, images, every_sample, batch_size, film, lambda n: count(n * config.planned_nfe))
        _synchronise(device)
        after = BusyClock.now()
        return x, film, after.wall - before.wall, after.others_since(before)

    foreign = config.model.trained_by == "others" and not is_random(network)
    answers = check_batch(network, images, device, min(ASKED, config.batch)) if foreign else None
    with computing_in(config.machine.precision, device):
        (x, film, seconds, others_busy_cores), batch_sizes = halve_until_it_fits(config.batch, timed)
    if answers is not None and not torch.equal(answers, check_batch(network, images, device, len(answers))):
        raise ValueError(
            "model: it answers otherwise after this run than before it; its answer must depend on x and sigma only, "
            "not on earlier calls"
        )
    nfe = model.images / config.n_samples
    if type(config.sampler).planned_nfe is Sampler.planned_nfe and nfe != config.planned_nfe:
        LOG.warning(
            f"{config.sampler.name}: {nfe:g} evaluations per image, not the {config.planned_nfe} of its dry run on an "
            "image of 1x32x32, so it is compared at unequal cost; give the sampler a planned_nfe"
        )
    tensors = {"pixels": images.to_pixels(x).cpu()}
    if film.follows_the_ladder:
        tensors["film"] = images.to_pixels(torch.stack(film.frames)).cpu()
        if len(film.denoised) == len(film.frames):  # else the sampler made steps without an evaluation
            tensors["denoised"] = images.to_pixels(torch.stack(film.denoised)).cpu()
    with store.writing("samples", name) as folder:
        save_file(tensors, folder / "samples.safetensors")
        write_meta(
            folder,
            nfe=int(nfe) if nfe.is_integer() else nfe,
            seconds=seconds,
            others_busy_cores=others_busy_cores,
            batch_size=batch_sizes[-1],
            retries=f"batch {' -> '.join(map(str, batch_sizes))}" if len(batch_sizes) > 1 else None,
            shared_device=shared or (device == "cpu" and others_busy_cores > SHARED_ABOVE),
            device_name=device_name(device),
            film_sigmas=list(film.levels.values()) if film.follows_the_ladder else [],
        )
    return name


def draw(
    model: Model,
    config: SampleConfig,
    images: Images,
    samples: Sequence[int],
    batch_size: int,
    watch: Callable[[int, Tensor], None] | None = None,
    after_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """The samples of a config with these indices, in order (n, C, H, W)."""
    return sample(
        model,
        config.ladder.sigmas(),
        config.sampler,
        samples=samples,
        shape=images.shape,
        seed=config.seed,
        batch_size=batch_size,
        device=config.machine.device,
        final_denoise=config.final_denoise,
        after_batch=after_batch,
        watch=watch,
    )


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
