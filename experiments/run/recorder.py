"""What sampling notes on the way: the number of evaluations, and the way of the first samples down the ladder."""

import math
from collections.abc import Callable

from torch import Tensor

from diffusion_core.samplers import Model

FILM_IMAGES, FILM_FRAMES = 4, 10


class CountingModel:
    """A model that counts the images it evaluates, and shows each evaluation to `watch`, if there is one."""

    def __init__(self, model: Model) -> None:
        self.model, self.images = model, 0
        self.watch: Callable[[Tensor, Tensor, Tensor], None] | None = None

    @property
    def takes_index(self) -> bool:
        return getattr(self.model, "takes_index", False)

    def __call__(self, x: Tensor, sigma: Tensor, **index: Tensor) -> Tensor:
        self.images += len(x)
        try:
            eps = self.model(x, sigma, **index)
        except BaseException as error:  # it may raise anything
            error.add_note("model")
            raise
        if self.watch:
            self.watch(x, sigma, eps)
        return eps


class TrajectoryRecorder:
    """Records the first samples, scaled to unit variance, and their denoised estimates at FILM_FRAMES levels.

    It records FILM_IMAGES samples, or all of the first batch if that is smaller. The estimate x - sigma eps of a level
    comes from the first evaluation after it, that of the last level from the last evaluation before it. So it costs no
    evaluation.
    """

    def __init__(self, sigmas: tuple[float, ...]) -> None:
        self.last = len(sigmas) - 1
        shown = sorted({round(frame * self.last / (FILM_FRAMES - 1)) for frame in range(FILM_FRAMES)})
        self.levels = {step: sigmas[step] for step in shown}
        self.frames: list[Tensor] = []
        self.denoised: list[Tensor] = []
        self.latest: Tensor | None = None
        self.steps = 0

    def __call__(self, step: int, x: Tensor) -> None:
        """Called by `sample` after each step."""
        self.steps = step
        if step in self.levels:
            self.frames.append(x[:FILM_IMAGES] / math.sqrt(1 + self.levels[step] ** 2))
        if step == self.last and self.latest is not None:
            self.denoised.append(self.latest)

    def evaluated(self, x: Tensor, sigma: Tensor, eps: Tensor) -> None:
        """Called by the model after each evaluation. A wrong eps is left to the check of `sample`."""
        if getattr(eps, "shape", None) != x.shape:
            return
        awaited = len(self.denoised) < len(self.frames)
        if awaited or self.steps == self.last - 1:
            self.latest = x[:FILM_IMAGES] - sigma[:FILM_IMAGES, None, None, None] * eps[:FILM_IMAGES]
        if awaited and self.latest is not None:
            self.denoised.append(self.latest)

    @property
    def follows_the_ladder(self) -> bool:
        """Whether the sampler made one step per level. Otherwise the levels of the frames are unknown."""
        return self.steps == self.last
