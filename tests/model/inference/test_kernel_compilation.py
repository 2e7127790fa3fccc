"""Compiling in another process: it is noticed when that is needed, done there, and stopped when told so."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="numba is not installed")

CODE = """
import vivim.inference.kernel_compilation as c
kernels = c._kernels()
assert not any(map(c._is_on_disk, kernels))
c.compile_kernels()
assert all(map(c._is_on_disk, kernels))
c.main()
print([k.stats.cache_misses for k in kernels], [sum(k.stats.cache_hits.values()) for k in kernels])
"""


@pytest.mark.robustness  # compiles all kernels, half a minute; `make demo` does so too, where there are none yet
def test_another_process_compiles_and_this_one_loads(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("VIVIM_SCAN", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[1, 1, 1, 1]")  # each loaded once, none compiled here


def test_it_stops_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import vivim.inference.kernel_compilation

    monkeypatch.setattr(vivim.inference.kernel_compilation, "_is_on_disk", lambda kernel: False)
    stop, begun, popen = threading.Event(), [], subprocess.Popen

    def begin(command, **options):
        begun.append(popen([sys.executable, "-c", "import time; time.sleep(600)"], **options))
        stop.set()
        return begun[-1]

    monkeypatch.setattr(vivim.inference.kernel_compilation.subprocess, "Popen", begin)
    vivim.inference.kernel_compilation.compile_kernels(stop)
    assert begun[0].poll()  # it has ended, and not of itself


def test_what_was_compiled_from_older_sources_is_compiled_anew(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from vivim.inference.kernel_compilation import _forget_outdated, _is_on_disk

    function = test_it_stops_when_told
    kernel = SimpleNamespace(py_func=function, stats=SimpleNamespace(cache_path=str(tmp_path)))
    line = function.__code__.co_firstlineno
    old, new = (tmp_path / f"{name}.{function.__name__}-{line}.py311.nbi" for name in ("old", "new"))
    old.touch()
    os.utime(old, (0, 0))
    assert not _is_on_disk(kernel)
    new.touch()
    _forget_outdated(kernel)
    assert _is_on_disk(kernel) and not old.exists()
