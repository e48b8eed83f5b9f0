"""Other readings of a network: what they ask it, and what they remember."""

import torch

from diffusion_core import adapters, load
from experiments.models.variants import PREDICTIONS, Remembering, shifted, variants

DATA = load("mnist5k")


def test_every_reading_is_one_that_a_user_can_type() -> None:
    makes = {"vp": adapters.vp, "edm": adapters.edm, "flow": adapters.flow}
    for make in makes.values():
        for one in variants(make(lambda z, t: z, DATA), every=True):
            convention = one.model.convention  # type: ignore[attr-defined]  # an adapter
            named = "velocity" if convention.predicts == "velocity to data" else convention.predicts
            assert named in PREDICTIONS[convention.process]
            makes[convention.process](lambda z, t: z, DATA, predicts=named)


def test_a_shifted_index_stays_within_the_present_ones() -> None:
    asked: list[float] = []

    def net(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.extend(t.tolist())
        return z

    sigma = torch.tensor([1e-3, 0.03, 1.0, 30.0, 1e6])
    for first, lowest in ((0, 1), (1, 0)):
        asked.clear()
        table = adapters.linear_betas(100, 1e-3, 0.2, whole=True, first=first)
        for one in shifted(adapters.vp(net, DATA, time=table)):
            one.model(torch.zeros(5, *DATA.shape), sigma)
        assert (min(asked), max(asked)) == (lowest, first + 99)
    (only,) = shifted(adapters.vp(net, DATA, time=adapters.from_betas([0.1, 0.2], first=1)))
    assert "first=0 better than first=1" in only.says


def test_memory_is_not_changed_by_what_is_done_with_answers() -> None:
    asked = []
    net = Remembering(lambda z, t: asked.append(z) or z.add_(1))
    first = net(torch.zeros(2), torch.ones(1)).mul_(5)
    assert torch.equal(net(torch.zeros(2), torch.ones(1)), torch.ones(2)) and len(asked) == 1
    assert torch.equal(first, torch.full((2,), 5.0))
    net(torch.zeros(2), torch.zeros(1))
    assert len(asked) == 2
