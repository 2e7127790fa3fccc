"""Propose masks for a video: windows of frames through the network, streamed, stopped at any moment.

`propose` fills a session; `segment_frames` works on arrays. Windows never mix frames of different videos, and
memory does not grow with the length of the video.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vivim.area import inside, placed, size_of
from vivim.device import choose_device, is_remote
from vivim.guide import MaskGuide, Motion
from vivim.predict import Inputs, Prepare, Runner, Stopped, check
from vivim.preprocess import masks_from_logits, normalise, resize_frame, resize_mask, stack_frames
from vivim.settings import Settings
from vivim.trust import UNGUIDED, calibrate, judges, mixed, stored_trust
from vivim.windows import Window, plan, window_around

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.session import Session

CLIP_LENGTH = Settings().clip_length
"""Frames predicted together in one window, corrected frames that guide it not counted."""

BAND = 5
"""Half width in pixels of the band around the outline in which uncertainty is measured."""


CARRIED_AT_ONCE = 8
"""Corrected frames to which others are carried side by side, on as many cores."""


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
    """Where a server is waited for and no frame is done: what for."""


class ResizedFrames:
    """The area of a session's frames at the network's input size, the latest of them kept."""

    def __init__(
        self, session: Session, size: tuple[int, int], kept: int = 96, stop: threading.Event | None = None
    ) -> None:
        self._video, self._area = session.video, session.area
        self._size, self._kept, self._stop = size, kept, stop
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()
        self.motion = Motion(self)

    def __call__(self, t: int) -> NDArray[np.uint8]:
        """Frame `t` as RGB uint8 ``(H, W, 3)``, for any thread; raises `Stopped` where the work was told to stop."""
        check(self._stop)
        with self._lock:
            found = self._cache.pop(t, None)
        if found is None:
            found = resize_frame(inside(self._video.frame(t), self._area), self._size)
        with self._lock:
            self._cache[t] = found
            if len(self._cache) > self._kept:
                self._cache.popitem(last=False)
        return found


def guide_of(
    session: Session,
    frames: ResizedFrames,
    size: tuple[int, int],
    label: int | None = None,
) -> MaskGuide:
    """Guidance from all corrected and accepted frames of a session.

    The guide is one plane: where anything is, whatever its class; or where `label` is.
    """
    return MaskGuide(frames, _Corrected(session, size, None, label), frames.motion)


def guide_without(session: Session, frames: ResizedFrames, size: tuple[int, int], t: int) -> MaskGuide:
    """`guide_of` all corrected frames but `t`, with a motion of its own: several can be asked side by side."""
    return MaskGuide(frames, _Corrected(session, size, t, None))


def resized_mask(session: Session, t: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The area of a frame's label mask at the network's input size."""
    return resize_mask(inside(np.asarray(session.masks[t]), session.area), size)


class _Corrected(Mapping[int, NDArray[np.bool_]]):
    """Masks of a session's corrected and accepted frames at the network's size, each read when asked for."""

    def __init__(
        self, session: Session, size: tuple[int, int], leave_out: int | None, label: int | None
    ) -> None:
        self._session, self._size, self._label = session, size, label
        self._frames = {t: None for t in session.frames_with("corrected", "accepted") if t != leave_out}

    def __getitem__(self, t: int) -> NDArray[np.bool_]:
        if t not in self._frames:
            raise KeyError(t)
        mask = resized_mask(self._session, t, self._size)
        return mask > 0 if self._label is None else mask == self._label

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


