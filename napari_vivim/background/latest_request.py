"""A thread that serves the latest request and gives up earlier ones."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestRequest(Generic[T]):
    """Serves requests in a thread of its own, called `name`, each only until the next one comes.

    ``serve(request, superseded)`` is called in the thread. It should return soon once the event `superseded` is set.
    """

    def __init__(self, name: str, serve: Callable[[T, threading.Event], None]) -> None:
        self._serve = serve
        self._requests: queue.SimpleQueue[tuple[T, threading.Event] | None] = queue.SimpleQueue()
        self._superseded = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self, request: T) -> None:
        """Serve this request next, and no earlier one any more."""
        self.cancel()
        self._superseded = threading.Event()
        self._requests.put((request, self._superseded))

    def cancel(self) -> None:
        """Give up the latest request."""
        self._superseded.set()

    def close(self) -> None:
        """End the thread without waiting for it. Safe to call twice."""
        self.cancel()
        self._requests.put(None)

    def _run(self) -> None:
        while (found := self._requests.get()) is not None:
            if not found[1].is_set():
                self._serve(*found)
