"""Animated GIF files, each frame composed as it is shown."""

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vivim.errors import VideoError
from vivim.video.base import Video, check_size, over_black


class GifVideo(Video):
    """Frames are RGB uint8 ``(H, W, 3)``. Going back starts again from the first frame, as GIF demands."""

    def __init__(self, path: Path) -> None:
        try:
            self._image = Image.open(path)
            check_size(self._image.height, self._image.width, path.name)
            count = int(getattr(self._image, "n_frames", 1))
            delays = []
            for i in range(count):
                self._image.seek(i)
                delays.append(float(self._image.info.get("duration", 0) or 0) / 1000)
            starts = [0.0, *itertools.accumulate(delays)]
            first = self._read(0)
        except (OSError, EOFError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoError(f"{path.name} cannot be read as GIF ({error}). Save it anew.") from error
        total = starts[-1]
        self._starts = starts if total else None
        super().__init__(path, (count, *first.shape), np.uint8, count / total if total else None)
        self._cache.put(0, first)

    def _read(self, i: int) -> NDArray[np.uint8]:
        self._image.seek(i)
        if not self._image.has_transparency_data:
            return np.asarray(self._image.convert("RGB")).copy()
        rgba = np.asarray(self._image.convert("RGBA"))
        return over_black(rgba[..., :3], rgba[..., 3])

    def _decode(self, i: int) -> NDArray[np.uint8]:
        try:
            for passed in range(self._image.tell() + 1 if self._image.tell() <= i else 0, i):
                if self._cache.get(passed) is None:  # so that going back does not compose them all again
                    self._cache.put(passed, self._read(passed))
            return self._read(i)
        except (OSError, EOFError, ValueError, SyntaxError) as error:
            raise VideoError(
                f"Frame {i} of {self.path.name} cannot be read ({error}). Save it anew."
            ) from error

    def _release(self) -> None:
        self._image.close()
