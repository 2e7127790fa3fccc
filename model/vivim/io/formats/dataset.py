"""A clip as training and evaluation read it: ``frames/`` and ``masks/`` of equal stems."""

from collections.abc import Generator
from pathlib import Path

from PIL import Image

from vivim.errors import ExportError
from vivim.imaging.roi import crop
from vivim.io.formats.png import save_binary, save_indexed
from vivim.io.mask_source import Work
from vivim.session.review import IGNORE


def write_dataset(work: Work, path: Path, indexed: bool | None = None) -> Generator[int, None, None]:
    """Write ``frames/000000.png`` (RGB) and ``masks/000000.png`` for each frame that has been looked at.

    A mask is 0 and 255, or `indexed`: each pixel holds the number of its class, by default with several classes.

    In other frames, and in those with the tag ``"ignore"``, nobody said that there is no lesion. Pictures are cut to
    the session's area, as models see them. Raises `ExportError` if no frame is left.
    """
    for folder in ("frames", "masks"):
        (path / folder).mkdir(parents=True)
    source = work.source
    known = [source.status(t) != "empty" and IGNORE not in source.tags(t) for t in work.frames]
    if not any(known):
        raise ExportError("None of these frames has been proposed or corrected. Choose other frames.")
    indexed = len(source.classes) > 1 if indexed is None else indexed
    save = save_indexed if indexed else save_binary
    area = source.area
    for done, (t, is_known) in enumerate(zip(work.frames, known, strict=True), start=1):
        if is_known:
            name = f"{t:06d}.png"
            Image.fromarray(crop(work.rgb(t), area)).save(path / "frames" / name, compress_level=1)
            save(crop(work.mask(t), area), path / "masks" / name)
        yield done
