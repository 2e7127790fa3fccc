"""A person's settings, in one place: defaults here, what differs in ``settings.json`` in `vivim_home`.

That file is the one source of truth. The command line and the window both read and write it through this module. It is
read anew each time, so that a change takes effect everywhere at once. Where its disk does not answer, the settings are
those last read, so that a stalled share never holds the window. What a command or a call says explicitly wins over the
file, and so do environment variables.
"""

import json
import logging
import os
import re
import threading
from dataclasses import Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from vivim.errors import SettingsError
from vivim.utils.atomic_files import atomic_write, free_path, locked

FILE = "settings.json"
BROKEN = f"{FILE}.broken"
"""What a file that cannot be read is kept as, with a number where there is one already."""
REMOTE_FILE = "remote.json"
"""Where the remote address stood before it was a setting; still read, and taken over at the next change."""
_FROM_REMOTE_FILE = {"address": "remote_address", "token_file": "remote_token_file", "ca": "remote_ca"}
_PATHS = {"sessions_folder", "models_folder", "remote_token_file", "remote_ca"}
WITH_A_VIDEO, BY_HAND = "with a video", "by hand"
"""When the dock of the window opens."""
LOCK_SECONDS = 10.0
PATIENCE = 0.03
"""Seconds that `settings` waits for the disk before it takes what was read last."""
_log = logging.getLogger(__name__)

PALETTES = {
    "vivid": ("#00e5ff", "#f000ff", "#ffee00", "#9dff00", "#ffffff", "#b08cff"),
    "colour-blind safe": ("#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#d55e00"),
    "high contrast": ("#00ff66", "#ff2d55", "#00c8ff", "#ffd60a", "#ff5cf4", "#ffffff"),
}
"""Colours of the classes 1, 2, ... by name of the palette.

The first stands out on grey ultrasound and on pink mucosa, and is none of the colours that say what a frame counts as.
The second is by Okabe and Ito (2008).
"""


@dataclass(frozen=True)
class About:
    """What a form says of one setting, and what its value may be."""

    title: str
    help: str
    group: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()


def _setting(default: Any, title: str, help: str, group: str, **limits: Any) -> Any:
    return field(default=default, metadata={"about": About(title, help, group, **limits)})


