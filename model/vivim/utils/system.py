"""How many cores there are to work on."""

import ctypes
import functools
import os
import sys
from collections.abc import Callable


def cores() -> int:
    """Cores that this process may use. Where the system does not say, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


LARGEST_BLOCK, KEPT = 32 * 2**20, 512 * 2**20
"""Bytes: the largest that glibc takes, and more than what two windows leave on top of the heap."""
ONE_HEAP = ("MALLOC_ARENA_MAX", "1")
"""Variable with which a process starts whose work is not done in its first thread: see `keep_freed`."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def check_fits(needed: float, what: str) -> None:
    """Refuse work that needs more memory than is free: Linux would end the whole program halfway.

    `KEPT` bytes may be free inside the process.
    """
    if needed <= KEPT:
        return
    import psutil

    free = psutil.virtual_memory().available
    if needed > free + KEPT:
        raise MemoryError(f"{what} needs about {needed / 2**30:.1f} GB, but {free / 2**30:.1f} GB are free")


def trim() -> None:
    """Return what the C library keeps for later. Does nothing where it is not glibc.

    glibc keeps freed blocks of up to 32 MB in its heap, between others that are in use: a network's activations,
    allocated and freed window after window, would make a process grow by hundreds of megabytes within a long video.
    """
    function = _of_c_library("malloc_trim")
    if function is not None:
        function(0)


@functools.cache
def keep_freed() -> None:
    """Let the C library keep freed blocks for the next window, up to `KEPT` bytes. Does nothing where it is not glibc.

    It gives back what lies on top of its heap, but for 64 MiB, or 64 KiB as Dask tells its workers: the network then
    spends a tenth to a half of its time on getting the same memory again. Other threads than the first have heaps of 64
    MiB that go back whole, unless `ONE_HEAP` makes all share that of the first. `trim` gives back the rest. Source:
    mallopt(3); arena.c of glibc 2.36, ``heap_trim``.
    """
    function = _of_c_library("mallopt")
    if function is not None:
        function(_M_MMAP_THRESHOLD, LARGEST_BLOCK)
        function(_M_TRIM_THRESHOLD, KEPT)


@functools.cache
def _of_c_library(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)
