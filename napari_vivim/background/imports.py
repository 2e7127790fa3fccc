"""Large imports, so that the window waits neither for them nor, later on, for the garbage collector.

Python looks through all objects from time to time and lets no thread run meanwhile: with napari and PyTorch loaded
that takes a fifth of a second. What is there after an import stays for good, mostly, so it need not be looked through
again.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from qtpy.QtCore import QEventLoop, QThread
from qtpy.QtWidgets import QApplication

_LOADING = threading.Lock()
SWITCH_SECONDS = 0.0005
"""How soon the interpreter hands on its lock while something loads; its own 5 ms add up to stalls of the window."""

T = TypeVar("T")


class _InBackground(QThread):
    """Does one thing; what came of it, or went wrong, lies in `result` and `error`."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """In the thread."""
        try:
            self.result = self._work()
        except BaseException as error:  # raised again where it was asked for
            self.error = error


def in_background(work: Callable[[], T]) -> T:
    """Do it in a thread, and return its result; the window goes on drawing meanwhile, keys and clicks wait.

    Called where there is no window, or in another thread than the window's, it is done there and then.
    """
    app = QApplication.instance()
    if app is None or QThread.currentThread() is not app.thread():
        return work()
    thread, loop = _InBackground(work), QEventLoop()
    thread.finished.connect(loop.quit)
    thread.start()
    loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    thread.wait()
    look_at_new_things_only()
    if thread.error is not None:
        raise thread.error
    return thread.result


def load_layers() -> None:
    """Import and compile what napari does for the first image layer of a process; in any thread."""
    with without_collecting():
        import numpy as np
        from napari.layers import Image

        Image(np.zeros((1, 1, 1), np.uint8), axis_labels=("time", "y", "x"), units=("pixel", "mm", "mm"))


def load_torch() -> None:
    """Import what all jobs need; called in their threads first."""
    with without_collecting():
        if "torch" not in sys.modules:
            map_torch()
        import vivim.inference.proposals  # noqa: F401  # with it, PyTorch


def map_torch() -> None:
    """Load PyTorch's libraries, as importing it would, but let all threads run meanwhile.

    An import holds the interpreter's lock while the system links a library: for PyTorch's a third of a second. What is
    loaded here is found by the import; what cannot be is left to it, and so are the libraries on Windows, where PyTorch
    itself loads them without the lock.
    """
    found = find_spec("torch")
    if os.name != "posix" or found is None or found.origin is None:
        return
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    system = ctypes.CDLL(None)
    system.dlopen.restype, system.dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, shared in (("libtorch_global_deps", os.RTLD_GLOBAL), ("libtorch", os.RTLD_LOCAL)):
        path = Path(found.origin).parent / "lib" / (name + suffix)
        system.dlopen(os.fsencode(path), os.RTLD_NOW | shared)


def look_at_new_things_only() -> None:
    """What a job has loaded and made by now stays, mostly: let the collector leave it out, of any thread.

    A job's first run leaves 75,000 objects, and looking through 120,000 takes 80 ms. What was garbage by now is found
    once `look_at_all_again` is called.
    """
    gc.collect(1)
    gc.freeze()


def look_at_all_again() -> None:
    """Something large has gone, a video or a window: let the collector find what is left of it."""
    gc.unfreeze()


@contextmanager
def without_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile, and leave out for good what is there afterwards, where anything was imported."""
    with _LOADING:
        collecting, before = gc.isenabled(), len(sys.modules)
        switching = sys.getswitchinterval()
        gc.disable()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            yield
        finally:
            sys.setswitchinterval(switching)
            if collecting:
                gc.enable()
        if len(sys.modules) > before:
            gc.freeze()
