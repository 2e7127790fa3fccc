"""What is loaded beside the window does not hold the interpreter's lock while it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

WATCHED = """
import sys, threading, time
from pathlib import Path
from napari_vivim.loading import map_torch

began, ticks, over = time.perf_counter(), [], threading.Event()

def tick():
    while not over.is_set():
        ticks.append(time.perf_counter())
        time.sleep(0.001)

threading.Thread(target=tick).start()
map_torch()
over.set()
print("torch" in sys.modules, "libtorch_cpu" in Path("/proc/self/maps").read_text(), len(ticks))
import torch
print(int(torch.ones(2).sum()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the libraries of a process in Linux's way")
def test_pytorchs_libraries_are_loaded_while_other_threads_run() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True)
    imported, mapped, ticks, total = done.stdout.split()
    assert (imported, mapped, total) == ("False", "True", "2")
    assert int(ticks) > 3, "a thread beside it did not run"  # it runs before and after in any case
