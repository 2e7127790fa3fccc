"""The annotator's work on one video: masks on disk, the ledger of every frame, and the one gate to both."""

from vivim.session.damage_check import Checked
from vivim.session.ledger import STATUS_CODES, STATUS_NAMES, Entry
from vivim.session.mask_array import MaskEditor
from vivim.session.readers import readers_of
from vivim.session.review import Comment, ReviewEvent
from vivim.session.session import Session

__all__ = [
    "Checked",
    "Comment",
    "Entry",
    "MaskEditor",
    "ReviewEvent",
    "STATUS_CODES",
    "STATUS_NAMES",
    "Session",
    "readers_of",
]
