"""What a session says of its video, its classes and the part of the picture that models work on; see `Description`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vivim.area import Area
from vivim.area import checked as checked_area
from vivim.session.classes import agreed, checked
from vivim.session.description import FILE, Description
from vivim.session.gate import Gate


class About(Gate):
    """A session's description, changed in memory and on disk at once. Methods may be called from any thread."""

    def __init__(self, folder: Path, description: Description, author: str, read_only: bool) -> None:
        super().__init__(folder, description.shape, author, read_only)
        self._description = description
        self._made = (folder / FILE).is_file()

    @property
    def fps(self) -> float | None:
        """Frames per second, where the video says so."""
        return self._description.fps

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """Height and width of a pixel in mm, where the video says so."""
        return self._description.pixel_spacing_mm

    @property
    def identity(self) -> str:
        """What tells this video from others: a digest of its content."""
        return self._description.identity

    @property
    def area(self) -> Area | None:
        """The part of the picture that models are shown and propose in, ``(y0, x0, y1, x1)``; None is all of it."""
        return self._description.area

    def set_area(self, area: Area | None) -> None:
        """Let models work on a part of the picture only, from now on; masks stay those of the whole picture.

        What was proposed or drawn outside before stays as it is.

        Raises
        ------
        SessionError
            If it cannot be written.
        ValueError
            If it reaches beyond the picture, or is too small.
        """
        found = None if area is None else checked_area(area, self.shape[1:])
        with self._lock:
            self._describe(replace(self._description, area=found))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes 1 and up."""
        return self._description.classes

    def name_classes(self, names: Sequence[str]) -> None:
        """Name the classes 1 and up; kept with the session.

        Raises
        ------
        SessionError
            If it cannot be written.
        ValueError
            If a name is empty, or two are alike.
        """
        with self._lock:
            self._describe(replace(self._description, classes=checked(names)))

    def take_classes(self, names: tuple[str, ...]) -> None:
        """Take over the class names of a model that is about to propose, see `vivim.session.classes.agreed`.

        Raises
        ------
        SessionError
            If a person has drawn masks whose classes have other names, or the names cannot be written.
        """
        drawn = bool(self.frames_with("corrected", "accepted"))
        names = agreed(self.classes, names, drawn)
        if names != self.classes:
            self.name_classes(names)

    def _describe(self, description: Description) -> None:
        """Say something else from now on, and in the folder if there is one to write; nobody waits for the disk."""
        if description != self._description and self._made and not self.read_only:
            try:
                self._flusher.replace(self.folder / FILE, description.text())
            except OSError as error:
                raise self._not_written(error) from error
        self._description = description
