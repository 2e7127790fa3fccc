"""From pixels of the picture to the network's grid and back: the only place that knows both."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vivim.imaging.roi import Area, crop, size_of
from vivim.prompting.prompts import Prompts, pixel_of

SPREAD = 5.0
"""Standard deviation of a prompted place, in cells of a grid of 256 cells a side."""

CERTAIN = 4.0
"""Logit that stands for the inside of a mask to start from."""

OUTSIDE = -20.0
"""Logit outside of the area that the network sees."""


@dataclass(frozen=True)
class Grid:
    """The network's grid over a picture."""

    whole: tuple[int, int]
    """Height and width of the picture in pixels."""
    cells: tuple[int, int]
    """Height and width of the grid."""
    area: Area | None = None
    """The part of the picture that the grid covers, see `vivim.imaging.roi`."""

    @property
    def spread(self) -> float:
        """Standard deviation of a prompted place, in cells."""
        return SPREAD * self.cells[0] / 256

    def cell_of(self, y: float, x: float) -> tuple[int, int]:
        """The cell that a place of the picture lies in, or a `ValueError` where that is outside of the area."""
        top, left = self.area[:2] if self.area is not None else (0, 0)
        size = size_of(self.area, self.whole)
        row = int(np.floor((y + 0.5 - top) * self.cells[0] / size[0]))
        column = int(np.floor((x + 0.5 - left) * self.cells[1] / size[1]))
        if not (0 <= row < self.cells[0] and 0 <= column < self.cells[1]):
            raise ValueError(
                f"The place at row {y:.0f}, column {x:.0f} lies outside of the picture area, where the model sees "
                "nothing: widen the area, or draw there by hand."
            )
        return row, column

    def places(self, prompts: Prompts) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Cells said to be lesion, and cells said not to be, by points and scribble. The newest counts."""
        said = np.zeros(self.cells, np.int8)
        if prompts.scribble is not None:
            rows, columns = np.nonzero(crop(prompts.scribble, self.area))
            drawn = crop(prompts.scribble, self.area)[rows, columns]
            size = size_of(self.area, self.whole)
            said[rows * self.cells[0] // size[0], columns * self.cells[1] // size[1]] = drawn
        for (y, x), label in zip(prompts.points, prompts.point_labels, strict=True):
            said[self.cell_of(y, x)] = 1 if label else -1
        return said > 0, said < 0

    def box(self, prompts: Prompts) -> NDArray[np.bool_]:
        """Cells inside the box, nowhere without one."""
        inside = np.zeros(self.cells, bool)
        if prompts.box is not None:
            y0, x0, y1, x1 = prompts.box
            if self.area is not None:  # what is outside is not seen anyway
                y0, x0 = max(y0, self.area[0]), max(x0, self.area[1])
                y1, x1 = min(y1, self.area[2] - 1), min(x1, self.area[3] - 1)
            (top, left), (bottom, right) = self.cell_of(y0, x0), self.cell_of(y1, x1)
            inside[top : bottom + 1, left : right + 1] = True
        return inside

    def mask(self, mask: NDArray) -> NDArray[np.float32]:
        """Part of each cell that is inside a mask ``(H, W)`` of the picture."""
        inside = np.ascontiguousarray(crop(mask, self.area), np.float32)
        smaller = inside.shape[0] > self.cells[0] and inside.shape[1] > self.cells[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(inside, self.cells[::-1], interpolation=how), np.float32)

    def start(self, mask: NDArray) -> NDArray[np.float32]:
        """Logits ``(h, w)`` that stand for a mask ``(H, W)`` to start from."""
        return CERTAIN * (2 * self.mask(mask) - 1)

    def to_picture(self, logits: NDArray[np.float32], prompts: Prompts) -> NDArray[np.float32]:
        """Logits ``(h, w)`` of the grid as those of the picture ``(H, W)``, where every prompted pixel is as said.

        Where nothing has changed the mask to start from, it stays to the pixel.
        """
        picture = np.full(self.whole, OUTSIDE, np.float32)
        seen = crop(picture, self.area)
        seen[:] = _enlarged(logits, seen.shape)
        if prompts.mask is not None:
            changed = _enlarged(np.asarray(logits != self.start(prompts.mask), np.float32), seen.shape) > 0
            exact = np.where(crop(prompts.mask, self.area), CERTAIN, -CERTAIN)
            seen[:] = np.where(changed, seen, exact)
        said = np.zeros(self.whole, np.int8) if prompts.scribble is None else prompts.scribble.copy()
        for point, label in zip(prompts.points, prompts.point_labels, strict=True):
            said[pixel_of(point)] = 1 if label else -1
        return np.where(said == 0, picture, said * np.maximum(said * picture, 0.5)).astype(np.float32)


def _enlarged(plane: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    source = torch.from_numpy(plane)[None, None]
    return F.interpolate(source, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()


def blurred(places: NDArray[np.bool_], spread: float) -> NDArray[np.float32]:
    """Gaussian of the distance to the nearest of some cells, 1 at each of them, 0 everywhere without any."""
    if not places.any():
        return np.zeros(places.shape, np.float32)
    away = distance_to(places)
    return np.exp(-(away**2) / (2 * spread**2), dtype=np.float32)


def distance_to(places: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each cell to the nearest of some cells, in cells."""
    return np.asarray(
        cv2.distanceTransform((~places).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32
    )


def to_tensor(planes: list[NDArray], device: torch.device) -> Tensor:
    """Planes ``(h, w)`` as one tensor ``(1, n, h, w)`` float32."""
    return torch.from_numpy(np.stack([np.asarray(plane, np.float32) for plane in planes]))[None].to(device)
