"""The boundary-aware affine constraint, used in training only.

Source: Yang, Xing, Zhu, "Vivim" (arXiv 2401.14168). A head on the first stage's feature predicts an edge map. In
each patch a frozen regressor estimates the affine motion from the predicted to the true edges. The loss pulls this
motion towards the identity for the frame's own edges, and slightly away from it for those of the clip's first frame.
The regressor was trained beforehand, on edges of real and synthetic masks moved by known transforms.
``scripts/fit_affine_regressor.py`` made the one in the package.
"""

import itertools
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from vivim.errors import VivimError

PATCH = 32
"""Side in pixels of the pieces that the regressor compares."""

WEIGHTS = Path(__file__).with_name("weights") / "affine.safetensors"


class AffineRegressor(nn.Module):
    """Network of 0.25 million parameters, from two edge patches to the transform between them."""

    def __init__(self) -> None:
        super().__init__()
        widths = (2, 24, 48, 96)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
        side = PATCH // 2 ** (len(widths) - 1)
        layers += [nn.Flatten(), nn.Linear(widths[-1] * side * side, 128), nn.GELU(), nn.Linear(128, 6)]
        self.layers = nn.Sequential(*layers)

    def forward(self, target: Tensor, moved: Tensor) -> Tensor:
        """Estimate ``theta - I``, ``(n, 2, 3)``, the motion between patches ``(n, 32, 32)`` of edges in [0, 1].

        ``target(x) = moved(theta x)``, in units of half a patch.
        """
        return self.layers(torch.stack((target, moved), 1)).view(-1, 2, 3)


@cache
def _weights() -> dict[str, Tensor]:
    if not WEIGHTS.is_file():
        raise VivimError(
            f"{WEIGHTS} is missing: install the package again, or make it with scripts/fit_affine_regressor.py."
        )
    return {name: value.float() for name, value in load_file(WEIGHTS).items()}


def load_regressor(device: torch.device) -> AffineRegressor:
    """Load the frozen regressor of the package."""
    regressor = AffineRegressor()
    regressor.load_state_dict(_weights())
    return regressor.eval().requires_grad_(False).to(device)


PUSH = 0.01
"""Weight of the distance from the first frame's boundary."""

FEWEST_EDGE_PIXELS = 8
"""Patches with fewer true edge pixels are left out, since there is nothing to align to."""


class BoundaryHead(nn.Module):
    """Three convolutions from the first stage's feature ``(n, width, h, w)`` to edge logits ``(n, 1, h, w)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 1)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, -3.0)  # few pixels are edges

    def forward(self, feature: Tensor) -> Tensor:
        """Edge logits on the feature's grid."""
        return self.last(F.relu(self.second(F.relu(self.first(feature)))))


def sobel_edges(masks: Tensor) -> Tensor:
    """Edges of masks ``(n, 1, H, W)`` float: 1 where Sobel's gradient is not zero, else 0."""
    across = masks.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((across, across.t()))[:, None]
    gradient = F.conv2d(F.pad(masks, (1, 1, 1, 1), mode="replicate"), kernels)
    return (gradient.abs().sum(1, keepdim=True) > 0.5).to(masks.dtype)


def patches(pictures: Tensor) -> Tensor:
    """Cut ``(n, 1, H, W)`` into ``(n, H // 32 * W // 32, 32, 32)``."""
    rows = pictures[:, 0].unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)
    return rows.flatten(1, 2)


def boundary_losses(
    logits: Tensor, masks: Tensor, regressor: AffineRegressor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the two losses of the constraint from edge logits ``(B, T, h, w)`` and masks ``(B, T, H, W)`` of 0 and 1.

    Returns the sum over patches with edges of ``|theta(true, predicted) - I| - 0.01 |theta(first, predicted) - I|``,
    how many patches these were, and the mean cross-entropy of edges of each clip, ``(B,)``.
    """
    clips, frames = masks.shape[:2]
    true = sobel_edges(masks.flatten(0, 1)[:, None])
    upsampled = F.interpolate(
        logits.flatten(0, 1)[:, None].float(), size=masks.shape[-2:], mode="bilinear", align_corners=False
    )
    cross_entropy = F.binary_cross_entropy_with_logits(upsampled, true, reduction="none")
    predicted, target = patches(upsampled.sigmoid()), patches(true)
    first = target.unflatten(0, (clips, frames))[:, :1].expand(-1, frames, -1, -1, -1).flatten(0, 1)
    has_edges = target.sum((-1, -2)) >= FEWEST_EDGE_PIXELS
    first_has = has_edges & (first.sum((-1, -2)) >= FEWEST_EDGE_PIXELS)
    pull = _away(regressor, target, predicted)
    push = _away(regressor, first, predicted)
    affine = (pull * has_edges).sum() - PUSH * (push * first_has).sum()
    return affine, has_edges.sum(), cross_entropy.unflatten(0, (clips, frames)).mean((1, 2, 3, 4))


def _away(regressor: AffineRegressor, target: Tensor, moved: Tensor) -> Tensor:
    """``|theta - I|_F`` of patches ``(n, p, 32, 32)`` as ``(n, p)``, smoothed at 0."""
    found = regressor(target.flatten(0, 1), moved.flatten(0, 1))
    return (found.square().sum((-1, -2)) + 1e-6).sqrt().view(target.shape[:2])
