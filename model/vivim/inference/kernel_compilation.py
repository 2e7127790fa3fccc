"""Compile the CPU's kernels in a process of its own, so that the calling one stays responsive.

numba compiles at first use, for some ten seconds and often holding the interpreter's lock, so that every click in a
window would wait. Kernels that another process compiled are on disk and load in milliseconds.
"""

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

_POLL = 0.05  # seconds
_log = logging.getLogger(__name__)


def compile_kernels(stop: threading.Event | None = None) -> None:
    """Compile the kernels that proposing on a CPU uses, unless they are on disk, until done or `stop` is set.

    If it fails, the kernels are compiled at first use.
    """
    from vivim.scan.backends import numba_works

    if not numba_works() or all(_is_on_disk(kernel) for kernel in _kernels()):
        return
    for kernel in _kernels():
        _forget_outdated(kernel)
    with subprocess.Popen(
        [sys.executable, "-m", "vivim.inference.kernel_compilation"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while True:
            try:
                _, errors = process.communicate(timeout=_POLL)
                break
            except subprocess.TimeoutExpired:
                if stop is not None and stop.is_set():
                    process.kill()
    if process.returncode and not (stop is not None and stop.is_set()):
        _log.warning("The kernels could not be compiled in advance: %s", errors.strip().splitlines()[-1:])


def _kernels() -> list[Any]:
    from vivim.network import fused_kernels
    from vivim.scan.cpu import conv_kernels, scan_kernels

    return [
        scan_kernels.forward,
        conv_kernels.forward,
        fused_kernels.depthwise_gelu,
        fused_kernels.mix_and_classify,
    ]


def _is_on_disk(kernel: Any) -> bool:
    """Whether numba's index of a kernel exists and is younger than the sources it was made from."""
    made = [path.stat().st_mtime for path in _indices(kernel)]
    return bool(made) and max(made) >= _last_changed(kernel)


def _forget_outdated(kernel: Any) -> None:
    """Remove indices older than the sources: numba looks only at the kernel's own, not at what it inlines."""
    for path in _indices(kernel):
        if path.stat().st_mtime < _last_changed(kernel):
            path.unlink(missing_ok=True)


def _indices(kernel: Any) -> list[Path]:
    code, folder = kernel.py_func.__code__, kernel.stats.cache_path
    name = f"*.{kernel.py_func.__qualname__}-{code.co_firstlineno}.py*.nbi"
    return list(Path(folder).glob(name)) if folder else []


def _last_changed(kernel: Any) -> float:
    from vivim.scan.cpu import simd

    sources = (kernel.py_func.__code__.co_filename, str(simd.__file__))
    return max(Path(path).stat().st_mtime for path in sources)


def main() -> None:
    """Run a small network once, which compiles every kernel for the types it is called with."""
    import torch

    from vivim.network import Vivim, VivimConfig

    with torch.inference_mode():
        Vivim(VivimConfig(size="b0")).eval()(torch.zeros(1, 2, 3, 32, 32))


if __name__ == "__main__":
    main()
