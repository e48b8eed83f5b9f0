"""`euler` for CUDA with its step as a CUDA graph: one launch a step instead of one for each of a network's kernels.

No default uses it, and it has not been run on a card yet: `bench/gpu_check.py` compares it with `euler` and times both.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion_core.samplers.sampling import Model, Steps, check_sums, evaluate
from diffusion_core.samplers.seeded_noise import BlockNoise


class Table:
    """A ladder on the device, and the step on it as a device counter: `advance` holds no number that changes."""

    def __init__(self, steps: Steps, x: Tensor) -> None:
        ladder = list(zip(steps.sigmas, steps.alphas, steps.betas, strict=False))
        rows = [(sigma, -alpha * sigma, beta * sigma) for sigma, alpha, beta in ladder]
        self.steps = steps
        self.rows = torch.tensor(rows, dtype=x.dtype, device=x.device)
        self.sums = torch.zeros(len(rows), device=x.device)
        self.step = torch.zeros(1, dtype=torch.long, device=x.device)

    def advance(self, model: Model, x: Tensor, noise: BlockNoise | None) -> None:
        """The next step of `euler`, on x in place; `noise` is None where the step adds none."""
        sigma, move, up = self.rows.index_select(0, self.step)[0]
        eps = evaluate(model, x, sigma, 0)
        self.sums.index_copy_(0, self.step, eps.sum(dtype=torch.float32).view(1))
        x.addcmul_(eps, move)
        if noise is not None:
            x.addcmul_(noise(), up)
        self.step += 1

    def finish(self) -> None:
        """Raises NotFiniteError naming the first step and sigma at which the model returned NaN or infinity."""
        check_sums(self.sums, list(enumerate(self.steps.sigmas)))


def graphed_euler(model: Model, x: Tensor, steps: Steps, noise: BlockNoise) -> Iterator[Tensor]:
    """As `sampling.euler`, with the same noise; x is on CUDA, gradients are off, and the shape is the model's promise.

    The step is captured anew for each batch, whose generators are registered with the graph, so that each replay draws
    what the next call of `noise` would have drawn. Under autocast, stay in its context until the last step.
    """
    table = Table(steps, x)
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries choose their kernels and workspaces outside the capture
        for _ in range(3):
            evaluate(model, x.clone(), table.rows[0, 0], 0)
    torch.cuda.current_stream().wait_stream(aside)
    graphs = {noisy: _captured(table, model, x, noise if noisy else None) for noisy in {b > 0 for b in steps.betas}}
    for step, beta in enumerate(steps.betas, start=1):
        graphs[beta > 0].replay()
        if step == len(steps.betas):
            table.finish()
        yield x


def _captured(table: Table, model: Model, x: Tensor, noise: BlockNoise | None) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    for generator in noise.generators if noise is not None else ():
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        table.advance(model, x, noise)
    return graph
