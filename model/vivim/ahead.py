"""Work out beforehand what the next click on a video will need, while the person looks at it; nothing is written to it.

A fine-tune finds its corrected frames encoded, and proposing finds flow and encoded windows remembered
(`vivim.recall`), so that little more than the decoder is left to run.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vivim.device import choose_device
from vivim.finetune.ahead import encode_ahead
from vivim.finetune.api import untouched_ancestor
from vivim.inference import CLIP_LENGTH, propose
from vivim.predict import Stopped

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.session import Session

MOST_FRAMES = 120
"""Frames of a video that is remembered whole; of a longer one, only what is on screen is worked out beforehand."""


def work_ahead(
    session: Session,
    model: Vivim,
    *,
    start: int = 0,
    clip_length: int = CLIP_LENGTH,
    device: str = "auto",
    stop: threading.Event | None = None,
) -> Iterator[int]:
    """Do what fine-tuning and proposing will ask for, as far as it is remembered.

    Parameters
    ----------
    session : Session
        Its masks and frames are read, nothing is written.
    model : Vivim
        The one in use.
    start, clip_length, device, stop
        As for `propose`; not another machine's device.

    Yields
    ------
    int
        How many pieces are done.
    """
    target, pieces = choose_device(device), 0
    with contextlib.suppress(Stopped):
        for _ in encode_ahead([session], untouched_ancestor(model, [session]), target, stop):
            pieces += 1
            yield pieces
        all_of_it = target.type == "cpu" and len(session) <= MOST_FRAMES
        proposals = propose(
            session, model, start=start, clip_length=clip_length, device=device, stop=stop, keep=False
        )
        for _ in proposals:
            pieces += 1
            yield pieces
            if not all_of_it:
                proposals.close()  # type: ignore[attr-defined]  # a generator
                return
