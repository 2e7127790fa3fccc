"""What is said of a session besides its masks: tags of frames, comments, attributes of lesions, the state of the work.

All of it is in ``review.jsonl``, a file that only grows, one JSON object a line, written through the edit gate as masks
are. What counts now is what its lines say one after the other.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from vivim.errors import SessionError
from vivim.session.edit_gate import EditGate
from vivim.session.ledger import LINE_BYTES, NO_ENTRY, LineFile, now, ranges_of, to_line

REVIEW = "review.jsonl"
IGNORE, NO_LESION = "ignore", "no lesion"
"""The tag that keeps a frame out of training, scores and suggestions, and the one that an empty mask stands for."""
DRAFT, LOCKED = "draft", "locked"
NEXT_STATES = {
    DRAFT: ("submitted",),
    "submitted": ("in review", "approved", DRAFT),
    "in review": ("approved", DRAFT),
    "approved": (LOCKED, DRAFT),
    LOCKED: (DRAFT,),
}
"""What the state of a session may become, by what it is. `DRAFT` is where it begins."""
NAME_LENGTH = 100
"""Longest name of a tag or an attribute."""
RANGES_A_LINE = 1000
_REQUIRED = {
    "tag": ("name", "frames"),
    "untag": ("name", "frames"),
    "comment": ("text", "id"),
    "resolve": ("id",),
    "attribute": ("name", "text", "lesion"),
    "state": ("name", "text"),
}
"""Fields of each kind of line."""


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    """One line of ``review.jsonl``.

    Attributes
    ----------
    what : str
        ``"tag"``, ``"untag"``, ``"comment"``, ``"resolve"``, ``"attribute"`` or ``"state"``.
    author, time : str
        Who said it, and when, in UTC.
    name : str or None
        A tag, an attribute, or a state.
    text : str or None
        A comment, the value of an attribute, or the reason for a state.
    frames : tuple of tuple of int, or None
        Ranges of frames, each its first and its last one.
    lesion : int or None
        A lesion's number over time.
    place : tuple of float, or None
        A place in the picture in pixels, row before column.
    id, reply_to : str or None
        Of a comment, and of the one that it answers.
    entries : int or None
        Entries of the ledger when the state changed: those after them were written in the new state.
    """

    what: str
    author: str
    time: str
    name: str | None = None
    text: str | None = None
    frames: tuple[tuple[int, int], ...] | None = None
    lesion: int | None = None
    place: tuple[float, float] | None = None
    id: str | None = None
    reply_to: str | None = None
    entries: int | None = None


@dataclass(frozen=True)
class Comment:
    """What somebody said of a frame, a lesion, or the whole clip.

    Attributes
    ----------
    id : str
        What `Session.resolve` and a reply name it by.
    text, author, time : str
        What was said, by whom, and when, in UTC.
    frame, lesion : int or None
        What it is about; about the whole clip if both are None.
    place : tuple of float, or None
        Where in the picture, in pixels, row before column.
    reply_to : str or None
        The comment that it answers.
    resolved : bool
        Whether somebody has called it resolved.
    """

    id: str
    text: str
    author: str
    time: str
    frame: int | None = None
    lesion: int | None = None
    place: tuple[float, float] | None = None
    reply_to: str | None = None
    resolved: bool = False


def _from_line(line: bytes) -> ReviewEvent:
    """Read the event of a line. Raises one of `NO_ENTRY` if it holds none."""
    values = json.loads(line)
    event = ReviewEvent(**values)
    texts = [event.what, event.author, event.time]
    texts += [text for text in (event.name, event.text, event.id, event.reply_to) if text is not None]
    ranges = tuple((first, last) for first, last in event.frames or ())
    row, column = map(float, event.place or (0.0, 0.0))
    if not (
        all(isinstance(text, str) for text in texts)
        and event.what in _REQUIRED
        and all(getattr(event, field) is not None for field in _REQUIRED[event.what])
        and all(type(first) is type(last) is int and 0 <= first <= last for first, last in ranges)
        and math.isfinite(row + column)
        and all(number is None or type(number) is int for number in (event.lesion, event.entries))
        and (event.what != "state" or event.name in NEXT_STATES)
    ):
        raise ValueError("not an event")
    place = None if event.place is None else (row, column)
    return replace(event, frames=None if event.frames is None else ranges, place=place)


def _check(event: ReviewEvent) -> None:
    """Raise a `ValueError` if the line of an event would be too long, or damage to who reads it."""
    if len(line := to_line(event)) > LINE_BYTES:
        raise ValueError("That text is too long. Shorten it.")
    try:
        _from_line(line)
    except NO_ENTRY as error:
        raise ValueError(
            "This cannot be kept. Names, texts and authors are strings, a place is a row and a column."
        ) from error


class Review:
    """What ``review.jsonl`` says now. Methods may be called from any thread; those that write as `EditGate.run`."""

    def __init__(self, gate: EditGate, frames: int) -> None:
        self._gate, self._count = gate, frames
        self._path = gate.folder / REVIEW
        self.file = LineFile(self._path, _from_line, "what")
        self._open = False
        self._tags: dict[str, set[int]] = {}
        self.comments: dict[str, Comment] = {}
        self.attributes: dict[int, dict[str, str]] = {}
        self.states: list[ReviewEvent] = []

    def load(self) -> list[str]:
        """Read the file, open it for writing where that is allowed, and return what is wrong with it, in sentences."""
        for event in self.file.read():
            self._apply(event)
        problems = [f"Line {line.number} of {REVIEW} is damaged" for line in self.file.damage]
        if self._path.exists() and not self._gate.read_only:
            self._open_file()
        return problems

    def _open_file(self) -> None:
        self.file.open()
        self._open = True

    def close(self) -> None:
        """Wait until the disk has everything, and close the file."""
        self.file.close()
        self._open = False

    @property
    def state(self) -> str:
        """One of `NEXT_STATES`."""
        return self.states[-1].name or DRAFT if self.states else DRAFT

    def tags(self, t: int) -> list[str]:
        """Tags of a frame."""
        return [name for name, frames in self._tags.items() if t in frames]

    @property
    def tag_names(self) -> list[str]:
        """Tags that a frame has, sorted."""
        return sorted(name for name, frames in self._tags.items() if frames)

    def tagged(self, name: str) -> set[int]:
        """Frames with a tag."""
        return self._tags.get(name, set())

    def tag(self, name: str, frames: Iterable[int], author: str, on: bool = True) -> None:
        """Give frames a tag, or take it from them. Those who listen to the session are told of them."""
        name = checked_tag(name)

        def events() -> list[ReviewEvent]:
            changed = sorted(t for t in set(frames) if (t in self.tagged(name)) != on)
            ranges = ranges_of(changed)
            parts = [ranges[i : i + RANGES_A_LINE] for i in range(0, len(ranges), RANGES_A_LINE)]
            what = "tag" if on else "untag"
            return [ReviewEvent(what, author, now(), name, frames=tuple(part)) for part in parts]

        self._write(events)

    def comment(self, comment: Comment) -> str:
        """Add a comment, and return its `Comment.id`."""
        if comment.reply_to is not None:
            self._checked(comment.reply_to)
        frames = None if comment.frame is None else ((comment.frame, comment.frame),)
        event = ReviewEvent(
            "comment",
            comment.author,
            now(),
            text=_checked_text(comment.text),
            frames=frames,
            lesion=comment.lesion,
            place=comment.place,
            id=secrets.token_hex(6),
            reply_to=comment.reply_to,
        )
        self._write(lambda: [event], when_locked=True)
        return str(event.id)

    def resolve(self, comment: str, author: str) -> None:
        """Call a comment resolved."""
        event = ReviewEvent("resolve", author, now(), id=self._checked(comment))
        self._write(lambda: [event], when_locked=True)

    def _checked(self, comment: str) -> str:
        if comment not in self.comments:
            raise SessionError(
                f"There is no comment {comment!r} in this session. `session.comments` lists them."
            )
        return comment

    def set_attribute(self, lesion: int, name: str, value: str, author: str) -> None:
        """Say something of a lesion that holds in all its frames. An empty value takes it back."""
        event = ReviewEvent("attribute", author, now(), checked_name(name), value, lesion=lesion)
        self._write(lambda: [event])

    def set_state(self, state: str, author: str, reason: str) -> None:
        """Go to another state. Raises a `SessionError` if it does not follow on the present one, or lacks a reason."""

        def events() -> list[ReviewEvent]:
            if state not in NEXT_STATES[self.state]:
                allowed = " or ".join(NEXT_STATES[self.state])
                raise SessionError(
                    f"A session that is {self.state} cannot become {state!r}. It can become {allowed}."
                )
            if state == DRAFT and not reason.strip():
                raise SessionError(
                    f"A session that is {self.state} returns to {DRAFT} for a reason. Give one."
                )
            self._gate.divide()  # the ledger tells what was drawn before from what was drawn after
            entries = sum(1 for _ in self._gate.ledger)
            return [ReviewEvent("state", author, now(), state, reason.strip(), entries=entries)]

        self._write(events, when_locked=True)

    def _write(self, events: Callable[[], list[ReviewEvent]], when_locked: bool = False) -> None:
        """Append what `events` returns, in one step, and tell of the frames that it tags."""

        def work() -> list[int]:
            found = events()
            for event in found:
                _check(event)
            if found and not self._open:
                self._open_file()
            for event in found:
                self.file.append(event)
                self._apply(event)
            self._gate.flusher.note_file(self._path)
            tagged = [event for event in found if event.what in ("tag", "untag")]
            return [t for event in tagged for t in _frames(event, self._count)]

        self._gate.run(work, when_locked)

    def _apply(self, event: ReviewEvent) -> None:
        """Take a line for true from now on. Frames that the video does not have are left out."""
        name, text, comment = event.name or "", event.text or "", event.id or ""
        if event.what in ("tag", "untag"):
            tagged, frames = self._tags.setdefault(name, set()), set(_frames(event, self._count))
            self._tags[name] = tagged | frames if event.what == "tag" else tagged - frames
        elif event.what == "comment":
            frame = event.frames[0][0] if event.frames else None
            said = (text, event.author, event.time, frame, event.lesion, event.place, event.reply_to)
            self.comments[comment] = Comment(comment, *said)
        elif event.what == "resolve" and comment in self.comments:
            self.comments[comment] = replace(self.comments[comment], resolved=True)
        elif event.what == "attribute" and event.lesion is not None:
            attributes = self.attributes.setdefault(event.lesion, {})
            attributes.pop(name, None)
            if text:
                attributes[name] = text
        elif event.what == "state":
            self.states.append(event)
            self._gate.locked_by = event.author if name == LOCKED else None


def checked_name(name: str) -> str:
    """Return the name of a tag or an attribute without spaces around it. Raises a `ValueError` if it can be none."""
    found = name.strip()
    if not found.isprintable() or not 1 <= len(found) <= NAME_LENGTH:
        raise ValueError(
            f"A name of 1 to {NAME_LENGTH} characters on one line is needed, not {name[:NAME_LENGTH]!r}."
        )
    return found


def checked_tag(name: str) -> str:
    """Return the name of a tag as `checked_name`; that of a tag with a meaning also where its case differs."""
    found = checked_name(name)
    return found.lower() if found.lower() in (IGNORE, NO_LESION) else found


def _checked_text(text: str) -> str:
    if not text.strip():
        raise ValueError("A comment needs a text.")
    return text.strip()


def _frames(event: ReviewEvent, count: int) -> Iterator[int]:
    """Frames that a line names, of a video of so many."""
    for first, last in event.frames or ():
        yield from range(first, min(last, count - 1) + 1)
