"""Key frames as previews: small, at once, for the eye only.

They have a decoder of their own, so that a preview never waits for an exact frame. A key frame is numbered by the
index of the exact decoder, so the two cannot disagree about which frame it is.
"""

import bisect
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.video.base import FrameCache

LONG_SIDE = 640
"""Largest side of a preview in memory, in pixels."""

PREVIEW_BYTES = 48 * 2**20
"""Previews kept by each open video: some 70 of a 16:9 video."""


@dataclass(frozen=True)
class KeyPlace:
    """Where the key packet of a frame is: a time to seek to, and the value that tells it from its neighbours."""

    seek_to: int
    mark: int


def turned(picture: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A picture turned and mirrored as the display matrix of its frame asks for, to the next quarter turn."""
    right, right_down, down_right, down = display_axes(frame)
    if abs(right) < abs(right_down):
        picture = picture.swapaxes(0, 1)
        right, down = down_right, right_down
    picture = picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
    return np.ascontiguousarray(picture)


def display_axes(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Where a stored step to the right is shown, as steps right and down, and then one down. No turn without a matrix.

    Source: libavutil/display.h, elements a, b, c and d of the matrix.
    """
    notes: Any = frame.side_data
    matrix = next((bytes(note) for note in notes if note.type.name == "DISPLAYMATRIX"), b"")
    if len(matrix) < 36:
        return 1, 0, 0, 1
    right, right_down, _, down_right, down = struct.unpack("=5i", matrix[:20])
    return right, right_down, down_right, down


class KeyFrames:
    """The key frames of a video by frame number. `telling` is the attribute of packets that `KeyPlace.mark` is of."""

    def __init__(
        self,
        opened: Callable[[], Any],
        places: dict[int, KeyPlace],
        telling: str | None,
        size: tuple[int, ...],
    ) -> None:
        self._opened, self._places, self._telling, self._size = opened, places, telling, size
        self._numbers = sorted(places)
        self._container: Any = None
        self._cache = FrameCache(PREVIEW_BYTES)
        self._lock = threading.Lock()

    def nearest(self, i: int) -> int | None:
        """The key frame nearest to frame `i`."""
        at = bisect.bisect_left(self._numbers, i)
        return min(self._numbers[max(0, at - 1) : at + 1], key=lambda key: abs(key - i), default=None)

    def picture(self, key: int) -> NDArray[np.uint8] | None:
        """Key frame `key`, ``(H, W, 3)``, enlarged from a small one. None if it cannot be had alone."""
        small = self._cache.get(key)
        if small is None:
            with self._lock:
                small = self._decoded(self._places[key])
            if small is None:  # as of a recovery point, which is whole only some frames later
                self._numbers = [number for number in self._numbers if number != key]
                return None
            self._cache.put(key, small)
        height, width = self._size
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)

    def _decoded(self, place: KeyPlace) -> NDArray[np.uint8] | None:
        try:
            if self._container is None:
                self._container = self._opened()
                # threads by frame hand out the first one late
                self._container.streams.video[0].thread_type = "SLICE"
            stream = self._container.streams.video[0]
            self._container.seek(place.seek_to, stream=stream, backward=True)
            for packet in self._container.demux(stream):
                if packet.size and packet.is_keyframe and getattr(packet, str(self._telling)) == place.mark:
                    return self._small(stream.codec_context, packet)
                if packet.size == 0 or (getattr(packet, str(self._telling)) or 0) > place.mark:
                    return None
        except (av.FFmpegError, OSError):  # the exact decoder will say what is wrong with the file
            return None
        return None

    def _small(self, context: Any, packet: av.Packet) -> NDArray[np.uint8] | None:
        context.flush_buffers()
        frame = next(iter([*context.decode(packet), *context.decode(None)]), None)
        context.flush_buffers()
        if frame is None:
            return None
        share = min(1.0, LONG_SIDE / max(frame.width, frame.height))
        width, height = (max(1, round(n * share)) for n in (frame.width, frame.height))
        picture = frame.reformat(width=width, height=height).to_ndarray(format="rgb24")
        return turned(np.asarray(picture, np.uint8), frame)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._cache.drop_to(0)
            if self._container is not None:
                self._container.close()
                self._container = None
