"""Our distances equal torch-fidelity's and the papers' formulas written out; static is no image."""

from typing import Any

import numpy as np
import pytest
import torch
from fidelity_pixels import fidelity
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist, pdist
from torch import from_numpy as tensor
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from diffusion_core import load
from diffusion_core.data.dataset import Images
from experiments.distances import frechet, kernels
from experiments.distances.distance import Array, Distance
from experiments.distances.frechet import Moments
from experiments.distances.reference import METRICS, QUALITY, ReferenceSet, no_images_reason, precision_recall
from experiments.run.image_features import extract

N = 300


def drawn(n: int, d: int, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
    """Normal features (n, d); others for each n."""
    return tensor(np.random.default_rng(n).normal(mean, std, size=(n, d)))


def theirs_fd(x: Array, y: Array) -> float:
    parts = [{"mu": part.mean(axis=0), "sigma": np.cov(part, rowvar=False)} for part in (x, y)]
    return float(fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"])


@pytest.fixture(scope="module")
def pixels(digits: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits with noise on them, and other digits."""
    noise = torch.randint(0, 90, (N, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    return (digits.pixels[:N] + noise).clamp(max=255).to(torch.uint8), digits.pixels[N : 2 * N]


@pytest.mark.slow
def test_fd_kd_precision_and_recall_equal_torch_fidelity(pixels: tuple[torch.Tensor, torch.Tensor]):
    theirs = fidelity(*pixels)
    own, real = (extract("digits", part)[0].double() for part in pixels)
    ours = ReferenceSet.of(real).whole().distances(own)
    assert ours["fd"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert ours["kd"].value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    assert precision_recall(own, real) == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-6)  # float32
    assert theirs["frechet_inception_distance"] > 1  # the noise is seen


def written_out(x: Array, y: Array, width: float) -> dict[str, float]:
    """MMD and KD from whole matrices, FD by torch-fidelity's function."""
    kernels = {"mmd": lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / width**2),
               "kd": lambda a, b: (a @ b.T / x.shape[1] + 1) ** 3}  # fmt: skip

    def among(k: Any, a: Array) -> float:
        return float(k(a, a)[~np.eye(len(a), dtype=bool)].mean())

    mmds = {name: among(k, x) + among(k, y) - 2 * float(k(x, y).mean()) for name, k in kernels.items()}
    return mmds | {"fd": theirs_fd(x, y)}


def test_distances_are_the_formulas_written_out_whatever_is_set_aside():
    features, own = drawn(2500, 16).numpy(), drawn(1300, 16, 0.2, 1.1)  # more than one block
    real = ReferenceSet.of(tensor(features))
    assert real.width == pytest.approx(np.median(pdist(features[:2000])), rel=1e-12)
    aside = real.aside_mask(1300, 0)
    ours, _ = real.without(aside).compare(own)
    assert list(ours) == list(METRICS) and aside.sum() == 1300
    for found, part in ((ours, features[~aside]), (real.whole().distances(own), features)):
        values = {name: distance.value for name, distance in found.items()}
        assert values == pytest.approx(written_out(own.numpy(), part, real.width), rel=1e-9)
    floor = real.floor(700, range(1, 3), most=200)
    for draw in (1, 2):
        inside, rest = features[real.aside_mask(700, draw)], features[~real.aside_mask(700, draw)]
        expected = written_out(inside, rest, real.width)
        expected |= dict(zip(QUALITY, precision_recall(tensor(inside[:200]), tensor(rest[:200])), strict=True))
        assert {name: values[draw - 1] for name, values in floor.items()} == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_are_torch_fidelitys_in_one_pass_with_the_kernels_too():
    real, own = ReferenceSet.of(drawn(1700, 12)), drawn(700, 12, std=1.1)
    rest = real.without(real.aside_mask(700, 0))
    own[0] = rest.features[-1] = 9  # an image that has no ball, since only 700 have
    how = {"prc_neighborhood": 3, "prc_batch_size": 1000, "save_cpu_ram": True, "verbose": False}
    theirs = prc_features_to_metric(own.float(), rest.features[:700].float(), **how)
    expected = pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-6)  # of float32
    assert rest.compare(own)[1] == expected and precision_recall(own, rest.features) == expected
    assert 0.05 < theirs["precision"] < theirs["recall"] < 1


def test_kernels_that_know_a_part_compare_at_most_half_of_it():
    features = drawn(60, 4)
    real = ReferenceSet.of(features, most=30)
    for n, known in ((4, 4), (25, 15), (58, 28)):
        mask = real.aside_mask(n, 1)
        assert (mask.sum(), mask[:30].sum()) == (n, known)
    (fixed,) = ReferenceSet.of(features).aside_mask(5, 1).nonzero()
    assert fixed.tolist() == [12, 17, 30, 32, 46]  # another draw changes stored scores
    mask = real.aside_mask(20, 1)[:30]
    part = written_out(features[:30][mask].numpy(), features[:30][~mask].numpy(), real.width)
    floor = real.floor(20, [1], most=5)
    assert [floor[name][0] for name in ("mmd", "kd")] == pytest.approx([part["mmd"], part["kd"]], rel=1e-9)
    with pytest.raises(ValueError, match="n_samples=59: the data set has 60 images, and 2 must stay"):
        real.aside_mask(59, 0)


@pytest.mark.parametrize("name", METRICS)
def test_what_an_image_adds_is_what_leaving_it_out_takes_away(name: str):
    real, own = drawn(400, 3), drawn(300, 3, 0.4, 1.2)
    width = ReferenceSet.of(real).width

    def distance(images: torch.Tensor, of_real: torch.Tensor) -> Distance:
        sums, _ = kernels.among(kernels.build(width, 3), of_real)
        return ReferenceSet(of_real, width, sums).whole().distances(images)[name]

    whole = distance(own, real)
    n = torch.arange(400)
    of_own = [299 * (whole.value - distance(own[n[:300] != place], real).value) for place in range(0, 300, 25)]
    of_real = [399 * (whole.value - distance(own, real[n != place]).value) for place in range(0, 400, 25)]
    for moved, added in ((of_own, whole.own), (of_real, whole.real)):
        assert_allclose(moved, added[::25], atol=0.05 * np.abs(added).max())
        assert abs(added.mean()) < 1e-12


def test_with_most_the_kernels_take_the_first_images_and_fd_all():
    part = ReferenceSet.of(drawn(300, 3), most=100).whole(most=80).distances(drawn(200, 3))
    assert [len(part[name].own) for name in METRICS] == [80, 80, 200]
    assert [len(part[name].real) for name in METRICS] == [100, 100, 300]


def test_precision_and_recall_do_not_depend_on_a_common_offset():
    real, shifted = drawn(100, 4), drawn(101, 4, 20.0)[:100]
    assert precision_recall(shifted, real) == (0, 0)
    for offset in (90, 110, 1e5, 1e7):
        same = precision_recall(real.flip(0) + 0.3 + offset, real + offset)
        assert precision_recall(shifted + offset, real + offset) == (0, 0)
        assert same == pytest.approx(precision_recall(real.flip(0) + 0.3, real), abs=0.02)


def test_equal_features_are_told():
    features: Array = np.zeros((20, 3))
    features[:5] = drawn(5, 3)
    features[10:] *= -1  # -0.0
    assert kernels.mostly_equal(features) and not kernels.mostly_equal(features[:10])


def test_sums_over_other_groups_are_those_of_a_loop():
    """Images of one prompt are alike, so that they do not meet; each mean is over all others."""
    features, groups = drawn(11, 3), np.arange(11) % 4
    used = kernels.build(1.5, 3)
    found, _ = kernels.among(used, features, tensor(groups))
    (block,) = kernels.pairs(features)
    for name, kernel in used.items():
        matrix = kernel(block).numpy()
        means = [matrix[i, groups != groups[i]].mean() for i in range(11)]
        assert_allclose(found[name].rows / 10, means, rtol=1e-12)
        assert found[name].mean == pytest.approx(np.mean(means))


def test_prompts_that_differ_only_in_how_alike_their_images_are_have_one_distance():
    """The law of all images is the same, but images of a prompt are more alike in one set: no difference."""
    rng = np.random.default_rng(0)
    groups = np.arange(120) % 12
    real = ReferenceSet.of(drawn(400, 2)).whole()

    def mmd(inside: float) -> Distance:
        """Of images whose variance is `inside` in prompts and 1 - inside between them."""
        own = np.sqrt(1 - inside) * rng.normal(size=(12, 2))[groups] + np.sqrt(inside) * rng.normal(size=(120, 2))
        return real.distances(tensor(own), groups)["mmd"]

    alike, unlike = (np.array([mmd(inside).value for _ in range(60)]) for inside in (0.1, 0.9))
    assert abs(alike.mean() - unlike.mean()) < 3 * np.hypot(alike.std(), unlike.std()) / 60**0.5
    assert len(mmd(0.5).own) == 12


GROUPS = 20


def two_sets(n: int, r: int, d: int) -> tuple[Array, Array]:
    """Two correlated sets, not normal, whose directions differ in scale by e^4."""
    rng = np.random.default_rng(0)
    scales, axes = np.exp(-4 * np.arange(d) / d), np.linalg.qr(rng.normal(size=(d, d)))[0]
    own = np.tanh(1.2 * rng.normal(size=(n, d)) + 0.1 * rng.normal(size=d)) * scales
    return own @ axes, (rng.normal(size=(r, d)) * scales) @ axes


SIZES = [(400, 900, 20), (900, 400, 20), (150, 900, 128), (60, 300, 128), (300, 60, 128)]  # near d, and below it


@pytest.mark.parametrize("n, r, d", SIZES)
def test_fd_is_torch_fidelitys(n: int, r: int, d: int):
    own, real = two_sets(n, r, d)
    ours = frechet.frechet_distance(Moments.of(tensor(own)), Moments.of(tensor(real)))
    assert ours == pytest.approx(theirs_fd(own, real), rel=1e-6)


@pytest.mark.parametrize("n, r, d", SIZES)
def test_what_images_add_is_what_leaving_them_out_takes_away(n: int, r: int, d: int):
    """With enough images to a few per cent. With n < d FD bends, and both standard errors are rough."""
    own, real = map(tensor, two_sets(n, r, d))

    def distance(*parts: torch.Tensor) -> float:
        return frechet.frechet_distance(*map(Moments.of, parts))

    value, *added = frechet.jackknife_terms(own, Moments.of(own), Moments.of(real), real)
    assert value == pytest.approx(distance(own, real), rel=1e-6)
    for each, images, left_out in (
        (added[0], own, lambda part: distance(part, real)),
        (added[1], real, lambda part: distance(own, part)),
    ):
        group = np.arange(len(images)) % GROUPS
        exact = np.array([left_out(images[group != out]) for out in range(GROUPS)])
        linear = np.array([value - each[group == out].sum().item() / (group != out).sum() for out in range(GROUPS)])
        few = len(images) < 2 * d
        assert abs(each.mean()) < 1e-12 and np.corrcoef(exact, linear)[0, 1] > (0.9 if few else 0.99)
        assert linear.std() == pytest.approx(exact.std(), rel=0.4 if few else 0.06)


def test_nothing_of_real_images_that_are_fixed():
    own, real = map(tensor, two_sets(100, 200, 5))
    moments = Moments.of(own), Moments.of(real)
    fixed, sampled = frechet.jackknife_terms(own, *moments), frechet.jackknife_terms(own, *moments, real)
    assert (fixed[1] == sampled[1]).all() and [len(fixed[2]), len(sampled[2])] == [0, 200]


REAL, IMAGES, FAR, STATIC = (dict(zip(QUALITY, pair, strict=True)) for pair in (
    (0.9, 0.8), (0.6, 0.7), (0.02, 0.0), (0.01, 0.004)))  # fmt: skip


@pytest.mark.parametrize("sides, real, gross", [
    ([IMAGES, IMAGES], REAL, False), ([FAR, FAR], REAL, False), ([STATIC, STATIC], REAL, True), ([STATIC], REAL, True),
    ([IMAGES, STATIC], REAL, False),  # one side made images: that is a result
    ([STATIC, STATIC], REAL | {"recall": 0.5}, False),  # a floor that says nothing
    ([STATIC, STATIC], {"precision": 0.0, "recall": 0.0}, False),  # unknown
])  # fmt: skip
def test_the_rule(sides: list[dict[str, float]], real: dict[str, float], gross: bool):
    assert bool(no_images_reason(sides, real)) == gross


@pytest.mark.slow
def test_static_is_no_image_and_a_grainy_digit_is_one():
    images = load("mnist5k")
    n = 300
    noise = torch.Generator().manual_seed(0)
    digits = images.standardised()[:n]
    static = torch.randn(digits.shape, generator=noise)
    blurred = torch.nn.functional.avg_pool2d(static, 5, 1, 2)

    def quality(x: torch.Tensor) -> dict[str, float]:
        features = extract("digits", images.to_pixels(x))[0].double()
        return dict(zip(QUALITY, precision_recall(features, reference), strict=True))

    reference = extract("digits", images.pixels[n:2500])[0].double()
    real = quality(digits)
    for x in (static, 30 * static, 3 * blurred, torch.zeros_like(digits)):
        assert no_images_reason([quality(x)], real)
    for x in (digits, digits + 0.5 * static):
        assert not no_images_reason([quality(x)], real) and np.isfinite(list(quality(x).values())).all()
