"""Propose masks for a video, streamed frame by frame, and stopped at any moment.

`propose` fills a session; `segment_frames` works on arrays. Windows never mix frames of different videos, and
memory does not grow with the length of the video.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vivim.devices import choose_device, telling_of_full_memory
from vivim.imaging.resize import resize_frame
from vivim.imaging.roi import size_of, uncrop
from vivim.inference.batch_runner import Inputs, Runner
from vivim.inference.feature_cache import EncodedWindows, digest_of_weights
from vivim.inference.fusion import equal_weights, fuse_windows, weigh_guided, weigh_unguided
from vivim.inference.model_reliability import model_reliability
from vivim.inference.session_inputs import ResizedFrames, guide_of, window_inputs
from vivim.inference.sliding_windows import Window, interleave, plan
from vivim.network import Vivim
from vivim.network.preprocessing import mask_from_logits, normalise, stack_frames
from vivim.session import Session
from vivim.session.damage_check import damage_text
from vivim.settings import Settings
from vivim.utils.cancellation import Stopped, check
from vivim.utils.time_left import TimeLeft

CLIP_LENGTH = Settings().clip_length
"""Frames predicted together in one window, corrected frames that guide it not counted."""


@dataclass(frozen=True)
class ProposeEvent:
    """Progress of `propose`: one frame is done."""

    frame: int
    written: bool
    """False where the frame is a person's and was left alone."""
    done: int
    total: int
    seconds_left: float | None
    note: str = ""
    """Where no frame is done: what a server is waited for, or which frames are skipped."""
    damaged: tuple[int, ...] = ()
    """Frames skipped because they or their masks are damaged, as far as this event has news of them."""

    @classmethod
    def skipping(cls, damaged: Collection[int], total: int) -> ProposeEvent:
        """Name the frames that are left alone and guide no others because their masks are damaged."""
        frames = tuple(sorted(damaged))
        return cls(frames[0], False, 0, total, None, f"{damage_text(frames)}; left as they are", frames)


@dataclass(frozen=True)
class ProposeOptions:
    """What to propose, and how."""

    frames: Sequence[int] | None = None
    """Only these frames. All by default."""
    start: int = 0
    """Frame to begin at, usually the one on screen."""
    clip_length: int = CLIP_LENGTH
    """Frames predicted together."""
    guided: bool = True
    """Let corrected frames guide the others, where the model can."""
    windows: str = "every"
    """``"every"``: each frame in one window. ``"overlap"``: the mean of two windows. ``"centre"``: a window around each
    frame. See `vivim.inference.sliding_windows`."""
    batch_size: int | None = None
    """Windows that go through the network at once. By default what fits into memory. Halved when memory runs out."""
    precision: str = "auto"
    """``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 on GPUs that have it natively."""
    have: Collection[int] = ()
    """Frames that an earlier call with the same options proposed before it was stopped. Windows are laid as if they
    were not there, so that the others get the masks they would have got. Only those are computed."""
    keep: bool = True
    """Write the masks into the session. Without, nothing is written, and what was computed on the way is cached for the
    next call on this machine. A server caches nothing."""


