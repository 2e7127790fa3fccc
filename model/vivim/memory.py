"""Give memory that is free inside the process back to the system."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable

LARGEST_BLOCK, KEPT = 32 * 2**20, 64 * 2**20
"""Bytes: where the adjustment that glibc makes by itself ends."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def trim() -> None:
    """Return what the C library keeps for later; does nothing where it is not glibc.

    glibc keeps freed blocks of up to 32 MB in its heap, between others that are in use: a network's activations,
    allocated and freed window after window, would make a process grow by hundreds of megabytes within a long video.
    """
    function = _of_c_library("malloc_trim")
    if function is not None:
        function(0)


@functools.cache
def keep_freed() -> None:
    """Let the C library keep freed blocks for the next window, up to `KEPT` bytes; does nothing where it is not glibc.

    That is what it learns to do by itself, unless it is told at the start to give everything back at once, as Dask
    tells its workers: the network then spends half its time on getting the same memory again.
    Source: mallopt(3), on the dynamic adjustment of the thresholds and on what turns it off.
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
