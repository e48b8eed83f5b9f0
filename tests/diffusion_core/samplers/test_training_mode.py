"""Sampling warns of modules that training mode changes, and of no others."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from diffusion_core import adapters, generate_samples
from diffusion_core.data.dataset import Images
from diffusion_core.samplers.training_mode import changed_by_training_mode

DATA = Images("mine", torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), 40.0, 70.0)


class Network(nn.Module):
    """Two layers with another module between them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 1), between, nn.Conv2d(2, 1, 1))

    def forward(self, z: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.layers(z)
        return out


def drawn(model: nn.Module) -> Tensor:
    return generate_samples(model, beta=0.0, alpha=0.5, n_samples=2, shape=(1, 4, 4))


@pytest.mark.parametrize("between", [nn.Dropout(0.5), nn.BatchNorm2d(2)], ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: adapters.vp(net, DATA)], ids=["bare", "adapter"])
def test_it_is_said_until_eval_is_called(between: nn.Module, wrap: type[nn.Module]) -> None:
    model = wrap(Network(between).train())
    kind = type(between).__name__
    with pytest.warns(UserWarning, match=rf"model: (net\.)?layers\.1 \({kind}\) is in training mode.*call \.eval\(\)"):
        drawn(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(drawn(model.eval()), drawn(model))


def test_nothing_is_said_of_a_network_put_to_eval_before_it_is_wrapped_nor_of_one_that_is_meant_to_be_random() -> None:
    wrapped = adapters.vp(Network(nn.Dropout(0.5)).eval(), DATA)
    random = adapters.vp(Network(nn.Dropout(0.5)).train(), DATA)
    random.random = True  # type: ignore[assignment]  # as docs/models.md says
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert wrapped.training and torch.equal(drawn(wrapped), drawn(wrapped))
        drawn(random)


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (nn.Dropout(0.0), []),
        (nn.GroupNorm(1, 2), []),
        (nn.InstanceNorm2d(2), []),
        (nn.InstanceNorm2d(2, track_running_stats=True), ["it (InstanceNorm2d)"]),
        (nn.MultiheadAttention(2, 1), []),
        (nn.MultiheadAttention(2, 1, dropout=0.1), ["it (MultiheadAttention)"]),
        (nn.Sequential(nn.AlphaDropout(), nn.RReLU()), ["0 (AlphaDropout)", "1 (RReLU)"]),
        (lambda x, sigma: x, []),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else type(value).__name__,
)
def test_only_what_training_mode_changes_is_found(module: nn.Module, found: list[str]) -> None:
    assert changed_by_training_mode(module) == found
    if isinstance(module, nn.Module):
        assert changed_by_training_mode(module.eval()) == []
