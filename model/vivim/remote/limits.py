"""Limits of a server, and counters of clients' attempts."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from vivim.utils.lru_cache import LRUCache

ADDRESSES = 4096
"""Clients whose attempts are counted."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server. A request beyond them is refused before it costs anything."""

    clients: int = 16
    """Connections at once, those that wait included."""
    queue: int = 8
    """Jobs at once: the one that runs and those that wait for it."""
    attempts: int = 60
    """Connections in a minute from one client, wrong tokens included."""
    wrong_tokens: int = 10
    """Wrong tokens in a minute from one client, after which its tokens are not checked."""
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
    window_pixels: int = 64 * 512 * 512
    """Frames that go through the network together, times pixels of its input."""
    session_pixels: int = 256 * 256 * 256
    """Sessions of one fine-tune, times pixels of the network's input."""
    answer_seconds: float = 60.0
    """How long a client may take over one message while others wait."""
    away_seconds: float = 300.0
    """How long a fine-tune is kept, running or done, for a client whose connection was lost."""
    kept: int = 2
    """Finished fine-tunes kept for such clients, with their weights."""


class Attempts:
    """Counts of attempts by each client in the last minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: LRUCache[str, deque[float]] = LRUCache(ADDRESSES)

    def full(self, client: str) -> bool:
        """Whether a client has reached the limit."""
        times: Sequence[float] = self._seen.get(client) or ()
        return len(times) == self._limit and time.monotonic() - times[0] < 60.0

    def add(self, client: str) -> None:
        """Count one more attempt, and drop the clients with the oldest attempts."""
        self._seen.get_or_make(client, lambda: deque(maxlen=self._limit)).append(time.monotonic())

    def allow(self, client: str) -> bool:
        """Count one more attempt, and return whether it is within the limit."""
        if self.full(client):
            return False
        self.add(client)
        return True
