"""What the jobs of a video do in its worker: each a generator whose items the window shows. No Qt, no layers.

A generator begins when the worker asks for its first item, so that the window's thread imports and loads nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.session import Session
from vivim.settings import settings

from napari_vivim.closing import wait_for_closing
from napari_vivim.loading import load_torch, look_at_new_things_only
from napari_vivim.masks_layer import rehearse

if TYPE_CHECKING:
    from vivim.finetune import Standby
    from vivim.network import Vivim

    Load = Callable[[str], Vivim]

REST_SECONDS = 0.3
"""The window has so much time to show a session that was opened, before the model is loaded."""


def opening(
    video: Path, folder: str | None, relink: bool, opened: list[Session], stop: threading.Event
) -> Iterator[Session]:
    """Open or resume a video's session; the one item is the session.

    It is added to `opened`, for whoever closes it if nobody is left to take it.
    """
    rehearse()
    wait_for_closing()
    session = Session.open(video, folder=folder, lazy=True, relink=relink)
    opened.append(session)
    if stop.is_set():  # it took so long that nobody waits any more
        session.close()
        return
    yield session


def warming(load: Load, stop: threading.Event) -> Iterator[Any]:
    """Load the default model and run it once, so that the first mask comes soon after the click."""
    stop.wait(REST_SECONDS)
    load_torch()
    from vivim.compiled import warm_up
    from vivim.device import preferred_device
    from vivim.models import default_model_name

    warm_up(load(default_model_name()), preferred_device(), stop)
    look_at_new_things_only()
    yield from ()


def proposing(
    session: Session, load: Load, model: str, start: int, device: str, stop: threading.Event
) -> Iterator[Any]:
    """Propose masks, outward from the frame `start`."""
    from vivim.compiled import compile_kernels
    from vivim.device import choose_device, is_remote

    if not is_remote(device) and choose_device(device).type == "cpu":
        compile_kernels(stop)
    yield from _proposals(session, load, model, start, device, stop)


def finetuning(
    session: Session,
    load: Load,
    model: str,
    start: int,
    device: str,
    stop: threading.Event,
    scope: str,
    others: Sequence[Path],
    standby: Standby,
) -> Iterator[Any]:
    """Learn from the corrected frames, and those of the sessions `others`; a better version renews the proposals."""
    from vivim.finetune import Finished, finetune

    finished: Finished | None = None
    with ExitStack() as stack:
        more = [stack.enter_context(Session.open(path, read_only=True)) for path in others]
        parent = load(model)
        for event in finetune(
            [session, *more], parent, device=device, scope=scope, stop=stop, standby=standby
        ):
            finished = event if isinstance(event, Finished) else None
            yield event
    if finished is not None and finished.promoted:
        yield from _proposals(session, load, finished.name, start, device, stop)


def exporting(session: Session, folder: Path, formats: list[str], options: dict[str, Any]) -> Iterator[Any]:
    """Export masks into a folder, with the options of `vivim.export.export`."""
    from vivim.export import export

    yield from export(session, folder, formats, **options)


def importing(session: Session, path: Path, status: str) -> Iterator[Any]:
    """Bring masks made elsewhere into the session, as ``"corrected"`` or ``"proposed"``."""
    from vivim.imports import import_masks

    yield from import_masks(session, path, status)


def _proposals(
    session: Session, load: Load, model: str, start: int, device: str, stop: threading.Event
) -> Iterator[Any]:
    from vivim.inference import propose

    length = settings().clip_length
    return propose(session, load(model), start=start, device=device, stop=stop, clip_length=length)
