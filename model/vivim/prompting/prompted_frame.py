"""A frame that is being prompted: what was said so far, the mask that came of it, and every step back.

A trained head obeys most prompts by itself. Here it is made certain, on the network's grid and smoothly, that prompted
places are as said, and that what is far from the newest prompt stays.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivim.inference.batch_runner import precision_context
from vivim.network import Vivim
from vivim.prompting.encoding import EncodedFrame, check_frames, check_takes_prompts, encode_frame
from vivim.prompting.grid import CERTAIN, OUTSIDE, blurred, distance_to, to_tensor
from vivim.prompting.prompts import Box, Prompts


class PromptedFrame:
    """Prompts of one class on one frame, in the order in which they come, perhaps with a mask to start from.

    Every prompt sees the mask that the ones before it have led to. It changes what is near it.
    """

    def __init__(self, frame: EncodedFrame, class_id: int = 1, mask: NDArray | None = None) -> None:
        check_takes_prompts(frame.model, class_id)
        self.frame, self.class_id = frame, class_id
        start = Prompts() if mask is None else Prompts.checked(frame.grid.whole, mask=mask)
        self._steps: list[tuple[Prompts, NDArray[np.float32] | None]] = [(start, None)]

    @property
    def prompts(self) -> Prompts:
        """What is said now."""
        return self._steps[-1][0]

    @property
    def logits(self) -> NDArray[np.float32]:
        """Logits ``(H, W)`` float32 of the class. Of the mask to start from where nothing has been prompted."""
        prompts, logits = self._steps[-1]
        grid = self.frame.grid
        if logits is not None:
            return grid.to_picture(logits, prompts)
        if prompts.mask is None:
            return np.full(grid.whole, OUTSIDE, np.float32)
        return np.where(prompts.mask, CERTAIN, -CERTAIN).astype(np.float32)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels ``(H, W)`` that are of the class now."""
        return self.logits > 0

    def add_point(self, y: float, x: float, label: int) -> None:
        """Take a click at row `y` and column `x`: lesion (1) or not (0)."""
        given = Prompts.checked(self.frame.grid.whole, points=[(y, x)], point_labels=[label])
        self._add(self.prompts.with_point(*given.points[0], given.point_labels[0]), given)

    def add_scribble(self, scribble: NDArray) -> None:
        """Take a stroke ``(H, W)`` int8: 1 lesion, -1 not, 0 unsaid."""
        given = Prompts.checked(self.frame.grid.whole, scribble=scribble)
        assert given.scribble is not None
        self._add(self.prompts.with_scribble(given.scribble), given)

    def add_box(self, box: Box) -> None:
        """Take a box ``(y0, x0, y1, x1)``, inclusive. It replaces the one before."""
        given = Prompts.checked(self.frame.grid.whole, box=box)
        self._add(self.prompts.with_box(given.box), given)

    def undo(self) -> bool:
        """Take the last step back. False where there is none."""
        if len(self._steps) == 1:
            return False
        self._steps.pop()
        return True

    def replace(self, prompts: Prompts) -> None:
        """Say something else instead, from the beginning: such as all of it but one point. This can be undone."""
        self._steps.append((prompts, self._replay(prompts)))

    def _add(self, prompts: Prompts, given: Prompts) -> None:
        self._steps.append((prompts, self._segment(prompts, given, self._steps[-1][1])))

    def _replay(self, prompts: Prompts) -> NDArray[np.float32] | None:
        """Logits of the grid, as if all were said again: box, scribble, points in order.

        Points that are right already wait for the next that is not, so that many of them cost little.
        """
        so_far, logits = Prompts(mask=prompts.mask), None
        if prompts.box is not None:
            so_far = so_far.with_box(prompts.box)
            logits = self._segment(so_far, Prompts(box=prompts.box), logits)
        if prompts.scribble is not None:
            so_far = replace(so_far, scribble=prompts.scribble)
            logits = self._segment(so_far, Prompts(scribble=prompts.scribble), logits)
        new = Prompts()
        for number, (point, label) in enumerate(zip(prompts.points, prompts.point_labels, strict=True), 1):
            so_far, new = so_far.with_point(*point, label), new.with_point(*point, label)
            right = self._inside(logits, prompts, self.frame.grid.cell_of(*point)) == bool(label)
            if not right or number == len(prompts.points):
                logits, new = self._segment(so_far, new, logits), Prompts()
        if logits is None and prompts.mask is not None:
            logits = self._segment(so_far, Prompts(), None)
        return logits

    def _inside(self, logits: NDArray | None, prompts: Prompts, cell: tuple[int, int]) -> bool | None:
        """Whether a cell is of the class before the next prompt. None where there is no mask yet."""
        if logits is not None:
            return bool(logits[cell] > 0)
        return None if prompts.mask is None else bool(self.frame.grid.mask(prompts.mask)[cell] > 0.5)

    def _segment(
        self, prompts: Prompts, given: Prompts, before: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Logits ``(h, w)`` of the grid after what is `given` now, `prompts` being all that is said."""
        frame, grid, spread = self.frame, self.frame.grid, self.frame.grid.spread
        lesion, other = grid.places(prompts)
        more, less = grid.places(given)
        start: NDArray | None = None if prompts.mask is None else grid.mask(prompts.mask)
        if before is not None:
            start = 1 / (1 + np.exp(-before))
        planes = [
            blurred(lesion, spread),
            blurred(other, spread),
            blurred(more, spread) - blurred(less, spread),
            grid.box(prompts),
            np.zeros(grid.cells) if start is None else start,
            np.full(grid.cells, float(start is not None)),
        ]
        logits = self._head(to_tensor(planes, frame.device)).cpu().numpy()
        newest = more | less
        if before is None and prompts.mask is not None:
            before = grid.start(prompts.mask)
        if before is not None and newest.any():
            logits = keep_far(logits, before, newest)
        return obey(logits, lesion, other)

    def _head(self, planes: Tensor) -> Tensor:
        head = self.frame.model.prompt_head
        assert head is not None
        embedded = self.frame.embedded(self.class_id)
        with torch.inference_mode(), precision_context("auto", self.frame.device):
            return head(embedded, planes)[0, 0].float()


MARGIN = 1.0
"""Logit that a prompted place has at least."""

FREE, FIXED = 64.0, 128.0
"""Nearer to a new prompt than the first, everything may change; farther than the second, nothing; in cells of a grid
of 256 cells a side."""

NEAR = 16.0
"""A region that changes stays as it was unless it comes so near to a new prompt."""


def keep_far(
    logits: NDArray[np.float32], before: NDArray[np.float32], newest: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Undo what has changed in logits ``(h, w)`` far from the cells ``(h, w)`` of the newest prompts, at least one."""
    scale = logits.shape[0] / 256
    away = distance_to(newest)
    weight = np.clip((FIXED * scale - away) / ((FIXED - FREE) * scale), 0, 1)
    mixed = before + weight * (logits - before)
    changed = ((mixed > 0) != (before > 0)).astype(np.uint8)
    count, regions = cv2.connectedComponents(changed, connectivity=8)
    near = np.zeros(count, bool)
    near[np.unique(regions[away <= NEAR * scale])] = True
    undone = (changed > 0) & ~near[regions]
    return np.where(undone, before, mixed).astype(np.float32)


def obey(
    logits: NDArray[np.float32], lesion: NDArray[np.bool_], other: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Raise logits ``(h, w)`` smoothly at cells said to be lesion, and lower them at those said not to be."""
    for places, sign in ((lesion, 1.0), (other, -1.0)):
        missing = np.where(places, np.maximum(0, MARGIN - sign * logits), 0).astype(np.float32)
        if missing.any():
            wide = cv2.dilate(missing, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
            spread = np.maximum(missing, cv2.GaussianBlur(wide, (0, 0), 1.5))
            logits = (logits + sign * spread).astype(np.float32)
    certain = np.where(lesion, np.maximum(logits, MARGIN), logits)
    return np.where(other, np.minimum(certain, -MARGIN), certain).astype(np.float32)


def prompt(
    model: Vivim,
    frames: Any,
    frame: int = 0,
    points: Sequence[tuple[float, float]] = (),
    point_labels: Sequence[int] | None = None,
    box: tuple[float, float, float, float] | None = None,
    scribble: NDArray | None = None,
    mask: NDArray | None = None,
    class_id: int = 1,
    device: str = "auto",
) -> NDArray[np.float32]:
    """Segment what is prompted in one frame.

    Points are taken in their order, each seeing the mask that those before it have led to. A prompted pixel has the
    label asked for. Where the same pixel is given two, the later counts. What is far from a prompt stays as it was.

    Parameters
    ----------
    model : Vivim
        One that takes prompts, such as the starter. It is moved to the device and put into evaluation mode.
    frames : array_like
        ``(T, H, W, 3)`` or ``(T, H, W)``, uint8 or uint16: the frame and what is around it in time. A still has T = 1.
    frame : int
        Which of them is prompted.
    points : sequence of (float, float)
        Row and column of each, in pixels.
    point_labels : sequence of int, optional
        For each point 1 for lesion, 0 for not. All 1 by default.
    box : tuple of float, optional
        ``(y0, x0, y1, x1)`` in pixels, inclusive.
    scribble : ndarray, optional
        ``(H, W)`` int8: 1 lesion, -1 not, 0 unsaid.
    mask : ndarray, optional
        ``(H, W)``: the mask to start from, nonzero is inside.
    class_id : int
        The class that is prompted, from 1.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Returns
    -------
    ndarray
        Logits ``(H, W)`` float32 of the class in that frame. Above 0 is lesion.

    Raises
    ------
    ValueError
        If nothing is prompted, a prompt lies outside of the picture, or a shape or label is wrong.
    CheckpointError
        If the model was not trained for prompts.
    DeviceError
        If the device is absent, or its memory too small.
    """
    check_takes_prompts(model, class_id)
    check_frames(frames, frame)
    given = Prompts.checked(np.shape(frames)[1:3], points, point_labels, box, scribble, mask)
    prompted = PromptedFrame(encode_frame(model, frames, frame, device), class_id)
    prompted.replace(given)
    return prompted.logits