@dataclass(frozen=True)
class Settings:
    """All settings. A value that cannot be is refused with a `SettingsError`."""

    default_model: str = _setting(
        "starter", "Default model", "The model offered first; 'starter' is the one that ships.", "models"
    )
    device: str = _setting(
        "auto",
        "Device",
        "Where the network runs. auto takes the fastest there is; remote is the server below.",
        "inference",
        choices=("auto", "cpu", "cuda", "mps", "remote"),
    )
    clip_length: int = _setting(
        8,
        "Window length",
        "Frames that go through the network together. More see further in time, and take more memory.",
        "inference",
        minimum=1,
        maximum=64,
    )
    batch_limit: int = _setting(
        0,
        "Batch limit",
        "At most so many windows at once; 0 takes as many as fit into the device's memory.",
        "inference",
        minimum=0,
        maximum=32,
    )
    sessions_folder: str = _setting(
        "",
        "Folder for sessions",
        "Where the work on new videos is kept; empty keeps it beside each video.",
        "folders",
    )
    models_folder: str = _setting(
        "",
        "Folder for models",
        "Where your model versions are kept; empty is Vivim's folder of application data.",
        "folders",
    )
    palette: str = _setting("vivid", "Colours", "Colours of the classes.", "display", choices=tuple(PALETTES))
    own_colors: str = _setting(
        "",
        "Own colours",
        "Such as '#26c878, #ff8c42', for classes 1, 2, ...; they come before those of the palette.",
        "display",
    )
    opacity: int = _setting(50, "Opacity of masks", "In percent.", "display", minimum=5, maximum=100)
    masks_as: str = _setting(
        "outlines",
        "Show masks as",
        "How masks are shown at first. The key T changes it.",
        "display",
        choices=("outlines", "filled"),
    )
    dock: str = _setting(
        WITH_A_VIDEO,
        "Open the dock",
        "By itself when a video is opened, or by hand: Plugins, Vivim, Vivim Segment.",
        "window",
        choices=(WITH_A_VIDEO, BY_HAND),
    )
    reader: str = _setting(
        "default", "Reader", "Whose masks the window opens, where a video has several readers.", "reader"
    )
    remote_address: str = _setting(
        "",
        "Server",
        "Another machine's device, such as https://gpu.hospital.example:8765; empty is none.",
        "remote",
    )
    remote_token_file: str = _setting(
        "",
        "Token file",
        "The file with the server's token, readable by you alone; empty is 'remote-token' in Vivim's folder.",
        "remote",
    )
    remote_ca: str = _setting(
        "",
        "Certificate",
        "The certificate of your own authority, if the server's is signed by one.",
        "remote",
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            _check(one, getattr(self, one.name))

    def colors(self) -> tuple[str, ...]:
        """Colours of the classes 1, 2, ... as ``#rrggbb``. Further classes begin again with the first."""
        own = _colors_of(self.own_colors)
        return own + tuple(color for color in PALETTES[self.palette] if color not in own)


def about(name: str) -> About:
    """What a form says of a setting."""
    return next(one.metadata["about"] for one in fields(Settings) if one.name == name)


def vivim_home() -> Path:
    """Folder for settings, models and caches: ``$VIVIM_HOME``, or the system's place for application data."""
    from platformdirs import user_data_dir

    return Path(os.environ.get("VIVIM_HOME") or user_data_dir("vivim", appauthor=False))


_last_read: dict[Path, Settings] = {}
"""By folder, the settings as they were last read or changed."""
_stalled: dict[Path, threading.Thread] = {}
"""By folder, the thread that waits for a disk that does not answer."""
_writes = 0
"""Changes made by this process: what was read before one of them is out of date."""


def settings(*, at_once: bool = False) -> Settings:
    """The settings as they are now, or as they were last read where the disk does not answer within `PATIENCE`.

    The log is told once of each problem with the file.

    Parameters
    ----------
    at_once : bool
        Return the defaults where nothing was read yet and the disk does not answer. Without it the first call waits.
    """
    home = vivim_home()
    if not at_once and home not in _last_read:
        return _read(home)
    if home not in _stalled or not _stalled[home].is_alive():
        reading = threading.Thread(target=_read, args=(home,), name="vivim-read-settings", daemon=True)
        reading.start()
        reading.join(PATIENCE)
        if reading.is_alive():
            _stalled[home] = reading
            _log.warning("%s does not answer. The settings last read are used until it does.", home)
    return _last_read.get(home, Settings())


def _read(home: Path) -> Settings:
    """Read the settings of a folder and remember them, unless they were changed meanwhile."""
    before = _writes
    found, problems = read_settings()
    for problem in problems:
        _say_once(problem)
    if before == _writes:
        _last_read[home] = found
    return found


def read_settings() -> tuple[Settings, tuple[str, ...]]:
    """Read the settings, and what is wrong with the file, in sentences.

    It waits for the disk. A value that cannot be is replaced by its default.
    """
    values, problems = _values()
    kept: dict[str, Any] = {}
    for one in fields(Settings):
        if one.name in values:
            try:
                _check(one, values[one.name])
                kept[one.name] = values[one.name]
            except SettingsError as error:
                problems.append(
                    f"{error} The default {one.default!r} is used until {settings_path()} is corrected."
                )
    return Settings(**kept), tuple(problems)


def change_settings(**changes: Any) -> Settings:
    """Change some settings, for good. All others, and whatever else stands in the file, stay.

    A file that cannot be read is kept under another name, see `BROKEN`. A setting that is set back to its default
    leaves the file.

    Raises
    ------
    SettingsError
        If a value cannot be, or the file cannot be written.
    """
    global _writes
    Settings(**changes)
    lock = vivim_home() / ".settings.lock"
    with locked(lock, LOCK_SECONDS, SettingsError, f"the settings in {settings_path()}"):
        content, problem = _content(settings_path())
        if problem:
            os.replace(settings_path(), _free(settings_path().with_name(BROKEN)))
        from_remote, _ = _content(vivim_home() / REMOTE_FILE)
        content = {**_taken_over(from_remote), **content, **changes}
        defaults = {one.name: one.default for one in fields(Settings)}
        kept = {key: value for key, value in content.items() if key not in defaults or value != defaults[key]}
        with atomic_write(settings_path()) as part:
            part.write_text(json.dumps(kept, indent=2), encoding="utf-8")
        if from_remote:
            os.replace(vivim_home() / REMOTE_FILE, _free(vivim_home() / f"{REMOTE_FILE}.old"))
        _writes += 1
        return _read(vivim_home())


def _values() -> tuple[dict[str, Any], list[str]]:
    """What the file says, and what was said in the old file of the remote address."""
    content, problem = _content(settings_path())
    before, problem_before = _content(vivim_home() / REMOTE_FILE)
    return {**_taken_over(before), **content}, [text for text in (problem, problem_before) if text]


def _content(path: Path) -> tuple[dict[str, Any], str]:
    """A file's object, and what is wrong with it. Empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror or error}): the defaults are used."
    except (ValueError, RecursionError) as error:
        return {}, f"{path} is damaged ({error}): the defaults are used. Correct or remove it."
    if not isinstance(content, dict):
        return {}, f"{path} is damaged (it holds no object): the defaults are used. Correct or remove it."
    return content, ""


def _taken_over(content: dict[str, Any]) -> dict[str, Any]:
    return {new: content[old] for old, new in _FROM_REMOTE_FILE.items() if content.get(old)}


def _check(one: Field, value: Any) -> None:
    """Raise a `SettingsError` if a setting cannot have a value."""
    limits: About = one.metadata["about"]
    name = f"The setting '{limits.title}' ({one.name})"
    kind: Any = type(one.default)
    if type(value) is not kind:  # True is no whole number here
        wanted = "a whole number" if kind is int else "a text"
        raise SettingsError(f"{name} must be {wanted}, not {value!r}.")
    if limits.choices and value not in limits.choices:
        raise SettingsError(f"{name} must be one of {', '.join(limits.choices)}, not {value!r}.")
    if limits.minimum is not None and not limits.minimum <= value <= (limits.maximum or value):
        raise SettingsError(f"{name} must be from {limits.minimum} to {limits.maximum}, not {value}.")
    if one.name == "own_colors":
        _colors_of(value)
    if one.name in _PATHS and value and not Path(value).expanduser().is_absolute():
        raise SettingsError(f"{name} must be a whole path, not {value!r}.")


def _colors_of(text: str) -> tuple[str, ...]:
    colors = tuple(word.lower() for word in re.split(r"[,;\s]+", text) if word)
    for color in colors:
        if not re.fullmatch(r"#[0-9a-f]{6}", color):
            raise SettingsError(f"{color!r} is not a colour: write it as #26c878.")
    return colors


def settings_path() -> Path:
    """The file of the settings, which need not be there."""
    return vivim_home() / FILE


def _free(path: Path) -> Path:
    return free_path(lambda number: path if number == 1 else path.with_name(f"{path.name}-{number}"))


@cache
def _say_once(problem: str) -> None:
    _log.warning("%s", problem)
