"""Names come from files, and Qt draws as HTML what looks like it, pictures and all: here every text stays text.

Labels that show anything else than sentences of this program are `PlainLabel`. Qt decides by itself for tooltips, and
for what napari and Qt's own dialogs show: `tip` and `plain` leave nothing to decide.
"""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel
from vivim.errors import VivimError

_JOINER = "\u2060"
"""Has no width, and makes of a tag none."""
_TAG = re.compile(r"<(?=\s*[\w!?/])|&(?=\w)")


class PlainLabel(QLabel):
    """A label that shows its text as it is."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)


def tip(text: str) -> str:
    """A tooltip that reads as `text` does."""
    if "<" not in text and "&" not in text:
        return text
    return f"<p style='white-space:pre-wrap'>{html.escape(text)}</p>"


def plain(text: str) -> str:
    """A text that reads as `text` does wherever it is shown, for what is not drawn by this program."""
    return _TAG.sub(rf"\g<0>{_JOINER}", text)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Within it, the message of an error is one that napari shows as it is."""
    try:
        yield
    except VivimError as error:
        error.message = plain(str(error))  # type: ignore[attr-defined]  # napari shows this, where there is one
        raise
