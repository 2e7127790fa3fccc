"""A small network that estimates the affine motion between two patches of boundary.

It is trained beforehand, on edges of real and synthetic masks moved by known transforms, and frozen while a Vivim
trains (`vivim.training.boundary_loss`). ``scripts/fit_affine_regressor.py`` made the one in the package.
"""

import itertools
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vivim.errors import VivimError

PATCH = 32
"""Side in pixels of the pieces it compares."""

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
