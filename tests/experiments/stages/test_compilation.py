"""Sampling from a compiled network: once for all runs that share it, and not at all without a compiler."""

import pytest
import torch

from diffusion_core.networks.compiled import Compiled
from experiments.config.denoisers import Machine
from experiments.stages import compilation


def model(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return x


def test_runs_that_share_network_batch_and_machine_share_the_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "can_compile", lambda device: True)
    first = compilation.maybe_compile(model, 256, Machine(compiled=True))
    assert isinstance(first, Compiled) and first.batch_size == 256
    assert compilation.maybe_compile(model, 256, Machine(compiled=True)) is first
    assert compilation.maybe_compile(model, 128, Machine(compiled=True)) is not first
    assert compilation.maybe_compile(model, 256, Machine(precision="bf16", compiled=True)) is not first


def test_a_compiled_run_is_not_made_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its identity and its row would say compiled; another node may have the compiler, so the failure does not last."""
    monkeypatch.setattr(compilation, "can_compile", lambda device: False)
    with pytest.raises(RuntimeError, match="no compiler for cpu on this node; install"):
        compilation.maybe_compile(model, 64, Machine(compiled=True))


def test_nothing_is_compiled_unless_the_machine_says_so() -> None:
    assert compilation.maybe_compile(model, 64, Machine()) is model
