"""What a server takes on, and how it keeps the rest away."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass

ADDRESSES = 4096
"""Addresses whose attempts are remembered."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server; what is beyond them is refused before it costs anything."""

    clients: int = 16
    """Connections at once, those that wait included."""
    queue: int = 8
    """Jobs at once: the one that runs and those that wait for it."""
    attempts: int = 60
    """Connections in a minute from one address, wrong tokens included."""
    frames: int = 200_000
    """Frames of one video."""
    sessions: int = 256
    """Sessions of one fine-tune."""
    pixels: int = 8192 * 4096
    """Pixels of one frame of the masks sent back."""
    model_bytes: int = 512 * 2**20
    """Size of a model's file."""
    models: int = 2
    """Models kept in memory for the next job."""
    input_pixels: int = 1024 * 1024
    """Pixels of the network's input."""
    answer_seconds: float = 60.0
    """How long a client may take over one message while others wait."""


class Attempts:
    """Counts the connections of each address in the last minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def allow(self, address: str) -> bool:
        """Count one more, if that is within the limit."""
        now = time.monotonic()
        times = self._seen.setdefault(address, deque(maxlen=self._limit))
        self._seen.move_to_end(address)
        if len(self._seen) > ADDRESSES:
            self._seen.popitem(last=False)
        if len(times) == self._limit and now - times[0] < 60.0:
            return False
        times.append(now)
        return True
