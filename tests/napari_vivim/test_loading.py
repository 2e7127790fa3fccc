"""What is loaded beside the window holds the interpreter's lock neither while it loads nor, as garbage, later on."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import pytest

from napari_vivim.loading import look_at_all_again

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
    assert int(ticks) > 10, "a thread beside it did not run"


def test_what_a_job_leaves_is_not_looked_through_again_until_the_video_closes(
    segment: Any, qtbot: Any, fake_model: Any
) -> None:
    kept: list[list] = []
    controller = segment.controller
    qtbot.waitUntil(lambda: controller.warming is None)
    look_at_all_again()
    controller.job_event.connect(lambda event: kept.extend([] for _ in range(1000)))
    controller.propose("starter", "cpu")
    qtbot.waitUntil(lambda: not controller.busy, timeout=10000)
    assert len(kept) == 12_000 and gc.get_freeze_count() > len(kept)
    segment.viewer.layers.remove(controller.layer)
    assert not gc.get_freeze_count()
