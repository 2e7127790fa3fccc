"""How well readers agree who drew masks of the same video: overlap, distance of outlines, presence of lesions.

A frame counts for two readers where both have vouched for it (corrected or accepted it, and its mask is not damaged)
and neither has tagged it ``"ignore"``. What a model proposed and nobody looked at says nothing about a reader. Over
all readers, those frames count that count for each of them.

Where both masks are empty, the frame has no Dice, Jaccard or distance: it counts for presence alone. Where one is
empty, Dice and Jaccard are 0, and the distance is the picture's diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.imaging.metrics import dice, hausdorff95, jaccard
from vivim.review.kappa import kappa, presence_agreement
from vivim.session.metadata import longest_names
from vivim.utils.json_types import as_json

if TYPE_CHECKING:
    from vivim.session import Session

NAN = float("nan")


@dataclass(frozen=True)
class FrameAgreement:
    """Two readers on one class in one frame. NaN where both drew nothing, or a distance in mm is not known."""

    clip: str
    frame: int
    readers: tuple[str, str]
    label: int
    """The class, from 1."""
    areas_px: tuple[int, int]
    areas_mm2: tuple[float, float]
    dice: float
    jaccard: float
    hd95_px: float
    hd95_mm: float


@dataclass(frozen=True)
class AgreementScores:
    """Agreement of two readers, or of all, over frames. Means are over frames in which somebody drew something."""

    readers: tuple[str, ...]
    label: int
    """The class, from 1. 0 is all classes: means over frames and classes, and presence of any lesion."""
    frames: int
    """Frames that count."""
    both_empty: int
    """Comparisons of two readers in which both drew nothing. They count for presence alone."""
    one_empty: int
    """Comparisons in which one of the two drew nothing."""
    dice: float
    jaccard: float
    hd95_px: float
    hd95_mm: float
    presence_agreement: float
    """Part of the comparisons in which both, or neither, drew something."""
    kappa: float
    """Kappa of presence: Cohen's for two readers, Fleiss' for more. NaN where chance alone explains it all."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of readers on one clip, or on several."""

    readers: tuple[str, ...]
    classes: tuple[str, ...]
    """Names of the classes 1 and up."""
    frames: tuple[FrameAgreement, ...]
    """For each frame, one for each pair of readers and class."""
    ignored: int
    """Frames that a reader has tagged ``"ignore"``."""
    not_vouched: dict[str, int]
    """For each reader, the frames neither corrected nor accepted, or damaged, and not ignored."""

    @property
    def overall(self) -> AgreementScores:
        """All readers, all classes."""
        return self.scores(self.readers)

    @property
    def pairs(self) -> tuple[AgreementScores, ...]:
        """Each pair of readers, all classes."""
        return tuple(self.scores(pair) for pair in combinations(self.readers, 2))

    def scores(self, readers: Sequence[str], label: int = 0) -> AgreementScores:
        """Scores of some of the readers, of one class or with 0 of all. Raises a `ValueError` if one is not there."""
        if unknown := [reader for reader in readers if reader not in self.readers]:
            raise ValueError(f"There is no reader {unknown[0]}. Readers are {', '.join(self.readers)}.")
        readers = [reader for reader in self.readers if reader in readers]
        pairs = set(combinations(readers, 2))
        compared: dict[tuple[str, int], set[tuple[str, str]]] = {}
        for row in self.frames:
            if row.readers in pairs:
                compared.setdefault((row.clip, row.frame), set()).add(row.readers)
        common = {frame: number for number, frame in enumerate(compared) if compared[frame] == pairs}
        present = np.zeros((len(compared), len(readers)), bool)
        drawn = []
        for row in self.frames:
            number = common.get((row.clip, row.frame))
            if number is None or row.readers not in pairs or (label and row.label != label):
                continue
            for reader, area in zip(row.readers, row.areas_px, strict=True):
                present[number, readers.index(reader)] |= area > 0
            if any(row.areas_px):
                drawn.append(row)
        present = present[list(common.values())]
        both = [(present[:, a], present[:, b]) for a, b in combinations(range(len(readers)), 2)]
        return AgreementScores(
            tuple(readers),
            label,
            len(common),
            sum(int(np.count_nonzero(~a & ~b)) for a, b in both),
            sum(int(np.count_nonzero(a ^ b)) for a, b in both),
            _mean(row.dice for row in drawn),
            _mean(row.jaccard for row in drawn),
            _mean(row.hd95_px for row in drawn),
            _mean(row.hd95_mm for row in drawn),
            presence_agreement(present),
            kappa(present),
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it. None where a number is not defined."""
        groups = [*combinations(self.readers, 2), *([self.readers] if len(self.readers) > 2 else [])]
        several = len(self.classes) > 1
        result = {
            "readers": self.readers,
            "classes": self.classes,
            "ignored": self.ignored,
            "not_vouched": self.not_vouched,
            "overall": asdict(self.overall),
            "pairs": [asdict(scores) for scores in self.pairs],
            "by_class": [
                asdict(self.scores(group, label))
                for label in range(1, len(self.classes) + 1)
                for group in groups
                if several
            ],
            "frames": [asdict(row) for row in self.frames],
        }
        return as_json(result, digits=6)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else NAN


def agreement(
    sessions: Sequence[Session],
    *,
    readers: Sequence[str] | None = None,
    clip: str = "",
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Agreement:
    """Compare what several readers drew on one video: Dice, Jaccard, HD95 and presence, for each pair and for all.

    A frame counts for two readers where both have corrected or accepted it and neither has tagged it ``"ignore"``.
    Frames in which both drew nothing count for presence alone.

    Parameters
    ----------
    sessions : sequence of Session
        At least two, all of the same video. They are only read.
    readers : sequence of str, optional
        A name for each. By default the readers' names, or ``"reader 1"`` and so on if two have the same.
    clip : str
        Name of the video in the result.
    progress : callable, optional
        Called with the frames done and the frames in all. What it raises ends the comparison.

    Returns
    -------
    Agreement
        ``overall``, ``pairs`` and ``frames``. Distances are in pixels, and in mm where the video says its scale.

    Raises
    ------
    SessionError
        If the sessions are not of one video, or name their classes differently.
    ValueError
        If there are fewer than two, or names are missing or alike.
    """
    names, classes = names_of(sessions, readers), list(shared_classes(sessions))
    spacing = sessions[0].pixel_spacing_mm
    ignored = [set(session.frames_tagged("ignore")) for session in sessions]
    vouched = [set(session.vouched_frames()) for session in sessions]
    found: list[FrameAgreement] = []
    for t in range(len(sessions[0])):
        masks = {k: sessions[k].masks[t] for k, frames in enumerate(vouched) if t in frames}
        highest = max((int(mask.max()) for mask in masks.values()), default=0)
        classes += [f"class {label}" for label in range(len(classes) + 1, highest + 1)]
        for a, b in combinations(masks, 2):
            for label in range(1, len(classes) + 1):
                pair = (names[a], names[b])
                found.append(_compared(clip, t, pair, label, masks[a] == label, masks[b] == label, spacing))
        progress(t + 1, len(sessions[0]))
    missing = [len(sessions[0]) - len(frames | ours) for frames, ours in zip(vouched, ignored, strict=True)]
    return Agreement(
        names,
        tuple(classes),
        tuple(found),
        len(set().union(*ignored)),
        dict(zip(names, missing, strict=True)),
    )


def _compared(
    clip: str,
    t: int,
    readers: tuple[str, str],
    label: int,
    a: NDArray[np.bool_],
    b: NDArray[np.bool_],
    spacing: tuple[float, float] | None,
) -> FrameAgreement:
    """Compare two masks ``(H, W)`` of one class."""
    areas = int(np.count_nonzero(a)), int(np.count_nonzero(b))
    mm2 = NAN if spacing is None else spacing[0] * spacing[1]
    scores = [NAN] * 4
    if all(areas):  # nothing outside the box around both changes a score
        rows, columns = (np.flatnonzero((a | b).any(axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        a, b = a[box], b[box]
    if any(areas):
        scores = [dice(a, b), jaccard(a, b), hausdorff95(a, b), NAN]
        if spacing is not None:
            square = spacing[0] == spacing[1]
            scores[3] = scores[2] * spacing[0] if square else hausdorff95(a, b, spacing)
    return FrameAgreement(clip, t, readers, label, areas, (areas[0] * mm2, areas[1] * mm2), *scores)


def _in_order(row: FrameAgreement, readers: Sequence[str]) -> FrameAgreement:
    """The same comparison, with its two readers in the order of `readers`. Its scores do not depend on that."""
    if readers.index(row.readers[0]) < readers.index(row.readers[1]):
        return row
    (a, b), (area, other), (mm2, other_mm2) = row.readers, row.areas_px, row.areas_mm2
    return replace(row, readers=(b, a), areas_px=(other, area), areas_mm2=(other_mm2, mm2))


def pooled(clips: Sequence[Agreement]) -> Agreement:
    """Agreement on several clips as if they were one, so that long clips count more. Classes are told by number."""
    readers = tuple(dict.fromkeys(reader for clip in clips for reader in clip.readers))
    return Agreement(
        readers,
        max((clip.classes for clip in clips), key=len),
        tuple(_in_order(row, readers) for clip in clips for row in clip.frames),
        sum(clip.ignored for clip in clips),
        {reader: sum(clip.not_vouched.get(reader, 0) for clip in clips) for reader in readers},
    )


@dataclass(frozen=True)
class AreaDifference:
    """Difference of two readers' areas, first minus second, after Bland and Altman (Lancet 1986)."""

    readers: tuple[str, str]
    unit: str
    """``"mm2"``, or ``"px"`` where the scale of a video is not known."""
    means: NDArray[np.float64]
    """Mean of both areas, for each frame and class in which one of the two drew something."""
    differences: NDArray[np.float64]
    bias: float
    """Mean difference."""
    limits: tuple[float, float]
    """Limits of agreement: the bias minus and plus 1.96 standard deviations."""


def area_difference(agreed: Agreement, readers: tuple[str, str]) -> AreaDifference | None:
    """Compare the areas that two readers drew. None where they share fewer than two frames with a lesion."""
    rows = [row for row in agreed.frames if row.readers == readers and any(row.areas_px)]
    if len(rows) < 2:
        return None
    areas, unit = np.array([row.areas_mm2 for row in rows]), "mm2"
    if np.isnan(areas).any():
        areas, unit = np.array([row.areas_px for row in rows], float), "px"
    differences = areas[:, 0] - areas[:, 1]
    bias, spread = float(differences.mean()), 1.96 * float(differences.std(ddof=1))
    return AreaDifference(
        readers, unit, areas.mean(axis=1), differences, bias, (bias - spread, bias + spread)
    )


def names_of(sessions: Sequence[Session], readers: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the readers, see `agreement`. Raises a `ValueError` if they do not fit the sessions."""
    if len(sessions) < 2:
        raise ValueError("Agreement takes the sessions of at least two readers.")
    names = [session.reader for session in sessions] if readers is None else list(readers)
    if readers is None and len(set(names)) < len(names):
        names = [f"reader {number}" for number in range(1, len(sessions) + 1)]
    if len(names) != len(sessions) or len(set(names)) < len(names):
        raise ValueError(f"{len(sessions)} sessions need as many names that differ, not {names}.")
    return tuple(names)


def shared_classes(sessions: Sequence[Session]) -> tuple[str, ...]:
    """Class names of sessions of one video. Raises a `SessionError` if these are of several, or names differ."""
    first = sessions[0]
    for other in sessions[1:]:
        if (other.shape, other.identity) != (first.shape, first.identity):
            raise SessionError(
                f"{first.folder} and {other.folder} are sessions of different videos. Compare sessions of one video."
            )
    longest, apart = longest_names([session.classes for session in sessions])
    if apart is not None:
        raise SessionError(
            f"The readers name their classes differently: {', '.join(longest)}, but "
            f"{', '.join(sessions[apart].classes)} in {sessions[apart].folder}. Give the classes the same names in "
            "each session."
        )
    return longest
