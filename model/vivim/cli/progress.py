"""Progress for people, on stderr: one line that updates itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from vivim.utils.time_left import clock

SPARSE_SECONDS = 10.0
"""Elsewhere than on a terminal, at least this long between two lines."""


class Progress:
    """Use in a ``with`` block, so that the line is ended whatever happens. The label stands before the numbers."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._width = 0
        self._last = ""
        self._shown = time.monotonic()

    def __call__(self, done: int, total: int, seconds_left: float | None = None, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        now = time.monotonic()
        if not self._live and done < total and now - self._shown < SPARSE_SECONDS:
            return
        self._shown = now
        text = f"{self._label}: {done}/{total}"
        if seconds_left is not None and done < total:
            text += f", {clock(seconds_left)} left"
        self._write(text + (f", {note}" if note else ""))

    def waiting(self, note: str) -> None:
        """Show that nothing goes on, and what is waited for."""
        if self._live or time.monotonic() - self._shown >= SPARSE_SECONDS:
            self._shown = time.monotonic()
            self._write(f"{self._label}: {note}")

    def phase(self, label: str) -> None:
        """Go on under another label, on a line of its own."""
        if label != self._label:
            self._end_line()
            self._label = label

    def _end_line(self) -> None:
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        if self._live:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif text != self._last:
            self._stream.write(text + "\n")
        self._last = text
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()
