"""PyTorch, loaded so that the window waits neither for its import nor, later on, for the garbage collector.

Python looks through all objects from time to time and lets no thread run meanwhile: with napari and PyTorch loaded
that takes a fifth of a second. What is there after the import stays for good, mostly, so it need not be looked
through again.
"""

from __future__ import annotations

import gc
import sys
import threading

_LOADING = threading.Lock()


def load_torch() -> None:
    """Import what all jobs need; called in their threads first. Does nothing the second time."""
    with _LOADING:
        if "vivim.inference" in sys.modules:
            return
        collecting = gc.isenabled()
        gc.disable()
        try:
            import vivim.inference  # noqa: F401  # with it, PyTorch
        finally:
            if collecting:
                gc.enable()
        gc.freeze()


def look_at_all_again() -> None:
    """Something large has gone, a video or a window: let the collector find what is left of it."""
    gc.unfreeze()
