"""Keep the work on a video that was replaced, and outputs that were edited: they are moved, never deleted.

It goes into ``put-aside-1``, ``put-aside-2`` ... in the video's folder of the output. An output that was only damaged
(shortened, emptied, filled with zeros, files missing) is removed again once the new one is there.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vivim.batch.content import files_in
from vivim.batch.jobs import SESSION, Job
from vivim.errors import SessionError
from vivim.io.export import FILES
from vivim.session.folder_lock import HOLDER, FolderLock
from vivim.session.metadata import FILE, Description
from vivim.utils.atomic_files import atomic_write, free_path, remove
from vivim.utils.json_types import fits

PUT_ASIDE = re.compile(r"put-aside-\d+")
NOTE = "content.json"
"""In a session: the digest of the whole content of its video, which batches compare."""
NOTE_BYTES = 2**12
BLOCK = 2**20


# -- sessions of a video that was replaced -----------------------------------------------------------------------------


def note_content(session: Path, identity: str, content: str) -> None:
    """Note in a session's folder which content its masks are of."""
    if _noted(session) == (identity, content):
        return
    with atomic_write(session / NOTE) as part:
        part.write_text(json.dumps({"identity": identity, "content": content}), encoding="ascii")


def is_of(session: Path, identity: str, content: str) -> bool:
    """Whether a session is about a video of this identity and content, as far as is known.

    A person who took another encoding of the video for the session's, in the window, has the last word.
    """
    now = Description.read(session / FILE).identity
    noted = _noted(session)
    return now == identity and (noted is None or noted[0] != now or noted[1] == content)


def _noted(session: Path) -> tuple[str, str] | None:
    note = session / NOTE
    try:
        if note.stat().st_size > NOTE_BYTES:
            return None
        values = json.loads(note.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # never noted, or damaged: as good as not known
    whole = fits(values, dict[str, str]) and {"identity", "content"} <= values.keys()
    return (values["identity"], values["content"]) if whole else None


def prepare_session(job: Job, identity: str, content: str) -> str:
    """Make sure that the session in the output, if there is one, is about this content of the video.

    One of another content is put aside with all outputs; one that was put aside and fits is taken up again. Returns
    what was done, for people.
    """
    home, note = job.folder / SESSION, ""
    if (home / FILE).is_file():
        if is_of(home, identity, content):
            return ""
        place = _put_aside(job)
        note = f"The video is another than before. The work on the earlier one is kept in {place}."
    for place in sorted(job.folder.glob("put-aside-*")) if not home.exists() else ():
        if _fits(place / SESSION, identity, content):
            os.rename(place / SESSION, home)
            return f"{note} The work on this one is taken up again from {place}.".strip()
    return note


def _fits(session: Path, identity: str, content: str) -> bool:
    try:
        return _noted(session) == (identity, content) and is_of(session, identity, content)
    except SessionError:
        return False  # damaged: it stays where it is


def _put_aside(job: Job) -> Path:
    home = job.folder / SESSION
    with FolderLock(home) as lock:  # nobody may be painting in it
        place = _new_place(job)
        for name in FILES.values():
            if os.path.lexists(job.folder / name):
                os.rename(job.folder / name, place / name)
        if os.name == "nt":
            lock.release()  # a folder with an open file in it cannot be moved there
        os.rename(home, place / SESSION)
    (place / SESSION / HOLDER).unlink(missing_ok=True)
    return place


def _new_place(job: Job) -> Path:
    place = free_path(lambda number: job.folder / f"put-aside-{number}")
    place.mkdir()
    return place


# -- outputs that are not what was written -----------------------------------------------------------------------------


@contextmanager
def keep_edited(job: Job, others: Mapping[str, Path]) -> Iterator[list[str]]:
    """Keep outputs that somebody may have edited while they are written anew. If the block fails, all are put back.

    `others` are those that are not known to be what was written. The list says after the block what was kept.
    """
    notes: list[str] = []
    if not others:
        yield notes
        return
    place, whole = _new_place(job), False
    try:
        for path in others.values():
            os.rename(path, place / path.name)
        yield notes
        whole = True
    finally:
        for path in others.values():
            kept = place / path.name
            if os.path.lexists(path):
                if whole and _adds_nothing(kept, path):
                    remove(kept)
            elif os.path.lexists(kept):
                os.rename(kept, path)
        if any(place.iterdir()):
            notes.append(f"Outputs had been changed since they were written. They are kept in {place}.")
        else:
            place.rmdir()


def _adds_nothing(old: Path, new: Path) -> bool:
    """Whether every file of an output is a beginning of its new version, or that and zeros."""
    if old.is_symlink() or old.is_dir() != new.is_dir():
        return False
    return all(
        _is_beginning(file, new / file.relative_to(old) if file != old else new) for file in files_in(old)
    )


def _is_beginning(old: Path, new: Path) -> bool:
    if not old.is_file():
        return False
    if old.stat().st_size and not new.is_file():
        return False
    same = True
    with old.open("rb") as one, (new if new.is_file() else old).open("rb") as other:
        while block := one.read(BLOCK):
            against = other.read(len(block)) if same else b""
            if block == against:
                continue
            end = next(
                (i for i, (a, b) in enumerate(zip(block, against, strict=False)) if a != b), len(against)
            )
            if block[end:].strip(b"\0"):
                return False
            same = False
    return True
