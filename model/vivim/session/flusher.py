"""What a session wrote reaches the disk: in groups, in the background, in an order that no power cut can turn round.

Whoever writes has its answer once the operating system has the mask and its line, which outlives a killed program.
The disk has them within about `SECONDS` and the time that it takes itself, and nobody waits for that: the window
least of all. Many writes are flushed together, so a proposal of many frames is hardly slower.

The order is what keeps a power cut at any moment from making a person's mask a model's. A new mask lies beside the
old one (`vivim.session.mask_store`) until the disk has the steps to take it back, then the mask, then its line in the
ledger. Only then it replaces the old one. So whatever the disk took first by itself, the old mask with its old line
is there until the new ones are. Which of the two it is after a cut, `vivim.session.recovery` sees.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

from vivim.session.ledger import Ledger
from vivim.session.mask_store import MaskStore
from vivim.utils.atomic_files import flush_one, flush_open

SECONDS = 0.2
"""Writes of so long are flushed together."""
LINGER_SECONDS = 5.0
"""The thread ends after so long without a write."""
MOST_LINES = 1000
"""Whoever has written more lines than the disk has taken waits for it."""


def waiting_for(path: Path) -> Path:
    """Where the new content of a file lies until the disk has it."""
    return path.with_name(f".{path.name}.waiting")


class Flusher:
    """Flushes what one session writes. Methods may be called from any thread.

    What the disk could not take is tried again; an `OSError` says so.
    """

    def __init__(self, ledger: Ledger, store: MaskStore) -> None:
        self._ledger, self._store = ledger, store
        self._turn = threading.Condition()
        self._round = threading.Lock()
        self._frames: dict[int, tuple[int, bool]] = {}
        self._files: set[Path] = set()
        self._replaced: set[Path] = set()
        self._moving = threading.Lock()
        self._lines = 0
        self._failed: OSError | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def note_mask(self, t: int, said: bool = True) -> None:
        """A frame has a new mask, and the ledger its line, unless that was left out for now."""
        with self._turn:
            if number := self._store.number(t):
                self._frames[t] = number, said
                self._wake()

    def note_line(self) -> None:
        """The ledger has a new line."""
        with self._turn:
            self._lines += 1
            self._wake()

    def note_file(self, path: Path) -> None:
        """A file was written or removed, in a folder that may be new."""
        with self._turn:
            self._files.add(path)
            self._wake()

    def replace(self, path: Path, text: str) -> None:
        """Let a file hold something else from now on. Until flushed it lies beside, see `waiting_for`."""
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_text(text, encoding="utf-8")
            with self._moving:
                os.replace(part, waiting_for(path))
        except OSError:
            part.unlink(missing_ok=True)
            raise
        with self._turn:
            self._replaced.add(path)
            self._wake()

    def _wake(self) -> None:
        """Start the thread, or wake it. For whoever holds `_turn`."""
        if self._closed:
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="vivim-flush", daemon=True)
            self._thread.start()
        self._turn.notify_all()

    def wait_for_room(self) -> None:
        """Wait while the disk is far behind. For whoever is about to write."""
        with self._turn:
            self._turn.wait_for(lambda: self._lines <= MOST_LINES or self._failed is not None)
            failed, self._failed = self._failed, None
        if failed is not None:
            raise OSError(failed.errno, f"the disk could not take what was written last ({failed.strerror})")

    def flush(self) -> None:
        """Wait until the disk has everything that was written before."""
        with self._round:
            with self._turn:
                frames, files, replaced, lines = self._frames, self._files, self._replaced, self._lines
                self._frames, self._files, self._replaced = {}, set(), set()
            try:
                for path in replaced:
                    self._put_in_place(path)
                self._flush(frames, files, lines)
            except OSError:
                with self._turn:
                    self._frames = {**frames, **self._frames}
                    self._files |= files
                    self._replaced |= replaced
                raise
            with self._turn:
                self._lines -= lines
                self._turn.notify_all()

    def close(self) -> None:
        """Flush what is left, and end. Safe to call twice."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()
            thread = self._thread
        try:
            with suppress(FileNotFoundError):  # moved away
                self.flush()
        finally:
            if thread is not None:
                thread.join()

    def _flush(self, frames: dict[int, tuple[int, bool]], files: set[Path], lines: int) -> None:
        for file in files:
            with suppress(FileNotFoundError):  # dropped again
                flush_one(file)
        for folder in {file.parent for file in files} | {file.parent.parent for file in files}:
            with suppress(FileNotFoundError):  # moved away, which the next write notices
                flush_one(folder)
        for t, (number, _) in frames.items():
            self._store.flush(t, number)
        self._store.flush_names(frames)
        if lines:
            self._ledger.flush()
        # Older masks must be gone before the new one no longer says by its name that it is newer.
        older = [t for t, (number, _) in frames.items() if self._store.forget_older(t, number)]
        self._store.flush_names(older)
        for t, (number, said) in frames.items():
            if said:
                self._store.put_in_place(t, number)
        self._store.flush_names(frames)

    def _put_in_place(self, path: Path) -> None:
        with suppress(FileNotFoundError), waiting_for(path).open("rb+") as file:  # else it is in place
            flush_open(file.fileno())
            with self._moving:
                same = os.path.samestat(os.fstat(file.fileno()), waiting_for(path).stat())
                if same:  # else a newer one waits
                    os.replace(waiting_for(path), path)
            flush_one(path.parent)

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or self._pending(), LINGER_SECONDS)
                if self._closed or not self._pending():
                    self._thread = None
                    return
                self._turn.wait_for(lambda: self._closed or self._lines > MOST_LINES, SECONDS)
            try:
                self.flush()
            except OSError as error:
                with self._turn:
                    if not isinstance(error, FileNotFoundError):  # moved away, which the next write notices
                        self._failed = error
                    self._turn.notify_all()
                    self._turn.wait_for(lambda: self._closed, 5 * SECONDS)

    def _pending(self) -> bool:
        return bool(self._frames or self._files or self._replaced or self._lines)
