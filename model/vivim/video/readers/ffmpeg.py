"""Videos that FFmpeg decodes (mp4, mov, mkv, avi, webm ...), through PyAV, exact to the frame.

Opening reads the packets once, usually without decoding. Every packet is numbered in the order of the file, and the
decoder hands that number on to the frame it makes of it: so B-frames, variable rates, edit lists and containers whose
times are vague change nothing. A jump seeks to the key frame before, checks that it is the one, and decodes on.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vivim.errors import FrameError, VideoError
from vivim.video.base import Video, plausible_aspect
from vivim.video.readers.ffmpeg_index import (
    JOINED,
    LONGEST_GAP,
    OPTIONS,
    PATIENCE,
    FrameIndex,
    Packet,
    continuous,
    is_vague,
    opened,
    shown_order,
    stamps_of,
    telling,
)
from vivim.video.readers.ffmpeg_keyframes import KeyFrames, display_axes, turned

KEPT = 24
"""Frames before the one wanted that are kept when they are passed: whoever jumps there steps back next."""

SKIPPABLE = ("h264", "mpeg4", "mpeg1video", "mpeg2video")
"""Codecs that mark the frames no other depends on; on the way to a frame far ahead those are not decoded."""

DECODE_ON = 8
"""Frames ahead that are decoded rather than sought, even when a key frame lies between."""

OUT_OF_ORDER = 16
"""Later frames that may come before the one wanted until it counts as lost; H.264 reorders at most 16."""


class _Stopped(Exception):
    """Decoding was stopped on request."""


def _never() -> bool:
    return False


class FFmpegVideo(Video):
    """A video file. Frames are RGB uint8 ``(H, W, 3)``, turned and mirrored as the file asks for."""

    def __init__(self, path: Path) -> None:
        self._file = path
        self._stop: Callable[[], bool] = _never
        self._kept, self._thinned = 0, -1
        self._entered: int | None = None
        """Number of the key packet that decoding began with, until the first frame came out."""
        self._lost_from: float = float("inf")
        """Number of the first frame that did not come before the file ended."""
        self._index = FrameIndex([], {}, [], [])
        self._open()
        try:
            self._packets = self._read_packets()
            self._decoder: Iterator[tuple[int, av.VideoFrame]] | None = None
            self._next = 0
            first = self._first_picture()
            rate = float(self._stream.average_rate or self._stream.guessed_rate or 0) or None
            self._starts = starts = self._times(rate or 25.0)
            seen = (len(starts) - 1) / starts[-1] if starts[-1] else None
            # some state the unit of their times as the rate
            if seen and not (rate and 0.8 < rate / seen < 1.25):
                rate = seen
            super().__init__(
                path,
                (len(self._index.order), *first.shape),
                np.uint8,
                rate,
                pixel_aspect=self._aspect,
                notes=self._notes,
            )
            self._cache.put(0, first)
            places = self._index.key_places(self._packets, self._telling)
            self._previews = KeyFrames(self._opened, places, self._telling, self.shape[1:3])
        except BaseException:
            self._container.close()
            raise

    def _source(self) -> Any:
        """What FFmpeg is to read: a local file by its name, or an object with `read` and `seek`."""
        return f"file:{self._file}"

    def _opened(self) -> av.container.InputContainer:
        return av.open(self._source(), options=OPTIONS, timeout=(PATIENCE, PATIENCE))

    def _open(self) -> None:
        self._container, self._stream = opened(self._opened, self._file.name)
        self._skips = self._stream.codec_context.name in SKIPPABLE

    def _demux(self) -> Iterator[av.Packet]:
        """Packets with content. An empty one, as AVI has for a picture left out, would end the decoding."""
        return (packet for packet in self._container.demux(self._stream) if packet.size)

    def _read_packets(self) -> list[Packet]:
        try:
            packets = [Packet(p.pts, p.dts, p.pos, p.is_keyframe, p.is_discard) for p in self._demux()]
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self._file.name} is damaged: its index cannot be read ({error}). Convert it anew."
            ) from error
        if all(packet.discard for packet in packets):
            raise VideoError(f"{self._file.name} has no frames. Choose another file.")
        self._telling = telling(packets)
        if self._telling:
            self._rank_at = {getattr(p, self._telling): rank for rank, p in enumerate(packets) if p.key}
        reorders = bool(self._stream.codec_context.has_b_frames)
        self._vague = is_vague(packets, self._container.format.name, reorders)
        return packets

    def _display_order(self) -> list[int]:
        """Packet numbers in the order their frames are shown.

        Where only the decoder knows it (AVI with B-frames), the video is decoded once, keeping nothing.
        """
        if self._vague:
            self._restart()
            return list(dict.fromkeys(rank for rank, _ in self._decode_from(self._demux(), 0)))
        return shown_order(self._packets)

    def _first_picture(self) -> NDArray[np.uint8]:
        """Decode the first frame. Frames before it that cannot be shown are dropped from the count."""
        try:
            order = self._display_order()
            self._index = FrameIndex.of(self._packets, order, self._vague)
            self._restart()
            self._decoder = self._decode_from(self._demux(), 0)
            for rank, frame in self._decoder:
                if rank in self._index.index_of:
                    order = order[self._index.index_of[rank] :]
                    self._index = FrameIndex.of(self._packets, order, self._vague)
                    self._next = 1
                    self._look_at(frame)
                    return self._picture(frame)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"No frame of {self._file.name} can be decoded ({error}). Convert it to mp4."
            ) from error
        raise VideoError(f"No frame of {self._file.name} can be decoded. Convert it to mp4.")

    def _look_at(self, frame: av.VideoFrame) -> None:
        """Take from the first frame the shape of a pixel as it is shown, and whether lines are interlaced."""
        aspect = plausible_aspect(float(self._stream.sample_aspect_ratio or 1))
        right, right_down, _, _ = display_axes(frame)
        self._aspect = aspect if abs(right) >= abs(right_down) else 1 / aspect
        self._notes = []
        if "mov" in self._container.format.name and self._stream.frames > len(self._packets):
            self._notes.append(
                f"{self._file.name} is cut short: of its {self._stream.frames} frames, {len(self._packets)} are in the "
                "file, and the last of them may be damaged. Copy it anew if you can."
            )
        if frame.interlaced_frame:
            self._notes.append(
                f"{self._file.name} is interlaced: each frame holds two moments, and edges that move look like combs. "
                "Deinterlace it first (ffmpeg -vf yadif) if that matters."
            )

    def _times(self, rate: float) -> list[float]:
        """When each frame is shown, in seconds from the first."""
        base, container = float(self._stream.time_base or 1 / rate), self._container.format.name
        stamps = stamps_of(self._packets, self._index.order, container, self._vague)
        longest = LONGEST_GAP / base if container in JOINED else float("inf")
        return [time * base for time in continuous(stamps, 1 / (rate * base), longest)]

    def _restart(self) -> None:
        """Stand at the very first packet, whatever the container thinks of seeking."""
        self._container.close()
        self._open()
        self._kept, self._thinned, self._entered = 0, -1, None

    def _start_before(self, i: int) -> None:
        """Start decoding at the last key frame at or before frame `i`. Where it cannot be found, at earlier ones."""
        last = self._index.entry(i)
        for k in (last, last - 1, last - 4):
            if k >= 0 and self._start_at(self._index.key_ranks[k]):
                self._next = self._index.keys[k]
                return
        self._restart()
        self._decoder, self._next = self._decode_from(self._demux(), 0), 0

    def _start_at(self, rank: int) -> bool:
        """Seek to the key packet of number `rank` and stand there. False if the container does not lead there."""
        if self._telling is None:
            return False
        try:
            self._container.seek(self._packets[rank].seek_to, stream=self._stream, backward=True)
        except av.FFmpegError:  # not seekable to there: an earlier key frame, or the beginning, will do
            return False
        self._stream.codec_context.flush_buffers()
        self._thinned = -1
        packets = self._demux()
        for packet in packets:
            found = self._rank_at.get(getattr(packet, self._telling), -1) if packet.is_keyframe else -1
            if found == rank:
                self._decoder = self._decode_from(itertools.chain((packet,), packets), rank)
                self._entered = rank
                return True
            if found > rank:
                return False
        return False

    def _decode_from(self, packets: Iterator[av.Packet], rank: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames as the decoder gives them, each with the number of its packet. `rank` is that of the first packet."""
        context = self._stream.codec_context
        for number, packet in enumerate(packets, rank):
            thin = self._skips and self._index.index_of.get(number, self._kept) < self._kept
            context.skip_frame = "NONREF" if thin else "DEFAULT"
            if thin:
                self._thinned = max(self._thinned, self._index.index_of[number])
            packet.pts = packet.dts = number
            try:
                decoded = context.decode(packet)
            except av.InvalidDataError:
                continue
            yield from ((frame.pts, frame) for frame in decoded if frame.pts is not None)
        yield from ((frame.pts, frame) for frame in context.decode(None) if frame.pts is not None)

    def _picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        return turned(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame)

    def fetch(self, i: int, stop: Callable[[], bool]) -> NDArray | None:
        """Frame `i`, decoded unless `stop` says so in between. Then None, and what was decoded is kept."""
        with self._lock:
            self._stop = stop
            try:
                return self.frame(i)
            except _Stopped:
                return None
            finally:
                self._stop = _never

    def preview(self, i: int) -> tuple[int, NDArray]:
        """The nearest of the frames in memory and the key frames, which have a decoder and a cache of their own."""
        cached = self._cache.nearest(i)
        key = self._previews.nearest(i)
        if cached is not None and (key is None or abs(cached - i) <= abs(key - i)):
            found = self._cache.get(cached)
            if found is not None:
                return cached, found
        picture = self._previews.picture(key) if key is not None else None
        if key is not None and picture is not None:
            return key, picture
        near = self._cache.get(cached) if cached is not None else None
        return (i, self.frame(i)) if cached is None or near is None else (cached, near)

    def _decode(self, i: int) -> NDArray[np.uint8]:
        if i >= self._lost_from:
            raise FrameError(self._lost(i))
        try:
            if not self._can_go_on_to(i):
                self._start_before(i)
            found = self._decode_on_to(i)
            # what was taken for a key frame is whole only after frame i
            while found is None and self._is_late:
                self._start_before(i)
                found = self._decode_on_to(i)
        except (av.FFmpegError, OSError) as error:
            self._decoder = None
            damaged = isinstance(error, av.InvalidDataError | av.EOFError)
            raise (FrameError if damaged else VideoError)(f"{self._lost(i)} ({error})") from error
        if found is None:
            self._decoder = None
            raise FrameError(self._lost(i))
        return found

    def _can_go_on_to(self, i: int) -> bool:
        """Whether decoding on from where the decoder stands is the shortest way."""
        if self._decoder is None or not max(self._next, self._thinned + 1) <= i:
            return False
        last = self._index.entry(i)
        return last < 0 or self._index.keys[last] <= self._next or i - self._next < DECODE_ON

    def _decode_on_to(self, i: int) -> NDArray[np.uint8] | None:
        """Decode until frame `i`, keeping the last of those passed. None if it never comes."""
        assert self._decoder is not None
        begun, self._is_late = self._next, False
        self._kept = i - min(KEPT, self._cache.limit // (2 * int(np.prod(self.shape[1:]))))
        for rank, frame in self._decoder:
            at = self._index.index_of.get(rank)
            if at is None:
                continue
            if self._entered is not None:
                self._index.whole_from(self._entered, at)
                self._entered, self._is_late = None, at > i
                if self._is_late:
                    return None
            self._next = max(self._next, at + 1)
            if at == i:
                return self._sized(frame, at)
            if at > i + OUT_OF_ORDER:
                return None
            if at > self._kept and at >= begun and self._cache.get(at) is None:
                self._cache.put(at, self._sized(frame, at))
            if self._stop():
                raise _Stopped
        self._decoder = None
        if self._entered is not None:  # nothing is whole until the end
            self._index.whole_from(self._entered, len(self._index.order))
            self._entered, self._is_late = None, True
        else:
            self._lost_from = min(self._lost_from, self._next)
        return None

    def _sized(self, frame: av.VideoFrame, i: int) -> NDArray[np.uint8]:
        picture = self._picture(frame)
        if picture.shape != self.shape[1:]:
            raise VideoError(
                f"{self.path.name} changes its picture size at frame {i}. Convert it to one size, then open that."
            )
        return picture

    def _lost(self, i: int) -> str:
        return (
            f"Frame {i} of {self.path.name} cannot be decoded: the file is damaged or cut short there. "
            "Convert or copy it anew; the frames before are usable."
        )

    def _release(self) -> None:
        self._decoder = None
        self._container.close()
        self._previews.close()
