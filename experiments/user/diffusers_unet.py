"""A UNet2DModel saved by diffusers, read from its folder and put behind the adapter `vp`.

Such a network was trained at the discrete levels of a variance-preserving scheduler, on images in [-1, 1], or in [0, 1]
if it centres its input itself. Nothing is downloaded, and no pickle is read. diffusers is the extra `peers`.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from diffusion_core import adapters
from diffusion_core.adapters.adapter import Labels
from diffusion_core.data.dataset import Images
from experiments.user.imports import user_code_errors
from experiments.user.json_io import read_json

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}  # diffusers' names and ours
WEIGHTS = "diffusion_pytorch_model.safetensors"
NO_SIGNAL = 2**-24  # the abar that some schedulers of diffusers put in place of 0
LATENT = ("vae", "vqvae")  # pipelines with one of these denoise a latent code, not pixels
Config = dict[str, Any]


@dataclass(frozen=True)
class DiffusersFolder:
    """A model folder as `find` read it."""

    root: Path
    unet: Path  # the folder with the network's config.json and weights
    config: Config
    scheduler: Config | None  # None: no scheduler was saved
    files: list[Path]  # all that determine the model; others, such as a README, do not


def find(root: Path) -> DiffusersFolder:
    """The network and scheduler saved in `root`, a UNet2DModel folder or a pipeline folder. diffusers is not needed.

    ValueError if there is no folder, no config.json, no safetensors weights, another network, or a latent pipeline.
    """
    if not root.is_dir():
        how = "UNet2DModel.from_pretrained(NAME).save_pretrained(PATH) or its pipeline's save_pretrained"
        raise ValueError(
            f"diffusers:{root}: there is no such folder. Nothing is fetched: save a model there first, with {how}"
        )
    path = _first(root / "unet" / "config.json", root / "config.json")
    if path is None:
        raise ValueError(f"diffusers:{root}: no network; neither unet/config.json nor config.json is there")
    config = read_json(path)
    if config.get("_class_name") != "UNet2DModel":
        raise ValueError(f"{path}: _class_name={config.get('_class_name')!r}, but it must be 'UNet2DModel'")
    index = root / "model_index.json"
    latent = [name for name in LATENT if index.is_file() and name in read_json(index)]
    if latent:
        raise ValueError(f"{index}: the pipeline has a {latent[0]!r}, so its network denoises a code and not pixels")
    weights = _first(path.with_name(WEIGHTS), path.with_name(f"{WEIGHTS}.index.json"))
    if weights is None:
        how = "Pickled weights are not read: save them anew with save_pretrained(PATH, safe_serialization=True)"
        raise ValueError(f"{path.parent}: no weights; {WEIGHTS} is not there. {how}")
    files = [path, weights]
    if weights.suffix == ".json":  # large networks are split over several files and an index
        files += map(path.with_name, read_json(weights)["weight_map"].values())
    scheduler = _first(root / "scheduler" / "scheduler_config.json", root / "scheduler_config.json")
    if scheduler is None and root.name == "unet" and (root.parent / "model_index.json").is_file():
        above = "name the folder above it, whose scheduler says what the network predicts"
        raise ValueError(f"diffusers:{root}: this is a part of a pipeline; {above}")
    files += [scheduler] if scheduler else []
    return DiffusersFolder(root, path.parent, config, read_json(scheduler) if scheduler else None, files)


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


class Unet(nn.Module):
    """A UNet2DModel as adapters call a network."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, z: Tensor, timestep: Tensor, labels: Tensor | None = None) -> Tensor:
        output: Tensor = self.unet(z, timestep, class_labels=labels).sample
        return output


def load(root: Path, images: Images, label: Labels, device: str) -> adapters.Adapter:
    """The network of a folder, for `images`, on `device`. One for smaller images gets their middle, see `Adapter`.

    ValueError if diffusers is not installed, or the folder has no model for these images and this label, see `find`.
    """
    folder = find(root)
    for why in _refusals(folder, images, label):
        raise ValueError(why)
    try:
        diffusers = importlib.import_module("diffusers")
    except ImportError as error:
        raise ValueError(f"diffusers is not installed ({error}); pip install -e '.[peers]'") from error
    prediction, abar = _process(diffusers, folder)
    with user_code_errors(f"{folder.unet}: diffusers cannot load it", ValueError):
        unet, report = diffusers.UNet2DModel.from_pretrained(
            str(folder.unet),
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,  # otherwise wrong sizes are reported in another way
            output_loading_info=True,
        )
    for keys, verb in (("missing_keys", "lack"), ("unexpected_keys", "have, unlike its config,")):
        if report[keys]:  # diffusers only warns, and leaves missing weights at random values
            raise ValueError(f"{folder.unet}: its weights {verb} {', '.join(sorted(report[keys])[:3])}")
    size = folder.config.get("sample_size")
    model = adapters.vp(
        Unet(unet.float()),
        images,
        predicts=prediction,
        time=adapters.from_abar(abar),
        # with center_input_sample it maps its input z to 2 z - 1 itself
        pixels=(0.0, 1.0) if folder.config.get("center_input_sample") else (-1.0, 1.0),
        side=size[0] if isinstance(size, list) else size,
        labels=label,
        n_classes=folder.config.get("num_class_embeds"),
    )
    return model.to(device).eval()


