"""The jobs of one video, which its controller runs one at a time in the video's worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.errors import ExportError, SettingsError, VivimError
from vivim.session import Session
from vivim.session.migrations import DEFAULT
from vivim.settings import Settings, change_settings, settings

from napari_vivim.background.worker import load_torch, wait_for_closing
from napari_vivim.layers.masks_layer import warm_up_masks_layer

if TYPE_CHECKING:
    from vivim.finetuning.worker_process import Standby
    from vivim.network import Vivim

    Load = Callable[[str], Vivim]
    """From a model's name to the model."""


_log = logging.getLogger(__name__)
REST_SECONDS = 0.3
"""The window has so much time to show a session that was opened, before the model is loaded."""


def open_session(
    video: Path,
    folder: str | None,
    reader: str | None,
    relink: bool,
    read_only: bool,
    opened: list[Session],
    stop: threading.Event,
) -> Iterator[tuple[Session, Settings]]:
    """Open or resume a video's session, and yield it with the present settings.

    `reader` is whose, the one of the settings by default. One who is named is kept in the settings.
    The session stays in `opened` until it is taken from there. It is closed here if the job is cancelled before.
    """
    warm_up_masks_layer()
    wait_for_closing()
    kept = settings().reader
    # a session folder that was opened may be any reader's
    wanted = reader or (None if kept == DEFAULT else kept)
    session = Session.open(video, folder=folder, reader=wanted, lazy=True, relink=relink, read_only=read_only)
    opened.append(session)
    if reader not in (None, kept):
        try:
            change_settings(reader=reader)
        except SettingsError as error:  # the work itself is safe
            _log.warning("The reader is not kept for the next video: %s", error)
    try:
        yield session, settings()
    except GeneratorExit:
        with suppress(ValueError):  # it was taken
            opened.remove(session)
            session.close()
        raise


def warm_up(load: Load, stop: threading.Event) -> Iterator[Any]:
    """Load the default model and run it once, so that the first mask comes soon after the click."""
    stop.wait(REST_SECONDS)
    load_torch()
    from vivim.finetuning.warmup import warm_up
    from vivim.registry.registry import default_model_name
    from vivim.remote.config import preferred_device

    warm_up(load(default_model_name()), preferred_device(), stop)
    yield from ()


def propose(
    session: Session,
    load: Load,
    model: str,
    start: int,
    device: str,
    frames: Sequence[int] | None,
    stop: threading.Event,
) -> Iterator[Any]:
    """Propose masks for some frames or all, outward from the frame `start`.

    To propose all anew is one step for `Session.undo`.
    """
    from vivim.api import propose
    from vivim.devices import choose_device, is_remote
    from vivim.inference.kernel_compilation import compile_kernels
    from vivim.registry.registry import default_model_name

    if not is_remote(device) and choose_device(device).type == "cpu":
        compile_kernels(stop)
    network, length = load(model or default_model_name()), settings().clip_length
    anew = frames is None and bool(session.frames_with("proposed"))
    with session.one_step() if anew else nullcontext():
        yield from propose(
            session, network, frames=frames, start=start, device=device, stop=stop, clip_length=length
        )


def finetune(
    session: Session,
    load: Load,
    model: str,
    start: int,
    device: str,
    scope: str,
    others: Sequence[Path],
    standby: Standby,
    stop: threading.Event,
) -> Iterator[Any]:
    """Learn from the corrected frames of this and other sessions. A better version renews the proposals."""
    from vivim.api import finetune
    from vivim.finetuning.events import Finished

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
        yield from propose(session, load, finished.name, start, device, None, stop)


def export(
    session: Session, folder: Path, formats: list[str], options: dict[str, Any], stop: threading.Event
) -> Iterator[Any]:
    """Export masks into a folder, with the options of `vivim.io.export.export`.

    A format that fails takes nothing away from the others. In the end an `ExportError` says what is there, and why
    not all of it.
    """
    from vivim.io.export import FILES, export

    left, written, problems = list(dict.fromkeys(formats)), list[str](), dict[str, str]()
    while left:
        try:
            for event in export(session, folder, left, **options):
                if event.done == event.total:
                    written.append(event.format)
                    left.remove(event.format)
                yield event
        except VivimError as error:
            problems[left.pop(0)] = str(error)
    if problems and not written and len(set(problems.values())) == 1:
        raise ExportError(next(iter(problems.values())))
    if problems:
        whole = f"{', '.join(FILES[name] for name in written) or 'Nothing'} written. "
        why = " ".join(f"Not {FILES[name]}: {problem}" for name, problem in problems.items())
        raise ExportError(whole + why)


def import_masks(
    session: Session, path: Path, status: str, one_class: bool, stop: threading.Event
) -> Iterator[Any]:
    """Bring masks made elsewhere into the session, as ``"corrected"`` or ``"proposed"``."""
    from vivim.io.import_masks import import_masks

    yield from import_masks(session, path, status, one_class=one_class)
