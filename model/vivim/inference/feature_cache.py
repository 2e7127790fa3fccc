"""Cache of optical flow and encoder features of one session.

One more corrected frame changes what the network sees between its corrected neighbours, not elsewhere, and a decoder
that learns changes nothing that the encoder made. Proposing again encodes only the windows that changed. The masks are
those that would come out without the cache: its keys hold everything that a value depends on.
"""

import hashlib
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from vivim.inference.sliding_windows import Window
from vivim.propagation.mask_propagator import MaskGuide
from vivim.propagation.optical_flow import FLOWS_KEPT, FlowCache
from vivim.session import Session
from vivim.utils.lru_cache import LRUCache

LIMIT_BYTES = 640 * 2**20
"""Bytes of encoded windows kept, those used last."""

SHARE = 0.5
"""Part of the limit that one proposal may take, beside what earlier corrections left: some 250 frames of 256 x 256
with the smallest network, or 125 that are seen guided and unguided. More is not kept at all, since it would be gone
before it is wanted again."""


@dataclass(frozen=True)
class EncodedFrames:
    """Encoder features of the kept frames of a window."""

    features: list[Tensor]
    planes: Tensor | None
    """Their guide planes ``(n, 2, H, W)``, where there was guidance."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for tensor in (*self.features, self.planes) if tensor is not None)


@dataclass(frozen=True)
class WindowScores:
    """How an unguided network did on the frames of one window."""

    dice: dict[int, float]
    """Dice at corrected frames."""
    expected: dict[int, float]
    """`vivim.inference.model_reliability.expected_dice` of each frame."""


class SessionCache:
    """Flows, encoded windows and scores of one session, for any thread. `key` is the size and area of its frames."""

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.flows: FlowCache = LRUCache(FLOWS_KEPT)
        self.confidences: dict[Hashable, float] = {}
        self.scores: dict[Hashable, WindowScores] = {}
        self.encoded: LRUCache[Hashable, EncodedFrames] = LRUCache(LIMIT_BYTES, lambda value: value.nbytes)


class EncodedWindows:
    """The encoded windows of a session, as one encoder with one guide makes them.

    `encoder` is the digest of its weights, and the precision it runs in; `frames` is how many will be asked for.
    """

    def __init__(self, cache: SessionCache, encoder: str, guide: MaskGuide | None, frames: int) -> None:
        self._cache, self._encoder, self.guide, self._frames = cache.encoded, encoder, guide, frames

    def get(self, window: Window) -> EncodedFrames | None:
        """Return the encoded frames of a window, None if they are not kept."""
        return self._cache.get(self._key(window))

    def put(self, window: Window, features: Sequence[Tensor], planes: Tensor | None) -> EncodedFrames:
        """Take a window's kept frames out of features ``(T, d, h, w)`` and planes ``(T, 2, H, W)``, and keep them."""
        at = window.kept_at
        kept = [feature[at].contiguous(memory_format=torch.channels_last) for feature in features]
        encoded = EncodedFrames(kept, None if planes is None else planes[at])
        if encoded.nbytes / len(at) * self._frames <= SHARE * LIMIT_BYTES:
            self._cache.put(self._key(window), encoded)
        return encoded

    def _key(self, window: Window) -> Hashable:
        guide = self.guide if window.guided else None
        guided_by = None if guide is None else guide.depends_on(window.frames)
        return self._encoder, window, guided_by


_caches: WeakKeyDictionary[Session, SessionCache] = WeakKeyDictionary()
_lock = threading.Lock()


def cache_of(session: Session, key: Hashable) -> SessionCache:
    """Return the cache of a session in memory, a new one when its `key` has changed."""
    with _lock:
        found = _caches.get(session)
        if found is None or found.key != key:
            found = _caches[session] = SessionCache(key)
        return found


def digest_of_weights(*modules: nn.Module | None) -> str:
    """Digest of the weights of some modules. Those that are None count as absent."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items() if module is not None else ():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
