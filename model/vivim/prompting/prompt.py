"""`vivim.prompt`: the mask of one frame from clicks, a box, a scribble, or a mask to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vivim.prompting.encoding import check_frames, check_takes_prompts, encode_frame
from vivim.prompting.prompted_frame import PromptedFrame
from vivim.prompting.prompts import Prompts

if TYPE_CHECKING:
    from vivim.network import Vivim


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
