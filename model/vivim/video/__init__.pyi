"""Every name of `vivim.video` and the module that it is loaded from when it is first used."""

from .base import Video as Video
from .content_area import content_area as content_area
from .lazy_array import LazyFrames as LazyFrames
from .open import open_video as open_video
from .phantom import Phantom as Phantom
from .phantom import make_phantom as make_phantom
from .scrubber import Scrubber as Scrubber
from .writer import write_video as write_video
