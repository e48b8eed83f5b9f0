"""Batches that do not fit into memory are halved and tried again: results do not depend on the size of a batch."""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")
SAID = ("out of memory", "can't allocate memory", "not enough memory")  # by PyTorch, of CPU memory, in a RuntimeError


def fitting(batch_size: int, work: Callable[[int], Result]) -> tuple[Result, list[int]]:
    """work(batch_size), with half the size whenever memory runs out; and the sizes tried, the last of which fitted.

    Raises whatever `work` raises at a batch of one, and whatever is not about memory at any size.
    """
    tried = [batch_size]
    while True:
        try:
            return work(tried[-1]), tried
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or tried[-1] == 1:
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        free()  # outside the handler, whose traceback holds on to the tensors
        tried.append(tried[-1] // 2)
        logging.getLogger(__name__).warning("batch %d -> %d: %s", tried[-2], tried[-1], reason)


def free() -> None:
    """Gives back what nothing refers to any more, tracebacks included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on a card."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in SAID)
