"""Thread pool for compiled kernels that release the GIL.

It uses as many threads as `torch.get_num_threads()` returns. It is this module's own, because numba's parallel loops
stall beside PyTorch's threads.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch

from vivim.utils.system import cores

_pool: ThreadPoolExecutor | None = None


class Share(NamedTuple):
    """Sequences ``b0..b1`` of the batch, blocks of channels ``first..last``."""

    b0: int
    b1: int
    first: int
    last: int


def shares(batch: int, blocks: int) -> list[Share]:
    """Cut work into as many even shares as there are threads, by channels first, then by sequences."""
    threads = max(1, torch.get_num_threads())
    columns = min(threads, blocks)
    rows = max(1, min(threads // columns, batch))
    return [
        Share(batch * r // rows, batch * (r + 1) // rows, blocks * c // columns, blocks * (c + 1) // columns)
        for r in range(rows)
        for c in range(columns)
    ]


class Span(NamedTuple):
    """Steps ``l0..l1`` of sequence ``b``."""

    b: int
    l0: int
    l1: int


def spans(batch: int, length: int) -> list[Span]:
    """Cut work whose steps do not wait for one another into at least as many spans as there are threads."""
    cuts = min(length, -(-max(1, torch.get_num_threads()) // max(1, batch)))
    return [Span(b, length * i // cuts, length * (i + 1) // cuts) for b in range(batch) for i in range(cuts)]


def run_each(run: Callable[[Any], None], work: Sequence[Share] | Sequence[Span]) -> None:
    """Call `run` for every part of the work, each in a thread, of which one is the caller's."""
    global _pool
    if len(work) > 1 and _pool is None:
        _pool = ThreadPoolExecutor(cores(), thread_name_prefix="vivim-scan")
    others = [_pool.submit(run, part) for part in work[1:]] if _pool else []
    run(work[0])
    for other in others:
        other.result()


def _forget_pool() -> None:
    """Drop the pool in a forked process, where its threads do not exist."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
