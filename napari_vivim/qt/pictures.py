"""Small pictures of frames."""

import cv2
import numpy as np
from numpy.typing import NDArray
from qtpy.QtGui import QImage, QPixmap


def small(frame: NDArray, size: tuple[int, int], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Scale a frame to fit into some pixels.

    Parameters
    ----------
    frame : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16.
    size : tuple of int
        Greatest width and height of the result.
    limits : tuple of float
        Values of a grey frame that are shown as black and white.

    Returns
    -------
    ndarray
        ``(h, w, 3)`` uint8.
    """
    scale = min(size[0] / frame.shape[1], size[1] / frame.shape[0])
    new_size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    scaled = cv2.resize(frame, new_size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if scaled.ndim == 3:
        return np.asarray(scaled, np.uint8)
    low, high = limits
    grey = np.clip((scaled.astype(np.float32) - low) / max(1e-9, high - low), 0, 1) * 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)


def pixmap_of(picture: NDArray[np.uint8]) -> QPixmap:
    """A picture ``(h, w, 3)`` uint8 for Qt."""
    height, width = picture.shape[:2]
    data = np.ascontiguousarray(picture).tobytes()
    return QPixmap.fromImage(QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888))
