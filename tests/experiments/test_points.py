"""Points of a file, end to end: trained, sampled, compared as they are, and shown as dots."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from smoke import typed


@pytest.mark.slow(20)
@pytest.mark.usefixtures("drawn")
def test_points_are_trained_sampled_and_shown(here: Path):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 1500)
    ring = np.stack([np.cos(angle), np.sin(angle), rng.normal(size=1500) / 3], axis=1) + 40
    np.save("ring.npy", ring)
    options = "--only-primary --seeds 1 --train-images 40000 --n-samples 400 --n-steps 16".split()
    ended = typed("beta", "--data", "points:ring.npy", *options, "--threads", "1", "--store", "store", "--out", "out")
    assert ended.status == 0, ended.stderr
    page = Path("out/report.md").read_text()
    assert "--train-images 40000" in page, "the command can be pasted"
    page = page.replace("--train-images", "").replace("images/", "")
    assert "points" in page and "image" not in page and "Grain" not in page
    with Image.open("out/images/real.png") as picture:
        colours = picture.getcolors() or ()
        assert picture.size == (256, 256) and len(colours) == 3, "dots, paper, and lines between plots"
    samples = load_file(next((here / "store/samples").glob("*.safetensors")))["samples"].numpy()
    radius = np.hypot(*(samples[:, :2] - 40).T)
    assert abs(radius.mean() - 1) < 0.1 and radius.std() < 0.3, "points lie in the units of their file"
    ended = typed("run", "--data", "points:ring.npy", "--features", "natural", "--store", "store")
    assert ended.refused("points are compared as they are")
    for network, data in (("paper", "points:ring.npy"), ("mlp", "mnist5k")):
        assert typed("run", "--network", network, "--data", data, "--store", "store").refused("mlp is for points")
