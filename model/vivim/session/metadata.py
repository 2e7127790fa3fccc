"""``session.json``: which video a session is about."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.errors import SessionError
from vivim.imaging.roi import Area, check_area
from vivim.session.flusher import waiting_for
from vivim.session.ledger import now
from vivim.session.migrations import DEFAULT, SCHEMA, name_of, upgraded
from vivim.utils.atomic_files import atomic_write

if TYPE_CHECKING:
    from vivim.video import Video

FILE, SUFFIX, READERS = "session.json", ".vivim", "readers"
UNNAMED = ("lesion",)
"""Class names of a session that nobody and no model has named yet."""
FILE_BYTES = 2**20
"""A larger ``session.json`` is none of ours."""
READER_NAME = re.compile(
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)$)[a-z0-9][a-z0-9_-]{0,63}", re.IGNORECASE | re.ASCII
)
"""Names of readers. Every file system takes them, and none leads out of a folder."""
MOST_FRAMES, MOST_PIXELS = 10**7, 2**28
"""A session that claims more frames, or more pixels a frame, is damaged."""


@dataclass(frozen=True)
class Description:
    """The contents of ``session.json``. No patient data: file name, size and identity by content, geometry.

    `schema` is the one the file was read with; it is written with `SCHEMA`. `video` is the name of the video's file;
    of a session that an older version wrote it is the path from the session's folder. `earlier` are the videos that
    it was once about: ``identity``, the digest of the content, and ``until``, a time in UTC.
    """

    schema: int
    video: str
    size_bytes: int | None
    identity: str
    shape: tuple[int, int, int]
    fps: float | None
    pixel_spacing_mm: tuple[float, float] | None
    classes: tuple[str, ...]
    created: str
    earlier: tuple[dict[str, str], ...] = ()
    area: Area | None = None
    reader: str = DEFAULT

    def write(self, path: Path) -> None:
        """Write atomically, in the present schema. A power cut leaves the old one or the new one."""
        with atomic_write(path) as part:
            part.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The contents of the file."""
        return json.dumps(asdict(replace(self, schema=SCHEMA, video=name_of(self.video))), indent=2)

    @classmethod
    def read(cls, path: Path) -> Description:
        """Read and check.

        What an older version wrote is brought up to date in memory. A newer one that waits beside it for the disk
        counts, if it is whole. Raises a `SessionError` if it is damaged, or written by a newer version.
        """
        if waiting_for(path).is_file():
            with suppress(SessionError):  # a power cut left part of it: what was before still holds
                return cls._read(waiting_for(path))
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Description:
        try:
            if path.stat().st_size > FILE_BYTES:
                raise ValueError("it is too large")
            values = json.loads(path.read_text(encoding="utf-8"))
            if not _is(values["schema"], int):
                raise ValueError("its schema is no number")
            if values["schema"] > SCHEMA:
                raise SessionError(
                    f"{path.parent} was written by a newer version of this program. Update napari-vivim to open it."
                )
            return cls._checked(values["schema"], upgraded(values))
        except OSError as error:
            raise SessionError(
                f"Cannot read {path}: {error.strerror or error}. Check that you may read this folder."
            ) from error
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise SessionError(f"{path} is damaged ({error}). Restore it from a backup.") from error

    @classmethod
    def _checked(cls, schema: int, values: dict[str, Any]) -> Description:
        frames, height, width = values["shape"]
        spacing, size, fps, area = (values[key] for key in ("pixel_spacing_mm", "size_bytes", "fps", "area"))
        texts = [*(values[key] for key in ("video", "identity", "created", "reader")), *values["classes"]]
        texts += [text for earlier in values["earlier"] for text in earlier.values()]
        numbers = [*(spacing or ()), *([] if fps is None else [fps])]
        whole = [frames, height, width, *([] if size is None else [size]), *(area or ())]
        if not (
            all(_is(text, str) and "\0" not in text for text in texts)
            and all(_is(number, int, float) and 0 < number < float("inf") for number in numbers)
            and all(_is(number, int) and number >= 0 for number in whole)
            and 1 <= frames <= MOST_FRAMES
            and 1 <= height * width <= MOST_PIXELS
            and (spacing is None or len(spacing) == 2)
            and (area is None or len(area) == 4)
            and READER_NAME.fullmatch(values["reader"])
        ):
            raise ValueError("it has values of the wrong kind or size")
        return cls(
            schema,
            values["video"],
            size,
            values["identity"],
            (frames, height, width),
            fps,
            (spacing[0], spacing[1]) if spacing else None,
            tuple(values["classes"]),
            values["created"],
            tuple(values["earlier"]),
            None if area is None else check_area((area[0], area[1], area[2], area[3]), (height, width)),
            values["reader"],
        )


