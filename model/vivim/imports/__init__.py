"""Bring masks made elsewhere into a session: pictures, TIFF, NIfTI, COCO; through the session's gate only."""

from vivim.imports.api import STATUSES, ImportEvent, import_masks

__all__ = ["STATUSES", "ImportEvent", "import_masks"]
