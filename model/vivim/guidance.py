"""Guidance: what the corrected frames say about the others, as two planes beside every frame.

A corrected mask, as a signed distance, follows the motion of the picture (dense optical flow) to the frames
around it. The network gets that guess and a confidence that falls with the distance in time, and refines it with
what it sees. Everything here works at the network's input size.

Signed distances are in pixels, positive inside the lesion, cut at `vivim.distance.MAX_DISTANCE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    import cv2

SOFTNESS = 8.0
"""Pixels over which the squashed distance goes from 0 to 0.76."""

CONFIDENCE_DECAY = 8.0
"""Frames over which the confidence in a propagated mask falls by a factor e."""


FINEST_SCALE = 2
"""Flow is worked out down to pictures of a quarter of the side: finer than that it follows grain, which in ultrasound
changes from frame to frame, and takes several times as long."""


class OpticalFlow:
    """Dense optical flow between grey pictures (DIS, Kroeger et al. 2016, through OpenCV); for one thread."""

    def __init__(self) -> None:
        # by shape and by whether a start is given: OpenCV's object keeps the scales that it chose for small pictures,
        # and the start that it was once given
        self._found: dict[tuple[tuple[int, ...], bool], cv2.DISOpticalFlow] = {}

    def __call__(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        start: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Displacement ``(H, W, 2)`` in pixels (x, y): where each pixel of `source` lies in `target`.

        Looked for from `start` on, another such displacement, where one is given.
        """
        key = source.shape, start is None
        if key not in self._found:
            self._found = {known: dis for known, dis in self._found.items() if known[0] == source.shape}
            self._found[key] = _optical_flow()
        begin = None if start is None else start.copy()  # OpenCV writes into it
        return self._found[key].calc(source, target, begin)  # type: ignore[arg-type, return-value]  # stubs lack None


def _optical_flow() -> cv2.DISOpticalFlow:
    import cv2

    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(FINEST_SCALE)
    return flow


def confidence(frames_away: Tensor) -> Tensor:
    """Confidence in a mask propagated over `frames_away` frames: 1 at 0, else 0.9 exp(-d / 8)."""
    fading = 0.9 * torch.exp(-frames_away / CONFIDENCE_DECAY)
    return torch.where(frames_away == 0, torch.ones_like(fading), fading)


def planes(distance: Tensor, frames_away: Tensor) -> Tensor:
    """Guide planes ``(..., 2, H, W)`` from distances ``(..., H, W)`` and frames to the nearest corrected one.

    `frames_away` has the leading shape of `distance`; infinite means unknown and gives zeros.
    """
    known = torch.isfinite(frames_away)[..., None, None]
    trust = confidence(torch.where(torch.isfinite(frames_away), frames_away, 0.0))[..., None, None]
    squashed = torch.where(known, torch.tanh(distance / SOFTNESS), 0.0)
    return torch.stack((squashed, torch.where(known, trust, 0.0).expand_as(squashed)), dim=-3)
