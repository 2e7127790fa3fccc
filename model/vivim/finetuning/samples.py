"""Encode corrected frames once, so that training the decoder many times costs little.

Each corrected frame is encoded as it is met in use: in a window of its neighbours, guided by the other corrected frames
and never by its own mask, and once more without guidance.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vivim.devices import unprepared
from vivim.errors import FinetuneError
from vivim.finetuning.feature_store import FeatureStore, key_of
from vivim.inference.feature_cache import digest_of_weights
from vivim.inference.session_inputs import (
    PROPAGATED_AT_ONCE,
    ResizedFrames,
    guide_of,
    resized_mask,
    window_inputs,
)
from vivim.inference.sliding_windows import CONTEXT, in_context, window_around
from vivim.network import Vivim
from vivim.propagation.mask_propagator import MaskGuide
from vivim.session import Session
from vivim.training.losses import boundary_weight

T = TypeVar("T")
U = TypeVar("U")

FORMAT = 4
"""Version of what is kept of a frame, to be raised whenever that changes."""

FEW_FRAMES = 8
"""Up to this many corrected frames, mirrored copies are encoded too."""


@dataclass(frozen=True)
class Sample:
    """One encoded corrected frame: where it is from, its four features and its mask planes."""

    session: int
    frame: int
    features: list[Tensor]
    """Four tensors ``(1, d, h, w)`` float16 on the CPU."""
    target: Tensor
    """``(1, C, H, W)`` uint8 of 0 and 1 at the network's input size."""
    guess: Tensor
    """``(1, 1, H, W)`` float16: the guide's first plane, the propagated mask, or zeros without guidance."""
    confidence: float | None
    """Confidence in the propagated mask, see `vivim.propagation.confidence`, or None without guidance."""
    weight: Tensor
    """``(1, C, H, W)`` float16: `boundary_weight` of the target."""
    in_use: bool
    """Whether the frame is as it is met in use, not mirrored."""
    deep: Tensor
    """``(n, d, h, w)`` float16: input of the last stage for the whole window, kept for training that stage."""
    position: int
    """Place of the frame in its window of `n`."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.nbytes for t in (*self.features, self.target, self.guess, self.weight, self.deep))


@dataclass(frozen=True)
class Window:
    """One corrected frame with its neighbours, as network input."""

    session: int
    frame: int
    x: Tensor
    guide: Tensor | None
    confidence: float | None
    position: int
    target: Tensor
    in_use: bool


def target_planes(mask: np.ndarray, classes: int) -> Tensor:
    """Split a label mask ``(H, W)`` into planes ``(1, C, H, W)`` uint8. With one class every label counts as it."""
    labels = torch.from_numpy(mask)
    if classes == 1:
        return (labels > 0)[None, None].to(torch.uint8)
    return torch.stack([labels == c + 1 for c in range(classes)])[None].to(torch.uint8)


def check_labels(sessions: Sequence[Session], model: Vivim) -> None:
    """Refuse labels beyond the classes of a model of several: their pixels would be learned as background."""
    classes = model.config.num_classes
    for number, t in corrected_frames(sessions) if classes > 1 else ():
        label = int(np.asarray(sessions[number].masks[t]).max())
        if label > classes:
            raise FinetuneError(
                f"Frame {t} has label {label}, but this model knows {classes} classes: {', '.join(model.classes)}. "
                "Paint it with one of these, or start from a model with more classes."
            )


def corrected_frames(sessions: Sequence[Session]) -> list[tuple[int, int]]:
    """List all (session number, frame) that a person vouches for, in order of time."""
    return [(number, t) for number, session in enumerate(sessions) for t in session.vouched_frames()]


@dataclass(frozen=True)
class Variant:
    """One way to encode a corrected frame: guided or not, mirrored or not."""

    session: int
    frame: int
    guided: bool
    mirrored: bool


def variants(sessions: Sequence[Session], guidable: bool) -> Iterator[Variant]:
    """Yield all variants to learn from: guided by other frames of the session and not, mirrored where there are few."""
    keys = corrected_frames(sessions)
    frames = Counter(number for number, _ in keys)
    for number, t in keys:
        for guided in (True, False) if guidable and frames[number] > 1 else (False,):
            yield Variant(number, t, guided, False)
            if len(keys) <= FEW_FRAMES:
                yield Variant(number, t, guided, True)


class Source:
    """Corrected frames of some sessions as input of a network, on a device. `stop` ends the work with `Stopped`."""

    def __init__(
        self,
        sessions: Sequence[Session],
        model: Vivim,
        device: torch.device,
        stop: threading.Event | None = None,
    ) -> None:
        self.sessions, self.device = sessions, device
        self.size, self.classes = model.config.input_size, model.config.num_classes
        self._readers = [ResizedFrames(session, self.size, stop=stop) for session in sessions]

    def windows(self, variants: Sequence[Variant]) -> list[Window]:
        """Make the windows of some variants of one corrected frame, in any thread."""
        if not variants:
            return []
        number, t = variants[0].session, variants[0].frame
        session, reader = self.sessions[number], self._readers[number]
        guide = self._guide(variants[0]) if any(v.guided for v in variants) else None
        block = self._block(variants[0])
        target = target_planes(resized_mask(session, t, self.size), self.classes)
        found = []
        for variant in variants:
            guided = guide if variant.guided else None
            window = window_around(block, guided)
            x, planes = window_inputs(reader, window, guided, self.device)
            confidence = guided.confidence(t) if guided is not None else None
            whole = Window(number, t, x, planes, confidence, window.index(t), target, True)
            found.append(mirror(whole) if variant.mirrored else whole)
        return found

    def depends_on(self, variant: Variant) -> list[object]:
        """List what the features of a variant depend on beside the encoder, as plain JSON values."""
        session, others = self.sessions[variant.session], list[list[object]]()
        if variant.guided:
            guide = self._guide(variant)
            window = window_around(self._block(variant), guide)
            others = [list(pair) for pair in guide.depends_on(window)]
        place = [[session.identity, session.area], variant.frame, CONTEXT, list(self.size)]
        return [FORMAT, *place, variant.mirrored, variant.guided, others]

    def target(self, variant: Variant) -> Tensor:
        """`target_planes` of a variant, mirrored if the variant is."""
        mask = resized_mask(self.sessions[variant.session], variant.frame, self.size)
        planes = target_planes(mask, self.classes)
        return planes.flip(-1) if variant.mirrored else planes

    def _guide(self, variant: Variant) -> MaskGuide:
        """Guide by all corrected frames but the variant's own."""
        number, t = variant.session, variant.frame
        return guide_of(self.sessions[number], self._readers[number], self.size, leave_out=t)

    def _block(self, variant: Variant) -> list[int]:
        """The variant's frame and its neighbours."""
        return in_context(variant.frame, len(self.sessions[variant.session]))


