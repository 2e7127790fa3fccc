"""After a crash or a power cut: masks and ledger are made to agree again, for the one writer of a session.

A power cut leaves any part of what was not flushed yet, see `vivim.session.flusher`. Of every frame there is the old
mask with its line, or the new one with its line, or something between. A frame whose new mask and new line are both
there has them. Otherwise it has its old mask, and the ledger says so in a new line; it is told where the new line was
a person's. What a person drew and the disk has stays the person's, whatever else is missing.
"""

import os
from collections import Counter, deque
from dataclasses import replace

import numpy as np

from vivim.session.edit_gate import EditGate
from vivim.session.flusher import MOST_LINES
from vivim.session.frame_snapshots import PROPOSALS, UNDO
from vivim.session.ledger import PERSON, PERSONS, Entry, digest, now, seconds_of
from vivim.session.mask_store import CHUNK, STROKE, MaskStore, number
from vivim.utils.atomic_files import flush

LINES_CHECKED = 4 * MOST_LINES
SECONDS_CHECKED = 60
"""By more than that, in lines and in time, the disk is not behind."""


def recover(gate: EditGate, lines_since_close: int) -> list[int]:
    """Make masks and ledger of a session agree in what its last writer was at when it ended.

    They are open for writing, and replayed. The disk has all lines but `lines_since_close`. Returns the frames that
    are what they were before, since a person's latest mask is not on the disk as a whole. Raises an `OSError` if it
    cannot be written; it can be done again.
    """
    store = gate.masks
    for name in (UNDO, PROPOSALS):
        if (gate.folder / name).is_dir():
            flush(gate.folder / name)
    last_lines = deque(gate.ledger, min(lines_since_close, LINES_CHECKED))
    since = seconds_of(max((entry.time for entry in last_lines), default="")) - SECONDS_CHECKED
    # Of each frame, how many lines may have been on their way to the disk when the last writer ended.
    latest = Counter(entry.frame for entry in last_lines if seconds_of(entry.time) >= since)
    lines: dict[int, list[Entry]] = {t: [] for t in (*store.frames_left(), *latest)}
    for entry in gate.ledger if lines else ():
        if entry.frame in lines:
            lines[entry.frame].append(entry)
    lost: list[int] = []
    for t in sorted(lines):
        name, line = _chosen(t, store, lines[t], gate.author, fresh=latest[t] == len(lines[t]))
        if line is not None:
            line = replace(line, time=now())
            gate.ledger.append(line, sync=True)
            gate.frames.apply(line)
        if store.names(t):
            store.keep(t, name)
        was_persons = bool(lines[t]) and lines[t][-1].status in PERSONS
        if line is not None and was_persons and not name.startswith(STROKE):
            lost.append(t)
    return lost


def _is_later(stroke: str, name: str, lines: list[Entry], base: Entry) -> bool:
    """Whether a mask without a line is newer than the line `base` and its mask, of that name.

    Both may be the same mask, as where all is erased: a stroke follows a person's line.
    """
    since = lines[len(lines) - lines[::-1].index(base) :]
    followed = any(line.status in PERSONS for line in since)
    return number(stroke) > number(name) or (stroke == name and followed)


def _chosen(
    t: int, store: MaskStore, lines: list[Entry], author: str, fresh: bool
) -> tuple[str, Entry | None]:
    """Of the masks that a frame was left with, the one that counts, and the line that it needs.

    `fresh` says that all its lines may have been on their way to the disk.
    """
    empty = digest(np.zeros(store.shape[1:], np.uint8))
    written = os.path.lexists(store.path / "c" / str(t) / "0" / CHUNK)
    files = {} if written else {CHUNK: empty}  # the oldest first
    for name in (CHUNK, *store.names(t)):
        if (mask := store.read_file(t, name)) is not None:
            files[name] = digest(mask)
    newest = {mask: name for name, mask in files.items()}
    base = next((line for line in reversed(lines) if line.mask in newest), None)
    persons = [line for line in lines if line.status in PERSONS]
    whose = persons[-1] if persons else Entry(t, "corrected", author, PERSON, "")
    strokes = [name for name in files if name.startswith(STROKE)]
    if strokes and (base is None or _is_later(strokes[-1], newest[base.mask or ""], lines, base)):
        # Its line was left out because the one before it said that the frame is a person's.
        found = files[strokes[-1]]
        stroke = replace(whose, status="corrected", mask=found)
        return strokes[-1], None if lines and lines[-1].mask == found else stroke
    if base is not None:
        return newest[base.mask or ""], None if base is lines[-1] else base
    if not lines or lines[-1].mask is None or CHUNK not in files:
        return CHUNK, None  # nothing was said, or it is damaged, which is told where it is read
    if files[CHUNK] == empty:  # never written before, or lost; the latter is told where masks are checked
        return CHUNK, Entry(t, "empty", author, PERSON, "", mask=empty) if fresh else None
    return CHUNK, None  # a mask that no line speaks of, which is told where masks are checked