def notes(root: Path) -> list[str]:
    """Assumptions about the model in a folder, and differences from diffusers' pipeline. ValueError as in `find`."""
    folder = find(root)
    config, scheduler = folder.config, folder.scheduler or {}
    centred, touched = bool(config.get("center_input_sample")), "the estimated x0 at every step"
    no_snr, with_variance = scheduler.get("rescale_betas_zero_snr"), 2 * config.get("in_channels", 0)
    defaults = "1,000 steps, beta linear from 0.0001 to 0.02, predicts eps"
    sentences = {
        "it is taken to expect images in [-1, 1], which diffusers does not record": not centred,
        "it is taken to expect images in [0, 1], because it centres its input itself (center_input_sample)": centred,
        f"no scheduler was saved with it: DDPMScheduler's defaults are assumed ({defaults})": folder.scheduler is None,
        f"its scheduler clips {touched} (clip_sample); here it is not touched": scheduler.get("clip_sample"),
        f"its scheduler thresholds {touched} (thresholding); here it is not touched": scheduler.get("thresholding"),
        "levels without any signal (rescale_betas_zero_snr) have an infinite sigma and are left out": no_snr,
        "its learned variance, the second half of its output, is not used": config.get("out_channels") == with_variance,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _refusals(folder: DiffusersFolder, images: Images, label: Labels) -> Iterator[str]:
    """Why the network's config does not suit the images or the label; `Adapter` checks the rest."""
    where, config, channels = folder.unet / "config.json", folder.config, images.shape[0]
    if config.get("in_channels") != channels:
        yield f"{where}: in_channels={config.get('in_channels')}, but data={images.name!r} has {channels} channel(s)"
    size = config.get("sample_size")
    if isinstance(size, list) and len(set(size)) > 1:
        yield f"{where}: sample_size={size}, but it must be square"
    kind = config.get("time_embedding_type", "positional")
    if kind != "positional":  # fourier takes sigma itself, and was trained at whole timesteps only
        yield f"{where}: time_embedding_type={kind!r}, but it must be 'positional'"
    if (kind := config.get("class_embed_type")) is not None:
        must = "it must be null, with num_class_embeds set for a class-conditional network"
        yield f"{where}: class_embed_type={kind!r}, but {must}"
    n_classes = config.get("num_class_embeds")
    if n_classes is None and label is not None:
        yield f"label={label}: {where} is unconditional (no num_class_embeds) and takes no label"
    if n_classes is not None and label is None:
        yield f"label=None: {where} is class-conditional; give a label from 0 to {n_classes - 1}, or balanced"


def _process(diffusers: Any, folder: DiffusersFolder) -> tuple[str, Tensor]:
    """The network's prediction type as adapters call it, and the levels abar of its scheduler."""
    config = folder.scheduler or {"_class_name": "DDPMScheduler"}
    name, prediction = str(config.get("_class_name")), config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        must = f"it must be one of {', '.join(PREDICTIONS)}"
        raise ValueError(f"{folder.root}: its scheduler has prediction_type={prediction!r}; {must}")
    with user_code_errors(f"{folder.root}: diffusers cannot make its scheduler", ValueError):
        scheduler = getattr(diffusers, name).from_config(config)
    abar, options = getattr(scheduler, "alphas_cumprod", None), scheduler.config
    if not isinstance(abar, Tensor):
        only = "only variance-preserving schedulers such as DDPMScheduler can be used"
        raise ValueError(f"{folder.root}: {name} has no alphas_cumprod; {only}")
    if options.get("timestep_type") == "continuous" and prediction == "v_prediction":
        of = "timestep_type='continuous' with prediction_type='v_prediction', so its network receives ln(sigma) / 4"
        only = "only networks that are told the index in a table can be used"
        raise ValueError(f"{folder.root}: its scheduler has {of}; {only}")
    if options.get("use_flow_sigmas"):
        of = "use_flow_sigmas=True, so its network is one of a flow"
        only = "only networks of a variance-preserving process can be used"
        raise ValueError(f"{folder.root}: its scheduler has {of}; {only}")
    no_signal = options.get("rescale_betas_zero_snr") and abar[-1] <= NO_SIGNAL
    return PREDICTIONS[prediction], abar[:-1] if no_signal else abar
