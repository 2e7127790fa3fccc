"""Where in the picture there is anything to see: the sector of an ultrasound scan, the circle of an endoscope.

Around it machines paint one shade, with letters, scales, bars and logos. What differs clearly from that shade or moves
is content where it is dense: letters and lines are sparse, panels of one colour are flat. From there it grows into what
differs faintly, the dark part of a sector, unless that is the mere halo that compression leaves around a bright edge.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.errors import FrameError
from vivim.video.base import Video

Box = tuple[int, int, int, int]
Mask = NDArray[np.uint8]
Values = NDArray[np.float32]

FRAMES = 9
"""Frames looked at, spread over the video."""

SIDE = 256
"""Longer side of the pictures that are looked at, in pixels."""

SMALLEST = 24
"""Pictures with a shorter side than this, in pixels, are taken whole."""

SHADE = 0.06
"""What differs from the border by more than this, of the range of brightness, differs clearly."""

FAINT = 0.008
"""What differs from the border by more than this, of the range of brightness, differs at all."""

STILL = 0.015
"""A standard deviation over time above this, of the range of brightness, is movement."""

BRIGHT = 0.2
"""Letters differ from the border by more than this, of the range of brightness."""

MOVES = 0.05
"""A part of which more than this share moves is content, not a bar or a logo."""

BESIDE = 0.1
"""Parts at least this large, of the largest, count too: a dark organ may divide the content."""

FROZEN = 0.4
"""Still parts at least this large, of the largest, count too: one of two pictures may be frozen."""

LEAST = 0.05
"""A content area smaller than this, of the picture, is not believed."""

PATCH = 15
"""Side of the patches, at `SIDE`, whose share of content tells a picture from letters."""

DENSE = 0.55
"""Share of a patch that content fills at least; lines of letters fill less."""

PANEL = 0.01
"""A surface of one colour at least this large, of the picture, is a panel of the machine's."""

BLOCK = 8
"""Side of the blocks of a compressed picture, in its own pixels: so far letters leave traces around them."""

BORDER_LEAST = {"clean": 0.02, "noisy": 0.1}
"""Least share of the picture that a border covers."""

EDGE_SHARE = 0.45
"""Of the picture's edge that is nearly of the border's shade, this share is exactly of it; a dark organ's is not."""

HALO, LOBE, WIDE = 0.3, 0.12, 0.08
"""A faint strip is content if it is brighter than `HALO` of what it lies beside; a strip wider than `WIDE` of the
content, if it is brighter than `LOBE` of it."""

OUTSIDE = 0.03
"""A header's region that leaves out more than this share of the content is not that of this picture."""

FILLED = 0.4
"""Where less than this share of a header's region is seen to be content, the rest is taken to be dark content."""


class Border(NamedTuple):
    """The shade around the content."""

    shade: Values
    """One value for each channel, float32."""
    region: NDArray[np.bool_]
    """Where it was found, ``(H, W)``, bool."""
    tolerance: float
    """What differs by more does differ."""
    picture: Values
    """The still picture ``(H, W, C)``, smoothed if the border is noisy, float32."""
    noisy: bool
    """Whether noise of a camera lies over it."""


def content_area(video: Video) -> Box:
    """Rectangle ``(y0, x0, y1, x1)`` around what the video shows, without borders, letters, bars and scales.

    It is the whole picture where no border is found. Where a DICOM file says which regions show tissue, the content is
    looked for within them, unless it clearly lies elsewhere: headers outlive scaling and cropping.
    """
    height, width = video.shape[1:3]
    stated = _union(region.box for region in getattr(video, "regions", ()) if region.kind == "tissue")
    if min(height, width) < SMALLEST:
        return stated or (0, 0, height, width)
    times = sorted({round(t) for t in np.linspace(0, len(video) - 1, min(FRAMES, len(video)))})
    share = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    pictures = []
    for t in times:
        with suppress(FrameError):  # the others show it as well
            pictures.append(_small(video.frame(t), size))
    content = _content(np.stack(pictures), share) if pictures else None
    if content is None:
        return stated or (0, 0, height, width)
    scales = (height / size[1], width / size[0])
    (y0, x0, y1, x1), mask = content
    found = (
        int(np.floor(y0 * scales[0])),
        int(np.floor(x0 * scales[1])),
        min(height, int(np.ceil(y1 * scales[0]))),
        min(width, int(np.ceil(x1 * scales[1]))),
    )
    return _reconciled(found, mask, stated, (height, width)) if stated else found


