"""Datasets for training: folders of clips or of stills, read once and resized.

A clip is a folder with ``frames/`` and ``masks/`` of equal stems; a dataset is a folder of clips, or one clip.
Public sets are taken as they are downloaded; see `folders_of`.
Stills have the same two folders, but their pictures are independent of each other.
"""

import logging
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vivim.errors import VivimError
from vivim.imaging.mask_files import read_mask_picture
from vivim.imaging.resize import resize_frame, resize_mask
from vivim.imaging.roi import crop
from vivim.session import Session
from vivim.session.damage_check import damage_text
from vivim.session.metadata import FILE
from vivim.training.batch import Marks

LIST = Path(__file__).with_name("validation.toml")
"""The committed list of pictures that are kept out of training."""

Part = Literal["all", "training", "kept out"]
"""Which pictures of a data set are wanted."""


@cache
def _rules() -> dict[str, dict[str, Any]]:
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


def kept_out(clip: Path, stems: Sequence[str]) -> list[bool]:
    """Tell which pictures of a clip are kept out, from its folder and the names of all, without endings, in order.

    The data set is the folder's own name, or that of the folder it is in.
    """
    names = (clip.absolute().name, clip.absolute().parent.name)
    rule = next((_rules()[name] for name in names if name in _rules()), {})
    if clip.absolute().name in rule.get("clips", ()):
        return [True] * len(stems)
    out = (
        [number % rule["every"] == 0 for number in range(len(stems))]
        if "every" in rule
        else [False] * len(stems)
    )
    last = rule.get("last", 0)
    for group, count in last.items() if isinstance(last, dict) else [("", last)]:
        members = [n for n, stem in enumerate(stems) if not group or stem.split("_")[0] == group]
        for number in members[len(members) - count :] if count else []:
            out[number] = True
    return out


def wanted(clip: Path, stems: Sequence[str], part: Part) -> list[bool]:
    """Tell which pictures of a clip belong to a part of its data set, see `kept_out`."""
    if part == "all":
        return [True] * len(stems)
    return [out == (part == "kept out") for out in kept_out(clip, stems)]


PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Clip:
    """Frames ``(T, H, W, 3)`` uint8 and masks ``(T, H, W)`` uint8 of 0 and 1, with a name for reports."""

    name: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    stills: bool = False
    marks: Marks = Marks.LESION


WITHIN = (("frames", "masks"), ("Frame", "GT"), ("Frames", "GT"))
"""Names of the folders of frames and masks inside a clip: ours, and those of the video-polyp sets."""

BESIDE = {"Frame": "GT", "JPEGImages": "Annotations"}
"""Names of folders that hold the frames of all clips, and of those beside them with the masks."""

DEEPEST = 3
"""Levels of folders below a data set in which clips are looked for."""


def folders_of(clip: Path) -> tuple[Path, Path] | None:
    """Find the folders that hold a clip's frames and masks, or return None if `clip` is no clip.

    Known are ``CLIP/frames`` with ``CLIP/masks``, ``CLIP/Frame`` with ``CLIP/GT`` (CVC-300, CVC-612, ASU-Mayo, Kvasir),
    ``Train/CLIP`` with ``Train_GT/CLIP`` (VTUS), ``Frame/CLIP`` with ``GT/CLIP`` (SUN-SEG) and ``JPEGImages/CLIP`` with
    ``Annotations/CLIP`` (DAVIS, YouTube-VOS, and sets prepared as they are).
    """
    for frames, masks in WITHIN:
        if _holds_pictures(clip / frames) and (clip / masks).is_dir():
            return clip / frames, clip / masks
    above = clip.absolute().parent
    for name in (f"{above.name}_GT", BESIDE.get(above.name)):
        if name and _holds_pictures(clip) and (above.parent / name / clip.name).is_dir():
            return clip, above.parent / name / clip.name
    return None


def _holds_pictures(folder: Path) -> bool:
    return folder.is_dir() and bool(_pictures(folder))


def _pictures(folder: Path) -> list[Path]:
    """Picture files of a folder by name, hidden ones left out."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    return sorted(path for path in paths if not path.name.startswith("."))


def _within(folder: Path, levels: int) -> list[Path]:
    """The clip that `folder` is, or else the clips in it, down to so many levels."""
    if folders_of(folder) is not None:
        return [folder]
    if not levels:
        return []
    return [clip for part in sorted(folder.iterdir()) if part.is_dir() for clip in _within(part, levels - 1)]


def find_clips(dataset: Path, leave_out: tuple[str, ...] = ()) -> list[Path]:
    """Find the clips that `dataset` is or holds, without the names in `leave_out`; see `folders_of`."""
    found = _within(dataset, DEEPEST) if dataset.is_dir() else []
    clips = [clip for clip in found if clip.name not in leave_out]
    if not clips:
        raise VivimError(
            f"No clips in {dataset}: a dataset is a folder of clips, each with frames/ and masks/ of equal stems."
        )
    return clips


def pair_files(
    clip: Path, skipped: Callable[[str], None] | None = None, part: Part = "all"
) -> list[tuple[Path, Path]]:
    """Pair the frame and mask files of one clip, in order of their names.

    A frame without a mask is an error. Given `skipped`, it is told to that function and left out. `part` takes the
    pictures for training or those kept out of it, which may be none.
    """
    folders = folders_of(clip)
    if folders is None:
        raise VivimError(f"{clip} is no clip: it has no frames/ and masks/.")
    masks = {path.stem: path for path in _pictures(folders[1])}
    frames = _pictures(folders[0])
    if not frames:
        raise VivimError(f"{folders[0]} has no pictures.")
    missing = [p.name for p in frames if p.stem not in masks]
    if missing:
        message = f"{clip}: no mask for {missing[0]} ({len(missing)} frames without one in all)."
        if skipped is None:
            raise VivimError(message)
        skipped(message)
    kept = wanted(clip, [p.stem for p in frames], part)
    return [(p, masks[p.stem]) for p, keep in zip(frames, kept, strict=True) if keep and p.stem in masks]


def binary_mask(values: NDArray, label: int | None = None) -> NDArray[np.uint8]:
    """Mask of 0 and 1 from numbers ``(H, W)``: `label` alone if given, else all that is not background."""
    return (values > 0 if label is None else values == label).astype(np.uint8)


def read_pair(pair: tuple[Path, Path], label: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one frame ``(H, W, 3)`` and its mask ``(H, W)`` of 0 and 1, at their own size."""
    return read_frame(pair[0]), binary_mask(read_labels(pair[1]), label)


