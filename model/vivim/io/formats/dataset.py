"""A clip as training and evaluation read it: ``frames/`` and ``masks/`` of equal stems."""

from collections.abc import Generator
from pathlib import Path

from PIL import Image

from vivim.errors import ExportError
from vivim.imaging.roi import crop
from vivim.io.formats.png import save_binary
from vivim.io.mask_source import Work


def write_dataset(work: Work, path: Path) -> Generator[int, None, None]:
    """Write ``frames/000000.png`` (RGB) and ``masks/000000.png`` (0 and 255) for each frame that has been looked at.

    In others nobody said that there is no lesion. Pictures are cut to the session's area, as models see them.
    """
    for folder in ("frames", "masks"):
        (path / folder).mkdir(parents=True)
    known = [work.source.status(t) != "empty" for t in work.frames]
    if not any(known):
        raise ExportError("None of these frames has been proposed or corrected. Choose other frames.")
    area = work.source.area
    for done, (t, is_known) in enumerate(zip(work.frames, known, strict=True), start=1):
        if is_known:
            name = f"{t:06d}.png"
            Image.fromarray(crop(work.rgb(t), area)).save(path / "frames" / name, compress_level=1)
            save_binary(crop(work.mask(t), area), path / "masks" / name)
        yield done
