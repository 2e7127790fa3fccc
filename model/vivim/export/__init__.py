"""Take masks out of a session: pictures, stacks, annotations, DICOM, an overlay video, measurements.

`export` writes each format beside its final place and moves it there when it is whole, so that nothing
half-written is ever taken for finished.
"""

from vivim.export.api import FORMATS, ExportEvent, export

__all__ = ["FORMATS", "ExportEvent", "export"]