def sessions_in(top: Path) -> dict[str, Path]:
    """Session folders in the folder of a video, by their reader, ``default`` first. Empty if there are none."""
    try:
        names = sorted(filter(READER_NAME.fullmatch, os.listdir(top / READERS)))
    except OSError:
        names = []  # one reader alone, or it is not to be read
    places = {DEFAULT: top} | {name: top / READERS / name for name in names if name != DEFAULT}
    return {name: place for name, place in places.items() if (place / FILE).is_file()}


def label_of(folder: Path) -> str:
    """What to call a session folder in a list: the video's name, with the reader's behind it."""
    readers = folder.absolute().parent
    is_inside = readers.name == READERS and readers.parent.suffix == SUFFIX
    return f"{readers.parent.stem} ({folder.name})" if is_inside else folder.name.removesuffix(SUFFIX)


def top_of(folder: Path, description: Description) -> Path:
    """The folder beside the video that a session folder belongs to: itself, or the one that has all readers'."""
    folder = folder.absolute()
    is_inside = description.reader == folder.name and folder.parent.name == READERS
    return folder.parents[1] if is_inside else folder


def _is(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def describe(video: Video) -> Description:
    """What a new session says of its video."""
    return Description(
        SCHEMA,
        Path(video.path).name,
        size_of(Path(video.path)),
        video.identity(),
        shape_of(video),
        video.fps,
        video.pixel_spacing_mm,
        UNNAMED,
        now(),
    )


def shape_of(video: Video) -> tuple[int, int, int]:
    """Frames, height and width."""
    return len(video), int(video.shape[1]), int(video.shape[2])


def size_of(path: Path) -> int:
    """Bytes of a video: of its file, or of all files in its folder."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return path.stat().st_size


def checked_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return `names`. Raises a `ValueError` if there is none, one is empty, or two are alike."""
    if not names or not all(name.strip() for name in names) or len(set(names)) != len(names):
        raise ValueError(f"Classes need names that differ, not {list(names)}.")
    return tuple(names)


def longest_names(several: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], int | None]:
    """The longest of several lists of class names, and the number of the first that contradicts it, None if none does.

    A shorter list agrees if the longest begins with it. Classes without names agree with all.
    """
    longest = max(several, key=len)
    apart = (k for k, names in enumerate(several) if names not in (UNNAMED, longest[: len(names)]))
    return longest, next(apart, None)


def agreed(have: tuple[str, ...], names: tuple[str, ...], drawn: bool) -> tuple[str, ...]:
    """Names of a session's classes once a model proposes.

    Names that the session has stay, more of the model's are added, and a model of one class outlines class 1,
    whatever its name. Unless a person has drawn or accepted masks, the model's names take the place of others. Raises
    a `SessionError` if what is drawn has other names.
    """
    if names == have[: len(names)] or (len(names) == 1 and have != UNNAMED):
        return have
    if drawn and have != UNNAMED and names[: len(have)] != have:
        raise SessionError(
            f"These masks are of {', '.join(have)}, but the model finds {', '.join(names)}. Choose another model, or "
            "another session folder for this one."
        )
    return names