def _union(boxes: Iterable[Box]) -> Box | None:
    """The box around boxes, or None if there are none."""
    known = list(boxes)
    if not known:
        return None
    y0, x0, y1, x1 = zip(*known, strict=True)
    return min(y0), min(x0), max(y1), max(x1)


def _reconciled(found: Box, mask: Mask, stated: Box, size: tuple[int, int]) -> Box:
    """What is seen, within what the header states, if the header can be of this picture.

    It cannot if content lies outside, with border beyond it. Content as far as the picture's edge shows that letters
    or bars were taken for content, and refutes nothing.
    """
    rows, columns = np.nonzero(mask)
    y, x = (rows + 0.5) * size[0] / mask.shape[0], (columns + 0.5) * size[1] / mask.shape[1]
    within = (y >= stated[0]) & (y < stated[2]) & (x >= stated[1]) & (x < stated[3])
    ends = (0, 0, *size)
    beyond = [(found[k] - stated[k]) * (1 if k < 2 else -1) < 0 for k in range(4)]
    bordered = all(found[k] != ends[k] for k in range(4) if beyond[k])
    if within.mean() < 1 - OUTSIDE and bordered:
        return found
    both = (
        max(found[0], stated[0]),
        max(found[1], stated[1]),
        min(found[2], stated[2]),
        min(found[3], stated[3]),
    )
    return both if _size(both) >= FILLED * _size(stated) else stated


def _size(box: Box) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _small(frame: NDArray, size: tuple[int, int]) -> NDArray:
    """A frame ``(H, W, C)``, shrunk."""
    plain = frame if frame.dtype in (np.uint8, np.uint16) else frame.astype(np.float32)
    small = np.asarray(cv2.resize(plain, size, interpolation=cv2.INTER_AREA))
    return small if small.ndim == 3 else small[..., None]


def _disc(size: int) -> Mask:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _dilated(mask: Mask, disc: Mask) -> Mask:
    return np.asarray(cv2.dilate(mask, disc), np.uint8)


def _opened(mask: Mask, disc: Mask) -> Mask:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc), np.uint8)


