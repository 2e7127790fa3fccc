"""`import_masks`: read, check everything, and only then write, frame by frame, through the session's gate."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.errors import MasksError, VivimError
from vivim.io.formats import MASK_FILES, MASK_FOLDERS, loaded
from vivim.io.import_source import Found, ReadOptions, wrong_size
from vivim.session import Session
from vivim.session.metadata import UNNAMED

STATUSES = ("corrected", "proposed")
VERSION = "imported"
"""What a proposed frame's record names as the model's version."""
BEYOND = 2.0**31
"""Values from here on are no labels, and do not fit whole numbers of every kind."""
MOST_CLASS, WHITE = 15, 255
"""Values up to the first are classes. Pictures of 0 and the second alone are black and white."""


@dataclass(frozen=True)
class ImportEvent:
    """Progress: `done` of `total` masks. While ``stage`` is "check" nothing is written yet.

    `written` is False where a mask was left out because a person had worked on its frame.
    """

    stage: str
    frame: int
    written: bool
    done: int
    total: int


def import_masks(
    session: Session,
    path: str | Path,
    status: str = "corrected",
    *,
    overwrite: bool = False,
    one_class: bool = False,
    as_classes: bool = False,
    options: ReadOptions | None = None,
) -> Iterator[ImportEvent]:
    """Bring masks made elsewhere into a session.

    Parameters
    ----------
    session : Session
        Open for writing.
    path : str or Path
        A folder of pictures (or one with a subfolder ``masks``), of labelme JSON or of YOLO texts; a TIFF stack, NIfTI
        or NRRD (columns, rows, time), COCO or labelme JSON, CVAT XML. One mask a frame; or fewer, named by the number
        of their frame. Names of classes in the file come into the session: those that it has keep their numbers,
        others are added.
    status : str
        ``"corrected"``: the masks count as a person's. ``"proposed"``: they may be replaced by a model's.
    overwrite : bool
        Also replace frames that a person has corrected or accepted.
    one_class : bool
        All that is not background is class 1.
    as_classes : bool
        Values are classes, however high. By default values above 15 are refused, unless the file says what they are
        or the session has so many classes: they may be numbers of lesions.
    options : ReadOptions, optional
        How names of files and pictures without an annotation are understood.

    Yields
    ------
    ImportEvent
        After each mask, once while all are checked and once while they are written.

    Raises
    ------
    MasksError
        If the masks cannot be read or do not fit the video; nothing has been changed then.
    SessionError
        If the session cannot be written; frames before stay imported.
    """
    if status not in STATUSES:
        raise MasksError(f"Masks cannot be imported as {status!r}. Choose one of {', '.join(STATUSES)}.")
    path = Path(path)
    try:
        with ExitStack() as keep:
            found = find(
                path, session.shape, keep, replace(options or ReadOptions(), video_path=session.video_path)
            )
            values: set[int] = set()
            for i, t in enumerate(found.frames):
                values.update(np.unique(_checked(found.read(i), session.shape[1:])).tolist())
                yield ImportEvent("check", t, False, i + 1, len(found.frames))
            if len(values) > 1 and 0 not in values:
                raise MasksError(
                    "No pixel of the masks is 0, which is background. Export them anew, background as 0."
                )
            if one_class or _is_one_class(found, values, as_classes, len(session.classes)):
                table = None
            else:
                table = _numbers_in(session, found.classes, values)
            keep.enter_context(session.one_step())
            for i, t in enumerate(found.frames):
                mask = _checked(found.read(i), session.shape[1:])
                classes = (mask > 0).astype(np.uint8) if table is None else table[mask]
                written = _write(session, t, classes, status, overwrite)
                yield ImportEvent("write", t, written, i + 1, len(found.frames))
    except (VivimError, MemoryError):
        raise
    except Exception as error:  # damaged files fail in any way inside their decoders
        raise MasksError(
            f"{path.name} cannot be read as masks ({type(error).__name__}: {error}). Export them anew."
        ) from error


def _is_one_class(found: Found, values: set[int], as_classes: bool, known: int) -> bool:
    """Whether all that is not background is class 1; otherwise values are classes. Refuses what may be either."""
    lesion = values - {0}
    if found.coloured and len(lesion) > 1:
        raise MasksError(
            f"The masks have {len(lesion)} colours, and nothing says which class each is. Import them as one class, or "
            "save them with a palette.",
            one_class_helps=True,
        )
    if found.numbered or found.coloured or lesion <= {WHITE}:
        return True
    highest = max(lesion)
    if highest > np.iinfo(np.uint8).max or not (
        as_classes or found.are_classes or highest <= max(MOST_CLASS, known)
    ):
        raise MasksError(
            f"The masks hold values up to {highest}. If they are numbers of lesions or of anything that is one class, "
            "import them as one class. If they are classes (1 to 255), say so (--as-classes).",
            one_class_helps=True,
        )
    return False


def _numbers_in(session: Session, names: tuple[str, ...] | None, values: set[int]) -> NDArray[np.uint8]:
    """The session's number of each value in a file that names its classes: ``(256,)``. New names are added to it."""
    table = np.arange(np.iinfo(np.uint8).max + 1, dtype=np.uint8)
    if names is None:
        return table
    have = list(names if session.classes == UNNAMED else session.classes)
    for value in sorted(values - {0}):
        name = names[value - 1]
        if name not in have:
            have.append(name)
        table[value] = have.index(name) + 1
    if tuple(have) != session.classes:
        session.name_classes(have)
    return table


def find(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks at a path, fitting a video of `shape`, by what its name ends in. Files are left open in `keep`."""
    if path.is_dir():
        found = (loaded(reader)(path, shape, keep, options) for reader in MASK_FOLDERS)
        return next(masks for masks in found if masks is not None)
    if not path.is_file():
        raise MasksError(f"{path} is not there. Choose a file or folder of masks.")
    name = path.name.lower()
    for suffix, reader in MASK_FILES.items():
        if name.endswith(suffix):
            return loaded(reader)(path, shape, keep, options)
    raise MasksError(
        f"{path.name} is no kind of masks that can be read. Choose a folder of PNG, or {', '.join(MASK_FILES)}."
    )


def _checked(mask: NDArray, size: tuple[int, ...]) -> NDArray:
    """Make sure that what was read is a mask: whole numbers from 0, of the right size."""
    if mask.shape != size:
        raise wrong_size(mask.shape if mask.ndim == 2 else (0, 0), size)
    if mask.dtype.kind not in "buif":
        raise MasksError(
            f"The masks hold {mask.dtype} instead of whole numbers. Convert them to 8-bit labels."
        )
    finite = bool(np.isfinite(mask).all())
    if not finite or mask.min() < 0 or float(mask.max()) >= BEYOND or (mask != np.floor(mask)).any():
        raise MasksError("The masks hold values that are no labels. Convert them to whole numbers from 0.")
    return mask.astype(np.int64)


def _write(session: Session, t: int, mask: NDArray[np.uint8], status: str, overwrite: bool) -> bool:
    persons = session.status(t) in ("corrected", "accepted")
    if persons and not overwrite:
        return False
    if status == "corrected":
        session.correct(t, mask)
        return True
    if persons:
        session.reset(t)
    return session.propose(t, mask, VERSION)
