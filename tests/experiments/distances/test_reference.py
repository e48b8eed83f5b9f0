"""Our distances equal torch-fidelity's and the papers' formulas written out; static is no image."""

from typing import Any

import numpy as np
import pytest
import torch
from fidelity_pixels import fidelity
from scipy.spatial.distance import cdist, pdist
from torch import from_numpy as tensor
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from diffusion_core import load
from diffusion_core.data.dataset import Images
from experiments.distances import frechet, kernels
from experiments.distances.distance import Array
from experiments.distances.frechet import Moments
from experiments.distances.reference import METRICS, QUALITY, ReferenceSet, no_images_reason, precision_recall
from experiments.run.image_features import extract

N = 300


@pytest.fixture(scope="module")
def pixels(digits: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits with noise on them, and other digits."""
    noise = torch.randint(0, 90, (N, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    return (digits.pixels[:N] + noise).clamp(max=255).to(torch.uint8), digits.pixels[N : 2 * N]


@pytest.mark.slow
def test_fd_kd_precision_and_recall_equal_torch_fidelity(pixels: tuple[torch.Tensor, torch.Tensor]) -> None:
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

    def within(k: Any, a: Array) -> float:
        return float(k(a, a)[~np.eye(len(a), dtype=bool)].mean())

    moments = [{"mu": part.mean(axis=0), "sigma": np.cov(part, rowvar=False)} for part in (x, y)]
    fd = fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
    return {name: within(k, x) + within(k, y) - 2 * float(k(x, y).mean()) for name, k in kernels.items()} | {"fd": fd}


def test_distances_are_the_formulas_written_out_whatever_is_set_aside() -> None:
    rng = np.random.default_rng(1)
    features, own = rng.normal(size=(2500, 16)), rng.normal(0.2, 1.1, size=(1300, 16))  # more than one block
    real = ReferenceSet.of(tensor(features))
    assert real.width == pytest.approx(np.median(pdist(features[:2000])), rel=1e-12)
    aside = real.aside_mask(1300, 0)
    ours, _ = real.without(aside).compare(tensor(own))
    assert list(ours) == list(METRICS) and aside.sum() == 1300
    for found, part in ((ours, features[~aside]), (real.whole().distances(tensor(own)), features)):
        values = {name: distance.value for name, distance in found.items()}
        assert values == pytest.approx(written_out(own, part, real.width), rel=1e-9)
    floor = real.floor(700, range(1, 3), most=200)
    for draw in (1, 2):
        inside, rest = features[real.aside_mask(700, draw)], features[~real.aside_mask(700, draw)]
        expected = written_out(inside, rest, real.width)
        expected |= dict(zip(QUALITY, precision_recall(tensor(inside[:200]), tensor(rest[:200])), strict=True))
        assert {name: values[draw - 1] for name, values in floor.items()} == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_are_torch_fidelitys_in_one_pass_with_the_kernels_too() -> None:
    rng = np.random.default_rng(7)
    real, own = ReferenceSet.of(tensor(rng.normal(size=(1700, 12)))), tensor(rng.normal(size=(700, 12)) * 1.1)
    rest = real.without(real.aside_mask(700, 0))
    own[0] = rest.features[-1] = 9  # an image that has no ball, since only 700 have
    how = {"prc_neighborhood": 3, "prc_batch_size": 1000, "save_cpu_ram": True, "verbose": False}
    theirs = prc_features_to_metric(own.float(), rest.features[:700].float(), **how)
    expected = pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-6)  # of float32
    assert rest.compare(own)[1] == expected and precision_recall(own, rest.features) == expected
    assert 0.05 < theirs["precision"] < theirs["recall"] < 1


def test_kernels_that_know_a_part_compare_at_most_half_of_it() -> None:
    features = np.random.default_rng(2).normal(size=(60, 4))
    real = ReferenceSet.of(tensor(features), most=30)
    for n, known in ((4, 4), (25, 15), (58, 28)):
        mask = real.aside_mask(n, 1)
        assert (mask.sum(), mask[:30].sum()) == (n, known)
    fixed = np.flatnonzero(
        ReferenceSet.of(tensor(features)).aside_mask(5, 1)
    ).tolist()  # another draw changes stored scores
    assert fixed == [12, 17, 30, 32, 46]  # another draw changes stored scores
    mask = real.aside_mask(20, 1)[:30]
    part = written_out(features[:30][mask], features[:30][~mask], real.width)
    floor = real.floor(20, [1], most=5)
    assert [floor[name][0] for name in ("mmd", "kd")] == pytest.approx([part["mmd"], part["kd"]], rel=1e-9)
    with pytest.raises(ValueError, match="n_samples=59: the data set has 60 images, and 2 must stay"):
        real.aside_mask(59, 0)


@pytest.mark.parametrize("name", METRICS)
def test_what_an_image_adds_is_the_derivative_by_its_weight(name: str) -> None:
    """n images, one of them k times: the distance moves by (k - 1) / n times what that image adds."""
    rng = np.random.default_rng(3)
    real, own = tensor(rng.normal(size=(500, 3))), tensor(rng.normal(0.4, 1.2, size=(400, 3)))
    against = ReferenceSet.of(real).whole()
    first, last = (against.distances(part)[name] for part in (own[:-1], own))
    moved = 400 * (last.value - first.value)  # by one image more, not part of the first
    assert moved == pytest.approx(last.own[-1], abs=0.05 * np.abs(last.own).max())
    assert abs(last.own.mean()) < 1e-12 and abs(last.real.mean()) < 1e-12


@pytest.mark.parametrize("name", METRICS)
def test_real_images_that_are_a_sample_add_what_leaving_one_out_takes_away(name: str) -> None:
    rng = np.random.default_rng(4)
    real, own = tensor(rng.normal(size=(400, 3))), tensor(rng.normal(0.4, 1.2, size=(300, 3)))
    whole = ReferenceSet.of(real)
    added = whole.whole().distances(own)[name].real

    def without(place: int) -> float:
        part = real[torch.arange(len(real)) != place]
        sums, _ = kernels.within(kernels.build(whole.width, 3), part)
        rest = ReferenceSet(part, whole.width, sums).whole()
        return rest.distances(own)[name].value

    moved = [399 * (whole.whole().distances(own)[name].value - without(place)) for place in range(0, 400, 25)]
    np.testing.assert_allclose(moved, added[::25], atol=0.05 * np.abs(added).max())


def test_with_most_the_kernels_take_the_first_images_and_fd_all() -> None:
    rng = np.random.default_rng(5)
    real, own = tensor(rng.normal(size=(300, 3))), tensor(rng.normal(size=(200, 3)))
    part = ReferenceSet.of(real, most=100).whole(most=80).distances(own)
    assert [len(part[name].own) for name in METRICS] == [80, 80, 200]
    assert [len(part[name].real) for name in METRICS] == [100, 100, 300]


def test_precision_and_recall_do_not_depend_on_a_common_offset() -> None:
    rng = np.random.default_rng(5)
    real, shifted = tensor(rng.normal(size=(2, 100, 4)) + np.array([0, 20])[:, None, None])
    assert precision_recall(shifted, real) == (0, 0)
    for offset in (90, 110, 1e5, 1e7):
        same = precision_recall(real.flip(0) + 0.3 + offset, real + offset)
        assert precision_recall(shifted + offset, real + offset) == (0, 0)
        assert same == pytest.approx(precision_recall(real.flip(0) + 0.3, real), abs=0.02)


def test_equal_features_are_told() -> None:
    features: Array = np.zeros((20, 3))
    features[:5] = np.random.default_rng(6).normal(size=(5, 3))
    features[10:] *= -1  # -0.0
    assert kernels.mostly_equal(features) and not kernels.mostly_equal(features[:10])


def test_sums_over_other_groups_are_those_of_a_loop() -> None:
    """Images of one prompt are alike, so that they do not meet; each mean is over all others."""
    features, groups = np.random.default_rng(0).normal(size=(11, 3)), np.arange(11) % 4
    used = kernels.build(1.5, 3)
    found, _ = kernels.within(used, tensor(features), tensor(groups))
    (block,) = kernels.pairs(tensor(features))
    for name, kernel in used.items():
        matrix = kernel(block).numpy()
        means = [matrix[i, groups != groups[i]].mean() for i in range(11)]
        np.testing.assert_allclose(found[name].rows / 10, means, rtol=1e-12)
        assert found[name].mean == pytest.approx(np.mean(means))


def test_prompts_that_differ_only_in_how_alike_their_images_are_have_one_distance() -> None:
    """The law of all images is the same, but images of a prompt are more alike in one set: no difference."""
    rng = np.random.default_rng(0)
    groups = np.arange(120) % 12
    real = ReferenceSet.of(tensor(rng.normal(size=(400, 2)))).whole()
    values = []
    for within in (0.9, 0.1):
        drawn = [(rng.normal(size=(12, 2))[groups], rng.normal(size=(120, 2))) for _ in range(60)]
        own = [np.sqrt(1 - within) * common + np.sqrt(within) * each for common, each in drawn]
        values.append([real.distances(tensor(sample), groups)["mmd"].value for sample in own])
    gap = np.mean(values[0]) - np.mean(values[1])
    error = np.hypot(*(np.std(each) / 60**0.5 for each in values))
    assert abs(gap) < 3 * error
    assert len(real.distances(tensor(own[0]), groups)["mmd"].own) == 12


GROUPS = 20


def two_sets(n: int, r: int, d: int) -> tuple[Array, Array]:
    """Two correlated sets, not normal, whose directions differ in scale by e^4."""
    rng = np.random.default_rng(0)
    scales, axes = np.exp(-4 * np.arange(d) / d), np.linalg.qr(rng.normal(size=(d, d)))[0]
    own = np.tanh(1.2 * rng.normal(size=(n, d)) + 0.1 * rng.normal(size=d)) * scales
    return own @ axes, (rng.normal(size=(r, d)) * scales) @ axes


SIZES = [(400, 900, 20), (900, 400, 20), (150, 900, 128), (60, 300, 128), (300, 60, 128)]  # near d, and below it


@pytest.mark.parametrize(("n", "r", "d"), SIZES)
def test_fd_is_torch_fidelitys(n: int, r: int, d: int) -> None:
    own, real = two_sets(n, r, d)
    parts = [{"mu": part.mean(axis=0), "sigma": np.cov(part, rowvar=False)} for part in (own, real)]
    theirs = fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"]
    assert frechet.frechet_distance(Moments.of(tensor(own)), Moments.of(tensor(real))) == pytest.approx(
        theirs, rel=1e-6
    )


@pytest.mark.parametrize(("n", "r", "d"), SIZES)
def test_what_images_add_is_what_leaving_them_out_takes_away(n: int, r: int, d: int) -> None:
    """With enough images to a few per cent. With n < d FD bends, and both standard errors are rough."""
    own, real = map(tensor, two_sets(n, r, d))
    moments = Moments.of(own), Moments.of(real)
    value, *added = frechet.jackknife_terms(own, *moments, real)
    assert value == pytest.approx(frechet.frechet_distance(*moments), rel=1e-6)
    for each, images, left_out in (
        (added[0], own, lambda part: frechet.frechet_distance(Moments.of(part), moments[1])),
        (added[1], real, lambda part: frechet.frechet_distance(moments[0], Moments.of(part))),
    ):
        group = np.arange(len(images)) % GROUPS
        exact = np.array([left_out(images[group != out]) for out in range(GROUPS)])
        linear = np.array([value - each[group == out].sum().item() / (group != out).sum() for out in range(GROUPS)])
        few = len(images) < 2 * d
        assert abs(each.mean()) < 1e-12 and np.corrcoef(exact, linear)[0, 1] > (0.9 if few else 0.99)
        assert linear.std() == pytest.approx(exact.std(), rel=0.4 if few else 0.06)


def test_nothing_of_real_images_that_are_fixed() -> None:
    own, real = map(tensor, two_sets(100, 200, 5))
    moments = Moments.of(own), Moments.of(real)
    fixed, sampled = frechet.jackknife_terms(own, *moments), frechet.jackknife_terms(own, *moments, real)
    assert (fixed[1] == sampled[1]).all() and [len(fixed[2]), len(sampled[2])] == [0, 200]


REAL = {"precision": 0.9, "recall": 0.8}
IMAGES, FAR, STATIC = ({"precision": p, "recall": r} for p, r in ((0.6, 0.7), (0.02, 0.0), (0.01, 0.004)))


@pytest.mark.parametrize(("sides", "real", "gross"), [
    ([IMAGES, IMAGES], REAL, False), ([FAR, FAR], REAL, False), ([STATIC, STATIC], REAL, True), ([STATIC], REAL, True),
    ([IMAGES, STATIC], REAL, False),  # one side made images: that is a result
    ([STATIC, STATIC], {"precision": 0.9, "recall": 0.5}, False),  # a floor that says nothing
    ([STATIC, STATIC], {"precision": 0.0, "recall": 0.0}, False),  # unknown
])  # fmt: skip
def test_the_rule(sides: list[dict[str, float]], real: dict[str, float], gross: bool) -> None:
    assert bool(no_images_reason(sides, real)) == gross


@pytest.mark.slow
def test_static_is_no_image_and_a_grainy_digit_is_one() -> None:
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
