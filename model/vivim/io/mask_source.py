"""What a writer of one format gets: masks, where they come from, which frames, and the lesions in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivim.errors import ExportError
from vivim.imaging.components import Cleaning
from vivim.imaging.lesion_tracking import Lesions
from vivim.imaging.resize import resize_frame
from vivim.imaging.roi import Area
from vivim.session import Session
from vivim.video import Video


@dataclass(frozen=True)
class MaskStack:
    """Masks that belong to no session. A writer asks of them what it asks of a session."""

    masks: Any
    """``(T, H, W)`` uint8, indexed by frame."""
    fps: float | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    classes: tuple[str, ...] = ("lesion",)
    identity: str = ""
    area: Area | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        frames, height, width = self.masks.shape
        return int(frames), int(height), int(width)

    @property
    def video_path(self) -> None:
        """There is none."""
        return None

    @property
    def video(self) -> Video:
        """There is none."""
        raise ExportError("These masks belong to no video. Export them from the video's session instead.")

    def status(self, t: int) -> str:
        """Masks of unknown origin count as a person's."""
        return "corrected"


@dataclass(frozen=True)
class _Without:
    """Masks of which some frames are damaged: these are empty."""

    masks: Any
    damaged: frozenset[int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        return self.masks.shape

    def __getitem__(self, t: int) -> NDArray[np.uint8]:
        return np.zeros(self.shape[1:], np.uint8) if t in self.damaged else np.asarray(self.masks[t])


@dataclass(frozen=True)
class Work:
    """Frames of a source, to be written as they are or lesion by lesion. Those that are `damaged` are empty."""

    source: Session | MaskStack
    frames: Sequence[int]
    cleaning: Cleaning = field(default_factory=Cleaning)
    damaged: frozenset[int] = frozenset()

    @cached_property
    def lesions(self) -> Lesions:
        """Lesions of all frames of the source, cleaned."""
        return Lesions(_Without(self.source.masks, self.damaged), self.cleaning)

    def without_damaged(self) -> Work:
        """The same without the frames that are damaged."""
        return (
            replace(self, frames=[t for t in self.frames if t not in self.damaged]) if self.damaged else self
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        return self.source.shape[1:]

    def mask(self, t: int) -> NDArray[np.uint8]:
        """Classes of frame `t`, ``(H, W)`` uint8, cleaned."""
        return self.lesions.clean(t)

    def rgb(self, t: int) -> NDArray[np.uint8]:
        """Frame `t` of the video as ``(H, W, 3)`` uint8."""
        return resize_frame(self.source.video.frame(t), self.size)

    def category(self, value: int) -> str:
        """Name of a class."""
        known = self.source.classes
        return known[value - 1] if value <= len(known) else f"class {value}"

    def categories(self) -> dict[int, str]:
        """All classes that have a name."""
        return {value: self.category(value) for value in range(1, len(self.source.classes) + 1)}
