"""Resize frames and masks to the size that a network works on."""

import cv2
import numpy as np
from numpy.typing import NDArray


def resize_frame(frame: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize one decoded frame to RGB uint8 ``(*size, 3)``. As in the paper, the aspect is not kept.

    16-bit frames are stretched from their own minimum and maximum to 8 bits.
    """
    if frame.dtype != np.uint8:
        low, high = float(frame.min()), float(frame.max())
        frame = ((frame.astype(np.float32) - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
    if frame.shape[:2] != size:
        shrinking = frame.shape[0] > size[0] and frame.shape[1] > size[1]
        frame = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else np.ascontiguousarray(frame)


def resize_mask(mask: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a label mask ``(H, W)`` to ``size`` by nearest neighbour."""
    resized = cv2.resize(np.ascontiguousarray(mask), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8)
