"""Memory: batches that do not fit are halved and tried again; memory that a layer frees is kept for the next layer."""

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
KEPT = 2**31 - 1  # bytes: the most free memory at the end of the heap
OWN_MAPPING = 2**25  # bytes: the smallest block that is returned when freed
REPORTED = ("out of memory", "can't allocate memory", "not enough memory")  # in PyTorch's RuntimeError, for CPU memory


def halve_until_it_fits(batch_size: int, work: Callable[[int], Result]) -> tuple[Result, list[int]]:
    """The result of work(batch_size), and the sizes tried: halved until it fits, down to 1. Other errors pass."""
    tried = [batch_size]
    while True:
        try:
            return work(tried[-1]), tried
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or tried[-1] == 1:
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        free_memory()  # after the handler, because its traceback keeps the tensors alive
        tried.append(tried[-1] // 2)
        logging.getLogger(__name__).warning("batch %d -> %d: %s", tried[-2], tried[-1], reason)


def free_memory() -> None:
    """Frees the memory of all objects that are no longer used, tracebacks included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@cache
def keep_freed() -> None:
    """Makes glibc's malloc keep up to 2 GiB of free memory in this process from now on, unless the environment sets it.

    Otherwise it returns activations and requests them again at the next layer, page by page: bench/LOG.md.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if platform.libc_ver()[0] == "glibc" and not chosen:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, OWN_MAPPING)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in REPORTED)
