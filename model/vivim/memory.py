"""Give memory that is free inside the process back to the system."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable


def trim() -> None:
    """Return what the C library keeps for later; does nothing where it is not glibc.

    glibc keeps freed blocks of up to 32 MB in its heap, between others that are in use: a network's activations,
    allocated and freed window after window, would make a process grow by hundreds of megabytes within a long video.
    """
    function = _malloc_trim()
    if function is not None:
        function(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
