"""Large imports, so that the window waits neither for them nor, later on, for the garbage collector.

Python looks through all objects from time to time and lets no thread run meanwhile: with napari and PyTorch loaded
that takes a fifth of a second. What is there after an import stays for good, mostly, so it need not be looked through
again.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOADING = threading.Lock()


def load_dock() -> None:
    """Import the dock's modules and have napari read the plugins' preferences; in a thread of its own."""
    with _without_collecting():
        import napari_vivim.segment  # noqa: F401
        from napari_vivim.preferences import napari_page

        napari_page()


def load_torch() -> None:
    """Import what all jobs need; called in their threads first."""
    with _without_collecting():
        import vivim.inference  # noqa: F401  # with it, PyTorch


def look_at_all_again() -> None:
    """Something large has gone, a video or a window: let the collector find what is left of it."""
    gc.unfreeze()


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile, and leave out for good what is there afterwards, where anything was imported."""
    with _LOADING:
        collecting, before = gc.isenabled(), len(sys.modules)
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()
        if len(sys.modules) > before:
            gc.freeze()
