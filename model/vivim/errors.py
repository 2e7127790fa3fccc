"""Errors a person can cause; each message says in a sentence or two what happened and what to do next."""


class VivimError(Exception):
    """Base of all errors whose message is meant for the person in front of the screen."""


class VideoError(VivimError):
    """A video cannot be opened or a frame of it cannot be decoded."""


class SessionError(VivimError):
    """A session cannot be opened, is in use elsewhere, or cannot be written."""


class CheckpointError(VivimError):
    """A model file is missing, damaged, or is not a Vivim model."""


class DeviceError(VivimError):
    """The device asked for is not available on this machine."""


class FinetuneError(VivimError):
    """Fine-tuning cannot start or did not finish."""


class ExportError(VivimError):
    """An export cannot be written."""
