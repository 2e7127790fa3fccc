"""Large imports and other slow work, done in a thread while the window goes on drawing."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from qtpy.QtCore import QEventLoop, QThread
from qtpy.QtWidgets import QApplication

T = TypeVar("T")
_LOADING = threading.Lock()


class _InBackground(QThread):
    """Does one thing, and keeps its `result` or its `error`."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Work, in the thread."""
        try:
            self.result = self._work()
        except BaseException as error:  # raised again where it was asked for
            self.error = error


def in_background(work: Callable[[], T]) -> T:
    """Work in a thread and return the result, while the window draws and keys and clicks wait.

    Where there is no window, or in another thread than the window's, the work is done there and then.
    """
    app = QApplication.instance()
    if app is None or QThread.currentThread() is not app.thread():
        return work()
    thread, loop = _InBackground(work), QEventLoop()
    thread.finished.connect(loop.quit)
    thread.start()
    loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    thread.wait()
    if thread.error is not None:
        raise thread.error
    return thread.result


def load_layers() -> None:
    """Import and compile what napari needs for the first image layer of a process, in any thread."""
    import numpy as np
    from napari.layers import Image

    Image(np.zeros((1, 1, 1), np.uint8), axis_labels=("time", "y", "x"), units=("pixel", "mm", "mm"))


def load_torch() -> None:
    """Import what all jobs need, in one thread at a time, because two at once could see modules half imported."""
    with _LOADING:
        import vivim.inference.proposals  # noqa: F401  # with it, PyTorch