def mirror(window: Window) -> Window:
    """Mirror a window, left and right exchanged."""
    guide = None if window.guide is None else window.guide.flip(-1)
    return replace(window, x=window.x.flip(-1), guide=guide, target=window.target.flip(-1), in_use=False)


@torch.inference_mode()
def encode(model: Vivim, window: Window) -> Sample:
    """Encode the corrected frame of one window."""
    with unprepared(window.x.device):
        features = model.features(window.x, window.guide)
    at = slice(window.position, window.position + 1)
    kept = [feature[at].to("cpu", torch.float16).clone() for feature in features]
    guess = torch.zeros(1, 1, *window.target.shape[-2:])
    if window.guide is not None:
        guess = window.guide[0, at, :1].cpu()
    return Sample(
        window.session,
        window.frame,
        kept,
        window.target,
        guess.half(),
        window.confidence,
        boundary_weight(window.target.float()).half(),
        window.in_use,
        features[-2].to("cpu", torch.float16).clone(),
        window.position,
    )


def encoded(
    model: Vivim, source: Source, chosen: Iterable[Variant], cache: FeatureStore | None = None
) -> Iterator[Sample]:
    """Encode each variant, or take it from the cache, in the order of `chosen`.

    Frames are read and masks propagated in threads, some frames in advance.
    """
    encoder = digest_of_weights(model.encoder, model.guide_embed) if cache is not None else ""

    def look(variant: Variant) -> tuple[Variant, str, dict[str, Tensor] | None]:
        if cache is None:
            return variant, "", None
        key = key_of(encoder, source.depends_on(variant))
        return variant, key, cache.get(key)

    def prepare(group: list[Variant]) -> tuple[list, list[Window]]:
        looked = [look(variant) for variant in group]
        return looked, source.windows([variant for variant, _, found in looked if found is None])

    groups = (list(group) for _, group in groupby(chosen, lambda variant: (variant.session, variant.frame)))
    for looked, windows in _map_in_threads(prepare, groups):
        left = iter(windows)
        for variant, key, found in looked:
            if found is not None:
                yield _from_tensors(found, variant, source.target(variant))
                continue
            sample = encode(model, next(left))
            if cache is not None:
                cache.put(key, _to_tensors(sample))
            yield sample


def _map_in_threads(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Map `work` over items in order, in threads that are a few items in advance."""
    pool = ThreadPoolExecutor(PROPAGATED_AT_ONCE, thread_name_prefix="vivim-windows")
    try:
        waiting: deque[Future[U]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == PROPAGATED_AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _to_tensors(sample: Sample) -> dict[str, Tensor]:
    levels = {f"feature{i}": feature for i, feature in enumerate(sample.features)}
    kept = {**levels, "guess": sample.guess, "deep": sample.deep, "position": torch.tensor(sample.position)}
    if sample.confidence is not None:
        kept["confidence"] = torch.tensor(sample.confidence, dtype=torch.float64)
    return kept


def _from_tensors(found: dict[str, Tensor], variant: Variant, target: Tensor) -> Sample:
    # the encoder's layout in memory, so that sums are rounded alike
    levels = [found[f"feature{i}"].contiguous(memory_format=torch.channels_last) for i in range(4)]
    return Sample(
        variant.session,
        variant.frame,
        levels,
        target,
        found["guess"],
        float(found["confidence"]) if variant.guided else None,
        boundary_weight(target.float()).half(),
        not variant.mirrored,
        found["deep"].contiguous(memory_format=torch.channels_last),
        int(found["position"]),
    )
