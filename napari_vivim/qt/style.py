"""The visual language of the window: colours, spaces and drawings, the same in both themes.

Status colours say what a frame counts as. Mask colours (`vivim.settings.PALETTES`) stay away from them.
"""

from qtpy.QtCore import QByteArray, QEvent, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QSizePolicy, QToolButton

GAP, MARGIN = 6, 10
"""Pixels between widgets, and around them."""
ACTION, ACTION_HOVER, ON_ACTION = "#187a4b", "#1a8552", "#ffffff"
"""The next sensible step, of which there is one at a time."""
FOCUS = "#3f78e0"
"""Frame around what has the keyboard, 3.4 to 1 and more on either theme's ground."""
PROBLEM = "#d64545"
OVERLAY, ON_OVERLAY, KEY_EDGE = "rgba(20, 24, 30, 235)", "#f2f4f7", "#7b8794"
"""Text over the picture."""
CANVAS = "#000000"
"""Ground of the picture, in the light theme too: eyes that look at ultrasound are used to the dark."""
STATUS_COLORS = {"empty": "#4a515b", "proposed": "#e3a73b", "corrected": "#26c878", "accepted": "#4a9eff"}
AREA, JUMP, SUGGESTED, DAMAGED = "#8f7ae5", "#ff5c5c", "#ff7ac6", "#ffb02e"
SMALL, TITLE = "font-size: 11px;", "font-weight: 600; font-size: 13px;"

TOOL = (
    "QToolButton { font-size: 10px; padding: 2px; border-radius: 3px; background: rgba(128, 128, 128, 60); }"
    "QToolButton:hover { background: rgba(128, 128, 128, 110); }"
)
ICON = 16
_CIRCLE = "M8 2a6 6 0 1 0 .01 0z"
DRAWINGS = {
    "smooth": "M1 11C4 2 7 2 8 8s4 6 7-3",
    "fill-holes": f"{_CIRCLE}M8 6a2 2 0 1 0 .01 0zM8 7.5v1",
    "keep-largest": "M6 4a4.5 4.5 0 1 0 .01 0zM4 7v3M6 6v5M8 7v3M13 2a1.5 1.5 0 1 0 .01 0z",
    "grow": f"{_CIRCLE}M8 5v6M5 8h6",
    "shrink": f"{_CIRCLE}M5 8h6",
    "copy-previous": "M2 3v10M5 8h9M10 4l4 4-4 4",
    "copy-next": "M14 3v10M11 8H2M6 4L2 8l4 4",
    "between": "M2 3v10M14 3v10M8 5a3 3 0 1 0 .01 0z",
    "restore": "M3 9a5 5 0 1 0 1.500-4.500M4 1v4h4",
    "relabel": "M2 3h6l6 6-5 5-7-7zM5 6h.01",
    "undo": "M6 2L2 6l4 4M2 6h7a4 4 0 0 1 0 8H6",
    "redo": "M10 2l4 4-4 4M14 6H7a4 4 0 0 0 0 8h3",
}
"""Lines in a square of 16 by 16, as an SVG path has them."""


SKETCH = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 160 110'>"
    "<path d='M60 8h40l52 80a100 100 0 0 1-144 0z' fill='#7b838d'/>"
    "<ellipse cx='86' cy='58' rx='27' ry='19' fill='#3d434b' stroke='#00e5ff' stroke-width='3'/></svg>"
)
"""What the plugin is for: a lesion with its outline."""


def drawn(svg: str, width: int, height: int) -> QPixmap:
    """A picture of so many pixels, twice as many where the screen is fine."""
    picture = QPixmap(QSize(width, height) * 2)
    picture.setDevicePixelRatio(2.0)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, width, height))
    painter.end()
    return picture


def icon(name: str, ink: QColor) -> QIcon:
    """A drawing in a colour."""
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {ICON} {ICON}'><path d='{DRAWINGS[name]}' fill='none' "
        f"stroke='{ink.name()}' stroke-width='1.6' stroke-linecap='round' stroke-linejoin='round'/></svg>"
    )
    return QIcon(drawn(svg, ICON, ICON))


class IconButton(QToolButton):
    """A button with a drawing in the colour of the theme's text, and its key below it."""

    def __init__(self, name: str, title: str, tip: str, key: str = "") -> None:
        super().__init__()
        self._name = name
        self.setText(key)
        self.setAccessibleName(title)
        self.setToolTip(tip)
        self.setIconSize(QSize(ICON, ICON))
        style = Qt.ToolButtonStyle
        self.setToolButtonStyle(style.ToolButtonTextUnderIcon if key else style.ToolButtonIconOnly)
        self.setStyleSheet(TOOL)
        self.setSizePolicy(
            QSizePolicy.Policy.Expanding if key else QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed
        )
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange):
            self.setIcon(icon(self._name, self.palette().buttonText().color()))
