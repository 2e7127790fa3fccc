"""How well the picture's box is found: ``python -m benchmarks.content_area``, with the data folder in ``$VIVIM_DATA``.

Each box of `content_area.toml`, drawn by hand, is compared with what `vivim.video.content_area` returns: intersection
over union, with the file's header and, where it has regions, without it. The last column counts the frames that were
decoded. Sources that are not here are named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from vivim import open_video
from vivim.video import Video, content_area

BOXES = Path(__file__).with_suffix(".toml")
ROOT = Path(__file__).resolve().parents[1]


def path_of(source: str, data: Path) -> Path | None:
    """Where a source lies; None if it is not here."""
    package, _, name = source.rpartition(":")
    if not package:
        return data / source if (data / source).exists() else None
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    return Path(str(found)) if found else None


def opened(path: Path, scratch: Path) -> Video:
    """The video at a path; a single picture is opened as a folder that holds it alone."""
    if path.suffix not in (".jpg", ".png"):
        return open_video(path)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    shutil.copy(path, folder)
    return open_video(folder)


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over union of two boxes ``(y0, x0, y1, x1)``."""
    height = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    width = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return height * width / (sum(areas) - height * width)


def counted(video: Video) -> Callable[[], int]:
    """Count the frames of a video that are decoded from now on."""
    decode, asked = video.frame, []

    def frame(index: int) -> object:
        asked.append(index)
        return decode(index)

    video.frame = frame  # type: ignore[method-assign,assignment]
    return lambda: len(set(asked))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("VIVIM_DATA", ROOT.parent / "shared/data"))
    )
    parser.add_argument("--hide-held", action="store_true", help="leave out what is held back, for tuning")
    arguments = parser.parse_args()
    drawn = tomllib.loads(BOXES.read_text())["boxes"]
    scores: dict[str, list[float]] = {"tuned": [], "held": [], "without header": []}
    with tempfile.TemporaryDirectory() as scratch:
        for source, entry in drawn.items():
            group = "held" if entry.get("held") else "tuned"
            if group == "held" and arguments.hide_held:
                continue
            path = path_of(source, arguments.data)
            if path is None:
                print(f"{source:64s} is not here")
                continue
            video = opened(path, Path(scratch))
            read, began = counted(video), time.perf_counter()
            found = content_area(video)
            seconds, score = time.perf_counter() - began, overlap(found, tuple(entry["box"]))
            scores[group].append(score)
            print(f"{source:64s} {group:5s} {score:.3f} {1000 * seconds:6.0f} ms {read()} frames {found}")
            if getattr(video, "regions", ()):
                video.regions = ()  # type: ignore[attr-defined]
                found = content_area(video)
                scores["without header"].append(overlap(found, tuple(entry["box"])))
                print(f"{'':>51s} without header {group:>3s} {scores['without header'][-1]:.3f} {found}")
    for group, values in scores.items():
        if values:
            low = sum(value < 0.85 for value in values)
            print(
                f"{group}: {len(values)} sources, mean {mean(values):.3f}, least {min(values):.3f}, {low} under 0.85"
            )


if __name__ == "__main__":
    main()
