"""Which gate errs where? Planted changes of a sampler, against the gates that people use, and `score --margin`.

    python -m bench.harm_gates runs/harmless-gates [IMAGES]

A small network is trained on mnist5k, and 2,000 digits (or IMAGES) are drawn before and after each change, with the
same seeds. PSNR and SSIM (Wang et al. 2004, IEEE Trans. Image Process. 13, 600) are means over pairs; FD is that to the
real digits in `digits` features. The folder is a result of `score --margin` for all changes.
"""

import io
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from diffusion_core import LogNormal, build, load, train
from diffusion_core.samplers import Euler, Heun, sample
from experiments import Schedule, harmless
from experiments.run import result_folder
from experiments.run.image_features import extract
from experiments.scoring.equivalence import Harmless

STEPS, SEED, COMMAND = 66, 0, "python -m bench.harm_gates"
SAME, SLIGHT, HARMED = "same law", "slight", "harmed"  # by construction
GATES = {"PSNR": (30.0, 1), "SSIM": (0.97, 1), "change of FD": (1.0, -1)}  # limit, and the side that passes
Pixels = np.ndarray[Any, np.dtype[np.uint8]]  # (n, 32, 32)


def main(out: Path, n: int) -> None:
    start, data = time.time(), load("mnist5k")
    torch.manual_seed(SEED)
    model = build("small", parameterisation="mixture-input")
    images = data.standardised()
    model.fit(images)
    for _ in train(model, images, LogNormal(0.2, 1.3), n_images=100_000, stable_above=2):
        pass
    model.eval()

    @torch.autocast("cpu", torch.bfloat16)
    def in_bf16(x: Tensor, sigma: Tensor) -> Tensor:
        return model(x, sigma).float()

    def drawn(network: Any = model, steps: int = STEPS, sampler: Any = None, seed: int = SEED) -> Pixels:
        sigmas = Schedule(n_steps=steps).sigmas()
        with torch.inference_mode():
            x = sample(network, sigmas, sampler or Euler(1.0), n_samples=n, shape=data.shape, seed=seed, batch_size=500)
        return data.to_pixels(x)[:, 0].numpy()

    before, others = drawn(), drawn(seed=SEED + 1)
    classes, of_others = _classes(before), _classes(others)
    noise = np.random.default_rng(SEED).normal(0, 3, before.shape)
    changes: dict[str, tuple[str, Callable[[], Pixels]]] = {
        "other seeds": (SAME, lambda: others),
        "network in bf16": (SAME, lambda: drawn(in_bf16)),
        "weights in int8": (SLIGHT, lambda: drawn(_in_int8(model))),
        "every second evaluation reused": (SLIGHT, lambda: drawn(_reuse(model))),
        "33 steps for 66": (SLIGHT, lambda: drawn(steps=33)),
        "60 steps for 66": (SLIGHT, lambda: drawn(steps=60)),
        "Heun, 66 steps, no fresh noise": (SLIGHT, lambda: drawn(sampler=Heun())),
        "blur of 0.4 pixels": (SLIGHT, lambda: _each(before, lambda x: x.filter(ImageFilter.GaussianBlur(0.4)))),
        "JPEG of quality 90": (SLIGHT, lambda: _each(before, _jpeg)),
        "contrast x 0.95": (SLIGHT, lambda: (before * 0.95).round().astype(np.uint8)),
        "contrast x 0.8": (HARMED, lambda: (before * 0.8).round().astype(np.uint8)),
        "class 7 lost": (HARMED, lambda: _replace(before, np.flatnonzero(classes == 7), others[of_others != 7])),
        "5 % replaced by class 1": (HARMED, lambda: _replace(before, np.arange(n // 20), others[of_others == 1])),
        "3 % are grey": (HARMED, lambda: _replace(before, np.arange(3 * n // 100), before * 0 + 128)),
        "half are copies of the other half": (HARMED, lambda: np.concatenate([before[: n // 2]] * 2)),
        "noise of 3 grey levels": (HARMED, lambda: (before + noise).round().clip(0, 255).astype(np.uint8)),
    }
    rows = list[dict[str, Any]]()
    for name, (truth, make) in changes.items():
        after = make()
        pairs, margin = ("none", 0.03) if name == "other seeds" else ("order", 0.02)
        result = harmless(before, after, margin, reference="mnist5k", pairs=pairs, features="digits")
        squares = ((before.astype(float) - after) ** 2).mean(axis=(1, 2)).clip(min=255**2 / 1e6)
        psnr = float((10 * np.log10(255**2 / squares)).mean())  # at most 60 for equal images
        rows += _rows(name, truth, result, psnr, _ssim(before, after))
        print(f"{time.time() - start:4.0f} s  {name}: {result.sentence}", flush=True)
    with result_folder.lock_folder(out):
        question = f"Which gate errs on {len(changes)} planted changes?"
        info = {"experiment": "harmless", "question": question, "notes": [], "harmless": {"n": n}}
        info |= {"command": f"{COMMAND} {out}"}
        result_folder.write_finished(out, info, {"harms.csv": rows}, time.time() - start)


def _rows(name: str, truth: str, result: Harmless, psnr: float, ssim: float) -> list[dict[str, Any]]:
    """A row for each gate, ours first."""
    assert result.scores is not None
    (differences,) = result.scores.differences.values()
    shared, first = {"a": name, "b": f"Euler, eta 1, {STEPS} steps", "truth": truth}, result.checks[0]
    decisive = "share" if result.decisive is first else result.decisive.check
    rows = [shared | vars(first) | {"check": "share", "verdict": result.verdict, "decided_by": decisive}]
    for gate, value in zip(GATES, (psnr, ssim, abs(differences["fd"].difference)), strict=True):
        limit, side = GATES[gate]
        verdict = "harmless" if (value >= limit if side > 0 else value < limit) else "harmful"
        rows.append(shared | {"check": gate, "value": value, "limit": limit, "verdict": verdict})
    return rows


def _classes(images: Pixels) -> Any:
    logits = extract("digits", torch.from_numpy(images)[:, None])[1]
    assert logits is not None
    return logits.argmax(dim=1).numpy()


def _ssim(before: Pixels, after: Pixels) -> float:
    """Mean structural similarity with Gaussian windows of 1.5 pixels, K1 = 0.01 and K2 = 0.03."""
    x, y = before.astype(float), after.astype(float)

    def mean(values: Any) -> Any:
        return gaussian_filter(values, sigma=(0, 1.5, 1.5), truncate=3.5)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((((2 * mx * my + c1) * (2 * both + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def _reuse(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """It answers every second call with its last answer."""
    last = list[Tensor]()

    def network(x: Tensor, sigma: Tensor) -> Tensor:
        if last:
            return last.pop()
        last.append(model(x, sigma))
        return last[0]

    return network


def _in_int8(model: nn.Module) -> nn.Module:
    """Weights of each output channel rounded to 255 steps."""
    rounded = deepcopy(model)
    with torch.no_grad():
        for weight in (tensor for tensor in rounded.parameters() if tensor.ndim > 1):
            scale = weight.abs().flatten(1).amax(dim=1).clamp(min=1e-12).view(-1, *[1] * (weight.ndim - 1)) / 127
            weight.copy_((weight / scale).round() * scale)
    return rounded


def _each(images: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return Image.open(file)


def _replace(images: Pixels, indices: Any, by: Pixels) -> Pixels:
    out = images.copy()
    out[indices] = np.resize(by, (len(indices), *by.shape[1:]))
    return out


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
