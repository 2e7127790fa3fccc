"""The layout of YouTube-VOS: pictures, indexed masks, and a list of which lesion is in which frames."""

import json
from collections.abc import Generator
from pathlib import Path

from PIL import Image

from vivim.io.formats.png import check_numbers, save_indexed
from vivim.io.mask_source import Work

NAME_DIGITS = 10
"""Digits of the video's digest that become its name: its file's name may be a patient's."""
QUALITY = 95


def write_youtube_vos(work: Work, path: Path) -> Generator[int, None, None]:
    """Write ``JPEGImages/<video>/00000.jpg``, ``Annotations/<video>/00000.png`` and ``meta.json``."""
    check_numbers(work)
    video = work.source.identity[:NAME_DIGITS]
    pictures, annotations = path / "JPEGImages" / video, path / "Annotations" / video
    for folder in (pictures, annotations):
        folder.mkdir(parents=True)
    objects: dict[str, dict] = {}
    for done, t in enumerate(work.frames, start=1):
        name = f"{t:05d}"
        Image.fromarray(work.rgb(t)).save(pictures / f"{name}.jpg", quality=QUALITY)
        save_indexed(work.lesions.picture(t), annotations / f"{name}.png")
        for lesion in work.lesions.of(t):
            entry = {"category": work.category(lesion.category), "frames": []}
            objects.setdefault(str(lesion.id), entry)["frames"].append(name)
        yield done
    (path / "meta.json").write_text(json.dumps({"videos": {video: {"objects": objects}}}, indent=1))
