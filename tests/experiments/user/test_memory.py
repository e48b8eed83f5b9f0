"""A batch that does not fit is halved; what is freed is kept."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments.user import memory
from experiments.user.memory import halve_until_it_fits

ROOT = Path(__file__).parents[3]
CUDA = "CUDA out of memory. Tried to allocate 20.00 MiB"
CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


LAYERS = """
import resource, torch
from experiments.user.memory import keep_freed

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def layers():
    return [torch.ones(2**20) for _ in range(20)]

def pages_taken_anew():
    for _ in range(5):  # the heap grows by a tensor or two until its holes fit
        layers()
    taken = []
    for _ in range(3):  # the least: once in a while the heap still grows
        before = pages()
        layers()
        taken.append(pages() - before)
    return min(taken)

before = pages_taken_anew()
keep_freed()
print(before, pages_taken_anew())
"""


def limited(most: int, error: BaseException) -> Callable[[int], str]:
    def work(batch_size: int) -> str:
        if batch_size > most:
            raise error
        return f"done with {batch_size}"

    return work


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError(CUDA), RuntimeError(CPU)])
def test_a_batch_is_halved_until_it_fits(error: BaseException, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert halve_until_it_fits(256, limited(256, error)) == ("done with 256", [256])
    assert halve_until_it_fits(256, limited(100, error)) == ("done with 64", [256, 128, 64])
    assert halve_until_it_fits(2, lambda n: torch.empty(n, 2**50 if n > 1 else 1))[1] == [2, 1]  # a real one that fails
    for other, most in ((error, 0), (RuntimeError("shapes do not match"), 2), (ValueError("out of memory"), 2)):
        with pytest.raises(type(other)):
            halve_until_it_fits(4, limited(most, other))


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_what_is_freed_is_kept():
    """In an interpreter of its own: malloc reads its variables at the start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    before, after = map(int, subprocess.check_output([sys.executable, "-c", LAYERS], cwd=ROOT, env=clean).split())
    assert after < before / 10