def window_inputs(
    frames: ResizedFrames, window: Sequence[int], guide: MaskGuide | None, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Network inputs of one window: ``(1, T, 3, H, W)`` and, with a guide, ``(1, T, 2, H, W)``."""
    x = normalise(stack_frames([frames(t) for t in window]).to(device))[None]
    return x, None if guide is None else guide.planes(list(window)).to(device)[None]


def boundary_uncertainty(logits: Tensor) -> NDArray[np.float32]:
    """How unsure the network is of the outline: mean entropy in bits, of frames with logits ``(T, C, H, W)``.

    Measured within `BAND` pixels of the predicted outline; where nothing is predicted, over the most doubtful
    hundredth of the picture.
    """
    p = logits.float().sigmoid().amax(dim=1, keepdim=True)
    entropy = F.binary_cross_entropy(p, p, reduction="none") / np.log(2.0)
    inside = (p > 0.5).float()
    width = 2 * BAND + 1
    band = F.max_pool2d(inside, width, 1, BAND) + F.max_pool2d(1 - inside, width, 1, BAND) - 1
    in_band = (entropy * band).sum((1, 2, 3)) / band.sum((1, 2, 3)).clamp(min=1)
    doubtful = entropy.flatten(1).topk(max(1, entropy[0].numel() // 100), dim=1).values.mean(1)
    return torch.where(band.sum((1, 2, 3)) > 0, in_band, doubtful).cpu().numpy()


def keep_windows(
    runner: Runner,
    windows: Sequence[Window],
    prepare: Prepare,
    weigh: Callable[[Tensor, Tensor | None], Tensor],
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield frames and their logits ``(n, C, H, W)`` as they get complete: the mean over the windows that keep them."""
    awaited = Counter(t for window in windows for t in window.kept)
    seen: dict[int, tuple[Tensor, int]] = {}
    for window, logits, planes in runner.run(windows, prepare):
        at = [window.frames.index(t) for t in window.kept]
        mine = weigh(logits[at], None if planes is None else planes[at])
        complete, results = [], []
        for t, one in zip(window.kept, mine, strict=True):
            total, count = seen.pop(t, (torch.zeros_like(one), 0))
            total, count = total + one, count + 1
            if count < awaited[t]:
                seen[t] = total, count
                continue
            complete.append(t)
            results.append(total / count)
        if complete:
            yield complete, torch.stack(results)


def trust_in(session: Session, runner: Runner, reader: ResizedFrames) -> float:
    """How far to trust carried masks in this session; see `vivim.trust`.

    A model tuned on these very frames cannot be asked about them: it brings the answer from its held-out rounds.
    Of any other session's frames it is asked like every model.
    """
    stored = stored_trust(session, runner.model)
    if stored is not None:
        return stored
    size = runner.model.config.input_size

    def around(t: int) -> list[int]:
        return list(range(max(0, t - 1), min(len(session), t + 2)))

    def carried(t: int) -> MaskGuide:
        guide = guide_without(session, reader, size, t)
        guide.planes(
            window_around(around(t), guide)
        )  # worked out here, side by side; remembered by the guide
        return guide

    def predict(t: int, guide: MaskGuide | None) -> tuple[Tensor, Tensor | None, NDArray]:
        window = window_around(around(t), guide)
        x, planes = window_inputs(reader, window, guide, runner.device)
        at = slice(window.index(t), window.index(t) + 1)
        true = resized_mask(session, t, size)
        return runner.once(x, planes)[0][at], None if planes is None else planes[0][at], true

    asked = judges(session)
    with ThreadPoolExecutor(min(len(asked), CARRIED_AT_ONCE) or 1, "vivim-carry") as pool:
        guides = {t: pool.submit(carried, t) for t in asked} if len(asked) > 1 else {}
        return calibrate(session, lambda t: guides.pop(t).result(), predict)


def propose(
    session: Session,
    model: Vivim,
    *,
    frames: Sequence[int] | None = None,
    start: int = 0,
    clip_length: int = CLIP_LENGTH,
    device: str = "auto",
    guided: bool = True,
    windows: str = "every",
    batch_size: int | None = None,
    precision: str = "auto",
    stop: threading.Event | None = None,
    have: Collection[int] = (),
) -> Iterator[ProposeEvent]:
    """Propose masks for the frames no person has touched, nearest to `start` first.

    Parameters
    ----------
    session : Session
        Where masks are written, through its gate: corrected and accepted frames are never overwritten. Of its
        `area` only, where it has one.
    model : Vivim
        Any Vivim; moved to the device and put into evaluation mode.
    frames : sequence of int, optional
        Only these frames; all by default.
    start : int
        Frame to begin at, usually the one on screen.
    clip_length : int
        Frames predicted together.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``, or another machine's: ``"remote:https://host:port"``.
    guided : bool
        Let corrected frames guide the others, where the model can.
    windows : str
        ``"every"``: each frame in one window; ``"overlap"``: the mean of two windows; ``"centre"``: a window around
        each frame. See `vivim.windows`.
    batch_size : int, optional
        Windows that go through the network at once; by default what fits into memory. Halved when memory runs out.
    precision : str
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 on GPUs that have it natively.
    stop : threading.Event, optional
        Set it from another thread to stop within a block of the network, tens of milliseconds, not only at the
        next event.
    have : collection of int
        Frames that an earlier call with the same arguments proposed before it was stopped: windows are laid as if they
        were not there, so that the others get the masks they would have got, and only those are computed.

    Yields
    ------
    ProposeEvent
        One a frame. Closing the generator stops; what was written stays.

    Raises
    ------
    DeviceError, VideoError, SessionError
        If the device is absent or its memory too small, a frame cannot be decoded, a mask cannot be written, or the
        masks are of other classes than the model's.
    RemoteError
        If another machine's device cannot be used.
    """
    session.take_classes(model.classes)
    if is_remote(device):
        from vivim.remote.client import propose as propose_there

        yield from propose_there(
            session,
            model,
            device,
            frames=frames,
            start=start,
            stop=stop,
            clip_length=clip_length,
            guided=int(guided),
            windows=windows,
            precision=precision,
        )
        return
    runner = Runner(model, choose_device(device), batch_size=batch_size, precision=precision, stop=stop)
    size = model.config.input_size
    reader, area, whole = ResizedFrames(session, size, stop=stop), session.area, session.shape[1:]
    corrected = session.frames_with("corrected", "accepted")
    wanted = range(len(session)) if frames is None else frames
    todo = sorted(set(wanted) - set(corrected))
    total = len(set(todo) - set(have))
    began, done = time.monotonic(), 0
    with contextlib.suppress(Stopped):
        guide = guide_of(session, reader, size) if guided and model.config.guided and corrected else None
        trust = trust_in(session, runner, reader) if guide is not None else 0.0
        if trust == UNGUIDED:
            guide, trust = None, 0.0
        planned = plan(todo, corrected, len(session), clip_length, start, windows, guide)
        planned = [window for window in planned if not set(window.kept) <= set(have)]
        results = keep_windows(
            runner,
            planned,
            lambda window: window_inputs(reader, window, guide, runner.device),
            lambda logits, planes: mixed(logits, planes, trust),
        )
        for block, logits in results:
            masks = placed(masks_from_logits(logits, size_of(area, whole)), area, whole)
            doubts = boundary_uncertainty(logits)
            missing = [i for i in range(len(block)) if block[i] not in have]
            for i in sorted(missing, key=lambda i: abs(block[i] - start)):
                check(stop)
                written = session.propose(
                    block[i], masks[i], model.version or model.name, uncertainty=float(doubts[i])
                )
                done += 1
                left = (time.monotonic() - began) / done * (total - done)
                yield ProposeEvent(block[i], written, done, total, left)


def segment_frames(
    model: Vivim,
    frames: NDArray,
    *,
    clip_length: int = CLIP_LENGTH,
    device: str = "auto",
    windows: str = "every",
    batch_size: int | None = None,
    precision: str = "auto",
) -> NDArray:
    """Segment an array of frames, without a session.

    Parameters
    ----------
    model : Vivim
        Any Vivim.
    frames : ndarray
        ``(T, H, W, 3)`` or ``(T, H, W)``, uint8 or uint16.
    clip_length, device, windows, batch_size, precision
        As for `propose`.

    Returns
    -------
    ndarray
        Label masks ``(T, H, W)`` uint8.
    """
    runner = Runner(model, choose_device(device), batch_size=batch_size, precision=precision)
    size = model.config.input_size
    masks = np.zeros(frames.shape[:3], np.uint8)

    def prepare(window: Sequence[int]) -> Inputs:
        resized = stack_frames([resize_frame(frames[t], size) for t in window])
        return normalise(resized.to(runner.device))[None], None

    planned = plan(range(len(frames)), (), len(frames), clip_length, 0, windows)
    for block, logits in keep_windows(runner, planned, prepare, lambda logits, _: logits):
        masks[block] = masks_from_logits(logits, tuple(frames.shape[1:3]))
    return masks
