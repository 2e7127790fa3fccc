"""What was worked out for a session and may be wanted again: flow, and what the encoder made of windows of frames.

One more corrected frame changes what the network is shown between its corrected neighbours, not elsewhere; and a
decoder that learns changes nothing of what the encoder made. Proposing again encodes only the windows that changed.
The masks are those that would come out without it: what is remembered is exact, and known by everything it depends on.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from vivim.inference.sliding_windows import Window
from vivim.propagation.mask_propagator import MaskGuide
from vivim.propagation.optical_flow import Flows

if TYPE_CHECKING:
    pass
    from vivim.session import Session

LIMIT_BYTES = 640 * 2**20
"""Of encoded windows, the latest kept."""

SHARE = 0.5
"""Of the limit that what is wanted at once may take, beside what earlier corrections left: some 250 frames of 256 x 256
with the smallest network, or 125 that are looked at with guidance and without. More is not kept at all: it would be
gone before it is wanted again."""


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of the kept frames of a window."""

    features: list[Tensor]
    planes: Tensor | None
    """Their guide planes ``(n, 2, H, W)``, where there was guidance."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for tensor in (*self.features, self.planes) if tensor is not None)


class SessionCache:
    """Flows and encoded windows of one session at one size, for any thread."""

    def __init__(self, about: Hashable) -> None:
        self.about = about
        self.flows = Flows()
        self.confidences: dict[Hashable, float] = {}
        self.reliability: dict[Hashable, Answers] = {}
        self._kept: OrderedDict[Hashable, Encoded] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Encoded | None:
        """What `put` kept under `key`, while there was room."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, encoded: Encoded) -> None:
        """Keep something; what was not wanted for longest goes."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = encoded
            self._bytes += encoded.nbytes
            while self._bytes > LIMIT_BYTES:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.nbytes


class EncodedWindows:
    """The encoded windows of a session, as one encoder with one guide makes them.

    Parameters
    ----------
    recall : Recall
        Where they are kept.
    encoder : str
        What tells this encoder, with the precision it runs in, from others.
    guide : MaskGuide, optional
        What guides it.
    frames : int
        How many will be asked for.
    """

    def __init__(self, recall: SessionCache, encoder: str, guide: MaskGuide | None, frames: int) -> None:
        self._cache, self._encoder, self.guide, self._frames = recall, encoder, guide, frames

    def get(self, window: Window) -> Encoded | None:
        """What the encoder made of a window, if that is remembered."""
        return self._cache.get(self._key(window))

    def put(self, window: Window, features: Sequence[Tensor], planes: Tensor | None) -> Encoded:
        """A window's kept frames of features ``(T, d, h, w)`` and planes ``(T, 2, H, W)``; remembered if they fit."""
        at = window.kept_at
        kept = [feature[at].contiguous(memory_format=torch.channels_last) for feature in features]
        encoded = Encoded(kept, None if planes is None else planes[at])
        if encoded.nbytes / len(at) * self._frames <= SHARE * LIMIT_BYTES:
            self._cache.put(self._key(window), encoded)
        return encoded

    def _key(self, window: Window) -> Hashable:
        guide = self.guide if window.guided else None
        guided_by = None if guide is None else guide.depends_on(window.frames)
        return self._encoder, window, guided_by


_caches: WeakKeyDictionary[Session, SessionCache] = WeakKeyDictionary()
_lock = threading.Lock()


def cache_of(session: Session, about: Hashable) -> SessionCache:
    """What is remembered of a session, as long as that is in memory; forgotten when `about` it has changed."""
    with _lock:
        found = _caches.get(session)
        if found is None or found.about != about:
            found = _caches[session] = SessionCache(about)
        return found


def digest_of_weights(*modules: nn.Module | None) -> str:
    """Digest of the weights of some modules; those that are None count as absent."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items() if module is not None else ():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Answers:
    """What a network says of some frames."""

    right: dict[int, float]
    """Dice at corrected frames."""
    sure: dict[int, float]
    """`certainty` of each frame."""
