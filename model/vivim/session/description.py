"""``session.json``: which video a session is about."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.errors import SessionError
from vivim.session.ledger import now

if TYPE_CHECKING:
    from vivim.video import Video

SCHEMA = 1
FILE = "session.json"


@dataclass(frozen=True)
class Description:
    """The contents of ``session.json``. No patient data: file name, content identity, geometry."""

    schema: int
    video: str
    identity: str
    shape: tuple[int, int, int]
    fps: float | None
    pixel_spacing_mm: tuple[float, float] | None
    classes: tuple[str, ...]
    created: str

    def write(self, path: Path) -> None:
        """Write atomically."""
        part = path.with_name(f".{path.name}.part")
        with part.open("w") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    @classmethod
    def read(cls, path: Path) -> Description:
        """Read and check.

        Raises
        ------
        SessionError
            If it is damaged or written by a newer version.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            if values["schema"] > SCHEMA:
                raise SessionError(
                    f"{path.parent} was written by a newer version of this program. Update napari-vivim to open it."
                )
            spacing = values["pixel_spacing_mm"]
            return cls(
                values["schema"],
                values["video"],
                values["identity"],
                (values["shape"][0], values["shape"][1], values["shape"][2]),
                values["fps"],
                (spacing[0], spacing[1]) if spacing else None,
                tuple(values["classes"]),
                values["created"],
            )
        except OSError as error:
            raise SessionError(
                f"Cannot read {path}: {error.strerror or error}. Check that you may read this folder."
            ) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise SessionError(f"{path} is damaged ({error}). Restore it from a backup.") from error


def describe(video: Video, folder: Path) -> Description:
    """What a new session in `folder` says of its video."""
    return Description(
        SCHEMA,
        recorded_path(Path(video.path), folder),
        video.identity(),
        shape_of(video),
        video.fps,
        video.pixel_spacing_mm,
        ("lesion",),
        now(),
    )


def recorded_path(video: Path, folder: Path) -> str:
    """A video's path as a session keeps it: relative, so that both can be moved together."""
    try:
        return os.path.relpath(video, folder)
    except ValueError:  # another drive
        return str(video.absolute())


def shape_of(video: Video) -> tuple[int, int, int]:
    """Frames, height and width."""
    return len(video), int(video.shape[1]), int(video.shape[2])


def check_same_video(description: Description, video: Video, folder: Path) -> None:
    """Raise a `SessionError` if `video` is not the one described."""
    shape = shape_of(video)
    if shape != description.shape or video.identity() != description.identity:
        raise SessionError(
            f"{folder.name} was made for another video: it has {description.shape[0]} frames of "
            f"{description.shape[2]}x{description.shape[1]}, this one {shape[0]} of {shape[2]}x{shape[1]}, or its "
            "content has changed. Open the original video, or choose another session folder for this one."
        )
