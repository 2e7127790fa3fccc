"""One run on any number of processes, with the same outcome: what each does of a batch, and what must be shared.

Processes are started by ``torchrun``; Lightning Fabric connects them, averages their gradients and chooses devices
and precision. Three things in a Vivim see more than one clip, or draw random numbers: its BatchNorm, dropout and
stochastic depth. `shared_parts` replaces them by ones that behave as if the whole batch were in one process.
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
"""How many processes take part, as ``torchrun`` says."""


def make_fabric(device: torch.device) -> Fabric:
    """Connect the processes that ``torchrun`` started; one process by itself needs no preparation.

    Raises
    ------
    VivimError
        If Lightning Fabric is not installed.
    """
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
    """Which clips of the batch at hand this process has: `count` of `total`, from number `first`."""

    rank: int = 0
    processes: int = 1
    first: int = 0
    count: int = 0
    total: int = 0

    def take(self, total: int) -> None:
        """Share out a batch of `total` clips.

        Raises
        ------
        VivimError
            If there are more processes than clips.
        """
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
        """For a tensor with `samples` rows here: how many rows all processes have together, and the first of ours."""
        if self.count == self.total:
            return samples, 0
        each = samples // self.count
        return each * self.total, each * self.first

    def kept(self, x: Tensor, shape: tuple[int, ...], keep: float) -> Tensor:
        """Random 0 and 1 (with probability `keep`), ``(len(x), *shape)``: drawn for all processes, ours cut out."""
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
    """BatchNorm over the batches of all processes; PyTorch's own form of it needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(n, C, H, W)``."""
        if not self.training or PROCESSES == 1:
            return super().forward(x)
        values = x.float()
        pixels = values.new_tensor([values.numel() / self.num_features])
        sums = _sum_over_processes(torch.cat((values.sum((0, 2, 3)), pixels)))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
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


def _sum_over_processes(x: Tensor) -> Tensor:
    """The sum over processes, which gradients pass through."""
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(x)


def over_processes(fabric: Fabric, x: Tensor, how: str) -> Tensor:
    """The ``"sum"`` or ``"mean"`` of a tensor over all processes, without gradients."""
    found = fabric.all_reduce(x, reduce_op=how)
    assert isinstance(found, Tensor)
    return found


def shared_parts(model: nn.Module, share: Share) -> None:
    """Replace BatchNorm, dropout and stochastic depth inside `model`; names and values of weights stay."""
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            new: nn.Module = SharedBatchNorm(child.num_features, child.eps, child.momentum)
            new.load_state_dict(child.state_dict())
        elif isinstance(child, nn.Dropout):
            new = SharedDropout(child.p, share)
        elif isinstance(child, DropPath):
            new = SharedDropPath(child.rate, share)
        else:
            shared_parts(child, share)
            continue
        setattr(model, name, new)
