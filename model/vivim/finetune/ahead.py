"""What a fine-tune needs of corrected frames, encoded before it begins and kept where its process finds it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import torch

from vivim.finetune.cache import FeatureCache
from vivim.finetune.events import Preparing
from vivim.finetune.features import Source, corrected_frames, encoded, variants
from vivim.network import Vivim
from vivim.predict import stoppable
from vivim.session import Session


def encode_ahead(
    sessions: Sequence[Session], model: Vivim, device: torch.device, stop: threading.Event | None = None
) -> Iterator[Preparing]:
    """Encode the corrected frames as a fine-tune of `model` will ask for them; what is kept already costs little.

    The flow it takes serves proposing too: `vivim.recall` keeps that of a session in memory.

    Parameters
    ----------
    sessions : sequence of Session
        Whose corrected frames; only read.
    model : Vivim
        Moved to the device and put into evaluation mode, else as it was.
    device : torch.device
        Where to encode.
    stop : threading.Event, optional
        Set it from another thread to stop within a block of the network.

    Raises
    ------
    Stopped
        If `stop` was set.
    """
    cache, total = FeatureCache(), len(corrected_frames(sessions))
    model = model.to(device).eval()
    source = Source(sessions, model, device, stop)
    ready: set[tuple[int, int]] = set()
    with stoppable(model, stop):
        for sample in encoded(model, source, variants(sessions, model.config.guided), cache):
            ready.add((sample.session, sample.frame))
            yield Preparing(len(ready), total)
    cache.trim()
