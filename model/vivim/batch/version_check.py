"""Whether a scheduler and its workers can do the work at all: asked before the first video, and of who comes later.

Without napari-vivim a worker ends at the first word from here, without a reason that anybody would hear.
"""

from __future__ import annotations

import logging
import pkgutil
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from vivim import __version__
from vivim.errors import BatchError

if TYPE_CHECKING:
    from distributed import Client

ASKED = "vivim:__version__"
"""Looked up by a function of Python's own, since one of ours is what they may lack."""

AT_ONCE = 10.0
"""A worker that ends within so many seconds of its coming, not told to, has most likely ended at our first word."""

_log = logging.getLogger(__name__)


def check_installed(client: Client) -> None:
    """Ask all of them for the version of napari-vivim.

    Raises `BatchError` if one of them has none or another than this process: which, and what to do.
    """
    scheduler = f"The scheduler at {client.scheduler_info(n_workers=0)['address']}"
    try:
        _check(scheduler, client.run_on_scheduler(pkgutil.resolve_name, ASKED))
    except (ImportError, AttributeError) as error:
        _check(scheduler, error)
    for address, found in client.run(pkgutil.resolve_name, ASKED, on_error="return").items():
        _check(f"The worker at {address}", found)


class Newcomers:
    """Workers that come while the work goes on: those that cannot do it are named in the log, once each.

    Workers that this process starts by itself run what it runs: those that come are ones that died, started again.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._came: dict[str, float] = {}
        self._asked: set[str] = set()

    def begin(self) -> None:
        """Listen from now on."""
        if self._client.cluster is None:
            self._client.subscribe_topic("all", self._on_event)

    def end(self) -> None:
        """Listen no longer."""
        if self._client.cluster is None:
            self._client.unsubscribe_topic("all")

    def ask(self, there: Collection[str]) -> None:
        """Ask those `there` that have come since. The others' end has been heard of."""
        new = [address for address in dict(self._came) if address in there and address not in self._asked]
        self._asked.update(new)
        if new:
            answers = self._client.run(pkgutil.resolve_name, ASKED, workers=new, on_error="return")
            for address, found in answers.items():
                if problem := _problem(f"The worker at {address}", found):
                    _log.warning("%s", problem)

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        """What the scheduler says of its workers, in the client's own thread."""
        told = event[1]
        if told.get("action") == "add-worker":
            self._came[told["worker"]] = time.monotonic()
        elif told.get("action") == "remove-worker" and not told.get("expected"):
            came = self._came.pop(told["worker"], None)
            if came is not None and time.monotonic() - came < AT_ONCE:
                _log.warning(
                    "The worker at %s ended as soon as it was given work. Most likely it lacks napari-vivim: "
                    "install napari-vivim[cluster] %s there, as here, and start it again. If it has it, the video "
                    "crashed it, and is named once it has failed.",
                    told["worker"],
                    __version__,
                )


def _check(who: str, found: str | Exception) -> None:
    if problem := _problem(who, found):
        raise BatchError(problem)


def _problem(who: str, found: str | Exception) -> str | None:
    """What is wrong with a process that gave this answer, and what to do. None if it is gone, or as this one."""
    if found == __version__ or isinstance(found, OSError):
        return None
    what = f"cannot load napari-vivim ({found})" if isinstance(found, Exception) else f"has version {found}"
    return f"{who} {what}: install napari-vivim[cluster] {__version__} there, as here, and start it again."
