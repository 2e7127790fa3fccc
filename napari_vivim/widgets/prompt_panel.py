"""The part of the dock that prompts: a click, a box or a stroke becomes a mask, and the frames around it follow."""

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QPushButton, QWidget

from napari_vivim.controller.prompt_tool import PromptTool
from napari_vivim.controller.shortcuts import BY_TITLE
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import Quiet, button, choice, column, plural, row
from napari_vivim.qt.style import GAP
from napari_vivim.widgets.edit_toolbar import button_for

REACHES = {"all frames": 0, "8 frames": 8, "25 frames": 25, "100 frames": 100}
LINES = 3
"""Of the text, so that what is below keeps its place whatever the text says."""
HELP = (
    "Click the lesion, right-click (or Alt-click) what is not. Drag a box around it. Shift-drag a stroke. "
    "Enter takes the outline, Esc drops it."
)


class PromptPanel(QWidget):
    """Buttons of the tool *Prompt*. ``chosen()`` gives the model and the device that are chosen in the dock."""

    def __init__(
        self, controller: Callable[[], VideoController | None], chosen: Callable[[], tuple[str, str]]
    ) -> None:
        super().__init__()
        self._controller, self._chosen = controller, chosen
        self._tool: PromptTool | None = None
        self.prompt = button_for(BY_TITLE["Prompt"], controller)
        self.prompt.setCheckable(True)
        tip = "What a plain click means, for a pen or a finger that has no right button"
        self.other = button("Mark: lesion", tip, self._mark)
        self.other.setCheckable(True)
        self.said = Quiet(HELP)
        self.said.setMinimumHeight(LINES * self.said.fontMetrics().height())
        self.said.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.follow = QCheckBox("Update neighbours")
        self.follow.setToolTip(
            "After Enter, propose the frames around this one again, beginning at the nearest"
        )
        self.follow.setChecked(True)
        self.follow.clicked.connect(self._remember)
        self.reach = choice("How many frames to each side. Corrected and accepted frames end it sooner")
        self.reach.setMinimumContentsLength(5)
        self.reach.addItems(list(REACHES))
        self.reach.currentTextChanged.connect(self._remember)
        self.ways: list[QPushButton] = []
        for title in ("Backward", "Both ways", "Forward"):
            self.ways.append(button_for(BY_TITLE[title], controller))
        lines = column(self, GAP)
        first = row(self.prompt, self.other)
        first.setStretch(0, 1)
        lines.addLayout(first)
        lines.addWidget(self.said)
        second = row(self.follow, self.reach)
        second.setStretch(0, 1)
        lines.addLayout(second)
        lines.addLayout(row(*self.ways))

    def show_state(self) -> None:
        """Show whether the tool is on, and what is prompted."""
        controller = self._controller()
        tool = controller.prompting if controller is not None else None
        self.setEnabled(tool is not None)
        self.prompt.setChecked(tool is not None and tool.active)
        self.other.setChecked(tool is not None and not tool.lesion)
        self.other.setText("Mark: not lesion" if self.other.isChecked() else "Mark: lesion")
        if tool is None or tool.prompted is None:
            self.said.setText(HELP)
            return
        prompts = tool.prompted.prompts
        said = [plural(len(prompts.points), "click")] if prompts.points else []
        said += ["a box"] if prompts.box is not None else []
        said += ["a stroke"] if prompts.scribble is not None else []
        self.said.setText(
            f"{', '.join(said)}. Enter takes the outline, Esc drops it, Backspace the last click."
        )

    def follow_controller(self, controller: VideoController) -> None:
        """Hand the present choices to a video whose session has been opened."""
        self._remember()
        if controller.prompting is not None and controller.prompting is not self._tool:
            self._tool = controller.prompting
            self._tool.changed.connect(self.show_state)
        self.show_state()

    def _mark(self) -> None:
        controller = self._controller()
        if controller is not None and controller.prompting is not None:
            controller.prompting.lesion = not self.other.isChecked()
        self.show_state()

    def _remember(self, *_: object) -> None:
        controller = self._controller()
        if controller is None:
            return
        controller.update_neighbours = self.follow.isChecked()
        controller.reach = REACHES[self.reach.currentText()]
        model, device = self._chosen()
        if controller.prompting is not None:
            controller.prompting.model, controller.prompting.device = model, device
