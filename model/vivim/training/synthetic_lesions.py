"""Synthetic lesions set into real ultrasound pictures: real speckle around outlines that are known exactly.

Public ultrasound of small lesions is scarce, pictures of other tissue are not. A blob of another brightness, softness
and texture, with enhancement or shadow behind it, is what most nodules and tumours look like; some are as bright as
what is around them and show by their rim alone, some hold specks of lime. Dark tubes beside them are vessels, and are
not to be marked.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.training.datasets import Clip

SMALLEST_CROP = 90
"""Pixels of a picture's side from which it still shows texture when enlarged."""

WITH_VESSELS = 0.4
"""Part of the pictures with dark tubes outside the lesion."""

WITH_SPECKS = 0.3
"""Part of the lesions with bright specks in them."""

AS_BRIGHT = 0.15
"""Part of the lesions about as bright as the tissue around them, seen by a dark rim."""


def implanted(backgrounds: Sequence[Clip], count: int, seed: int) -> Clip:
    """Make `count` stills with synthetic lesions.

    What the masks of `backgrounds` mark is kept out of sight or fills the whole crop.
    """
    rng = np.random.default_rng(seed)
    made: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    while len(made) < count:
        clip = backgrounds[int(rng.integers(len(backgrounds)))]
        t = rng.integers(len(clip.frames))
        crop = _crop(rng, clip.frames[t], clip.masks[t])
        mask = None if crop is None else _place(rng, crop)
        if crop is not None and mask is not None:
            made.append((_implant(rng, crop, mask), mask.astype(np.uint8)))
    frames, masks = zip(*made, strict=True)
    return Clip(f"implants/{backgrounds[0].name}", np.stack(frames), np.stack(masks), stills=True)


def _crop(
    rng: np.random.Generator, frame: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.float32] | None:
    """Crop a picture where nothing is marked, and enlarge the grey crop to ``(H, W)``, or return None."""
    height, width = mask.shape
    for _ in range(8):
        side = int(rng.uniform(min(SMALLEST_CROP, height), height + 1))
        top, left = rng.integers(0, height - side + 1), rng.integers(0, max(1, width - side + 1))
        piece = (slice(top, top + side), slice(left, left + side))
        marked = mask[piece].mean()
        if 0.02 < marked < 0.98 or frame[piece].mean() < 25:
            continue
        grey = frame[piece].mean(-1).astype(np.float32)
        return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return None


def _outline(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Mask ``(H, W)`` of a blob: an ellipse whose radius waves."""
    height, width = size
    row, column = height * rng.uniform(0.25, 0.75), width * rng.uniform(0.25, 0.75)
    radius, flat = min(size) * np.exp(rng.uniform(np.log(0.07), np.log(0.28))), rng.uniform(0.5, 1.15)
    tilt = rng.normal(0, 0.4)
    ys, xs = np.mgrid[:height, :width]
    y, x = ys - row, xs - column
    y, x = (y * np.cos(tilt) - x * np.sin(tilt)) / flat, y * np.sin(tilt) + x * np.cos(tilt)
    angle = np.arctan2(y, x)
    waves = sum(
        rng.normal(0, 0.22 / (k * rng.uniform(0.7, 2.0))) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
        for k in range(2, 9)
    )
    return (np.hypot(y, x) < radius * (1 + waves)).astype(np.float32)


def _place(rng: np.random.Generator, grey: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Mask ``(H, W)`` of a blob that lies on tissue, neither dark nor white, or None if no place is found."""
    level = cv2.GaussianBlur(grey, (0, 0), 4.0)
    tissue = (level > 20) & (level < 240)
    for _ in range(8):
        mask = _outline(rng, (grey.shape[0], grey.shape[1]))
        if mask.sum() > 60 and tissue[mask > 0].mean() > 0.85:
            return mask
    return None


def _implant(
    rng: np.random.Generator, grey: NDArray[np.float32], mask: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Set a lesion into a picture, perhaps beside vessels, ``(H, W, 3)``."""
    if rng.random() < WITH_VESSELS:
        grey = with_vessels(rng, grey, mask)
    soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 4.0))
    rim = cv2.GaussianBlur(mask, (0, 0), 3.0) * (1 - mask)
    behind = cv2.GaussianBlur(np.maximum.accumulate(mask, axis=0) * (1 - mask), (0, 0), 6.0)
    as_bright = rng.random() < AS_BRIGHT
    inside = _inside(rng, grey, mask, as_bright)
    bright_rim = rng.uniform(0.3, 1.2) if rng.random() < 0.3 else 0.0
    edge = -rng.uniform(0.8, 1.6) if as_bright else bright_rim
    around = grey * np.clip(1 + behind * rng.uniform(-0.45, 0.4) + rim * edge, 0.1, None)
    mixed = np.clip(around * (1 - soft) + inside * soft, 0, 255).astype(np.uint8)
    return np.repeat(mixed[..., None], 3, axis=2)


def _inside(
    rng: np.random.Generator, grey: NDArray[np.float32], mask: NDArray[np.float32], as_bright: bool
) -> NDArray[np.float32]:
    """Brightness ``(H, W)`` of the lesion: darker, brighter, or `as_bright` as the tissue around it."""
    broad = cv2.GaussianBlur(grey, (0, 0), 12.0)
    grain = grey - cv2.GaussianBlur(grey, (0, 0), 4.0)
    level = max(1.0, float(grey[mask > 0].mean()))
    if as_bright:
        ratio = rng.uniform(0.85, 1.1)
    else:
        ratio = rng.uniform(0.15, 0.75) if rng.random() < 0.85 else rng.uniform(1.25, 1.7)
    flat = rng.uniform(0.2, 0.9)
    inside = ratio * ((1 - flat) * broad + flat * level + grain * rng.uniform(0.3, 1.0))
    if rng.random() < WITH_SPECKS:
        inside += _specks(rng, mask)
    return np.asarray(inside, np.float32)


def _specks(rng: np.random.Generator, mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness ``(H, W)`` of a few calcifications inside a lesion."""
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows), size=int(rng.integers(2, 12)))
    points = np.zeros(mask.shape, np.float32)
    points[rows[chosen], columns[chosen]] = rng.uniform(80, 220, len(chosen))
    size = rng.uniform(0.6, 1.6)
    return np.asarray(cv2.GaussianBlur(points, (0, 0), size) * (2 * np.pi * size**2), np.float32)


def with_vessels(
    rng: np.random.Generator, grey: NDArray[np.float32], mask: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Draw one or two dark tubes into a picture ``(H, W)``, away from the lesion."""
    height, width = grey.shape
    drawn = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        row, slope, bow = rng.uniform(0, height), rng.normal(0, 0.25), rng.normal(0, 0.2)
        across = np.linspace(-0.5, 0.5, 24)
        rows = row + height * (slope * across + bow * across**2)
        line = np.stack([(across + 0.5) * width, rows], 1).round().astype(np.int32)
        begin = int(rng.integers(0, 12))
        line = line[begin : begin + int(rng.integers(8, 24))]
        cv2.polylines(drawn, [line], False, 1, int(height * rng.uniform(0.02, 0.1)))
    near = cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0
    tube = cv2.GaussianBlur(np.where(near, 0, drawn).astype(np.float32), (0, 0), rng.uniform(0.8, 2.5))
    return np.asarray(grey * (1 - tube * rng.uniform(0.6, 0.95)), np.float32)
