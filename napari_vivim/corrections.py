"""Corrections of a whole mask by one key or button, and the list of all keys this plugin adds.

`SHORTCUTS` is the one place where they are named: it binds the keys, labels the buttons, and makes the table that the
window shows for "?" and that the documentation holds. A correction goes through the masks layer like a stroke, so that
Ctrl-Z takes it back in its turn and the session's gate sees a person's work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import napari
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from vivim import correcting
from vivim.errors import VivimError

from napari_vivim.controller import VideoController
from napari_vivim.panel import show_problem

COLUMNS = 3


def _change(change: Callable) -> Callable[[VideoController], None]:
    """An action that applies a function of masks to the frame on screen."""
    return lambda controller: controller.replace_mask(change(controller.mask(controller.current_frame)))


def _copy(step: int) -> Callable[[VideoController], None]:
    def copy(controller: VideoController) -> None:
        source = controller.current_frame + step
        if controller.session is None or not 0 <= source < len(controller.session):
            show_info("There is no frame to copy from on that side.")
            return
        controller.replace_mask(controller.mask(source))

    return copy


def _between(controller: VideoController) -> None:
    if controller.session is None:
        return
    known, t = controller.session.frames_with("corrected", "accepted"), controller.current_frame
    before = max((k for k in known if k < t), default=None)
    after = min((k for k in known if k > t), default=None)
    if before is None or after is None:
        show_info("Correct or accept a frame before this one and one after it first.")
        return
    share = (t - before) / (after - before)
    controller.replace_mask(correcting.between(controller.mask(before), controller.mask(after), share))


def _next(controller: VideoController) -> None:
    if controller.next_frame() is None:
        show_info("Every frame is corrected or accepted: you are done.")


@dataclass(frozen=True)
class Shortcut:
    """A key, what it is called, what it does."""

    key: str
    title: str
    tip: str
    run: Callable[[VideoController], object]
    button: bool = True
    """Whether the row of corrections has a button for it."""


SHORTCUTS = (
    Shortcut("N", "Next to correct", "Go to the frame whose correction helps the others most", _next, False),
    Shortcut(
        "Q",
        "Accept frame",
        "This mask is right as it is",
        lambda controller: controller.accept_frame(),
        False,
    ),
    Shortcut("U", "Smooth", "Take small dents and bumps off the outline", _change(correcting.smooth)),
    Shortcut("H", "Fill holes", "Fill what the mask encloses", _change(correcting.fill_holes)),
    Shortcut(
        "K", "Keep largest", "Leave only the largest piece of each class", _change(correcting.keep_largest)
    ),
    Shortcut("G", "Grow", "One pixel more all around", _change(correcting.grow)),
    Shortcut("J", "Shrink", "One pixel less all around", _change(correcting.shrink)),
    Shortcut("W", "In between", "Mix the corrected masks before and after this frame", _between),
    Shortcut(",", "Copy previous", "Take the mask of the frame before", _copy(-1)),
    Shortcut(".", "Copy next", "Take the mask of the frame after", _copy(1)),
)


def run(shortcut: Shortcut, controller: VideoController | None) -> None:
    """Do it, if a session is open; what a person must know is told, not raised."""
    if controller is None or controller.session is None:
        return
    try:
        shortcut.run(controller)
    except VivimError as error:
        show_problem(error)


def bind(viewer: napari.Viewer, controller: Callable[[], VideoController | None]) -> None:
    """Bind all keys in a viewer, whatever layer is selected, for the video that `controller()` names."""
    for shortcut in SHORTCUTS:
        viewer.bind_key(
            shortcut.key, lambda _, shortcut=shortcut: run(shortcut, controller()), overwrite=True
        )


def table() -> str:
    """All keys as a table in Markdown."""
    rows = [f"| `{s.key}` | {s.title} | {s.tip} |" for s in SHORTCUTS]
    return "\n".join(["| key | name | what it does |", "|---|---|---|", *rows])


class CorrectionBar(QWidget):
    """A button for each correction of a whole mask, and one that shows all keys."""

    def __init__(self, controller: Callable[[], VideoController | None]) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        self.buttons: dict[str, QPushButton] = {}
        for shortcut in (s for s in SHORTCUTS if s.button):
            button = self._button(shortcut.title, f"{shortcut.tip}  ({shortcut.key})")
            button.clicked.connect(lambda _, shortcut=shortcut: run(shortcut, controller()))
            self.buttons[shortcut.title] = button
        self.buttons["Keys"] = self._button("Keys ?", "Show all keys")
        self.buttons["Keys"].clicked.connect(self.show_keys)
        for number, button in enumerate(self.buttons.values()):
            grid.addWidget(button, number // COLUMNS, number % COLUMNS)

    def show_keys(self) -> None:
        """Open a small window with all keys; it stays open beside the work."""
        dialog = QDialog(self.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Keys of Vivim")
        rows = "".join(
            f"<tr><td style='padding:3px 14px 3px 0'><b>{s.key}</b></td>"
            f"<td style='padding:3px 14px 3px 0'>{s.title}</td><td style='padding:3px 0'>{s.tip}</td></tr>"
            for s in SHORTCUTS
        )
        text = QLabel(
            f"<table>{rows}</table><p>They work while the picture has the focus: click it once.</p>"
        )
        QVBoxLayout(dialog).addWidget(text)
        dialog.show()

    def _button(self, title: str, tip: str) -> QPushButton:
        button = QPushButton(title)
        button.setToolTip(tip)
        button.setStyleSheet("font-size: 11px; padding: 3px 2px;")
        button.setSizePolicy(self.sizePolicy().Policy.Expanding, self.sizePolicy().Policy.Fixed)
        return button
