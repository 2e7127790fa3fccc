"""A small scan, forward and backward, to be watched by compute-sanitizer.

``compute-sanitizer --tool memcheck python -m benchmarks.gpu_memcheck``, and `benchmarks.gpu_races`. Sizes that leave
rests in every direction: channels, tokens, chunks. PyTorch's allocator is told not to hand out parts of larger blocks,
so that reading past an array's end is seen.
"""

from __future__ import annotations

import os

os.environ.setdefault("PYTORCH_NO_CUDA_MEMORY_CACHING", "1")

import torch
from vivim.scan import selective_scan

SIZES = [(1, 1, 1, 1), (2, 37, 5, 3), (1, 300, 33, 16), (2, 129, 64, 17)]


def main() -> None:
    for batch, length, width, states in SIZES:
        u, z = (torch.randn(batch, length, width, device="cuda", requires_grad=True) for _ in range(2))
        b, c = (torch.randn(batch, length, states, device="cuda", requires_grad=True) for _ in range(2))
        rates = -torch.rand(width, states, device="cuda").requires_grad_()
        vector = torch.ones(width, device="cuda", requires_grad=True)
        y = selective_scan(u, u, rates, b, c, vector, z, vector, backend="triton")
        y.sum().backward()
        torch.cuda.synchronize()
        print(f"{batch} x {length} x {width}, {states} states: {float(y.detach().abs().max()):.3f}")


if __name__ == "__main__":
    main()
