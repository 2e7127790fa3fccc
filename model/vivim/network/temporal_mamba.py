"""The temporal half of a stage: Temporal Mamba blocks over all tokens of a clip.

Source: Yang, Xing, Zhu, "Vivim" (arXiv 2401.14168, Figs. 3b, 3c and 4), and for the selective state spaces Gu and Dao,
"Mamba" (arXiv 2312.00752).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network import fused_ops
from vivim.network.config import SCANS, STATE_SIZE
from vivim.network.layers import EPS, DepthwiseSpaceTime, DropPath, MixFFN
from vivim.scan import backward_order, causal_conv, selective_scan, temporal_order

CONV_KERNEL = 4


class ScanBranch(nn.Module):
    """One selective state space branch: causal convolution, input-dependent parameters, scan.

    Equal to `paper.ScanBranch` before its gate: the convolution and the scan read tokens by index, and these stay in
    the order (t, y, x), where the paper's form copies them into the order of the scan and back. The bias of the step
    size Δ and its softplus are applied inside the scan.
    """

    def __init__(self, inner: int, rank: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inner, inner, CONV_KERNEL, groups=inner, padding=CONV_KERNEL - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * STATE_SIZE, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, STATE_SIZE + 1).float()).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.rank = rank

    def reset_step_size(self) -> None:
        """Initialise the step size as Mamba does: its bias gives log-uniform steps in [1e-3, 1e-1]."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = math.log(1e-3), math.log(1e-1)
        step = torch.exp(torch.rand(self.dt_proj.bias.shape) * (high - low) + low)
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def forward(self, u: Tensor, order: Tensor | None) -> Tensor:
        """Scan ``u`` ``(B, L, E)`` in an order ``(L,)`` of its tokens.

        The result ``(B, L, E)`` is in the order of `u`, and not yet gated.
        """
        assert self.conv.bias is not None
        u = causal_conv(u, self.conv.weight[:, 0], self.conv.bias, order)
        step, b, c = fused_ops.linear(u, self.x_proj.weight).split(
            [self.rank, STATE_SIZE, STATE_SIZE], dim=-1
        )
        delta = fused_ops.linear(step, self.dt_proj.weight)
        rates = -torch.exp(self.A_log.float())
        return selective_scan(u, delta, rates, b, c, self.D, None, self.dt_proj.bias, order=order)


class STMamba(nn.Module):
    """Three scans over one clip, their mean gated and projected (Fig. 3c).

    Equal to `paper.STMamba`: each output is back in the order (t, y, x), so one gate SiLU(z) after the sum does for the
    three before it, and the division by their number moves into the weight of `out_proj`.
    """

    def __init__(self, width: int, scans: tuple[str, ...] = SCANS) -> None:
        super().__init__()
        inner, rank = 2 * width, math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.branches = nn.ModuleDict({name: ScanBranch(inner, rank) for name in scans})
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Mix tokens ``(B, T*h*w, width)`` in the order (t, y, x), `frames` any number T, same shape out."""
        length = x.shape[1]
        to_u, to_z = self.in_proj.weight.chunk(2)  # two products, so that each result lies in one piece
        u, z = fused_ops.linear(x, to_u), fused_ops.linear(x, to_z)
        together: Tensor | None = None
        for name, branch in self.branches.items():
            scanned = branch(u, _order(name, frames, length, x.device))
            together = scanned if together is None else together.add_(scanned)
        assert together is not None
        return fused_ops.linear(together * F.silu(z), self.out_proj.weight / len(self.branches))


def _order(name: str, frames: int, length: int, device: torch.device) -> Tensor | None:
    """Order ``(length,)`` in which the scan `name` visits the tokens of a clip, None for the order they lie in."""
    if name == "onward":
        return None
    if name == "backward":
        return backward_order(length, device)
    return temporal_order(frames, length // frames, device)


class TemporalMambaBlock(nn.Module):
    """Pre-norm ST-Mamba and a pre-norm Mix-FFN over space and time, each with a residual.

    Equal to `paper.MambaLayer`, Eq. 5.
    """

    def __init__(self, width: int, drop_path: float, scans: tuple[str, ...] = SCANS) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.mamba = STMamba(width, scans)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MixFFN(width, DepthwiseSpaceTime)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Mix tokens ``(B*T, h, w, width)`` of clips of `frames` frames, same shape out."""
        n, h, w, width = x.shape
        clips = self.norm1(x).reshape(n // frames, frames * h * w, width)
        x = x + self.drop_path(self.mamba(clips, frames)).view(n, h, w, width)
        return x + self.drop_path(self.mlp(self.norm2(x), frames))
