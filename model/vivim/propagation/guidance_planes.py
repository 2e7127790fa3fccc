"""Guidance: what the corrected frames say about the others, as two planes beside every frame.

A corrected mask, as a signed distance, is propagated along dense optical flow to the frames around it. The network
gets that guess and a confidence that falls with the distance in time, and refines it with what it sees. Everything
here works at the network's input size.

Signed distances are in pixels, positive inside the lesion, clipped at `vivim.imaging.signed_distance.MAX_DISTANCE`.
"""

import torch
from torch import Tensor

SOFTNESS = 8.0
"""Pixels over which the squashed distance goes from 0 to 0.76."""

CONFIDENCE_DECAY = 8.0
"""Frames over which the confidence in a propagated mask falls by a factor e."""


def confidence(frames_away: Tensor) -> Tensor:
    """Confidence in a mask propagated over `frames_away` frames: 1 at 0, else 0.9 exp(-d / 8)."""
    fading = 0.9 * torch.exp(-frames_away / CONFIDENCE_DECAY)
    return torch.where(frames_away == 0, torch.ones_like(fading), fading)


def planes(distance: Tensor, frames_away: Tensor) -> Tensor:
    """Guide planes ``(..., 2, H, W)`` from distances ``(..., H, W)`` and frames to the nearest corrected one.

    `frames_away` has the leading shape of `distance`. Infinite means unknown and gives zeros.
    """
    known = torch.isfinite(frames_away)[..., None, None]
    fading = confidence(torch.where(torch.isfinite(frames_away), frames_away, 0.0))[..., None, None]
    squashed = torch.where(known, torch.tanh(distance / SOFTNESS), 0.0)
    return torch.stack((squashed, torch.where(known, fading, 0.0).expand_as(squashed)), dim=-3)
