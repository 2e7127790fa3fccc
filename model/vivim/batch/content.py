"""Digests of all bytes of a video or of an output, computed once and cached by path, size and time.

A window tells a video by its size, beginning and end (`vivim.video.Video.identity`), so that it opens at once. A batch
reads all of it, and so notices a picture that was replaced in the middle. The cache is in `vivim_home`. It holds
digests of paths, not the paths, which may name a patient.
"""

import hashlib
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vivim.settings import vivim_home
from vivim.utils.atomic_files import atomic_write, sweep
from vivim.utils.json_types import fits

FOLDER = "digests"
ENTRIES = 512
"""Entries of each of the 256 files of the cache; the oldest go first."""
FILE_BYTES = 2**20
"""A larger file of the cache is none of ours."""
BLOCK = 4 * 2**20
FRESH_SECONDS = 2.0
"""A file that changed so lately may change again within one tick of its disk's clock, so its digest is not cached."""
UNSEEN = {"Thumbs.db", "desktop.ini"}
"""What file browsers leave in folders, beside names that begin with a dot."""

_writing = threading.Lock()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Content:
    """What some files hold, and how to see quickly that nothing has touched them since."""

    digest: str
    """SHA-256 of names, sizes and bytes, hexadecimal. The name of a single file does not count."""
    stamp: str
    """Digest of names, sizes, times and inodes."""


def files_in(path: Path) -> list[Path]:
    """A file itself, or all files of a folder in order, without hidden ones."""
    if not path.is_dir():
        return [path] if path.exists() else []
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".") and name not in UNSEEN]
    return sorted(found)


def content_of(root: Path, files: Sequence[Path]) -> Generator[tuple[int, int], None, Content]:
    """Digest the files of a video or output `root`, or take their digest from the cache.

    Yields bytes read, and bytes in all, after each `BLOCK`. A file that is no ordinary one is an `OSError`.
    """
    facts = _facts(root, files)
    stamp = _stamp(facts)
    key = hashlib.blake2b(os.fsencode(os.path.abspath(root)), digest_size=16).hexdigest()
    cached_stamp, known = _entries(_file(key)).get(key, ("", ""))
    if cached_stamp == stamp:
        return Content(known, stamp)
    total, done = sum(size for _, size, *_ in facts), 0
    digest = hashlib.sha256()  # twice as fast as BLAKE2b where the processor has instructions for it
    for path, (name, size, *_) in zip(files, facts, strict=True):
        digest.update(f"{len(name)} {size} ".encode() + name)
        with path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                digest.update(block)
                done += len(block)
                if len(block) == BLOCK:
                    yield done, total
    old = all(abs(time.time() - max(times) / 1e9) > FRESH_SECONDS for *_, times, _ in facts)
    if old and stamp_of(root, files) == stamp:
        _cache(key, stamp, digest.hexdigest())
    return Content(digest.hexdigest(), stamp)


def stamp_of(root: Path, files: Sequence[Path]) -> str:
    """What `Content.stamp` would be now, or an empty text where a file is gone."""
    try:
        return _stamp(_facts(root, files))
    except OSError:
        return ""


Facts = tuple[bytes, int, tuple[int, int], int]
"""Of one file: name below the root, bytes, times of its content and of its entry in nanoseconds, inode."""


def _facts(root: Path, files: Sequence[Path]) -> list[Facts]:
    facts = []
    for path in files:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is not an ordinary file. Move it away.")
        name = b"" if path == root else os.fsencode(os.path.relpath(path, root))
        facts.append((name, found.st_size, (found.st_mtime_ns, found.st_ctime_ns), found.st_ino))
    return facts


def _stamp(facts: list[Facts]) -> str:
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


# -- the cache ---------------------------------------------------------------------------------------------------------


def _cache(key: str, stamp: str, digest: str) -> None:
    """Note a digest. Two programs at a time may lose one another's note, which costs one more reading."""
    file = _file(key)
    with _writing:
        entries = _entries(file)
        entries.pop(key, None)
        entries[key] = [stamp, digest]
        kept = dict(list(entries.items())[-ENTRIES:])
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            sweep(file.parent)
            with atomic_write(file) as part:
                part.write_text(json.dumps(kept), encoding="ascii")
        except OSError as error:
            _log.info("Digests cannot be cached in %s: %s", file.parent, error.strerror or error)


def _file(key: str) -> Path:
    return vivim_home() / FOLDER / f"{key[:2]}.json"


def _entries(file: Path) -> dict[str, list[str]]:
    """What a file of the cache holds. Nothing if it is damaged, since every digest can be computed again."""
    try:
        if file.stat().st_size > FILE_BYTES:
            return {}
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if fits(found, dict[str, tuple[str, str]]) else {}
