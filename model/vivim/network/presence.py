"""Whether there is a lesion in a frame: one logit from the deepest features."""

import torch
from torch import Tensor, nn

from vivim.network.layers import EPS

HIDDEN = 64


class PresenceHead(nn.Module):
    """Say for each frame whether it shows a lesion.

    The means and the maxima of the two deepest features, which have seen the whole clip, go through a small network.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * sum(widths[2:]), eps=EPS)
        self.hidden = nn.Linear(2 * sum(widths[2:]), HIDDEN)
        self.classify = nn.Linear(HIDDEN, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return logits ``(n,)`` float32 from the four features ``(n, width_i, h_i, w_i)``, finest first."""
        pooled = [part for f in features[2:] for part in (f.mean((-1, -2)), f.amax((-1, -2)))]
        hidden = torch.relu(self.hidden(self.norm(torch.cat(pooled, 1).float())))
        return self.classify(hidden)[:, 0].float()
