"""Which packet makes which frame of a video that FFmpeg reads, and where decoding can start.

Containers are opened for local files only. A frame's number is its place in the order of showing; a packet's is its
place in the file.
"""

from __future__ import annotations

import bisect
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import av

from vivim.errors import VideoError
from vivim.utils.system import cores
from vivim.video.base import MAX_PIXELS, check_size
from vivim.video.readers.ffmpeg_keyframes import KeyPlace

DEMUXERS = (
    "mov,matroska,avi,asf,mpeg,mpegts,mpegvideo,m4v,h261,h263,h264,hevc,vvc,av1,obu,vc1,vc1test,dirac,cavsvideo,ivf,"
    "yuv4mpegpipe,flv,live_flv,ogg,mxf,gxf,dv,rm,nut,wtv,nuv,nsv,pva,ty,swf,mjpeg,mjpeg_2000,apng,flic"
)
"""Containers that hold their own pictures. Playlists are not among them: they make FFmpeg open other files."""

OPTIONS = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
"""For every demuxer: local files only."""

PATIENCE = 2.0
"""Seconds that opening a file, or finding its next packet, may take: gigabytes of nothing are searched no longer."""

SPARE_THREADS, MOST_THREADS = 2, 16
"""Threads of a decoder: beyond the cores, one more than FFmpeg takes (a tenth quicker on two cores); and at most."""


def opened(
    open_it: Callable[[], av.container.InputContainer], name: str
) -> tuple[av.container.InputContainer, av.VideoStream]:
    """A container and its video stream, ready to be decoded."""
    try:
        container = open_it()
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{name} cannot be opened as a video: it is damaged, cut short or of an unknown kind{_why(error)}. "
            "See whether a video player plays it, and convert it to mp4 (H.264) if one does."
        ) from error
    try:
        if not container.streams.video:
            raise VideoError(f"{name} has no video in it. Choose another file.")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise VideoError(
                f"{name} is damaged, or coded in a way that is not known here. Convert it to mp4 (H.264)."
            )
        check_size(stream.height or 1, stream.width or 1, name)
    except VideoError:
        container.close()
        raise
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = min(MOST_THREADS, cores() + SPARE_THREADS)
    return container, stream


def _why(error: Exception) -> str:
    """FFmpeg's own words in brackets, without its number and the path."""
    words = getattr(error, "strerror", None)
    return f" ({words.lower()})" if words else ""


@dataclass(frozen=True)
class Packet:
    """What the index keeps of a packet: times in the stream's time base, its place in the file, its flags."""

    pts: int | None
    dts: int | None
    pos: int | None
    key: bool
    discard: bool

    @property
    def shown_at(self) -> int:
        """Presentation time, where there is one."""
        return self.seek_to if self.pts is None else self.pts

    @property
    def seek_to(self) -> int:
        """A time that a backward seek resolves to this packet or an earlier one, never to a later one."""
        return min((t for t in (self.pts, self.dts) if t is not None), default=0)


def telling(packets: list[Packet]) -> str | None:
    """The attribute that tells each packet from all others of its stream, also after a seek. None if none does."""
    for name in ("pos", "pts", "dts"):
        values = [getattr(packet, name) for packet in packets]
        if None not in values and -1 not in values and len(set(values)) == len(values):
            return name
    return None


TIMELESS = ("avi", "h264", "hevc", "m4v", "mpegvideo", "dv")
"""Containers without presentation times of their own; those FFmpeg makes up are wrong where frames are reordered."""


JOINED = ("mpeg", "mpegts")
"""Containers that may be joined end to end, each part with times of its own."""

LONGEST_GAP = 10.0
"""Seconds between two frames of joined containers beyond which another part begins, as FFmpeg has it."""


def is_vague(packets: list[Packet], container: str, reorders: bool) -> bool:
    """Whether only the decoder knows in which order the frames are shown."""
    decoding = [p.dts for p in packets if p.dts is not None]
    return (
        (container in TIMELESS and reorders)
        or any(p.pts is None and not p.discard for p in packets)
        or any(later < earlier for earlier, later in itertools.pairwise(decoding))
    )


def shown_order(packets: list[Packet]) -> list[int]:
    """Packet numbers in the order of their presentation times, without those never shown."""
    return [rank for _, rank in sorted((p.shown_at, rank) for rank, p in enumerate(packets) if not p.discard)]


def stamps_of(packets: list[Packet], order: list[int], container: str, vague: bool) -> list[int | None]:
    """Times of the frames in the order they are shown, as the container states them. None where it states none."""
    if vague and container in TIMELESS:  # the decoding times, in order: evenly spaced, as such containers are
        known = sorted(packets[rank].dts or 0 for rank in order if packets[rank].dts is not None)
        return [*known] if len(known) == len(order) else [None] * len(order)
    return [packets[rank].pts if vague else packets[rank].shown_at for rank in order]


def continuous(stamps: Sequence[int | None], usual: float, longest: float) -> list[float]:
    """Times that only grow, from 0 on. Where they restart, leap or are missing, a frame is shown as long as others.

    `usual` is the time from one frame to the next where the `stamps` do not say, `longest` the most that counts.
    """
    pairs = list(itertools.pairwise(stamps))
    gaps = [later - earlier if None not in (earlier, later) else None for earlier, later in pairs]  # type: ignore[operator]
    step = statistics.median([gap for gap in gaps if gap and 0 < gap <= longest] or [usual])
    return [
        0.0,
        *itertools.accumulate(step if gap is None or not 0 <= gap <= longest else gap for gap in gaps),
    ]


@dataclass
class FrameIndex:
    """Frames by number. Frame i is made of packet ``order[i]``."""

    order: list[int]
    index_of: dict[int, int]
    """By the number of a packet, that of its frame."""
    keys: list[int]
    key_ranks: list[int]
    """Frames from which decoding can start, ascending, and the key packets to start at."""

    @classmethod
    def of(cls, packets: list[Packet], order: list[int], vague: bool) -> FrameIndex:
        """Number the frames of these packets in this order. `vague` as by `is_vague`."""
        index_of = {rank: i for i, rank in enumerate(order)}
        times = [packets[rank].shown_at for rank in order]
        entries = []
        for rank, packet in enumerate(packets):
            if packet.key and rank in index_of:
                entries.append((index_of[rank], rank))
            elif packet.key and not vague:  # hidden by an edit list, it still serves the first frame after it
                entries.append((bisect.bisect_left(times, packet.shown_at), rank))
        entries.sort()
        return cls(order, index_of, [i for i, _ in entries], [rank for _, rank in entries])

    def entry(self, i: int) -> int:
        """Which of `keys` is the last at or before frame `i`. -1 if none is."""
        return bisect.bisect_right(self.keys, i) - 1

    def whole_from(self, rank: int, i: int) -> None:
        """Note that decoding from the key packet `rank` gives frames from `i` on, as after a recovery point."""
        at = self.key_ranks.index(rank)
        if self.keys[at] < i:
            del self.keys[at], self.key_ranks[at]
            at = bisect.bisect_right(self.keys, i)
            self.keys.insert(at, i)
            self.key_ranks.insert(at, rank)

    def key_places(self, packets: list[Packet], telling: str | None) -> dict[int, KeyPlace]:
        """By the number of the frame: where its key packet is found, if the attribute `telling` tells it."""
        if telling is None:
            return {}
        shown = ((self.index_of[rank], packets[rank]) for rank in self.key_ranks if rank in self.index_of)
        return {i: KeyPlace(p.seek_to, getattr(p, telling)) for i, p in shown}
