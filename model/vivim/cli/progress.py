"""Progress for people, on stderr: a bar that updates itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from vivim.utils.time_left import clock

if TYPE_CHECKING:
    from rich.console import Console

SPARSE_SECONDS = 10.0
"""Elsewhere than on a terminal, at least this long between two lines."""


class Progress:
    """Use in a ``with`` block, so that the bar is ended whatever happens. The label stands before the numbers."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._text = ""
        self._shown = time.monotonic()
        console = terminal(self._stream)
        self._bar = None
        if console:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}", markup=False), BarColumn(24))
            # what goes to a file on stdout must not end up on the terminal
            self._bar = Bar(*columns, console=console, redirect_stdout=sys.stdout.isatty(), transient=True)
            self._task = self._bar.add_task(label, total=None)

    def __call__(self, done: int, total: int, seconds_left: float | None = None, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        text = f"{done}/{total}"
        if seconds_left is not None and done < total:
            text += f", {clock(seconds_left)} left"
        self._show(text + (f", {note}" if note else ""), done, total)

    def waiting(self, note: str) -> None:
        """Show that nothing goes on, and what is waited for."""
        self._show(note)

    def phase(self, label: str) -> None:
        """Go on under another label. The last line of the one before stays."""
        if label != self._label:
            self._keep_line()
            self._label = label

    def _show(self, text: str, done: int = 0, total: int | None = None) -> None:
        text = f"{self._label}: {text}"
        if self._bar:
            self._bar.update(self._task, description=text, completed=done, total=total)
        elif text != self._text and (done == total or time.monotonic() - self._shown >= SPARSE_SECONDS):
            self._shown = time.monotonic()
            print(text, file=self._stream, flush=True)
        self._text = text

    def _keep_line(self) -> None:
        if self._bar and self._text:
            self._bar.console.print(self._text, markup=False, highlight=False, soft_wrap=True)
        self._text = ""

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._keep_line()
        if self._bar:
            self._bar.stop()


def terminal(stream: TextIO) -> Console | None:
    """The stream as a terminal on which lines can be kept up to date. None if it is none."""
    if not stream.isatty():
        return None
    from rich.console import Console

    return Console(file=stream)
