"""Several samplings in one batch of the network: sigma is per sample, so ladders, samplers and seeds may differ."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from diffusion_core.samplers import Model

Result = TypeVar("Result")


def joined(model: Model, draws: Sequence[Callable[[Model], Result]]) -> list[Result]:
    """What each of `draws` returns for the model, with one network evaluation where each would have made one.

    Each draw runs in a thread of its own and samples as if it were alone. Its call of the model waits until every draw
    that is not done yet has called; then all are evaluated as one batch, in the order of the draws. So an image differs
    from the one that is sampled alone by float rounding only, and a draw that takes more steps ends on its own.

    Args:
        model: eps = model(x, sigma). It is evaluated in any of the threads, and without gradients: autocast ends where
            a thread begins, so if it is wanted it must be the model's own.
        draws: such as `lambda model: sample(model, sigmas, run, ...)`, all for images of one shape.

    Raises:
        Exception: what a draw or the model raised; the other draws end at their next call.
    """
    meeting = _Meeting(model, len(draws))

    def attend(caller: int, draw: Callable[[Model], Result]) -> Result:
        try:
            return draw(partial(meeting.call, caller))
        except BaseException as error:
            meeting.close(error)
            raise
        finally:
            meeting.leave()

    with ThreadPoolExecutor(len(draws)) as threads:
        try:
            futures = [threads.submit(attend, caller, draw) for caller, draw in enumerate(draws)]
            return [future.result() for future in futures]
        except BaseException as error:  # an interrupt reaches this thread only
            meeting.close(error)
            raise meeting.error or error from None


class _Meeting:
    """Waits for all its callers; whoever comes last evaluates for everybody."""

    def __init__(self, model: Model, n_callers: int) -> None:
        self.model, self.n_callers = model, n_callers
        self.changed = threading.Condition()
        self.calls: dict[int, tuple[Tensor, Tensor]] = {}
        self.answers: dict[int, Tensor] = {}
        self.error: BaseException | None = None  # the first

    def call(self, caller: int, x: Tensor, sigma: Tensor) -> Tensor:
        with self.changed:
            self.calls[caller] = (x, sigma)
            self._evaluate()
            self.changed.wait_for(lambda: caller in self.answers or self.error is not None)
            if self.error is not None:
                raise RuntimeError("another draw failed") from self.error
            return self.answers.pop(caller)

    def leave(self) -> None:
        """A caller will not call any more."""
        with self.changed:
            self.n_callers -= 1
            self._evaluate()

    def close(self, error: BaseException) -> None:
        """Nobody is answered any more."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def _evaluate(self) -> None:
        """Answers everybody, once all have called."""
        if self.error is not None or not self.calls or len(self.calls) < self.n_callers:
            return
        callers = sorted(self.calls)
        x, sigma = (torch.cat(parts) for parts in zip(*(self.calls[caller] for caller in callers), strict=True))
        sizes = [len(self.calls[caller][0]) for caller in callers]
        self.calls = {}
        try:
            with torch.no_grad():
                self.answers |= dict(zip(callers, self.model(x, sigma).split(sizes), strict=True))
        except BaseException as error:  # for everybody, and not only for the thread that came last
            self.error = error
        self.changed.notify_all()
