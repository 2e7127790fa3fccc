"""Videos that FFmpeg decodes (mp4, mov, mkv, avi, webm ...), through PyAV, exact to the frame.

Opening reads the packets' presentation times once, without decoding. Frame numbers are positions in that sorted
list, so B-frames and variable frame rates change nothing. A jump seeks to the key frame before and decodes on.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vivim.errors import VideoError
from vivim.video.base import VideoBase

PROTOCOLS = {"protocol_whitelist": "file"}
"""Options for every demuxer: local files only, so that no file can make FFmpeg open something else."""

DECODE_ON = 8
"""Frames ahead that are decoded rather than sought, even when a key frame lies between."""


class FFmpegVideo(VideoBase):
    """A video file; frames are RGB uint8 ``(H, W, 3)``, with the file's rotation applied."""

    def __init__(self, path: Path) -> None:
        self._open(path)
        try:
            self._times, self._keys = self._index(path)
            self._decoder: Iterator[av.VideoFrame] | None = None
            self._next = 0
            first = self._first_picture(path)
            rate = self._stream.average_rate or self._stream.guessed_rate
            super().__init__(path, (len(self._times), *first.shape), np.uint8, float(rate) if rate else None)
            self._cache.put(0, first)
        except BaseException:
            self._container.close()
            raise

    def _open(self, path: Path) -> None:
        try:
            self._container = av.open(f"file:{path}", options=PROTOCOLS)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(
                f"{path.name} cannot be opened as a video: it is damaged, cut short or of an unknown kind ({error}). "
                "Play it in a video player, or convert it to mp4."
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{path.name} has no video in it. Choose another file.")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"

    def _index(self, path: Path) -> tuple[list[int], list[int]]:
        """Sorted presentation times of all frames and of key frames, in the stream's time base."""
        times, keys = [], []
        try:
            for packet in self._container.demux(self._stream):
                time = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or time is None or packet.is_discard:
                    continue
                times.append(time)
                if packet.is_keyframe:
                    keys.append(time)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{path.name} is damaged: its index cannot be read ({error}). Convert it anew."
            ) from error
        times = sorted(set(times))
        if not times:
            raise VideoError(f"{path.name} has no frames. Choose another file.")
        return times, sorted(set(keys)) or times[:1]

    def _first_picture(self, path: Path) -> NDArray[np.uint8]:
        """Decode the first frame; where frames before the first key frame cannot be shown, drop them."""
        try:
            self._seek(self._times[0])
            assert self._decoder is not None
            for frame in self._decoder:
                if frame.pts is not None:
                    self._times = self._times[bisect.bisect_left(self._times, frame.pts) :] or [frame.pts]
                    self._next = 1
                    return self._picture(frame)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"No frame of {path.name} can be decoded ({error}). Convert it to mp4."
            ) from error
        raise VideoError(f"No frame of {path.name} can be decoded. Convert it to mp4.")

    def _seek(self, time: int) -> None:
        self._container.seek(time, stream=self._stream, backward=True, any_frame=False)
        self._stream.codec_context.flush_buffers()
        self._decoder = self._container.decode(self._stream)
        self._next = -1

    def _picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def _decode(self, i: int) -> NDArray[np.uint8]:
        target = self._times[i]
        if not self._can_go_on_to(i):
            self._seek(self._key_before(target))
        try:
            found = self._decode_on_to(target)
            if found is None:  # some files seek past their key frame: start again from the beginning
                self._seek(self._times[0])
                found = self._decode_on_to(target)
        except (av.FFmpegError, OSError) as error:
            self._decoder = None
            raise VideoError(self._lost(i) + f" ({error})") from error
        if found is None:
            self._decoder = None
            raise VideoError(self._lost(i))
        return found

    def _can_go_on_to(self, i: int) -> bool:
        """Whether decoding on from where the decoder stands is the shortest way."""
        if self._decoder is None or self._next < 0 or not self._next <= i:
            return False
        ahead = self._key_before(self._times[i]) > self._times[min(self._next, len(self._times) - 1)]
        return not ahead or i - self._next < DECODE_ON

    def _key_before(self, time: int) -> int:
        return self._keys[max(0, bisect.bisect_right(self._keys, time) - 1)]

    def _decode_on_to(self, target: int) -> NDArray[np.uint8] | None:
        """Decode until the frame of time `target`, keeping those passed; None if it never comes."""
        assert self._decoder is not None
        for frame in self._decoder:
            if frame.pts is None:
                continue
            at = bisect.bisect_left(self._times, frame.pts)
            if at == len(self._times) or self._times[at] != frame.pts:
                continue
            self._next = at + 1
            if frame.pts == target:
                return self._picture(frame)
            if frame.pts > target:
                return None
            if self._cache.get(at) is None:
                self._cache.put(at, self._picture(frame))
        self._decoder = None
        return None

    def _lost(self, i: int) -> str:
        return (
            f"Frame {i} of {self.path.name} cannot be decoded: the file is damaged or cut short there. "
            "Convert or copy it anew; the frames before are usable"
        )

    def frame_time(self, i: int) -> float:
        """When frame `i` is shown, in seconds from the first."""
        return float((self._times[i] - self._times[0]) * (self._stream.time_base or 1))

    def _release(self) -> None:
        self._decoder = None
        self._container.close()
