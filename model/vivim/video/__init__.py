"""Videos as they come from a clinic, read frame by frame: one protocol, one file a kind of container."""

from vivim.video.base import Video
from vivim.video.content import content_area
from vivim.video.lazy import LazyFrames
from vivim.video.open import open_video
from vivim.video.phantom import Phantom, make_phantom
from vivim.video.scrub import Scrubber
from vivim.video.write import write_video

__all__ = [
    "LazyFrames",
    "Phantom",
    "Scrubber",
    "Video",
    "content_area",
    "make_phantom",
    "open_video",
    "write_video",
]
