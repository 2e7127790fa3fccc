"""The lists of models and devices in the docks, filled in the background."""

from collections.abc import Callable, Iterator
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox
from vivim.devices import is_remote
from vivim.remote.config import preferred_device, remote_device, split_address

from napari_vivim.background.worker import Job, Worker, load_torch
from napari_vivim.qt.notifications import show_problem

REST_MS = 200
"""Milliseconds after which the lists are asked for, at the earliest."""


def device_label(name: str) -> str:
    """What the list of devices shows: a name, or the host of another machine."""
    return f"remote ({split_address(name)[0]})" if is_remote(name) else name


def chosen_device(devices: QComboBox) -> str:
    """The device chosen in a list, as `vivim` names it."""
    return devices.currentData() or devices.currentText()


class ModelSelector:
    """Fills a list of models and one of devices in the background.

    Not while ``wait()``: loading would slow down what is more urgent.
    """

    def __init__(
        self, models: QComboBox, devices: QComboBox, wait: Callable[[], bool] = lambda: False
    ) -> None:
        self._models, self._devices = models, devices
        models.addItem("starter")
        devices.addItem("auto")
        self._worker = Worker("vivim-lists")
        self._job: Job | None = None
        self._preferred = "auto"
        self._wait = wait
        self._first = QTimer(models)  # gone with the list
        self._first.setInterval(REST_MS)
        self._first.timeout.connect(self._begin)
        self._first.start()
        worker = self._worker
        models.destroyed.connect(lambda: worker.close())

    def _begin(self) -> None:
        if not self._wait():
            self.refresh()

    def refresh(self, select: str = "") -> None:
        """Ask again, then choose the model of the name or version `select`, or the default one."""
        self._first.stop()

        def work() -> Iterator[tuple[list[Any], list[str], str, str]]:
            load_torch()
            from vivim.devices import available_devices
            from vivim.registry.registry import default_model_name, list_models

            devices, models = available_devices(), list_models()
            called = [info.name for info in models if select and select in (info.name, info.version)]
            chosen = called[0] if called else default_model_name()
            yield models, devices, chosen, preferred_device(remote=False)
            if remote := remote_device():  # last: where it is set up wrongly, the rest is there
                yield models, [*devices, remote], chosen, preferred_device()

        self._job = Job(work)
        self._job.event.connect(self._fill)
        self._job.failed.connect(show_problem)
        self._worker.submit(self._job)

    def _fill(self, found: tuple[list[Any], list[str], str, str]) -> None:
        if not isalive(self._models):  # this answer was under way
            return
        models, devices, chosen, preferred = found
        self._models.clear()
        for info in models:
            self._models.addItem(info.name)
            self._models.setItemData(self._models.count() - 1, model_tip(info), Qt.ItemDataRole.ToolTipRole)
        self._models.setCurrentText(chosen)
        kept = self._devices.currentText() if preferred == self._preferred else device_label(preferred)
        self._preferred = preferred
        self._devices.clear()
        for name in ["auto", *devices]:
            self._devices.addItem(device_label(name), name)
        self._devices.setCurrentText(kept)


def model_tip(info: Any) -> str:
    """The tooltip of a model in a list."""
    lines = [info.description]
    if info.parent:
        lines.append(f"made from {info.parent} with {info.frames} corrected frames")
    if info.before is not None and info.after is not None:
        lines.append(f"Dice on held-out frames {info.before:.3f} → {info.after:.3f}")
    return "\n".join(lines)
