"""How far a whole list of videos is, for people, on stderr.

On a terminal: one line for each worker and one for all, kept up to date. Elsewhere, as in the log of a batch system: a
line now and then. Videos that fail are named at once in either.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from vivim.batch.jobs import FAILED, SKIPPED, WAITING, Outcome, Working
from vivim.cli.progress import SPARSE_SECONDS, terminal
from vivim.utils.time_left import TimeLeft, clock

if TYPE_CHECKING:
    from rich.console import RenderableType

LEAST = 0.5
"""Videos, or parts of them, to be done before their time says anything of the rest."""
SILENT_SECONDS = 60.0
"""A worker not heard of for so long is no longer shown."""


class Tally:
    """How many videos are done, and how long the others will take."""

    def __init__(self, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self.total, self._now = total, now
        self.done = self.skipped = self.failed = 0
        self._time_left = TimeLeft(now)
        self._at_work: dict[str, tuple[Working, float]] = {}

    def __call__(self, event: Working | Outcome) -> None:
        """Take note of an event."""
        if isinstance(event, Working):
            self._at_work.pop("", None)  # which waited for a worker
            self._at_work[event.worker] = event, self._now()
            return
        self.done += 1
        self.skipped += event.status == SKIPPED
        self.failed += event.status == FAILED
        self._at_work = {name: at for name, at in self._at_work.items() if at[0].stem != event.stem}

    def workers(self) -> list[Working]:
        """What each worker was last heard to do."""
        heard = self._now() - SILENT_SECONDS
        return [event for _, (event, when) in sorted(self._at_work.items()) if when > heard]

    def seconds_left(self) -> float | None:
        """Estimate by the videos done in this run and the parts of those under way. None before it is any good."""
        parts: dict[str, float] = {}
        for event in self.workers():
            parts[event.stem] = max(parts.get(event.stem, 0.0), event.done / max(1, event.total))
        under_way = sum(parts.values())
        worked = self.done - self.skipped + under_way
        if worked < LEAST:
            return None
        return self._time_left(worked, self.total - self.skipped)

    def line(self) -> str:
        """All of it in a line."""
        text = f"{self.done}/{self.total} videos"
        notes = [f"{self.skipped} done before"] if self.skipped else []
        notes += [f"{self.failed} failed"] if self.failed else []
        notes += [WAITING] if "" in self._at_work else []
        left = self.seconds_left()
        notes += [f"{clock(left)} left"] if left is not None and self.done < self.total else []
        return ", ".join([text, *notes])


class Board:
    """Use in a ``with`` block. Call it with every event."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.tally = Tally(total)
        self._stream = sys.stderr if stream is None else stream
        self._console = terminal(self._stream)
        self._said = time.monotonic()

    def __call__(self, event: Working | Outcome) -> None:
        """Show an event."""
        self.tally(event)
        if isinstance(event, Outcome) and event.status == FAILED:
            self.say(f"{event.stem}: {event.reason}")
        elif isinstance(event, Outcome) and event.note:
            self.say(f"{event.stem}: {event.note}")
        elif not self._console and time.monotonic() - self._said >= SPARSE_SECONDS:
            self.say(self.tally.line())

    def say(self, text: str) -> None:
        """Print a line above the others."""
        self._said = time.monotonic()
        if self._console:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def __enter__(self) -> Board:
        if self._console:
            from rich.live import Live

            self._live = Live(get_renderable=self._lines, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._console:
            self._live.stop()
        elif kind is None:
            self.say(self.tally.line())

    def _lines(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for event in self.tally.workers():
            if event.stage == WAITING:
                continue
            bar = ProgressBar(total=event.total, completed=event.done, width=24)
            table.add_row(
                f"worker {event.worker}", bar, f"{event.stem}: {event.stage} {event.done}/{event.total}"
            )
        bar = ProgressBar(total=self.tally.total, completed=self.tally.done, width=24)
        table.add_row("all", bar, self.tally.line())
        return table
