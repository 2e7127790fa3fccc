"""Launch Triton kernels with little Python in between.

Triton looks at every argument of every launch to find out which compiled form of a kernel it needs, and asks the
driver about every tensor; with twenty arguments that takes longer than a short scan. Here the compiled form is kept,
by all that it can depend on, and is given addresses.
"""

from __future__ import annotations

from typing import Any

import torch

_ALIGNMENT = 16  # bytes; pointers that are multiples of it are compiled to wider loads
_MOST_KEPT = 512
_compiled: dict[tuple[Any, ...], Any] = {}


def launch(
    kernel: Any,
    programs: int,
    tensors: tuple[torch.Tensor, ...],
    numbers: tuple[int, ...],
    constants: tuple[int | bool, ...],
    warps: int,
) -> None:
    """Run `programs` programs of a kernel on the current device.

    Parameters
    ----------
    kernel : triton.JITFunction
        Its parameters are, in this order, the tensors, the numbers, and the constants (``tl.constexpr``).
    programs : int
        Size of the one-dimensional grid.
    tensors, numbers, constants : tuple
        Arguments by position; the tensors are all on the current device.
    warps : int
        Warps of a program.
    """
    grid = (programs, 1, 1)
    addresses = [t.data_ptr() for t in tensors]
    if any(address % _ALIGNMENT for address in addresses):  # rare, so left to Triton
        kernel[grid](*tensors, *numbers, *constants, num_warps=warps)
        return
    key = (kernel, programs, tensors[0].device, *[t.dtype for t in tensors], numbers, constants, warps)
    known = _compiled.get(key)
    if known is not None:  # an address needs no look at the tensor behind it
        known(*addresses, *numbers, *constants)
        return
    made = kernel[grid](*tensors, *numbers, *constants, num_warps=warps)
    if made is not None and len(_compiled) < _MOST_KEPT:  # None where it was interpreted
        _compiled[key] = made[grid]
