"""Thread pool for compiled kernels that release the GIL.

It uses as many threads as `torch.get_num_threads()` returns. It is this module's own, because numba's parallel loops
stall beside PyTorch's threads.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from vivim.utils.system import cores

_pool: ThreadPoolExecutor | None = None


def shares(batch: int, blocks: int) -> list[tuple[int, ...]]:
    """Cut work into as many even shares as there are threads, by channels first, then by sequences.

    A share ``(b0, b1, first, last)`` has the sequences ``b0..b1`` of the batch, and blocks of channels ``first..last``.
    """
    threads = max(1, torch.get_num_threads())
    columns = min(threads, blocks)
    rows = max(1, min(threads // columns, batch))
    return [
        (batch * r // rows, batch * (r + 1) // rows, blocks * c // columns, blocks * (c + 1) // columns)
        for r in range(rows)
        for c in range(columns)
    ]


def spans(batch: int, length: int) -> list[tuple[int, ...]]:
    """Cut work whose steps do not wait for one another into at least as many spans as there are threads.

    A span ``(b, l0, l1)`` has the steps ``l0..l1`` of sequence ``b``.
    """
    cuts = min(length, -(-max(1, torch.get_num_threads()) // max(1, batch)))
    return [(b, length * i // cuts, length * (i + 1) // cuts) for b in range(batch) for i in range(cuts)]


def run_each(run: Callable[..., None], work: Sequence[tuple[int, ...]]) -> None:
    """Call ``run(number, *part)`` for every part of the work, each in a thread, of which one is the caller's."""
    global _pool
    if len(work) > 1 and _pool is None:
        _pool = ThreadPoolExecutor(cores(), thread_name_prefix="vivim-scan")
    others = [_pool.submit(run, number, *work[number]) for number in range(1, len(work))] if _pool else []
    run(0, *work[0])
    for other in others:
        other.result()


def _forget_pool() -> None:
    """Drop the pool in a forked process, where its threads do not exist."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