def read_frame(path: Path) -> NDArray[np.uint8]:
    """Read a picture as RGB ``(H, W, 3)``, or raise a `VivimError` naming the file."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        raise VivimError(f"Cannot read {path}: {error}") from error


def read_labels(path: Path) -> NDArray:
    """Read the numbers of a mask ``(H, W)``, or raise a `VivimError` naming the file."""
    try:
        return read_mask_picture(path).values
    except (OSError, ValueError) as error:
        raise VivimError(f"Cannot read the mask {path}: {error}") from error


def load_clip(
    folder: Path,
    size: tuple[int, int],
    label: int | None = None,
    stills: bool = False,
    skipped: Callable[[str], None] | None = None,
    part: Part = "all",
) -> Clip | None:
    """Read one clip, resized to `size` (height, width) without keeping the aspect. None if all is of another `part`.

    A bad file is an error. Given `skipped`, it is told to that function and left out.
    """
    files = pair_files(folder, skipped, part)
    if not files:
        return None

    def read(pair: tuple[Path, Path]) -> tuple[NDArray, NDArray] | None:
        try:
            frame, mask = read_pair(pair, label)
            return resize_frame(frame, size), resize_mask(mask, size)
        except VivimError as error:
            if skipped is None:
                raise
            skipped(str(error))
            return None

    with ThreadPoolExecutor() as pool:
        pairs = [pair for pair in pool.map(read, files) if pair is not None]
    if not pairs:
        raise VivimError(f"No picture of {folder} can be read.")
    frames, masks = zip(*pairs, strict=True)
    return Clip(f"{folder.parent.name}/{folder.name}", np.stack(frames), np.stack(masks), stills)


def split_label(spec: str) -> tuple[Path, int | None]:
    """Split ``FOLDER`` or ``FOLDER:LABEL`` into a folder and a label, None for any label."""
    path, _, label = spec.rpartition(":")
    return (Path(path), int(label)) if path and label.isdigit() else (Path(spec), None)


def load_dataset(
    spec: str,
    size: tuple[int, int],
    stills: bool = False,
    leave_out: tuple[str, ...] = (),
    skipped: Callable[[str], None] | None = None,
    part: Part = "training",
) -> list[Clip]:
    """Read a dataset given as ``FOLDER``, or as ``FOLDER:LABEL`` for one label of label pictures.

    ``FOLDER`` may also be a session of this program, or hold sessions: their corrected and accepted frames count.
    """
    folder, label = split_label(spec)
    sessions = find_sessions(folder)
    if sessions:
        kept = [session for session in sessions if session.name not in leave_out]
        found = [clip for path in kept if (clip := load_session(path, size, label)) is not None]
        if not found:
            raise VivimError(f"No frame of the sessions in {folder} has been corrected or accepted yet.")
        return found
    loaded = [load_clip(clip, size, label, stills, skipped, part) for clip in find_clips(folder, leave_out)]
    found = [clip for clip in loaded if clip is not None]
    if not found:
        raise VivimError(f"All of {folder} is kept out of training; see {LIST.name} of vivim.training.")
    return found


_log = logging.getLogger(__name__)


def find_sessions(folder: Path) -> list[Path]:
    """The session that `folder` is, else the sessions in it."""
    if (folder / FILE).is_file():
        return [folder]
    return sorted(path for path in folder.glob("*") if (path / FILE).is_file())


def load_session(folder: Path, size: tuple[int, int], label: int | None = None) -> Clip | None:
    """Read a session's corrected and accepted frames as a resized clip, or return None where there are none.

    Frames nobody has looked at, and damaged ones, are left out, so neighbours in the clip may lie apart in time.
    """
    with Session.open(folder, read_only=True) as session:
        finished = session.vouched_frames()
        damaged = set(session.frames_with("corrected", "accepted")).difference(finished)
        if damaged:
            _log.warning("%s: %s; not used", folder.name, damage_text(damaged))
        if not finished:
            return None
        frames = np.stack([resize_frame(crop(session.video.frame(t), session.area), size) for t in finished])
        masks = [crop(session.masks[t], session.area) for t in finished]
    return Clip(
        folder.name, frames, np.stack([resize_mask(binary_mask(mask, label), size) for mask in masks])
    )
