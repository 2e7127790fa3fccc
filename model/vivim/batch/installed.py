"""Whether a scheduler and its workers can do the work at all, asked before the first video is handed out.

Without napari-vivim a worker ends at the first word from here, without a reason that anybody would hear.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

from vivim.errors import BatchError

if TYPE_CHECKING:
    from distributed import Client

ASKED = "vivim:__version__"
"""Looked up by a function of Python's own, since one of ours is what they may lack."""


def check_installed(client: Client) -> None:
    """Ask all of them for the version of napari-vivim.

    Raises
    ------
    BatchError
        If one of them has none or another than this process: which, and what to do.
    """
    scheduler = f"The scheduler at {client.scheduler_info(n_workers=0)['address']}"
    try:
        _check(scheduler, client.run_on_scheduler(pkgutil.resolve_name, ASKED))
    except (ImportError, AttributeError) as error:
        _check(scheduler, error)
    for address, found in client.run(pkgutil.resolve_name, ASKED, on_error="return").items():
        if not isinstance(found, OSError):  # else it is gone since
            _check(f"The worker at {address}", found)


def _check(who: str, found: str | Exception) -> None:
    from vivim import __version__

    if found != __version__:
        what = (
            f"cannot load napari-vivim ({found})" if isinstance(found, Exception) else f"has version {found}"
        )
        raise BatchError(
            f"{who} {what}: install napari-vivim[cluster] {__version__} there, as here, and start it again."
        )
