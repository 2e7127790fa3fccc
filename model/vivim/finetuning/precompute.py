"""Precompute encoded frames and optical flow before a fine-tune or a proposal asks for them."""

import contextlib
import threading
from collections.abc import Iterator, Sequence

import torch

from vivim.devices import choose_device
from vivim.finetuning.events import Preparing
from vivim.finetuning.feature_store import FeatureStore
from vivim.finetuning.samples import Source, corrected_frames, encoded, variants
from vivim.inference.batch_runner import stoppable
from vivim.inference.proposals import CLIP_LENGTH, ProposeOptions, propose
from vivim.network import Vivim
from vivim.registry.registry import untouched_ancestor
from vivim.session import Session
from vivim.utils.cancellation import Stopped


def precompute_features(
    sessions: Sequence[Session], model: Vivim, device: torch.device, stop: threading.Event | None = None
) -> Iterator[Preparing]:
    """Encode the corrected frames as a fine-tune of `model` will ask for them. Nothing is written to the sessions.

    The optical flow serves proposing too, because `vivim.inference.feature_cache` keeps that of a session in memory.
    """
    cache, total = FeatureStore(), len(corrected_frames(sessions))
    model = model.to(device).eval()
    source = Source(sessions, model, device, stop)
    ready: set[tuple[int, int]] = set()
    with stoppable(model, stop):
        for sample in encoded(model, source, variants(sessions, model.config.guided), cache):
            ready.add((sample.session, sample.frame))
            yield Preparing(len(ready), total)
    cache.trim()


MOST_FRAMES = 120
"""Longest video in frames that is cached whole. Of a longer one, only the frames on screen are precomputed."""


def precompute(
    session: Session,
    model: Vivim,
    *,
    start: int = 0,
    clip_length: int = CLIP_LENGTH,
    device: str = "auto",
    stop: threading.Event | None = None,
) -> Iterator[int]:
    """Fill a session's caches for the next fine-tune and the next proposal, and yield the number of windows done."""
    target, done = choose_device(device), 0
    with contextlib.suppress(Stopped):
        for _ in precompute_features([session], untouched_ancestor(model, [session]), target, stop):
            done += 1
            yield done
        all_of_it = target.type == "cpu" and len(session) <= MOST_FRAMES
        options = ProposeOptions(start=start, clip_length=clip_length, keep=False)
        proposals = propose(session, model, options, device=device, stop=stop)
        for _ in proposals:
            done += 1
            yield done
            if not all_of_it:
                proposals.close()  # type: ignore[attr-defined]  # a generator
                return
