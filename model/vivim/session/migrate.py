"""Sessions that older versions of this program wrote, brought up to date; what was there is kept as a backup.

Schema 1: as released first. Schema 2: ``session.json`` also keeps the video's size (to find it again when it was
renamed) and the videos a session was about before; lines of the ledger carry the digest of the mask they speak of.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCHEMA = 2


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "schema": 2, "size_bytes": None, "earlier": []}


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """The contents of a ``session.json`` of any older schema as `SCHEMA` has them; lines of a ledger stay valid.

    Raises
    ------
    KeyError
        If there never was such a schema.
    """
    while values["schema"] != SCHEMA:
        values = _STEPS[values["schema"]](values)
    return values


def back_up(folder: Path, schema: int, names: tuple[str, ...]) -> Path:
    """Copy files of a session into ``backup-schema-N`` in it, all or none; a backup that is there is kept.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left then.
    """
    backup = folder / f"backup-schema-{schema}"
    if backup.is_dir():
        return backup
    part = folder / f".{backup.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name in names:
            if (folder / name).is_file():
                shutil.copy2(folder / name, part / name)
                with (part / name).open("rb") as file:
                    os.fsync(file.fileno())
        os.rename(part, backup)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return backup
