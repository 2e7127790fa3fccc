"""Plan which frames go through the network together, and which of their masks are kept.

A window is a run of frames, and the corrected frames on either side of it where there is guidance. There are three
ways to lay windows over the frames wanted: every frame once (``"every"``), windows that overlap by half and whose
logits are averaged (``"overlap"``), or a window around each frame of which the centre is kept (``"centre"``, as the
reference does, at as many times the work as a window has frames).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vivim.propagation.mask_propagator import MaskGuide

MODES = ("every", "overlap", "centre")
"""Ways to lay windows over a video."""

CONTEXT = 1
"""Neighbours on each side that are encoded together with a corrected frame."""


@dataclass(frozen=True)
class Window:
    """Frames that go through the network together, in order of time, and those of them whose logits are kept."""

    frames: tuple[int, ...]
    kept: tuple[int, ...]
    guided: bool = False
    """Whether corrected frames guide the others."""

    @property
    def kept_at(self) -> list[int]:
        """Indices of the kept frames among all."""
        return [self.frames.index(t) for t in self.kept]


def blocks_of(frames: Sequence[int], corrected: Sequence[int], length: int, start: int) -> list[list[int]]:
    """Cut frames into runs of neighbours of at most `length`, never across a corrected frame, nearest first."""
    stops = set(corrected)
    blocks: list[list[int]] = []
    for t in sorted(frames):
        last = blocks[-1] if blocks else None
        if last and len(last) < length and t - last[-1] == 1 and t not in stops:
            last.append(t)
        else:
            blocks.append([t])
    return sorted(blocks, key=lambda block: min(abs(t - start) for t in block))


def in_context(t: int, total: int) -> list[int]:
    """A corrected frame of a video of `total` frames and its neighbours, as it is judged and learned from."""
    return list(range(max(0, t - CONTEXT), min(total, t + CONTEXT + 1)))


def window_around(block: Sequence[int], guide: MaskGuide | None) -> list[int]:
    """A block of frames, and the corrected frames on either side of it."""
    window = set(block)
    if guide is not None:
        window.update(t for edge in (block[0], block[-1]) for t in guide.neighbours(edge) if t is not None)
    return sorted(window)


def plan(
    frames: Sequence[int],
    corrected: Sequence[int],
    total: int,
    length: int,
    start: int,
    mode: str = "every",
    guide: MaskGuide | None = None,
) -> list[Window]:
    """Lay windows of `length` frames over the `frames` wanted of a video of `total`, nearest to `start` first.

    Where there is a guide, corrected frames end a window and stand at its sides. Without one they are frames like any
    other and kept, too, so that a correction does not change what the network sees of the frames around it.
    """
    if length < 1:
        raise ValueError(f"clip_length must be at least 1, not {length}.")
    if mode not in MODES:
        raise ValueError(f"Unknown way to lay windows {mode!r}; choose one of {', '.join(MODES)}.")
    if mode == "every" or length == 1:
        stops = corrected if guide is not None else ()
        along = frames if guide is not None else sorted({*frames, *corrected})
        blocks = [(block, block) for block in blocks_of(along, stops, length, start)]
    elif mode == "overlap":
        blocks = _overlapping(sorted(frames), total, length, start)
    else:
        nearest = sorted(frames, key=lambda t: (abs(t - start), t))
        blocks = [(_shifted(t - length // 2, total, length), [t]) for t in nearest]
    return [
        Window(tuple(window_around(block, guide)), tuple(kept), guide is not None) for block, kept in blocks
    ]


def interleave(guided: Sequence[Window], unguided: Sequence[Window], length: int, start: int) -> list[Window]:
    """Put guided and unguided windows in one order, nearest to `start` first.

    They alternate in stretches that grow with the distance, so that windows of a kind fill batches, and the frames next
    to `start` are nevertheless done soon.
    """

    def place(window: Window) -> tuple[int, bool]:
        away = min(abs(t - start) for t in window.kept)
        return (away // length).bit_length(), not window.guided

    return sorted([*guided, *unguided], key=place)


def _overlapping(
    frames: Sequence[int], total: int, length: int, start: int
) -> list[tuple[list[int], list[int]]]:
    """Windows half a length apart that hold a frame wanted."""
    wanted = set(frames)
    half = length // 2
    blocks: list[tuple[list[int], list[int]]] = []
    for first in range(-half, total, half):
        block = list(range(max(0, first), min(total, first + length)))
        kept = [t for t in block if t in wanted]
        if kept and (not blocks or block != blocks[-1][0]):
            blocks.append((block, kept))
    return sorted(blocks, key=lambda block: min(abs(t - start) for t in block[1]))


def _shifted(first: int, total: int, length: int) -> list[int]:
    """A window of `length` frames from `first` on, moved into the video."""
    first = max(0, min(first, total - length))
    return list(range(first, min(total, first + length)))
