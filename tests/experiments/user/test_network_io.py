"""What a network works on, if it says so itself: its shape, and what its samples show."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_core import adapters, load
from diffusion_core.data.dataset import Values
from experiments.user.denoising_check import check_denoising
from experiments.user.network_io import check_decoded, check_size, clean, decoded, network_fingerprint, shape_of

DIGITS = load("mnist5k")
LATENTS = Values("latents:x", torch.randn(60, 4, 2, 2), torch.zeros(60), 0.0, 1.0)


class Model:
    """A network on latents of its own."""

    def __init__(self, shape: Any = (4, 2, 2), grey: int = 70) -> None:
        self.grey = grey
        if shape:
            self.shape = shape

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma.view(-1, 1, 1, 1))

    def decode(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 1, 32, 32), self.grey, dtype=torch.uint8)


def plain(x: Tensor, sigma: Tensor) -> Tensor:
    return x


def test_the_shape_is_that_of_the_data_unless_a_network_decodes() -> None:
    assert shape_of(plain, DIGITS) == (1, 32, 32) and shape_of(plain, LATENTS) == (4, 2, 2)
    assert shape_of(Model(), DIGITS) == (4, 2, 2) and shape_of(Model(None), LATENTS) == (4, 2, 2)
    assert shape_of(Model(torch.Size([3])), DIGITS) == (3,)
    for shape in ("ab", (0,), (1.5,), 3):
        with pytest.raises(ValueError, match="shape"):
            shape_of(Model(shape), DIGITS)
    assert clean(Model(), DIGITS, torch.arange(3)).shape == (3, 4, 2, 2)
    torch.testing.assert_close(clean(Model(), LATENTS, torch.arange(3)), LATENTS.standardised(slice(3)))


def test_samples_are_shown_by_the_network_or_as_the_data_are() -> None:
    x = DIGITS.standardised(slice(70))
    torch.testing.assert_close(decoded(None, DIGITS, x), DIGITS.pixels[:70])
    torch.testing.assert_close(decoded(adapters.vp(plain, DIGITS), DIGITS, x), DIGITS.pixels[:70])
    assert (decoded(Model(), DIGITS, torch.randn(70, 4, 2, 2)) == 70).all()
    for model in (plain, adapters.vp(plain, LATENTS)):
        with pytest.raises(ValueError, match="only a network turns latents into images"):
            decoded(model, LATENTS, LATENTS.standardised())


@pytest.mark.parametrize(
    "out", [torch.zeros(3, 1, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, 2, 8, 8).byte(),
            torch.zeros(3, 4).double(), torch.full((3, 4), torch.nan), torch.zeros(3)],
)  # fmt: skip
def test_what_a_network_shows_is_images_or_points(out: Tensor) -> None:
    check_decoded(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), 3)
    check_decoded(torch.zeros(3, 5), 3)
    with pytest.raises(ValueError, match="decode: it gave torch"):
        check_decoded(out, 3)


def test_what_samples_show_is_a_part_of_what_a_network_is() -> None:
    one, other = (network_fingerprint(Model(grey=grey), LATENTS, "cpu") for grey in (70, 80))
    assert one != other and one == network_fingerprint(Model(), LATENTS, "cpu")


class Wrong(Model):
    """Its decode depends on chance, on the batch, or is none."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def decode(self, x: Tensor) -> Any:
        if self.how == "none":
            return None
        if self.how == "binary":
            return torch.ones(len(x), 1, 32, 32, dtype=torch.uint8)
        grey = torch.rand(len(x)) if self.how == "chance" else (x.flatten(1).mean(dim=1) - x.mean()).abs()
        return (200 * grey.clamp(max=1)).byte().view(-1, 1, 1, 1).expand(-1, 1, 32, 32)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("chance", "decode: called twice"),
        ("batch", "decode: the output for"),
        ("none", "decode: it gave NoneType"),
        (
            "binary",
            "the largest value of the images that decode gives is 1, but pixels are 0 to 255; multiply them by 255",
        ),
    ],
)
def test_a_decode_that_depends_on_more_than_its_latent_is_refused(how: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        network_fingerprint(Wrong(how), LATENTS, "cpu")
    if how == "chance":
        model = Wrong(how)
        model.random = True  # type: ignore[attr-defined]
        assert network_fingerprint(model, LATENTS, "cpu") == network_fingerprint(model, LATENTS, "cpu")


def test_what_is_compared_has_one_size() -> None:
    check_size((1, 32, 32), DIGITS)
    points = Values("points:x", torch.randn(9, 3), torch.zeros(9), 0.0, 1.0)
    for shape, data, says in (((1, 16, 16), DIGITS, "folder256"), ((3, 32, 32), DIGITS, "red, green and blue agree"),
                              ((1,), points, r"points of shape \(1,\)")):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            check_size(shape, data)


def test_a_network_whose_latents_are_not_known_is_not_checked() -> None:
    with pytest.raises(ValueError, match=r"its x has shape \(4, 2, 2\), .*cannot be checked: .*--data latents:FILE"):
        check_denoising(Model(), DIGITS, "cpu")
