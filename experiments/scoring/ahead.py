"""Work that threads do ahead of its use: files are read while a network computes features."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from experiments.run.hardware import cores

PART = 8  # items that a thread takes at once: handing over single ones costs as much as reading a small image
X = TypeVar("X")
Y = TypeVar("Y")


def ahead(work: Callable[[X], Y], items: Sequence[X], most: int = 4) -> Iterator[Y]:
    """work(item) for each item, in their order. At most `most` threads work ahead, and one for each core."""
    threads = min(most, cores())
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, len(items), PART)
        parts = (pool.submit(lambda part: list(map(work, part)), items[start : start + PART]) for start in starts)
        under_way = deque(islice(parts, 2 * threads + 2))
        try:
            while under_way:
                yield from under_way.popleft().result()
                under_way.extend(islice(parts, 1))
        finally:
            pool.shutdown(cancel_futures=True)
