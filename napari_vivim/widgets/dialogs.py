"""Questions to the person in a small window."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox, QWidget
from vivim.errors import VideoChangedError

from napari_vivim.qt.plain_text import plain

RELINK, ELSEWHERE = "relink", "elsewhere"


def ask_about_changed_video(parent: QWidget, error: VideoChangedError) -> str:
    """Ask what to do with a video that is not the one its session was made for.

    Returns
    -------
    str
        `RELINK` to take it for the session's video, `ELSEWHERE` to keep its work in another folder, or ``""``.
    """
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Is this the same video?")
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(f"The masks in {error.folder.name} were not made on this file.")
    box.setInformativeText(plain(_why(error)))  # which older Qt formats by itself
    choices: dict[object, str] = {}
    if error.relinkable:
        same = box.addButton("Same pictures: go on with these masks", QMessageBox.ButtonRole.AcceptRole)
        choices[same] = RELINK
    other = box.addButton("Another video: keep its masks elsewhere ...", QMessageBox.ButtonRole.ActionRole)
    choices[other] = ELSEWHERE
    box.setDefaultButton(box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole))
    box.exec()
    return choices.get(box.clickedButton(), "")


def _why(error: VideoChangedError) -> str:
    if error.relinkable:
        return (
            f"{error.video.name} has as many frames of the same size, but other bytes: it was encoded anew, or "
            "replaced. Masks are only right if every frame still shows the same picture."
        )
    return (
        f"{error.video.name} has another number of frames, or frames of another size: the masks cannot fit. Put the "
        "original back to go on with them; nothing in them is changed."
    )
