"""A UNet2DModel saved by diffusers, read from its folder and put behind the adapter `vp`.

Such a network was trained at the discrete levels of a variance-preserving scheduler, on images in [-1, 1], or in [0, 1]
if it centres its input itself. Nothing is downloaded, and no pickle is read. diffusers is the extra `peers`.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from diffusion_core import adapters
from diffusion_core.adapters.adapter import Labels
from diffusion_core.data import Images
from experiments.store.checksums import read_json

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}  # diffusers' names and ours
WEIGHTS = "diffusion_pytorch_model.safetensors"
NO_SIGNAL = 2**-24  # the abar that some schedulers of diffusers put in place of 0
LATENT = ("vae", "vqvae")  # pipelines with one of these denoise a latent code, not pixels
Config = dict[str, Any]


@dataclass(frozen=True)
class DiffusersFolder:
    """A model folder as `find` read it: the paths of its files and its two configs."""

    root: Path
    unet: Path  # the folder with the network's config.json and weights
    config: Config
    scheduler: Config | None  # None: no scheduler was saved

    def files(self) -> list[Path]:
        """All files that determine the model; other files of the folder, such as a README, do not."""
        weights = self.unet / WEIGHTS
        shards = {weights}
        if not weights.is_file():  # large networks are split over several files and an index
            index = weights.with_name(weights.name + ".index.json")
            shards = {index, *(self.unet / name for name in read_json(index)["weight_map"].values())}
        scheduler = [path for path in scheduler_paths(self.root) if path.is_file()][:1]
        return [self.unet / "config.json", *sorted(shards), *scheduler]


def find(root: Path) -> DiffusersFolder:
    """The network and scheduler saved in `root`, a UNet2DModel folder or a pipeline folder. diffusers is not needed.

    Raises:
        ValueError: no folder, no config.json, no safetensors weights, another kind of network, or a latent pipeline.
    """
    if not root.is_dir():
        raise ValueError(
            f"diffusers:{root}: there is no such folder. Nothing is fetched: save a model there first, with "
            "UNet2DModel.from_pretrained(NAME).save_pretrained(PATH) or its pipeline's save_pretrained"
        )
    configs = [root / "unet" / "config.json", root / "config.json"]
    path = next((path for path in configs if path.is_file()), None)
    if path is None:
        raise ValueError(f"diffusers:{root}: no network; neither unet/config.json nor config.json is there")
    config = read_json(path)
    if config.get("_class_name") != "UNet2DModel":
        raise ValueError(f"{path}: _class_name={config.get('_class_name')!r}, but it must be 'UNet2DModel'")
    index = root / "model_index.json"
    latent = [name for name in LATENT if index.is_file() and name in read_json(index)]
    if latent:
        raise ValueError(f"{index}: the pipeline has a {latent[0]!r}, so its network denoises a code and not pixels")
    saved = [path.with_name(WEIGHTS), path.with_name(f"{WEIGHTS}.index.json")]
    if not any(file.is_file() for file in saved):
        raise ValueError(
            f"{path.parent}: no weights; {WEIGHTS} is not there. Pickled weights are not read: save them anew with "
            "save_pretrained(PATH, safe_serialization=True)"
        )
    schedulers = [file for file in scheduler_paths(root) if file.is_file()]
    if not schedulers and root.name == "unet" and (root.parent / "model_index.json").is_file():
        raise ValueError(
            f"diffusers:{root}: this is a part of a pipeline; name the folder above it, whose scheduler says what the "
            "network predicts"
        )
    return DiffusersFolder(root, path.parent, config, read_json(schedulers[0]) if schedulers else None)


def scheduler_paths(root: Path) -> list[Path]:
    """The possible paths of a scheduler's config, in search order."""
    return [root / "scheduler" / "scheduler_config.json", root / "scheduler_config.json"]


