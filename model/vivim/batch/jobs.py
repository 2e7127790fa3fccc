"""What is said between those who hand out videos and those who do them: small, picklable, and never a pixel."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vivim.utils.json_types import as_json

SESSION = "session.vivim"
"""The session of a video that was segmented, in the video's folder of the output."""

DONE, SKIPPED, FAILED, LONG, PART = "done", "skipped", "failed", "long", "part"
"""How a job ends: done now, done before, failed, to be cut into ranges, or one of these is done."""

WAITING = "waiting for a worker"
"""The stage of a video while a cluster has no workers."""


@dataclass(frozen=True)
class Segmenting:
    """How videos are segmented and written. See `vivim.propose` and `vivim.io.export.export`."""

    model: str
    """A name that means the same on every machine, or a file that every machine can read."""
    version: str
    """What that model must be: a digest of its weights."""
    device: str = "auto"
    clip_length: int = 8
    windows: str = "every"
    batch_size: int | None = None
    precision: str = "auto"
    formats: tuple[str, ...] = ("png",)
    min_area_px: int = 0
    fill_holes: bool = False
    area: tuple[int, int, int, int] | str | None = None
    """The part of the picture that the model sees, ``(y0, x0, y1, x1)`` in pixels; ``"auto"`` is what
    `vivim.video.content_area` finds in each video."""
    split: int | None = None
    """Videos of more frames may be cut into ranges of about so many."""

    task = "segment"
    only, frames = "all", None

    def decisive(self) -> dict[str, Any]:
        """Options that decide what is written, as JSON has them: not the device, the speed or the model's place."""
        apart = ("model", "device", "batch_size", "split")
        return as_json({key: value for key, value in asdict(self).items() if key not in apart})


@dataclass(frozen=True)
class Exporting:
    """How sessions are exported. See `vivim.io.export.export`."""

    formats: tuple[str, ...] = ("png",)
    only: str = "all"
    frames: tuple[int | None, int | None] | None = None
    min_area_px: int = 0
    fill_holes: bool = False

    task = "export"
    version = ""

    def decisive(self) -> dict[str, Any]:
        """All options, as JSON has them."""
        return as_json(asdict(self))


@dataclass(frozen=True)
class Job:
    """One video or session, or a range of a long video."""

    path: str
    """The video or session."""
    stem: str
    """Its folder within `out`, with ``/`` between parts."""
    out: str
    options: Segmenting | Exporting
    before: dict[str, Any] | None = None
    """The manifest's latest line about it."""
    part: tuple[int, int] | None = None
    """Only these frames, from the first up to, not including, the second, into a session of their own."""
    parts: tuple[tuple[int, int], ...] = ()
    """Ranges that are done and now to be joined."""
    content: str = ""
    """What the video must hold, where it is done in ranges: see `Outcome`."""

    @property
    def folder(self) -> Path:
        """Where what it makes is written."""
        return Path(self.out, self.stem)


@dataclass(frozen=True)
class Working:
    """Progress within one job. `worker` is empty where this process does it itself."""

    stem: str
    stage: str
    done: int
    total: int
    seconds_left: float | None = None
    worker: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    stem: str
    status: str
    identity: str = ""
    """Digest of the video's size, beginning and end, as sessions have it; empty where it could not be opened."""
    state: str = ""
    """Digest of the session's ledger, of segmented videos also of its masks, when it was done: whether anything has
    changed since."""
    frames: int = 0
    seconds: float = 0.0
    lesion_frames: int = 0
    """Frames with a lesion in them."""
    mean_area_px: float = 0.0
    largest_area_px: int = 0
    """Lesion area in pixels, its mean over the frames with a lesion, and the most in one frame."""
    mean_area_mm2: float | None = None
    """The mean in square millimetres, each lesion by the scale of its region; None unless all have one."""
    files: dict[str, str] = field(default_factory=dict)
    """What was written, by format, relative to the output folder."""
    damaged: list[int] = field(default_factory=list)
    """Frames that were left out because they or their masks are damaged."""
    reason: str = ""
    """Why it failed, for people; it may name the video's place."""
    content: str = ""
    """Digest of all that the video holds."""
    digests: dict[str, str] = field(default_factory=dict)
    """The digest of what was written, by format."""
    note: str = ""
    """What else people should know: what was put aside."""

    @property
    def frames_per_second(self) -> float | None:
        """Frames done a second, writing included."""
        return round(self.frames / self.seconds, 2) if self.seconds else None
