"""What every reader of masks returns, and which of a video's frames its masks belong to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.video.readers.image_folder import natural_key


@dataclass(frozen=True)
class Found:
    """Masks of some frames, read one at a time.

    Attributes
    ----------
    frames : sequence of int
        Frames of the video that they belong to.
    read : callable
        Gives the mask ``(H, W)`` of the place in `frames`, integer; may raise anything if it is damaged.
    numbered : bool
        Whether values are numbers of lesions rather than classes.
    """

    frames: Sequence[int]
    read: Callable[[int], NDArray]
    numbered: bool = False


def frames_of(names: Sequence[str], total: int) -> list[int]:
    """Frames that masks of some names belong to, in a video of `total` frames.

    As many as there are frames are taken in natural order; fewer must be numbered by frame, from 0.

    Raises
    ------
    MasksError
        If neither is the case.
    """
    if len(names) == total:
        ranks = {i: rank for rank, i in enumerate(sorted(range(total), key=lambda i: natural_key(names[i])))}
        return [ranks[i] for i in range(total)]
    found = [re.search(r"(\d{1,9})\D*$", name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if not numbers or len(set(numbers)) < len(names) or max(numbers) >= total:
        raise wrong_count(len(names), total)
    return numbers


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
