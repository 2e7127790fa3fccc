"""Errors that a person can cause. Each message says what happened and what to do next."""

from collections.abc import Iterable
from pathlib import Path


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the known word that `word` resembles, in a sentence with a space before it. Empty where none does."""
    from difflib import get_close_matches

    alike = get_close_matches(word, list(known), n=1)
    return f" Did you mean {alike[0]}?" if alike else ""


class VivimError(Exception):
    """Base of all errors whose message is meant for the person in front of the screen."""


class VideoError(VivimError):
    """A video cannot be opened or a frame of it cannot be decoded."""


class FrameError(VideoError):
    """A frame of a video is damaged, or its file is cut short there. Other frames may be whole."""


class SessionError(VivimError):
    """A session cannot be opened, is in use elsewhere, or cannot be written."""


class VideoMissingError(SessionError):
    """The video of a session is no longer where it was, nor anywhere near."""


class VideoChangedError(SessionError):
    """A video is not the one its session was made for.

    Attributes
    ----------
    folder : Path
        The session.
    video : Path
        The video.
    relinkable : bool
        Whether it has as many frames of the same size, so that it may be taken for the session's on request.
    """

    def __init__(self, message: str, *, folder: Path, video: Path, relinkable: bool) -> None:
        super().__init__(message)
        self.folder, self.video, self.relinkable = folder, video, relinkable


class CheckpointError(VivimError):
    """A model file is missing, damaged, or is not a Vivim model."""


class SettingsError(VivimError):
    """A setting cannot have this value, or the settings cannot be written."""


class DeviceError(VivimError):
    """The device asked for is not available on this machine."""


class FinetuneError(VivimError):
    """Fine-tuning cannot start or did not finish."""


class ExportError(VivimError):
    """An export cannot be written."""


class MasksError(VivimError):
    """Masks from elsewhere cannot be read, or do not fit the video.

    Attributes
    ----------
    one_class_helps : bool
        Whether importing them as one class would work.
    """

    def __init__(self, message: str, one_class_helps: bool = False) -> None:
        super().__init__(message)
        self.one_class_helps = one_class_helps


class BatchError(VivimError):
    """Work on many videos cannot start or go on, or some of them failed.

    Attributes
    ----------
    result : dict
        What ``--json`` prints beside the message.
    """

    def __init__(self, message: str, result: dict | None = None) -> None:
        super().__init__(message)
        self.result = result or {}
