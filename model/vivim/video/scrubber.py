"""Moving about in a video: something is shown at once, the exact frame follows from a thread of its own.

A `Scrubber` belongs to a window. Masks, sessions and models never see its previews: they ask the video for frames.
"""

import threading
from collections.abc import Callable

from numpy.typing import NDArray

from vivim.errors import VideoError
from vivim.video.base import Video

PATIENCE = 0.025
"""Seconds to wait for the exact frame before a preview is shown: small steps then need none."""

AHEAD = 12
"""Frames decoded ahead in the direction of movement, while nothing else is asked for."""


class Scrubber:
    """Shows frames of a video. Decodes the exact ones, and those that come next, in the background.

    In that thread `on_exact` is called with the number of a frame of which a preview was shown, once it is ready, and
    `on_failed` with that of one that cannot be decoded, and the error. The video stays the caller's to close.
    """

    def __init__(
        self,
        video: Video,
        on_exact: Callable[[int], None],
        on_failed: Callable[[int, VideoError], None],
    ) -> None:
        self._video, self._on_exact, self._on_failed = video, on_exact, on_failed
        self._wanted, self._before, self._served, self._closed = -1, -1, -1, False
        self._previewed = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="vivim-scrub", daemon=True)
        self._thread.start()

    def show(self, i: int) -> tuple[int, NDArray]:
        """Frame `i` if it is ready or soon will be, else the nearest preview, and the number of what is returned."""
        with self._news:
            self._before, self._wanted, self._previewed = self._wanted, i, False
            self._news.notify_all()
            # a far one will not be there in time
            patience = PATIENCE if abs(i - self._before) <= AHEAD else 0.0
            ready = self._news.wait_for(lambda: self._video.ready(i), patience)
            self._previewed = not ready
        return (i, self._video.frame(i)) if ready else self._video.preview(i)

    def close(self) -> None:
        """Decode no more, without waiting for the frame that is decoded now. Safe to call twice.

        The thread ends by itself once that frame is decoded or its file has answered, and lets go of the video. What it
        was about to tell may still be told.
        """
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closed or self._wanted != self._served)
                if self._closed:
                    return
                self._served, direction = self._wanted, 1 if self._wanted >= self._before else -1
            self._serve(self._served, direction)

    def _serve(self, i: int, direction: int) -> None:
        def stop() -> bool:
            return self._closed or self._wanted != i

        try:
            if self._video.fetch(i, stop) is None:
                return
        except VideoError as error:
            if not stop():
                self._on_failed(i, error)
            return
        with self._news:
            self._news.notify_all()
            late = self._previewed and not stop()
        if late:
            self._on_exact(i)
        self._prefetch(i, direction, stop)

    def _prefetch(self, i: int, direction: int, stop: Callable[[], bool]) -> None:
        """Decode what comes next. Of damaged frames nothing is said before somebody wants them."""
        for t in range(i + direction, i + direction * (AHEAD + 1), direction):
            if stop() or not 0 <= t < len(self._video):
                return
            if not self._video.ready(t):
                try:
                    self._video.fetch(t, stop)
                except VideoError:
                    return
