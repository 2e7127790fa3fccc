"""Which videos or sessions paths, folders and globs mean, and what each one's folder in the output is called."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath

from vivim.batch.earlier import PUT_ASIDE
from vivim.batch.jobs import SESSION
from vivim.errors import VideoError
from vivim.session.metadata import FILE
from vivim.session.metadata import SUFFIX as SESSION_SUFFIX
from vivim.video.open import NIFTI_SUFFIXES, VIDEO_SUFFIXES, suffix_of
from vivim.video.readers.image_folder import dicoms_in, holds_series, is_dicom, natural_key, pictures_in

FILES = {*VIDEO_SUFFIXES, *NIFTI_SUFFIXES, ".gif"}
"""Endings of files that are a video each; TIFF files of a folder are its frames."""


@dataclass(frozen=True)
class Found:
    """A video or session, and its folder in the output, relative, with ``/`` between parts."""

    path: Path
    stem: str


def is_one(path: Path) -> bool:
    """Whether a path is, or could be, a single video or session, not a folder or glob of several."""
    return not _is_glob(path) and not (path.is_dir() and not _is_leaf(path))


def find(given: Sequence[Path], out: Path, *, sessions: bool = False) -> list[Found]:
    """All videos, or all sessions, that some paths mean, in the order given. Folders in natural order of names.

    A path is a video, a session, a folder that is searched through and through, or a glob. What does not exist is
    passed on, to fail like any other. Nothing is looked for in `out` where it is inside a folder that is searched.
    """
    found: list[tuple[Path, PurePath]] = []
    for path in given:
        before = len(found)
        found += _meant(path, out.resolve(), sessions)
        if len(found) == before:
            what = "sessions" if sessions else "videos"
            raise VideoError(f"There are no {what} in {path}. Check the path, or name them one by one.")
    paths = dict.fromkeys(path for path, _ in found)
    names = dict(reversed(found))
    return [
        Found(path, stem)
        for path, stem in zip(paths, stems([names[path] for path in paths], list(paths)), strict=True)
    ]


def stems(names: Sequence[PurePath], paths: Sequence[Path]) -> list[str]:
    """A folder name for each: its own without the ending, with a number if it is taken or is to hold others."""
    wanted = [_without_ending(name, path) for name, path in zip(names, paths, strict=True)]
    holders = {parent.as_posix().casefold() for name in wanted for parent in name.parents}
    taken: set[str] = set()
    chosen = []
    for name in wanted:
        number, stem = 1, name.as_posix()
        while stem.casefold() in taken or stem.casefold() in holders:
            number += 1
            stem = f"{name.as_posix()}-{number}"
        taken.add(stem.casefold())
        chosen.append(stem)
    return chosen


def _without_ending(name: PurePath, path: Path) -> PurePath:
    if path.suffix == SESSION_SUFFIX:
        if path.stem == "session":  # as in the output of `vivim segment`: its folder has the name
            return name.parent if name.parent.name else PurePath(path.absolute().parent.name)
        return name.with_name(PurePath(path.stem).stem)  # named after its video with this added
    return name if path.is_dir() else name.with_name(path.name.removesuffix(path.suffix).removesuffix(".nii"))


def _meant(path: Path, out: Path, sessions: bool) -> list[tuple[Path, PurePath]]:
    """What one path means, each with its name relative to the folder that was searched."""
    if _is_glob(path):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts[:-1]))
        passed_over = None if _holds(out, root) else out
        matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)
        below = [found for name in matches for found in _matched(Path(name), path, passed_over, sessions)]
    elif path.is_dir() and not _is_leaf(path):
        root = path
        below = list(_within(path, None if _holds(out, root) else out, sessions))
    else:
        return [(path, PurePath(path.absolute().name))]
    return [(found, found.relative_to(root) if found != root else PurePath(found.name)) for found in below]


def _matched(match: Path, pattern: Path, out: Path | None, sessions: bool) -> Iterator[Path]:
    """What one match of a glob means. Files of other kinds and sessions only where the glob names their ending."""
    if _is_inside(match, out) or any(map(_is_put_aside, (match, match.parent))):
        return
    if match.is_dir() and not _is_leaf(match):
        yield from _within(match, out, sessions)
    elif sessions or pattern.suffix or _is_video_file(match) or _is_video_folder(match):
        yield match


def _within(folder: Path, out: Path | None, sessions: bool) -> Iterator[Path]:
    """Videos or sessions in a folder and those below it."""
    for entry in sorted(folder.iterdir(), key=lambda entry: natural_key(entry.name)):
        if entry.name.startswith(".") or _is_inside(entry, out) or _is_put_aside(entry):
            continue
        if entry.is_dir():
            session = (entry / FILE).is_file()
            if not sessions and (entry / SESSION).is_dir():
                continue  # written by `vivim segment`
            if session or (not sessions and _is_leaf(entry)):
                if session == sessions:
                    yield entry
            else:
                yield from _within(entry, out, sessions)
        elif not sessions and _is_video_file(entry):
            yield entry


def _is_put_aside(folder: Path) -> bool:
    """Whether a folder is work on an earlier video, beside a session of `vivim segment`: to be named itself."""
    return bool(PUT_ASIDE.fullmatch(folder.name)) and (folder.parent / SESSION).is_dir()


def _is_leaf(folder: Path) -> bool:
    """Whether a folder is a session, or a video that is kept as pictures."""
    return folder.suffix == SESSION_SUFFIX or (folder / FILE).is_file() or _is_video_folder(folder)


def _is_video_folder(folder: Path) -> bool:
    """Whether a folder is one video: pictures, or a DICOM series of them, and no video file beside them."""
    if not folder.is_dir() or any(_ends_as_video(entry) for entry in folder.iterdir()):
        return False
    return not _is_cine(dicoms_in(folder)[0]) if holds_series(folder) else bool(pictures_in(folder))


def _is_video_file(path: Path) -> bool:
    """Whether a file is a video by its ending, or by the mark of DICOM."""
    return _ends_as_video(path) or (path.name != "DICOMDIR" and is_dicom(path))


def _ends_as_video(path: Path) -> bool:
    return suffix_of(path) in FILES and not path.name.startswith(".") and path.is_file()


def _is_cine(path: Path) -> bool:
    """Whether a DICOM file has several frames. One that cannot be read counts, so that it is opened by itself."""
    from pydicom import dcmread

    try:
        return (
            int(dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"]).NumberOfFrames or 0)
            > 1
        )
    except AttributeError:
        return False  # a single picture need not say so
    except Exception:  # damaged headers fail in any way inside pydicom; opening it will say what is wrong
        return True


def _is_glob(path: Path) -> bool:
    return glob.has_magic(str(path)) and not path.exists()


def _is_inside(path: Path, out: Path | None) -> bool:
    return out is not None and path.resolve().is_relative_to(out)


def _holds(out: Path, root: Path) -> bool:
    """Whether the output folder is around what is searched. Then it cannot be passed over as a whole."""
    return root.resolve().is_relative_to(out)