def propose(
    session: Session,
    model: Vivim,
    options: ProposeOptions | None = None,
    *,
    device: str = "auto",
    stop: threading.Event | None = None,
) -> Iterator[ProposeEvent]:
    """Propose masks on a device of this machine; see `vivim.propose`."""
    options = options or ProposeOptions()
    start, clip_length, windows, keep = options.start, options.clip_length, options.windows, options.keep
    have, precision = options.have, options.precision
    if keep:
        session.take_classes(model.classes)
    target, size = choose_device(device), model.config.input_size
    reader, area, whole = ResizedFrames(session, size, stop=stop), session.area, session.shape[1:]
    corrected = session.vouched_frames()
    wanted = range(len(session)) if options.frames is None else options.frames
    taken = set(session.frames_with("corrected", "accepted"))
    todo = sorted(set(wanted) - taken)
    total = len(set(todo) - set(have))
    time_left, done = TimeLeft(), 0
    if keep and (damaged := [t for t in taken if session.problem(t)]):
        yield ProposeEvent.skipping(damaged, total)
    with contextlib.suppress(Stopped), telling_of_full_memory(target):
        runner = Runner(model, target, batch_size=options.batch_size, precision=precision, stop=stop)
        guide = (
            guide_of(session, reader, size)
            if options.guided and model.config.guided and corrected and total
            else None
        )
        # a person's mask says more than the network does about what there is
        runner.asks_presence = guide is None
        encoder = ""
        if runner.uses_cache:
            encoder = f"{digest_of_weights(model.encoder, model.guide_embed)} {precision}"
        planned = plan(todo, corrected, len(session), clip_length, start, windows)
        reliability = 1.0
        encodings = total if guide is None else 2 * total + len(corrected)
        encoded_cache = EncodedWindows(reader.cache, encoder, guide, encodings)
        if guide is not None:
            unguided = plan(todo, corrected, len(session), clip_length, start)
            weights = f"{encoder} {digest_of_weights(model.decoder)}" if runner.uses_cache else ""
            reliability = model_reliability(session, reader, runner, guide, unguided, encoded_cache, weights)
            guided = plan(todo, corrected, len(session), clip_length, start, windows, guide)
            planned = interleave(guided, planned, clip_length, start)
        done_before = {*have, *taken}
        planned = [window for window in planned if not set(window.kept) <= done_before]

        def prepare(window: Window) -> Inputs:
            return window_inputs(reader, window.frames, guide if window.guided else None, runner.device)

        def weigh(window: Window, logits: Tensor, planes: Tensor | None) -> tuple[Tensor, Sequence[float]]:
            if guide is None:
                return equal_weights(window, logits, planes)
            confidences = [guide.confidence(t) for t in window.kept]
            if planes is None:
                return weigh_unguided(logits, confidences, reliability)
            return weigh_guided(logits, planes, confidences, reliability)

        results = fuse_windows(runner, planned, prepare, weigh, encoded_cache)
        for block, logits, uncertainties in results:
            missing = [i for i in range(len(block)) if block[i] not in done_before]
            for i in sorted(missing, key=lambda i: abs(block[i] - start)):
                check(stop)
                if block[i] in reader.lost:
                    done += 1
                    note = f"frame {block[i]} cannot be decoded and gets no mask"
                    yield ProposeEvent(
                        block[i], False, done, total, time_left(done, total), note, (block[i],)
                    )
                    continue
                # a frame at a time: enlarged together, a window of large pictures fills any memory
                mask = uncrop(mask_from_logits(logits[i], size_of(area, whole)), area, whole)
                written = keep and session.propose(
                    block[i],
                    mask,
                    model.version or model.name,
                    uncertainty=float(uncertainties.total[i]),
                    windows=float(uncertainties.windows[i]),
                )
                done += 1
                damaged_now = (block[i],) if keep and not written and session.problem(block[i]) else ()
                yield ProposeEvent(
                    block[i], written, done, total, time_left(done, total), damaged=damaged_now
                )


def segment_frames(
    model: Vivim,
    frames: NDArray,
    options: ProposeOptions | None = None,
    *,
    device: str = "auto",
    **changes: Any,
) -> NDArray:
    """Segment an array of frames, without a session.

    Parameters
    ----------
    model : Vivim
        Any Vivim.
    frames : ndarray
        ``(T, H, W, 3)`` or ``(T, H, W)``, uint8 or uint16.
    options, device, **changes
        As for `vivim.propose`. Of the options, `clip_length`, `windows`, `batch_size` and `precision` count.

    Returns
    -------
    ndarray
        Label masks ``(T, H, W)`` uint8.
    """
    options = replace(options or ProposeOptions(), **changes)
    target, size = choose_device(device), model.config.input_size

    def prepare(window: Window) -> Inputs:
        resized = stack_frames([resize_frame(frames[t], size) for t in window.frames])
        return normalise(resized.to(target))[None], None

    with telling_of_full_memory(target):
        runner = Runner(model, target, batch_size=options.batch_size, precision=options.precision)
        runner.asks_presence = True
        masks = np.zeros(frames.shape[:3], np.uint8)
        planned = plan(range(len(frames)), (), len(frames), options.clip_length, 0, options.windows)
        for block, logits, _ in fuse_windows(runner, planned, prepare, equal_weights):
            for t, one in zip(block, logits, strict=True):
                masks[t] = mask_from_logits(one, (frames.shape[1], frames.shape[2]))
    return masks
