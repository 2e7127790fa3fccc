"""A data set to publish: the approved frames of a study, split, documented, with a checksum of every file.

The same study gives the same bytes: names, parts and order come from digests of the content with the study's salt.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from vivim.errors import ExportError
from vivim.imaging.roi import crop
from vivim.io.export import write_as
from vivim.io.formats import FORMATS
from vivim.io.formats.dataset import write_dataset
from vivim.io.mask_source import Work
from vivim.review.consensus import independent
from vivim.review.data_card import (
    CARD,
    COLUMNS,
    CROISSANT,
    INDEX,
    PARTS,
    STUDY_SETTINGS,
    SUMS,
    Contents,
    ReleasedClip,
    croissant,
    data_card,
)
from vivim.review.study import StudyClip, clips_of
from vivim.session import Session
from vivim.session.ledger import MODEL, PERSONS
from vivim.session.metadata import longest_names
from vivim.utils.atomic_files import atomic_write, sweep
from vivim.utils.csv_writer import CsvWriter
from vivim.video.readers.image_folder import dicoms_in, holds_series, is_dicom

APPROVED = ("approved", "locked")
"""States of sessions that are released."""
SPLITS = ("patient", "clip")
TO_FILL_IN: dict[str, Any] = {
    "title": "", "description": "", "licence": "", "creators": [], "url": "", "date": "", "version": "", "citation": "",
}  # fmt: skip
"""What the data card says, as it stands in a study's new settings."""
OTHER_FORMATS = tuple(name for name in FORMATS if name not in ("dataset", "dicom-seg"))
"""Formats that a release may hold besides. DICOM SEG says who the patient is."""
DIGITS = 8
"""Of the digests that name patients and clips."""


@dataclass(frozen=True)
class _Chosen:
    """An approved video, before it has a part."""

    clip: StudyClip
    reader: str
    identity: str
    video: Path
    classes: tuple[str, ...]
    frames: tuple[int, ...]
    left_out: dict[str, int]


