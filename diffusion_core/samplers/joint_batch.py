"""Several sampling runs in one batch of the network: sigma is per sample, so ladders, samplers and seeds may differ."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from diffusion_core.samplers.sampling import Model

Result = TypeVar("Result")


def sample_jointly(model: Model, draws: Sequence[Callable[[Model], Result]]) -> list[Result]:
    """The results of `draws`, in order. Network evaluations of all draws are joined into one batch.

    Each draw runs in its own thread and samples as if it were alone. Its call of the model waits until every unfinished
    draw has called. Then all calls are evaluated as one batch, in the order of the draws. So an image differs from the
    same image sampled alone by float rounding only. Draws may take different numbers of steps.

    Args:
        model: eps = model(x, sigma). It is evaluated in the thread that calls `sample_jointly`, under its autocast.
        draws: functions such as `lambda model: sample(model, sigmas, sampler, ...)`, all for images of one shape.

    Raises:
        Exception: the error of the model or of the first draw that failed. The other draws end at their next call.
    """
    meeting = _Meeting(len(draws))

    def attend(caller: int, draw: Callable[[Model], Result]) -> Result:
        try:
            return draw(_Caller(meeting, caller, getattr(model, "takes_index", False)))
        except BaseException as error:
            meeting.error = meeting.error or error
            raise
        finally:
            meeting.leave()

    with ThreadPoolExecutor(max(len(draws), 1)) as threads:
        try:
            futures = [threads.submit(attend, caller, draw) for caller, draw in enumerate(draws)]
            while calls := meeting.gathered():
                x, sigma, *index = map(torch.cat, zip(*calls.values(), strict=True))
                with torch.no_grad():
                    eps = (partial(model, index=index[0]) if index else model)(x, sigma)
                meeting.answer(dict(zip(calls, eps.split([len(call[0]) for call in calls.values()]), strict=True)))
            return [future.result() for future in futures]
        finally:
            meeting.close()


@dataclass(frozen=True)
class _Caller:
    """The model as one draw calls it."""

    meeting: "_Meeting"
    caller: int
    takes_index: bool

    def __call__(self, x: Tensor, sigma: Tensor, index: Tensor | None = None) -> Tensor:
        return self.meeting.call(self.caller, (x, sigma) if index is None else (x, sigma, index))


class _Meeting:
    """The place where draws wait for each other and for their results: pending calls and answers."""

    def __init__(self, n_callers: int) -> None:
        self.n_callers = n_callers
        self.changed = threading.Condition()
        self.calls: dict[int, tuple[Tensor, ...]] = {}  # x, sigma and, if the model takes them, sample indices
        self.answers: dict[int, Tensor] = {}
        self.error: BaseException | None = None  # of the first draw that failed
        self.closed = False

    def call(self, caller: int, arguments: tuple[Tensor, ...]) -> Tensor:
        """Registers a draw's call, waits, and returns its eps."""
        with self.changed:
            self.calls[caller] = arguments
            self.changed.notify_all()
            self.changed.wait_for(lambda: caller in self.answers or self.closed)
            if self.closed:
                raise RuntimeError("sample_jointly: the draws were ended")
            return self.answers.pop(caller)

    def leave(self) -> None:
        """Removes a draw that has ended."""
        with self.changed:
            self.n_callers -= 1
            self.changed.notify_all()

    def gathered(self) -> dict[int, tuple[Tensor, ...]]:
        """The pending calls by draw, in order. Waits until all draws have called; empty if all have ended.

        Raises the first error of a draw.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.error is not None or len(self.calls) == self.n_callers)
            if self.error is not None:
                raise self.error
            calls, self.calls = self.calls, {}
            return dict(sorted(calls.items()))

    def answer(self, answers: dict[int, Tensor]) -> None:
        """Hands each draw its eps."""
        with self.changed:
            self.answers |= answers
            self.changed.notify_all()

    def close(self) -> None:
        """Makes all waiting and later calls fail."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
