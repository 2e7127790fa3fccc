"""Bring sessions that older versions of this program wrote up to date.

What was there is kept as a backup. Schema 1: as released first. Schema 2: ``session.json`` also keeps the video's
size (to find it again when it was renamed) and the videos a session was about before; lines of the ledger carry the
digest of the mask they speak of. Schema 3: of the video's path only the name is kept, since folders may name a
patient; see `vivim.session.video_link`. In backups, too, the folders are left out, unless the video lies beside the
session. `area` is new. Schema 4: lines of the ledger may say what of a model's uncertainty comes from windows that
disagree. Schema 5: `reader` says whose work it is. A session of before is the reader ``default``.
"""

import json
import logging
import ntpath
import posixpath
import shutil
from pathlib import Path
from typing import Any

from vivim.utils.atomic_files import atomic_write

DEFAULT = "default"
"""The reader whose session lies at the top of the folder beside the video."""
SCHEMA = 5
_NEW_VALUES: dict[int, dict[str, Any]] = {
    1: {"size_bytes": None, "earlier": []},
    2: {"area": None},
    3: {},
    4: {"reader": DEFAULT},
}
"""By schema, what the next one says besides."""
_log = logging.getLogger(__name__)


def name_of(path: str) -> str:
    """The last part of a path that was written on any system."""
    return ntpath.basename(posixpath.basename(path.rstrip("/\\")))


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """The contents of a ``session.json`` of any older schema as `SCHEMA` has them.

    Lines of a ledger stay valid. Raises a `KeyError` if there never was such a schema.
    """
    while (schema := values["schema"]) != SCHEMA:
        values = {**values, **_NEW_VALUES[schema], "schema": schema + 1}
    return values


def back_up(folder: Path, schema: int, names: tuple[str, ...]) -> None:
    """Copy files of a session into ``backup-schema-N`` in it, all or none.

    A backup that is there is kept. The first of them is its description, see `leave_folders_out`. Raises an `OSError`
    if it cannot be written.
    """
    backup = folder / f"backup-schema-{schema}"
    if backup.is_dir():
        return
    with atomic_write(backup) as part:
        part.mkdir()
        for name in names:
            if (folder / name).is_file():
                shutil.copy2(folder / name, part / name)
        if (part / names[0]).is_file():
            leave_folders_out(part / names[0])


def leave_folders_out(file: Path) -> None:
    """Leave out of a ``session.json`` of any schema the folders that lead to the video, unless it lies beside.

    Of one that is damaged the log is told, and it stays as it is. Raises an `OSError` if it cannot be written.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        name = name_of(values["video"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _log.warning("%s is damaged, and was left as it is.", file.relative_to(file.parents[2]))
        return
    if values["video"] not in (name, f"../{name}", f"..\\{name}"):
        with atomic_write(file) as part:
            part.write_text(json.dumps({**values, "video": f"../{name}"}, indent=2), encoding="utf-8")
