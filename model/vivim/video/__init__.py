"""Videos as they come from a clinic, read frame by frame: one protocol, one file a kind of container.

The parts load when first used: to say whether a file is a video takes none of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vivim.video.base import Video as Video
    from vivim.video.content_area import content_area as content_area
    from vivim.video.lazy_array import LazyFrames as LazyFrames
    from vivim.video.open import open_video as open_video
    from vivim.video.phantom import Phantom as Phantom
    from vivim.video.phantom import make_phantom as make_phantom
    from vivim.video.scrubber import Scrubber as Scrubber
    from vivim.video.writer import write_video as write_video

_HOME_OF = {
    "LazyFrames": "lazy_array",
    "Phantom": "phantom",
    "Scrubber": "scrubber",
    "Video": "base",
    "content_area": "content_area",
    "make_phantom": "phantom",
    "open_video": "open",
    "write_video": "writer",
}

__all__ = [*_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vivim.video' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vivim.video.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
