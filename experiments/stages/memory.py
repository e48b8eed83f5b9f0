"""Memory: batches that do not fit are halved and tried again, and what a layer frees is kept for the next one.

Results depend on neither.
"""

import ctypes
import gc
import logging
import os
import platform
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch

Result = TypeVar("Result")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
# bytes: free at the end of the heap at most; of a block that goes back when freed
KEPT, OWN_MAPPING = 2**31 - 1, 2**25
SAID = ("out of memory", "can't allocate memory", "not enough memory")  # by PyTorch, of CPU memory, in a RuntimeError


def halve_until_it_fits(batch_size: int, work: Callable[[int], Result]) -> tuple[Result, list[int]]:
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


@cache
def keep_freed() -> None:
    """Makes malloc keep up to 2 GiB that is free, in this process from now on, where it is glibc's.

    By default glibc gives activations of a few MB back to the system and takes them again at the next layer, page by
    page, which in fp32 takes as long as the network (bench/LOG.md). Whoever sets malloc by environment is left alone.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if platform.libc_ver()[0] == "glibc" and not chosen:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, OWN_MAPPING)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on a card."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in SAID)
