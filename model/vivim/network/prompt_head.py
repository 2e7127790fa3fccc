"""The prompt head: from the cached features of one frame and what a person has clicked, a mask.

The encoder runs once a frame. Everything that does not depend on prompts is computed once, too (`PromptHead.embed`).
Then each click costs one pass over three small grids, tens of milliseconds on two cores. The head knows no classes: it
segments what was prompted. What the network by itself takes for the class is one of its inputs.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLANES = ("lesion", "not lesion", "newest", "box", "mask", "has mask")
"""Prompt planes, in this order: places said to be lesion or not, in [0, 1]; the newest of them, signed; the inside of
the box; the probability of the mask to start from; and 1 everywhere where there is such a mask."""

WIDTH, COARSE_WIDTH, DETAIL_WIDTH, KEY_WIDTH = 64, 112, 24, 32

OWN_PLANES = 2
"""Logits of the network itself that the head sees: of the class, and of organs."""

SIMILARITY_GRID = 32
"""Places along a side that are compared with each other."""

SHARPNESS = 8.0
"""Factor on cosines. A place is like a prompt if it is like any part of it, the more so the sharper."""


class EmbeddedFrame(NamedTuple):
    """What the head keeps of frames, whatever is prompted."""

    context: Tensor
    """``(n, WIDTH, H/4, W/4)``"""
    detail: Tensor
    """``(n, DETAIL_WIDTH, H/2, W/2)``"""
    likeness: Tensor
    """``(n, g * g, g * g)``: of each place on the similarity grid to each other, in (0, 1]."""


class Block(nn.Module):
    """A dilated depthwise convolution, a pointwise pair of layers, and a term from the mean of the whole frame."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.reduce = nn.Conv2d(2 * width, width, 1)
        self.overall = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width, h, w)`` in and out."""
        y = self.reduce(F.gelu(self.expand(self.depthwise(self.norm(x)))))
        return x + y + self.overall(x.mean((2, 3)))[:, :, None, None]


class PromptHead(nn.Module):
    """Logits of what is prompted, from features (`widths` are their channels), picture and prompt planes."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.features = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in widths)
        self.features_norm = nn.GroupNorm(8, WIDTH)
        self.picture_half = nn.Conv2d(3, 16, 3, 2, padding=1)
        self.picture_quarter = nn.Conv2d(16, 32, 3, 2, padding=1)
        self.context = nn.Conv2d(WIDTH + 32 + OWN_PLANES, WIDTH, 1)
        self.detail = nn.Conv2d(16, DETAIL_WIDTH, 1)
        self.key = nn.Conv2d(WIDTH, KEY_WIDTH, 1)
        self.prompts_half = nn.Conv2d(len(PLANES), DETAIL_WIDTH, 3, 2, padding=1)
        self.prompts_quarter = nn.Conv2d(DETAIL_WIDTH, 48, 3, 2, padding=1)
        self.mix = nn.Conv2d(WIDTH + 48 + 6, WIDTH, 1)
        self.before = nn.Sequential(*(Block(WIDTH, dilation) for dilation in (1, 2)))
        self.down = nn.Conv2d(WIDTH, COARSE_WIDTH, 2, 2)
        self.coarse = nn.Sequential(*(Block(COARSE_WIDTH, dilation) for dilation in (1, 2, 4, 2, 1)))
        self.up = nn.Conv2d(COARSE_WIDTH, WIDTH, 1)
        self.after = nn.Sequential(*(Block(WIDTH, dilation) for dilation in (1, 2, 1)))
        self.to_half = nn.Conv2d(WIDTH, DETAIL_WIDTH, 1)
        self.prompts_detail = nn.Conv2d(DETAIL_WIDTH, DETAIL_WIDTH, 1)
        self.refine = nn.Conv2d(DETAIL_WIDTH, DETAIL_WIDTH, 3, padding=1)
        self.classify = nn.Conv2d(DETAIL_WIDTH, 1, 3, padding=1)

    def embed(self, features: list[Tensor], picture: Tensor, own: Tensor) -> EmbeddedFrame:
        """Compute what does not depend on prompts.

        `features` are those of the frames that are prompted, ``(n, width, h, w)``, `picture` these frames, normalised,
        ``(n, 3, H, W)``, and `own` the network's logits of the class and of organs, ``(n, OWN_PLANES, H/4, W/4)``.
        """
        size = features[0].shape[-2:]
        total = sum(
            _resized(reduce(feature), size) for reduce, feature in zip(self.features, features, strict=True)
        )
        half = F.gelu(self.picture_half(picture))
        quarter = F.gelu(self.picture_quarter(half))
        context = self.context(torch.cat((self.features_norm(total), quarter, torch.tanh(own / 4)), dim=1))
        key = F.adaptive_avg_pool2d(self.key(context), SIMILARITY_GRID).flatten(2).float()
        key = F.normalize(key, dim=1)
        with torch.autocast(key.device.type, enabled=False):  # exponentials of rounded cosines are off
            likeness = torch.exp(SHARPNESS * (key.transpose(1, 2) @ key - 1))
        return EmbeddedFrame(context, self.detail(half), likeness)

    def forward(self, frame: EmbeddedFrame, prompts: Tensor) -> Tensor:
        """Segment what is prompted: planes ``(n, len(PLANES), H, W)`` to logits ``(n, 1, H, W)``."""
        half = F.gelu(self.prompts_half(prompts))
        quarter = F.gelu(self.prompts_quarter(half))
        size = frame.context.shape[-2:]
        x = self.mix(torch.cat((frame.context, quarter, self._similarity(frame, prompts, size)), dim=1))
        x = self.before(x)
        x = self.after(x + _resized(self.up(self.coarse(self.down(x))), size))
        x = _resized(self.to_half(x), half.shape[-2:])
        x = F.gelu(x + frame.detail + self.prompts_detail(half))
        return _resized(self.classify(F.gelu(self.refine(x))), prompts.shape[-2:])

    def _similarity(self, frame: EmbeddedFrame, prompts: Tensor, size: torch.Size) -> Tensor:
        """How alike each place is to lesion, not-lesion and mask ``(n, 3, *size)``, and which of these there are."""
        where = F.adaptive_avg_pool2d(prompts[:, (0, 1, 4)].float(), SIMILARITY_GRID).flatten(2)
        total = where.sum(2, keepdim=True)
        with torch.autocast(where.device.type, enabled=False):
            alike = 1 + torch.log((where @ frame.likeness) / (total + 1e-4) + 1e-4) / SHARPNESS
        there = (total > 0).to(alike.dtype)
        planes = (alike * there).unflatten(2, (SIMILARITY_GRID, SIMILARITY_GRID))
        return torch.cat((_resized(planes, size), there[..., None].expand(-1, -1, *size)), dim=1)


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
