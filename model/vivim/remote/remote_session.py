"""A client's session on the server: numbers, and pixels that are fetched from the client when they are needed.

It offers what proposing and fine-tuning ask of a session, so that both run on it unchanged.
"""

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vivim.remote.limits import Limits
from vivim.remote.protocol import HAVE, KNOWN, WANTED, Message, RemoteError, expand
from vivim.utils.lru_cache import LRUCache

AT_ONCE = 8
"""Frames fetched at a time, which saves round trips."""
KEPT = 256
"""Frames kept of one session, if they are not more than `KEPT_BYTES`."""
KEPT_BYTES = 256 * 2**20

Ask = Callable[[int, str, list[int]], list[bytes]]
"""``ask(session, "frames" or "masks", numbers)`` returns the squeezed pixels of these frames."""


class Pixels:
    """Frames or masks at the network's input size, fetched when first needed and cached."""

    def __init__(self, session: int, what: str, shape: tuple[int, ...], count: int, ask: Ask) -> None:
        self._session, self._what, self._shape, self._count, self._ask = session, what, shape, count, ask
        self._cache = LRUCache[int, NDArray[np.uint8]](
            max(AT_ONCE, min(KEPT, KEPT_BYTES // int(np.prod(shape))))
        )
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, t: int) -> NDArray[np.uint8]:
        """One frame or mask."""
        with self._lock:
            found = self._cache.get(t)
            return self._fetch(t) if found is None else found

    def frame(self, t: int) -> NDArray[np.uint8]:
        """One frame, as a video returns it."""
        return self[t]

    def _fetch(self, t: int) -> NDArray[np.uint8]:
        first = t - t % AT_ONCE
        run = range(first, min(first + AT_ONCE, self._count)) if self._what == "frames" else [t]
        missing = [i for i in run if self._cache.get(i) is None]
        fetched = self._ask(self._session, self._what, missing)
        found = {i: expand(data, self._shape) for i, data in zip(missing, fetched, strict=True)}
        for i, pixels in found.items():
            self._cache.put(i, pixels)
        return found[t]


class RemoteSession:
    """One session of a request, on the server: its place among those, and the frames, height and width of its masks.

    `flags` ``(T,)`` uint8 are a sum of `WANTED`, `KNOWN` and `HAVE` for each frame. `key` is the beginning of the
    digest of the video's content. Frames arrive at `size`, height and width of the network's input.
    """

    def __init__(
        self,
        number: int,
        shape: tuple[int, int, int],
        flags: NDArray[np.uint8],
        key: str,
        size: tuple[int, int],
        ask: Ask,
    ) -> None:
        self.shape, self.identity, self.area = shape, key, None
        self._flags = flags
        self.video = Pixels(number, "frames", (*size, 3), len(flags), ask)
        self.masks = Pixels(number, "masks", size, len(flags), ask)
        self.latest: tuple[int, NDArray[np.uint8], dict[str, float | None]] | None = None

    def __len__(self) -> int:
        return len(self._flags)

    def frames_with(self, *statuses: str) -> list[int]:
        """Frames that a person vouches for, the only status that a server knows of."""
        return self._marked(KNOWN) if "corrected" in statuses else []

    def vouched_frames(self) -> list[int]:
        """Frames that a person vouches for, without damaged masks, which the client does not send."""
        return self._marked(KNOWN)

    def problem(self, t: int) -> str:
        """Return no problem, since the client sends no damaged masks."""
        return ""

    def take_classes(self, names: tuple[str, ...]) -> None:
        """Do nothing, since names of classes stay with the client."""

    @property
    def wanted(self) -> list[int]:
        """Frames to be proposed. Those that arrived before are among them, because windows are laid over all."""
        return self._marked(WANTED)

    @property
    def have(self) -> list[int]:
        """Frames whose proposals the client already has."""
        return self._marked(HAVE)

    def propose(
        self,
        t: int,
        mask: NDArray[np.uint8],
        model_version: str,
        uncertainty: float | None = None,
        windows: float | None = None,
    ) -> bool:
        """Keep a proposal until it is sent."""
        self.latest = (t, mask, {"uncertainty": uncertainty, "windows": windows})
        return True

    def _marked(self, flag: int) -> list[int]:
        return [int(t) for t in np.flatnonzero(self._flags & flag)]


def received_shapes(request: Message, limits: Limits) -> list[tuple[tuple[int, int, int], str]]:
    """Read and check the shape and key of each session of a request."""
    sessions = request.values.get("sessions")
    if not isinstance(sessions, list) or not 1 <= len(sessions) <= limits.sessions:
        raise RemoteError(f"A request has 1 to {limits.sessions} sessions.")
    found = []
    for values in sessions:
        one = Message("session", values if isinstance(values, dict) else {})
        count, height = one.number("frames", 1, limits.frames), one.number("height", 1, limits.pixels)
        width = one.number("width", 1, limits.pixels)
        if height * width > limits.pixels:
            raise RemoteError(f"This server takes frames of at most {limits.pixels} pixels.")
        found.append(((count, height, width), one.text("key", 12)))
    if sum(shape[0] for shape, _ in found) > limits.frames:
        raise RemoteError(f"This server takes at most {limits.frames} frames in one request.")
    return found
