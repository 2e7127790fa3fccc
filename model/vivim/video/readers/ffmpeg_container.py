"""Containers that FFmpeg reads: opened for local files only, and the places of their packets."""

from collections.abc import Callable
from dataclasses import dataclass

import av

from vivim.errors import VideoError
from vivim.utils.system import cores
from vivim.video.base import MAX_PIXELS, check_size

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
    """A container and its video stream, ready to be decoded.

    Raises `VideoError` if it cannot be opened, has no video, one of an unknown codec, or one too large.
    """
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
