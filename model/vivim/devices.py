"""Choose where the network runs: a CUDA GPU, Apple's MPS, or the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vivim.errors import DeviceError, VivimError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
REMOTE = "remote:"
"""How a device on another machine begins; the rest is its address, as in ``"remote:https://host:port"``."""
_OUT_OF_MEMORY = (
    "out of memory",
    "out-of-memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "insufficient memory",
    "memoryallocation",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
)
"""Words of PyTorch, CUDA, cuBLAS, cuDNN, OpenCV and the C++ library, in small letters."""
PRECISIONS = ("auto", "float32", "bfloat16")
"""Number formats of the network's matrices; see `vivim.inference.batch_runner.precision_context`."""


def available_devices() -> list[str]:
    """Names of the devices usable on this machine, fastest first. Always ends with ``"cpu"``."""
    import torch

    names = []
    if torch.cuda.is_available():
        names.append("cuda")
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def unprepared(device: torch.device) -> contextlib.AbstractContextManager:
    """On CUDA, convolutions without cuDNN: it prepares for about a second whenever a new size comes.

    For work on a few windows, which would never earn that back; over many, cuDNN is a fifth to a half faster.
    """
    import torch

    return torch.backends.cudnn.flags(enabled=False) if device.type == "cuda" else contextlib.nullcontext()


def is_remote(name: str) -> bool:
    """Whether a device is on another machine, see `vivim.remote`."""
    return name.startswith(REMOTE)


def choose_device(name: str = "auto") -> torch.device:
    """Turn ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"`` into a device that works here, or raise a `DeviceError`."""
    import torch

    if name not in DEVICES:
        raise DeviceError(f"Unknown device {name!r}. Choose one of {', '.join(DEVICES)}.")
    present = available_devices()
    if name == "auto":
        return torch.device(present[0])
    if name not in present:
        raise DeviceError(
            f"The device {name!r} is not available on this machine. Use --device cpu, or install a PyTorch "
            f"build that supports it."
        )
    return torch.device(name)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on whatever device: PyTorch has many words for it."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def out_of_memory(device: object = "this machine", error: BaseException | None = None) -> DeviceError:
    """What a person is told when memory ran out, with the words of our own `error` where that says how much."""
    why = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
    return DeviceError(
        f"The memory of {device} is full{why}. Choose a shorter clip length, mark the picture area so that less is "
        "worked on, or close other programs, and start again. What was written so far is kept."
    )


@contextlib.contextmanager
def telling_of_full_memory(device: object = "this machine") -> Iterator[None]:
    """Within it, running out of memory is a `DeviceError`."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error) or isinstance(error, VivimError):
            raise
        raise out_of_memory(device, error) from error


def native_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware, not by converting them."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # named so by PyTorch; absent in older ones
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(supported and supported())
    return False
