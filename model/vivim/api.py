"""Propose masks and fine-tune models, on this machine or on a server. No other module knows both."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vivim.devices import choose_device, is_remote, telling_of_full_memory
from vivim.errors import FinetuneError
from vivim.finetuning.events import FinetuneEvent, Finished, PassedOver, Scored, Trained
from vivim.finetuning.worker_process import Standby, in_own_process
from vivim.registry.registry import untouched_ancestor

if TYPE_CHECKING:
    from vivim.inference.proposals import ProposeEvent, ProposeOptions
    from vivim.network import Vivim
    from vivim.session import Session


def propose(
    session: Session,
    model: Vivim,
    options: ProposeOptions | None = None,
    *,
    device: str = "auto",
    stop: threading.Event | None = None,
    **changes: Any,
) -> Iterator[ProposeEvent]:
    """Propose masks for the frames that no person has corrected or accepted, nearest to `start` first.

    Frames whose masks are damaged are left alone, and guide no other frame.

    Parameters
    ----------
    session : Session
        Where masks are written, through its edit gate: corrected and accepted frames are never overwritten. Only its
        `area` is shown to the model, where it has one.
    model : Vivim
        Any Vivim. It is moved to the device and put into evaluation mode.
    options : ProposeOptions, optional
        What to propose, and how.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``, or another machine's: ``"remote:https://host:port"``.
    stop : threading.Event, optional
        Set it from another thread to stop within a block of the network, tens of milliseconds, not only at the
        next event.
    **changes
        Fields of `ProposeOptions` by name, such as ``start=12``. They replace those of `options`.

    Yields
    ------
    ProposeEvent
        One a frame, after one that names damaged frames if there are any. Closing the generator stops the job. Masks
        written so far stay.

    Raises
    ------
    DeviceError, VideoError, SessionError
        If the device is absent or its memory too small, a frame cannot be decoded, a mask cannot be written, or the
        masks are of other classes than the model's.
    RemoteError
        If another machine's device cannot be used.
    """
    from vivim.inference import proposals

    options = replace(options or proposals.ProposeOptions(), **changes)
    if is_remote(device):
        from vivim.remote import client

        return client.propose(session, model, device, options, stop)
    return proposals.propose(session, model, options, device=device, stop=stop)


def finetune(
    sessions: Sequence[Session],
    model: Vivim,
    *,
    scope: str = "decoder",
    name: str | None = None,
    device: str = "auto",
    seed: int = 0,
    in_process: bool | None = None,
    stop: threading.Event | None = None,
    standby: Standby | None = None,
) -> Iterator[FinetuneEvent]:
    """Fine-tune on the corrected and accepted frames of some sessions, into a new version.

    Parameters
    ----------
    sessions : sequence of Session
        Sessions with corrected frames to learn from.
    model : Vivim
        The parent. It is not changed. If it has learned from these sessions before, its nearest ancestor that has not
        takes its place, so that the held-out scores stay honest.
    scope : str
        ``"decoder"`` (default; seconds to a minute on a CPU) or ``"all"``.
    name : str, optional
        Name of the new version; the parent's name with a number by default. A name that is taken gets a number.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``, or another machine's: ``"remote:https://host:port"``.
    seed : int
        Seeds the order of samples.
    in_process : bool, optional
        Work here instead of in a process of its own. By default only on accelerators, where kernels and libraries are
        loaded here already and take seconds to load again. On a CPU the work would slow a window down.
    stop : threading.Event, optional
        Set it from another thread to stop waiting for another machine at once. All other work stops at the next event.
    standby : Standby, optional
        Holds a process that may be ready for the work.

    Yields
    ------
    PassedOver, Preparing, Step, Scored, Finished
        In this order, the first only where masks are damaged. `Waiting` comes at any time where another machine does
        the work. `Finished.promoted` says whether held-out frames got clearly better. Closing the generator stops the
        work and leaves every model as it was.

    Raises
    ------
    FinetuneError
        If there is no corrected frame, or the process stopped unexpectedly.
    """
    if not sum(len(session.vouched_frames()) for session in sessions):
        raise FinetuneError("No corrected frame to learn from. Correct or accept at least one frame first.")
    began = time.monotonic()
    if damaged := damaged_frames(sessions):
        yield PassedOver(damaged)
    model = untouched_ancestor(model, sessions)
    scored: Scored | None = None
    if is_remote(device):
        from vivim.remote import client

        events = client.finetune(sessions, model, scope, device, seed, stop)
    elif choose_device(device).type == "cpu" if in_process is None else not in_process:
        events = in_own_process(sessions, model, scope, device, seed, standby)
    else:
        from vivim.finetuning.feature_store import FeatureStore
        from vivim.finetuning.job import run

        events = run(sessions, model, scope, device, seed, FeatureStore())
    with telling_of_full_memory():
        for event in events:
            if isinstance(event, Trained):
                yield _register(event, model, name, sessions, scored, time.monotonic() - began)
                return
            scored = event if isinstance(event, Scored) else scored
            yield event


def damaged_frames(sessions: Sequence[Session]) -> tuple[tuple[int, int], ...]:
    """All (session number, frame) that are corrected or accepted, but whose masks are damaged."""
    return tuple(
        (number, t)
        for number, session in enumerate(sessions)
        for t in session.frames_with("corrected", "accepted")
        if session.damaged(t)
    )


def _register(
    trained: Trained,
    parent: Vivim,
    name: str | None,
    sessions: Sequence[Session],
    scored: Scored | None,
    seconds: float,
) -> Finished:
    from vivim.registry.registry import save_version

    tuned = trained.model
    provenance: dict[str, Any] = {
        "parent": parent.name,
        "parent_version": parent.version,
        "frames": sum(len(session.vouched_frames()) for session in sessions),
        "sessions": len(sessions),
        "learned_from": tuned.provenance["learned_from"],
        "before": scored.before if scored else None,
        "after": scored.after if scored else None,
        "licence": parent.provenance.get("licence"),
    }
    tuned.classes = parent.classes
    info = save_version(tuned, name or f"{parent.name}-tuned", provenance)
    return Finished(
        info.name,
        info.version,
        str(info.path),
        trained.promoted,
        provenance["before"],
        provenance["after"],
        seconds,
    )