def _odd(size: float) -> int:
    return max(3, round(size) // 2 * 2 + 1)


def _content(stack: NDArray, share: float) -> tuple[Box, Mask] | None:
    """Box and mask of the content of frames ``(T, H, W, C)``, shrunk by `share`. None if there is no border."""
    low, high = (float(value) for value in np.percentile(stack, (1, 99.5)))
    span = max(high - low, 1e-6)
    border = _border(np.sort(stack, axis=0)[len(stack) // 2].astype(np.float32), span)
    if border is None:
        return None
    picture, patch = border.picture, _odd(PATCH * max(stack.shape[1:3]) / SIDE)
    change = picture - border.shade
    dark = float(border.shade.max()) < max(float(np.median(picture)), low + 0.2 * span)
    away = (change if dark else np.abs(change)).max(axis=-1)  # nothing is darker than a black border
    restless = stack.std(axis=0, dtype=np.float32).max(axis=-1)
    # A clean border is at rest, though content may pass over a part of it. A noisy one flickers all over.
    usual = float(np.percentile(restless[border.region], 75 if border.noisy else 25))
    moving = restless > max(STILL * span, 3 * usual)
    panels, floors = _surfaces(picture, away, restless, span, high)
    clear = (away > SHADE * span) | moving
    flickers = restless > max(0.5, 0.004 * span, (2 if border.noisy else 4) * usual)
    faint = (away > border.tolerance) | flickers | floors
    if dark:
        clear &= ~panels
        faint &= ~panels

    parts = _opened(_dense(clear, patch), _disc(_odd(patch / 3)))
    core = _chosen(parts, moving)
    if core is None:
        return None
    core = _touched(core | floors.astype(np.uint8), core)
    letters = (away > BRIGHT * span) & ~moving & (_reached(parts, clear, patch // 2) == 0)
    traces = _dilated(letters.astype(np.uint8), _disc(_odd((BLOCK + 1) * share))) > 0
    faint = (faint & ~traces) | (core > 0)
    grown = _opened(_dense(faint, patch), _disc(_odd(patch / 3)))
    whole = _reached(_touched(grown | core, core), faint, patch // 2)
    if whole.sum() < LEAST * whole.size:
        return None
    light = np.maximum(away, 3 * restless)
    inner = _bounds(_reached(core, clear | (core > 0), patch // 2))
    return _trimmed(_extended(inner, _bounds(whole), whole, light), whole, light), whole


def _border(still: Values, span: float) -> Border | None:
    """The one shade around the content: exact, as compression leaves it, or noisy. None if there is none."""
    height, width, channels = still.shape
    deep, corner = max(1, round(max(height, width) / 128)), max(2, round(min(height, width) / 16))
    edge = np.zeros((height, width), bool)
    edge[:deep] = edge[-deep:] = edge[:, :deep] = edge[:, -deep:] = True
    places = [still[:deep], still[-deep:], still[:, :deep], still[:, -deep:]]
    ends = (slice(corner), slice(-corner, None))
    places += [still[y, x] for y in ends for x in ends]
    shades = np.unique([np.median(place.reshape(-1, channels), axis=0) for place in places], axis=0)
    smooth, smoother = (np.asarray(cv2.blur(still, (k, k)), np.float32).reshape(still.shape) for k in (5, 9))
    faint = max(1.0, FAINT * span)
    for tolerance, noisy in ((max(0.4, FAINT / 4 * span), False), (faint, False), (SHADE * span, True)):
        best, most = None, 0.0
        for shade in shades:
            far = np.abs((smoother if noisy else still) - shade).max(axis=-1)
            region = _touched((far <= tolerance).astype(np.uint8), edge.astype(np.uint8)) > 0
            corners = int(region[[0, 0, -1, -1], [0, -1, 0, -1]].sum())
            if region.mean() < BORDER_LEAST["noisy" if noisy else "clean"]:
                continue
            if noisy:
                true = (
                    (far[region] < tolerance / 2).mean() >= 0.8
                    and corners >= 3
                    and region[edge].mean() >= 0.5
                )
            else:
                nearly = edge & (far <= SHADE * span)
                true = (region & edge).sum() >= EDGE_SHARE * nearly.sum()
            if true and region.mean() * (1 + corners) > most:
                most = region.mean() * (1 + corners)
                picture = smooth if noisy else still
                best = Border(shade.astype(np.float32), region, max(faint, tolerance), picture, noisy)
        if best is not None:
            return best
    return None


def _surfaces(
    picture: Values, away: Values, restless: Values, span: float, white: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Still surfaces of one colour: panels of the machine's, and the faint floor of a sector that holds no echo."""
    steps = [
        np.abs(np.diff(picture, axis=axis, append=np.take(picture, [-1], axis))).max(axis=-1)
        for axis in (0, 1)
    ]
    step = np.maximum(*steps)
    glare = picture.min(axis=-1) >= white - 0.04 * span
    panel = (step <= 0.01 * span) & (away > SHADE * span) & (restless <= STILL * span) & ~glare
    floor = (step < 0.05) & (away > 0.3) & (away <= SHADE * span) & (restless < 0.05)
    found = [np.zeros(panel.shape, np.uint8) for _ in range(2)]
    for into, flat in zip(found, (panel, floor), strict=True):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(flat.astype(np.uint8), connectivity=4)
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] < PANEL * flat.size:
                continue
            lowest, highest = np.percentile(picture[labels == label], (5, 95), axis=0)
            if (highest - lowest).max() <= 0.025 * span:
                into[labels == label] = 1
    return _dilated(found[0], _disc(3)) > 0, found[1] > 0


def _dense(mask: NDArray[np.bool_], patch: int) -> Mask:
    """What of a mask lies in or near patches that it fills: not letters and lines."""
    filled = cv2.blur(mask.astype(np.float32), (patch, patch), borderType=cv2.BORDER_REPLICATE) >= DENSE
    return _dilated(filled.astype(np.uint8), _disc(patch)) & mask.astype(np.uint8)


def _touched(mask: Mask, seed: Mask) -> Mask:
    """The connected parts of a mask that a seed touches."""
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    keep = np.bincount(labels[seed > 0], minlength=count) > 0
    keep[0] = False
    return keep[labels].astype(np.uint8)


def _reached(seed: Mask, mask: NDArray[np.bool_], steps: int) -> Mask:
    """What of a mask is reached from a seed within it in some steps of one pixel."""
    room, disc = mask.astype(np.uint8) | seed, _disc(3)
    for _ in range(steps):
        seed = _dilated(seed, disc) & room
    return seed


def _chosen(parts: Mask, moving: NDArray[np.bool_]) -> Mask | None:
    """The parts that are large and, in a video that moves, move or are very large. None if there are none."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(parts, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    moved = np.bincount(labels[moving], minlength=count) / np.maximum(areas, 1)
    alive = moved > MOVES if (moved[1:] > MOVES).any() else np.ones(count, bool)
    alive[0] = False
    if not alive.any():
        return None
    most = areas[alive].max()
    frozen = ~alive & (areas >= FROZEN * most)
    frozen[0] = False
    return ((alive & (areas >= BESIDE * most)) | frozen)[labels].astype(np.uint8)


def _bounds(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _extended(inner: Box, outer: Box, mask: Mask, light: Values) -> Box:
    """The inner box, each side moved to that of the outer one unless only a halo lies between them."""
    box = list(inner)
    for side in range(4):
        axis, first = side % 2, side < 2
        wide = abs(inner[side] - outer[side])
        extent = inner[axis + 2] - inner[axis]
        near = (inner[side], inner[side] + 10) if first else (max(0, inner[side] - 10), inner[side])
        levels = []
        for start, stop in (sorted((outer[side], inner[side])), near):
            place = tuple(slice(start, stop) if k == axis else slice(outer[k], outer[k + 2]) for k in (0, 1))
            levels.append(float(light[place][mask[place] > 0].sum()) / max(1, int(mask[place].sum())))
        if levels[0] >= (LOBE if wide >= WIDE * extent else HALO) * levels[1]:
            box[side] = min(inner[side], outer[side]) if first else max(inner[side], outer[side])
    return box[0], box[1], box[2], box[3]


def _trimmed(box: Box, mask: Mask, light: Values) -> Box:
    """A box without outermost rows and columns that are much darker than those they border on."""
    y0, x0, y1, x1 = box
    inside, ends = mask[y0:y1, x0:x1], []
    for axis in (1, 0):
        levels = (light[y0:y1, x0:x1] * inside).sum(axis=axis) / np.maximum(inside.sum(axis=axis), 1)
        reach = max(2, round(10 * max(mask.shape) / SIDE))
        for line in (levels, levels[::-1]):
            cut = 0
            while cut < min(reach, len(line) // 4) and line[cut] < 0.2 * line[cut : cut + reach].max():
                cut += 1
            ends.append(cut)
    return y0 + ends[0], x0 + ends[2], y1 - ends[1], x1 - ends[3]
