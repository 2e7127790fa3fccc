"""Training on several processes, with the same outcome as on one.

``torchrun`` starts the processes. Lightning Fabric connects them, averages their gradients and chooses devices and
precision. Three kinds of layers in a Vivim see more than one clip or draw random numbers: BatchNorm, dropout and
stochastic depth. `share_layers` replaces them by layers that behave as if the whole batch were in one process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vivim.errors import VivimError
from vivim.network.layers import DropPath

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PROCESSES = int(os.environ.get("WORLD_SIZE", "1"))
"""Number of processes that take part, set by ``torchrun``."""


def make_fabric(device: torch.device) -> Fabric:
    """Connect the processes that ``torchrun`` started. One process by itself needs no preparation."""
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise VivimError(
            "Training needs Lightning Fabric: pip install 'napari-vivim[train]' (or lightning-fabric)."
        ) from error
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=device.type,
        devices=here,
        num_nodes=PROCESSES // here,
        strategy="ddp" if PROCESSES > 1 else "auto",
        precision="bf16-mixed" if device.type == "cuda" else "32-true",
    )
    fabric.launch()
    return fabric


@dataclass
class Share:
    """The clips of the present batch that this process has: `count` of `total`, from number `first`."""

    rank: int = 0
    processes: int = 1
    first: int = 0
    count: int = 0
    total: int = 0

    def take(self, total: int) -> None:
        """Set the share for a batch of `total` clips, at least as many as processes."""
        if total < self.processes:
            raise VivimError(
                f"A batch of {total} clips cannot be shared by {self.processes} processes: start fewer, or "
                "raise frames_per_batch."
            )
        self.total = total
        self.first, self.count = self.of(total)

    def of(self, total: int) -> tuple[int, int]:
        """First clip and number of clips that this process has of a batch of `total`."""
        first = total * self.rank // self.processes
        return first, total * (self.rank + 1) // self.processes - first

    def rows(self, samples: int) -> tuple[int, int]:
        """For a tensor of `samples` rows here, the rows of all processes together and the number of our first row."""
        if self.count == self.total:
            return samples, 0
        each = samples // self.count
        return each * self.total, each * self.first

    def kept(self, x: Tensor, shape: tuple[int, ...], keep: float) -> Tensor:
        """Draw 0 and 1 (with probability `keep`) for all processes, and return ours, ``(len(x), *shape)``."""
        total, first = self.rows(len(x))
        drawn = torch.empty((total, *shape), device=x.device, dtype=x.dtype).bernoulli_(keep)
        return drawn[first : first + len(x)]


class SharedDropout(nn.Dropout):
    """Dropout that does not depend on the number of processes."""

    def __init__(self, rate: float, share: Share) -> None:
        super().__init__(rate)
        self._share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop single numbers of ``(n, ...)`` in training."""
        if not self.training or self.p == 0:
            return x
        return x * self._share.kept(x, tuple(x.shape[1:]), 1 - self.p) / (1 - self.p)


class SharedDropPath(DropPath):
    """Stochastic depth that does not depend on the number of processes."""

    def __init__(self, rate: float, share: Share) -> None:
        super().__init__(rate)
        self._share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop along the first axis in training."""
        if not self.training or self.rate == 0:
            return x
        ones = (1,) * (x.dim() - 1)
        return x * self._share.kept(x, ones, 1 - self.rate) / (1 - self.rate)


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes on the CPU, where PyTorch's `SyncBatchNorm` refuses to work."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(n, C, H, W)``."""
        if not self.training:
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce  # differentiable

        values = x.float()
        pixels = values.new_tensor([values.numel() / self.num_features])
        sums = all_reduce(torch.cat((values.sum((0, 2, 3)), pixels)))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean[:, None, None]
        variance = all_reduce(centred.square().sum((0, 2, 3))) / count
        self._keep_statistics(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _keep_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def over_processes(fabric: Fabric, x: Tensor, how: str) -> Tensor:
    """Reduce a tensor over all processes by ``"sum"`` or ``"mean"``, without gradients."""
    found = fabric.all_reduce(x, reduce_op=how)
    assert isinstance(found, Tensor)
    return found


def share_layers(model: nn.Module, share: Share, device: torch.device) -> None:
    """Replace the layers of `model` that see the batch or draw numbers, for training on several processes.

    Names and values of weights stay. BatchNorm stays as it is where there is one process.
    """
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            if PROCESSES == 1:
                continue
            norm = nn.SyncBatchNorm if device.type == "cuda" else SharedBatchNorm
            new: nn.Module = norm(child.num_features, child.eps, child.momentum)
            new.load_state_dict(child.state_dict())
        elif isinstance(child, nn.Dropout):
            new = SharedDropout(child.p, share)
        elif isinstance(child, DropPath):
            new = SharedDropPath(child.rate, share)
        else:
            share_layers(child, share, device)
            continue
        setattr(model, name, new)