class Unet(nn.Module):
    """A UNet2DModel as adapters call a network."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, z: Tensor, timestep: Tensor, labels: Tensor | None = None) -> Tensor:
        output: Tensor = self.unet(z, timestep, class_labels=labels).sample
        return output


def load(root: Path, images: Images, label: Labels, device: str) -> adapters.Adapter:
    """The network of a folder, for `images`, on `device`.

    A network for smaller images than these gets their middle, if their border is constant.

    Raises:
        ValueError: diffusers is not installed; the folder has no model for these images and this label, see `find`; the
            network or the scheduler is of another kind.
    """
    folder = find(root)
    _check(folder, images, label)
    diffusers = _diffusers()
    prediction, abar = _process(diffusers, folder)
    try:
        unet, report = diffusers.UNet2DModel.from_pretrained(
            str(folder.unet),
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,  # otherwise wrong sizes are reported in another way
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{folder.unet}: diffusers cannot load it: {error}") from error
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
    """Assumptions about the model in a folder, and differences from diffusers' own pipeline, one sentence each.

    Raises:
        ValueError: as in `find`.
    """
    folder = find(root)
    config, scheduler = folder.config, folder.scheduler or {}
    touched = "the estimated x0 at every step"
    sentences = {
        "it is taken to expect images in [-1, 1], which diffusers does not record": not config.get(
            "center_input_sample"
        ),
        "it is taken to expect images in [0, 1], because it centres its input itself (center_input_sample)": config.get(
            "center_input_sample"
        ),
        "no scheduler was saved with it: DDPMScheduler's defaults are assumed (1,000 steps, beta linear from 0.0001 to "
        "0.02, predicts eps)": folder.scheduler is None,
        f"its scheduler clips {touched} (clip_sample); here it is not touched": scheduler.get("clip_sample"),
        f"its scheduler thresholds {touched} (thresholding); here it is not touched": scheduler.get("thresholding"),
        "levels without any signal (rescale_betas_zero_snr) have an infinite sigma and are left out": scheduler.get(
            "rescale_betas_zero_snr"
        ),
        "its learned variance, the second half of its output, is not used": config.get("out_channels")
        == 2 * config.get("in_channels", 0),
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _check(folder: DiffusersFolder, images: Images, label: Labels) -> None:
    """Raises ValueError unless the network's config suits the images and the label; `Adapter` checks the rest."""
    where, config = folder.unet / "config.json", folder.config
    channels = images.shape[0]
    if config.get("in_channels") != channels:
        raise ValueError(
            f"{where}: in_channels={config.get('in_channels')}, but data={images.name!r} has {channels} channel(s)"
        )
    size = config.get("sample_size")
    if isinstance(size, list) and len(set(size)) > 1:
        raise ValueError(f"{where}: sample_size={size}, but it must be square")
    kind = config.get("time_embedding_type", "positional")
    if kind != "positional":  # fourier takes sigma itself, and was trained at whole timesteps only
        raise ValueError(f"{where}: time_embedding_type={kind!r}, but it must be 'positional'")
    if config.get("class_embed_type") is not None:
        raise ValueError(
            f"{where}: class_embed_type={config['class_embed_type']!r}, but it must be null, with num_class_embeds set "
            "for a class-conditional network"
        )
    n_classes = config.get("num_class_embeds")
    if n_classes is None and label is not None:
        raise ValueError(f"label={label}: {where} is unconditional (no num_class_embeds) and takes no label")
    if n_classes is not None and label is None:
        raise ValueError(
            f"label=None: {where} is class-conditional; give a label from 0 to {n_classes - 1}, or balanced"
        )


def _process(diffusers: Any, folder: DiffusersFolder) -> tuple[str, Tensor]:
    """The network's prediction type as adapters call it, and the levels abar of its scheduler."""
    config = folder.scheduler or {"_class_name": "DDPMScheduler"}
    name, prediction = str(config.get("_class_name")), config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise ValueError(
            f"{folder.root}: its scheduler has prediction_type={prediction!r}; it must be one of "
            f"{', '.join(PREDICTIONS)}"
        )
    kind: Any = getattr(diffusers, name, None)
    known = isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)
    if not known:
        raise ValueError(f"{folder.root}: _class_name={name!r} of its scheduler is no scheduler of diffusers")
    try:
        scheduler = kind.from_config(config)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"{folder.root}: diffusers cannot make its scheduler: {error}") from error
    abar = getattr(scheduler, "alphas_cumprod", None)
    if not isinstance(abar, Tensor):
        raise ValueError(
            f"{folder.root}: {name} has no alphas_cumprod; only variance-preserving schedulers such as DDPMScheduler "
            "can be used"
        )
    if scheduler.config.get("timestep_type") == "continuous" and prediction == "v_prediction":
        raise ValueError(
            f"{folder.root}: its scheduler has timestep_type='continuous' with prediction_type='v_prediction', so its "
            "network is told ln(sigma) / 4; only networks that are told the index in a table can be used"
        )
    if scheduler.config.get("use_flow_sigmas"):
        raise ValueError(
            f"{folder.root}: its scheduler has use_flow_sigmas=True, so its network is one of a flow; only networks of "
            "a variance-preserving process can be used"
        )
    if scheduler.config.get("rescale_betas_zero_snr") and abar[-1] <= NO_SIGNAL:
        abar = abar[:-1]
    return PREDICTIONS[prediction], abar


def _diffusers() -> Any:
    try:
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise ValueError(f"diffusers is not installed ({error}); pip install -e '.[peers]'") from error