def release(
    study: str | Path,
    out: str | Path,
    *,
    split: str = "patient",
    reader: str | None = None,
    formats: Sequence[str] = (),
    patients: dict[str, str] | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Contents:
    """Write the approved frames of a study as a data set for training, evaluation and publication.

    Parameters
    ----------
    study : str or Path
        A folder of videos with their sessions. Its settings are made there at the first release.
    out : str or Path
        A new folder. It appears whole or not at all.
    split : str
        ``"patient"``: all clips of a patient are in one part. ``"clip"``: clips are split one by one.
    reader : str, optional
        Whose session is released, where several of one video are approved.
    formats : sequence of str
        Further formats of the masks, any of `OTHER_FORMATS`.
    patients : dict, optional
        The patient of each video by its path in the study without the ending. By default DICOM headers or folders tell.
    progress : callable, optional
        Called with the clips done and the clips in all.

    Raises
    ------
    ExportError
        If nothing is approved, several sessions of a video are, a video is there twice, patients cannot be told
        apart, or `out` cannot be written.
    """
    study, out = Path(study), Path(out)
    unknown = [name for name in formats if name not in OTHER_FORMATS]
    if unknown:
        raise ExportError(f"A release cannot hold {unknown[0]!r}. Formats are {', '.join(OTHER_FORMATS)}.")
    if split not in SPLITS:
        raise ExportError(f"Unknown split {split!r}. Choose one of {', '.join(SPLITS)}.")
    if not study.is_dir():
        raise ExportError(f"{study} is no folder. Name the folder that holds the videos of the study.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is there already, and a release is never changed. Choose a new folder.")
    clips = clips_of(study)
    approved = [one for clip in clips if (one := _approved(clip, reader)) is not None]
    chosen = [one for one in approved if one.frames]
    if not chosen:
        raise ExportError(f"No approved session of {study} has frames to release. Approve one first.")
    _check_unique(chosen)
    classes = _shared_classes(chosen)
    whose = patients_of(chosen, patients) if split == "patient" else {}
    try:
        sweep(out.absolute().parent)
        settings = study_settings(study)
        salt = bytes.fromhex(settings["salt"])
        groups = {one.clip.place: _digest(salt, whose.get(one.clip.place) or one.identity) for one in chosen}
        parts = _parts(list(groups.values()))
        named = [
            (f"{groups[one.clip.place] if whose else 'clip'}_{_digest(salt, one.identity)}", one)
            for one in chosen
        ]
        with atomic_write(out) as part:
            part.mkdir(parents=True)
            rows: list[tuple[Any, ...]] = []
            released = []
            for done, (name, one) in enumerate(sorted(named, key=lambda pair: pair[0]), start=1):
                group = groups[one.clip.place]
                patient = group if whose else ""
                indexed = len(classes) > 1
                released.append(_write_clip(part, name, parts[group], patient, one, formats, indexed, rows))
                progress(done, len(named))
            without = len(approved) - len(chosen)
            contents = Contents(
                tuple(released), classes, len(clips) - len(approved), without, tuple(formats), settings
            )
            _describe(part, contents, rows)
        return contents
    except OSError as error:
        raise ExportError(
            f"Cannot write {error.filename or out}: {error.strerror or error}. Choose another folder or free some "
            "space; the study is untouched."
        ) from error


def _approved(clip: StudyClip, reader: str | None) -> _Chosen | None:
    """The approved session of a video, None if there is none."""
    with clip.opened() as sessions:
        found = [name for name, session in sessions.items() if session.state in APPROVED]
        if reader is not None:
            found = [name for name in found if name == reader]
        if len(found) > 1:
            raise ExportError(
                f"Several sessions of {clip.place} are approved: those of {', '.join(found)}. Name the reader whose "
                "masks are released with --reader."
            )
        if not found:
            return None
        session = sessions[found[0]]
        changed = _changed_since_approval(session)
        frames = [t for t in session.vouched_frames() if t not in changed]
        left_out = _left_out(session, frames, changed)
        place, classes = session.video_path, session.classes
        return _Chosen(clip, found[0], session.identity, place, classes, tuple(frames), left_out)


def _check_unique(chosen: Sequence[_Chosen]) -> None:
    """Raise an `ExportError` if the same content is there twice: it could come into two parts."""
    names: dict[str, str] = {}
    for one in chosen:
        other = names.setdefault(one.identity, one.clip.place)
        if other != one.clip.place:
            raise ExportError(
                f"{other} and {one.clip.place} are the same video. Move one of them out of the study."
            )


def _shared_classes(chosen: Sequence[_Chosen]) -> tuple[str, ...]:
    """Class names of all videos. Raises an `ExportError` if a number means one class here and another there."""
    longest, apart = longest_names([one.classes for one in chosen])
    if apart is not None:
        raise ExportError(
            f"The classes of {chosen[apart].clip.place} are {', '.join(chosen[apart].classes)}, those of other videos "
            f"are {', '.join(longest)}. Give the classes the same names, in the same order, in all videos."
        )
    return longest


def patients_of(chosen: Sequence[_Chosen], table: dict[str, str] | None) -> dict[str, str]:
    """The patient of each video by its place: as a table says, or all DICOM headers, or the folders of the study.

    Raises an `ExportError` if a video has none, or some but not all DICOM headers name one.
    """
    names = [one.clip.place for one in chosen]
    advice = "Name the patient of each video in a table (--patients), or split by clip (--split clip)."
    if table is not None:
        missing = [name for name in names if not table.get(name, "").strip()]
        if missing:
            raise ExportError(
                f"The table of patients has no patient for {missing[0]}. Add a line for each video."
            )
        return {name: table[name].strip() for name in names}
    found = {one.clip.place: _patient_id(one.video) for one in chosen}
    if any(found.values()):
        missing = [name for name, patient in found.items() if not patient]
        if missing:
            raise ExportError(f"Some DICOM headers name the patient, but not that of {missing[0]}. {advice}")
        return found
    folders = {name: PurePath(name).parts[0] if len(PurePath(name).parts) > 1 else "" for name in names}
    if not all(folders.values()):
        raise ExportError(
            "Patients cannot be told apart: videos are no DICOM files and lie beside each other. Put those of each "
            f"patient into a folder of the study. {advice}"
        )
    return folders


def table_of_patients(path: Path) -> dict[str, str]:
    """Read a CSV file with the columns ``video`` and ``patient``. Raises an `ExportError` if it is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {row["video"]: row["patient"] or "" for row in csv.DictReader(file)}
    except (KeyError, ValueError, csv.Error) as error:
        raise ExportError(f"{path} is no table with the columns video and patient ({error}).") from error


def _patient_id(video: Path) -> str:
    """The patient's number in the header of a DICOM file or series, empty where there is none."""
    from pydicom import dcmread

    file = dicoms_in(video)[0] if video.is_dir() and holds_series(video) else video
    if not file.is_file() or not is_dicom(file):
        return ""
    header = dcmread(file, stop_before_pixels=True, specific_tags=["PatientID", "IssuerOfPatientID"])
    patient = str(header.get("PatientID") or "").strip()
    return f"{patient} {header.get('IssuerOfPatientID') or ''}".strip() if patient else ""


def study_settings(study: Path) -> dict[str, Any]:
    """The settings of a study. Those that it lacks are made and written, the salt first of all.

    Raises an `ExportError` if the file is damaged, an `OSError` if it cannot be written.
    """
    path = study / STUDY_SETTINGS
    try:
        said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        found = {"salt": said.get("salt") or secrets.token_hex(32), **TO_FILL_IN, **said}
        whole = len(bytes.fromhex(found["salt"])) >= 16 and all(
            isinstance(found[key], type(value)) for key, value in TO_FILL_IN.items()
        )
        whole = whole and all(isinstance(name, str) for name in found["creators"])
    except (ValueError, TypeError, AttributeError) as error:
        raise ExportError(f"{path} is damaged ({error}). Correct it, or restore it from a backup.") from error
    if not whole:
        raise ExportError(f"{path} has a salt that is too short, or a text that is none. Correct it.")
    if found != said:
        with atomic_write(path) as part:
            part.touch(mode=0o600)
            part.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _digest(salt: bytes, text: str) -> str:
    return hmac.new(salt, text.encode(), "sha256").hexdigest()[:DIGITS]


def _parts(groups: Sequence[str]) -> dict[str, str]:
    """The part of each group of clips. In the order of their digests, the first are for testing."""
    ordered = sorted(set(groups))
    few = len(ordered)
    test = max(1, round(few * PARTS["test"])) if few > 1 else 0
    validation = max(1, round(few * PARTS["validation"])) if few > 2 else 0
    names = ["test"] * test + ["validation"] * validation
    return {group: names[k] if k < len(names) else "train" for k, group in enumerate(ordered)}


def _write_clip(
    out: Path,
    name: str,
    part: str,
    patient: str,
    one: _Chosen,
    formats: Sequence[str],
    indexed: bool,
    rows: list[tuple[Any, ...]],
) -> ReleasedClip:
    """Write one clip, and add its frames to the rows of the index."""
    with one.clip.opened() as sessions:
        session, frames = sessions[one.reader], one.frames
        work, folder = Work(session, frames), out / part / name
        folder.parent.mkdir(exist_ok=True)
        for _ in write_dataset(work, folder, indexed):
            pass
        for format_name in formats:
            (out / "formats" / name).mkdir(parents=True, exist_ok=True)
            for _ in write_as(format_name, work, out / "formats" / name / FORMATS[format_name].file):
                pass
        drawn = 0
        for t in frames:
            lesion = int(crop(session.masks[t], session.area).any())
            drawn += lesion
            files = [f"{part}/{name}/{kind}/{t:06d}.png" for kind in ("frames", "masks")]
            rows.append((part, name, t, *files, lesion, session.status(t)))
        compared = independent(sessions)
        entries = (entry for reader in sessions.values() for entry in reader.entries())
        proposed_by = {entry.author for entry in entries if entry.kind == MODEL}
        return ReleasedClip(
            name,
            part,
            patient,
            one.reader,
            len(frames),
            drawn,
            sum(session.status(t) == "corrected" for t in frames),
            one.left_out,
            tuple(sorted(proposed_by)),
            one.clip.agreement(compared) if len(compared) > 1 else None,
        )


def _changed_since_approval(session: Session) -> set[int]:
    """Frames that were written after the session was approved: nobody has approved what they are now."""
    approved = [event.entries or 0 for event in session.states if event.name == "approved"][-1]
    return {entry.frame for entry in islice(session.entries(), approved, None)}


def _left_out(session: Session, frames: Sequence[int], changed: set[int]) -> dict[str, int]:
    ignored = set(session.frames_tagged("ignore"))
    changed = changed & set(session.vouched_frames())
    damaged = set(session.frames_with(*PERSONS)) - ignored - changed - set(frames)
    rest = len(session) - len(frames) - len(ignored) - len(changed) - len(damaged)
    return {
        "ignored": len(ignored),
        "changed after the approval": len(changed),
        "damaged": len(damaged),
        "not looked at": rest,
    }


def _describe(out: Path, contents: Contents, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write the index, the data card, Croissant, and at last the checksums of all."""
    with (out / INDEX).open("w", newline="", encoding="utf-8") as file:
        CsvWriter(file).writerows([COLUMNS, *rows])
    (out / CARD).write_text(data_card(contents), encoding="utf-8", newline="\n")
    index = out / INDEX
    text = croissant(contents, _sha256(index), index.stat().st_size)
    (out / CROISSANT).write_text(text, encoding="utf-8", newline="\n")
    lines = [f"{_sha256(path)}  {name}\n" for name, path in _files(out).items()]
    (out / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def _files(out: Path) -> dict[str, Path]:
    """All files of a release but the list of checksums, by their path in it, in order."""
    paths = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: paths[name] for name in sorted(paths) if name != SUMS}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_release(out: str | Path) -> list[str]:
    """Compare every file of a release with its checksum.

    Returns
    -------
    list of str
        What is wrong, in sentences. Empty if the release is as it was written.

    Raises
    ------
    ExportError
        If `out` is no release, or cannot be read.
    """
    out = Path(out)
    try:
        lines = (out / SUMS).read_text(encoding="utf-8").splitlines()
        expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        there = _files(out)
        changed = [
            name for name, path in there.items() if name in expected and _sha256(path) != expected[name]
        ]
    except (OSError, ValueError) as error:
        raise ExportError(f"{out} cannot be checked: {error}. Name the folder of a release.") from error
    problems = [f"{name} is missing." for name in expected if name not in there]
    problems += [f"{name} has changed." for name in changed]
    return problems + [f"{name} does not belong to the release." for name in there if name not in expected]
