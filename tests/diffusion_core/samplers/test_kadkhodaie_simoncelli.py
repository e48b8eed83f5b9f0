"""The sampler of Kadkhodaie & Simoncelli: each sample by itself, the level it aims at, its cost and its end."""

import torch
from short_runs import LADDER, Noise, forbidden, start
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import KadkhodaieSimoncelli, checked_steps


def test_kadkhodaie_simoncelli_treats_each_sample_by_itself() -> None:
    point = GaussianDenoiser(std=0.0)
    together = start(3) * torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64).view(-1, 1, 1, 1)
    alone = together[:1].clone()
    sampler = KadkhodaieSimoncelli(beta_ks=1.0)
    n_together, n_alone = (len(list(checked_steps(point, sampler, LADDER, x, forbidden))) for x in (together, alone))
    assert n_alone < n_together, "the batch goes on for its noisiest sample"
    torch.testing.assert_close(together[:1], alone, rtol=1e-12, atol=0)


def test_kadkhodaie_simoncelli_tells_the_model_the_level_it_aimed_at() -> None:
    """The next level is (1 - beta_ks alpha_t) of what was measured, each sample's own, until that sample stops."""
    levels, sizes = [], []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        eps = GaussianDenoiser(std=0.05)(x, sigma)
        levels.append(sigma.clone())
        sizes.append(eps.square().mean(dim=(1, 2, 3)).sqrt())
        return eps

    sampler, x = KadkhodaieSimoncelli(alpha_0=0.05), start(2)
    x[1] *= 2  # noisier than it is said to be
    list(checked_steps(model, sampler, LADDER, x, Noise()))
    for step, (before, size, after) in enumerate(zip(levels, sizes, levels[1:], strict=False)):
        alpha = 0.05 * (step + 1) / (1 + 0.05 * step)
        aimed_at = torch.where(before * size > LADDER[-1], (1 - 0.5 * alpha) * before * size, before)
        torch.testing.assert_close(after, aimed_at, rtol=1e-12, atol=0)
    assert levels[0].tolist() == [LADDER[0]] * 2 and levels[1][1] > 1.5 * levels[1][0] and len(levels) > 10


def test_kadkhodaie_simoncelli_stops_at_its_cap() -> None:
    """A model that reports ever more noise would never stop by itself."""
    sampler = KadkhodaieSimoncelli(max_steps=7)
    assert len(list(checked_steps(lambda x, sigma: 1.5 * torch.ones_like(x), sampler, LADDER, start(), Noise()))) == 7
    assert sampler.planned_nfe(LADDER) == 7
