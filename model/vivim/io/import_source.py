"""What every reader of masks returns, and which of a video's frames its masks belong to."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.video.readers.image_folder import natural_key


@dataclass(frozen=True)
class ReadOptions:
    """How masks are taken from a file or folder."""

    number_group: int | None = None
    """Which group of digits in a file's name is the frame's number: 1 for the first. By default the one that
    counts."""
    first_number: int = 0
    """Number of the first frame in names of files."""
    include_empty: bool = False
    """Pictures without an annotation are frames without a lesion. By default they are left alone."""
    video_path: Path | None = None
    """The session's video, for formats that say where in space their pixels lie."""


@dataclass(frozen=True)
class Found:
    """Masks of some frames, read one at a time."""

    frames: Sequence[int]
    """Frames of the video that they belong to."""
    read: Callable[[int], NDArray]
    """Gives the mask ``(H, W)`` of the place in `frames`, integer; may raise anything if it is damaged."""
    numbered: bool = False
    """Whether values are numbers of lesions rather than classes."""
    classes: tuple[str, ...] | None = None
    """Names of the classes 1 and up, where the file names them. Values are these classes then."""
    are_classes: bool = False
    """Whether the file says that its values are classes, however high."""
    coloured: frozenset[int] | set[int] = frozenset()
    """Filled by `read` with the places of masks whose values are colours."""


_ADDED = (
    r"\.rf\.[0-9A-Za-z]{8,}",
    r"_(jpe?g|png|bmp|tiff?|webp|mp4|avi|mov)(?=$|[._-])",
    r"^[0-9a-f]{8}-(?=.)",
)
"""What annotation tools add to the names of pictures: a digest, the former ending, a digest before it."""
_COUNTER = re.compile(
    r"(frame|frm|image|img|picture|pic|slice|page|time|(?<![a-z])[tf])[ _#.-]*$", re.IGNORECASE
)
_DIGITS = re.compile(r"\d+")


def frames_of(names: Sequence[str], total: int, options: ReadOptions) -> list[int]:
    """Frames that masks of some names, without endings, belong to, in a video of `total` frames.

    The number of a frame is the group of digits that counts: it differs from name to name, and stands behind a word
    such as "frame", or is filled up with zeros. As many names as there are frames are taken in their order. Raises
    `MasksError` if more than one group may count, or the numbers are none of this video's frames.
    """
    plain = [_without_additions(name) for name in names]
    groups = _digit_groups(plain)
    counting = _counting_groups(plain, groups, options)
    if len(names) == total and options.number_group is None:
        orders = {tuple(sorted(range(total), key=groups[place].__getitem__)) for place in counting}
        if len(orders) > 1:
            raise _ask_which(names, plain)
        order = orders.pop() if orders else sorted(range(total), key=lambda i: natural_key(plain[i]))
        ranks = {i: rank for rank, i in enumerate(order)}
        return [ranks[i] for i in range(total)]
    if len(counting) > 1:
        raise _ask_which(names, plain)
    if not counting:
        raise wrong_count(len(names), total)
    place = counting[0]
    numbers = [value - options.first_number for value in groups[place]]
    if len(set(numbers)) < len(names) or min(numbers) < 0:
        raise wrong_count(len(names), total)
    if max(numbers) >= total:
        raise MasksError(
            f"The names of the masks count to frame {max(numbers)}, but the video's frames are 0 to {total - 1}. "
            "Choose masks of this video, or say with which number the names begin (--first-number)."
        )
    return numbers


def _without_additions(name: str) -> str:
    for pattern in _ADDED:
        name = re.sub(pattern, "", name)
    return name


def _digit_groups(names: Sequence[str]) -> list[list[int]]:
    """Values of each group of digits over all names; none where the names are not built alike."""
    found = [_DIGITS.findall(name) for name in names]
    if len({_DIGITS.sub("0", name) for name in names}) > 1 and len({len(groups) for groups in found}) > 1:
        return []
    return [
        [int(groups[place][-18:]) for groups in found] for place in range(min(map(len, found), default=0))
    ]


def _counting_groups(names: Sequence[str], groups: list[list[int]], options: ReadOptions) -> list[int]:
    """Places of the groups that may count frames; several where that cannot be told."""
    if options.number_group is not None:
        if not 1 <= options.number_group <= len(groups):
            raise MasksError(f"The names of the masks have no group of digits number {options.number_group}.")
        return [options.number_group - 1]
    different = [place for place, values in enumerate(groups) if len(set(values)) == len(values)]
    found = [list(_DIGITS.finditer(name)) for name in names]
    behind = [
        p
        for p in different
        if all(_COUNTER.search(n[: m[p].start()]) for n, m in zip(names, found, strict=True))
    ]
    filled = [p for p in different if any(m[p][0].startswith("0") and len(m[p][0]) > 1 for m in found)]
    for choice in (different, behind, filled):
        if len(choice) == 1 or (choice and all(groups[a] == groups[b] for a, b in pairwise(choice))):
            return choice[:1]
    return different


def _ask_which(names: Sequence[str], plain: Sequence[str]) -> MasksError:
    choices = ", ".join(
        f"{digits} ({place})" for place, digits in enumerate(_DIGITS.findall(plain[0]), start=1)
    )
    return MasksError(
        f"Which number in {names[0]!r} is the frame's: {choices}? Say so (--number-group), or name the masks by the "
        "number of their frame alone."
    )


def wrong_count(count: int, total: int) -> MasksError:
    """Say that there are too few or too many masks."""
    return MasksError(
        f"There are {count} masks, but the video has {total} frames. Choose masks of this video: one a frame, or "
        "pictures named by the number of their frame, from 0."
    )


def wrong_size(found: Sequence[int], size: Sequence[int]) -> MasksError:
    """Say that masks are not as large as the video. Sizes are height and width."""
    return MasksError(
        f"The masks are {found[1]} x {found[0]} pixels, but the video is {size[1]} x {size[0]}. Choose masks that "
        "were drawn on this video."
    )
