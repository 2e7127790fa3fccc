"""A person's settings, in one place: defaults here, what differs in ``settings.json`` in `vivim_home`.

That file is the one source of truth: the command line, the window and napari's page of preferences all read and write
it through this module, and it is read anew each time, so that a change takes effect everywhere at once. What a command
or a call says explicitly wins over it; environment variables, where there are any, win over it too.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from vivim.errors import SettingsError
from vivim.utils.atomic_files import part_of

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
_log = logging.getLogger(__name__)

PALETTES = {
    "vivid": ("#26c878", "#ff8c42", "#4aa8ff", "#e05fa8", "#d4c94a", "#8f7bff"),
    "colour-blind safe": ("#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#d55e00"),
    "high contrast": ("#00ff66", "#ff2d55", "#00c8ff", "#ffd60a", "#ff5cf4", "#ffffff"),
}
"""Colours of the classes 1, 2, ... by name of the palette; the second is by Okabe and Ito (2008)."""


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
    """All settings; a value that cannot be is refused with a `SettingsError`."""

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
    dock: str = _setting(
        WITH_A_VIDEO,
        "Open the dock",
        "By itself when a video is opened, or by hand: Plugins, Vivim, Vivim Segment.",
        "window",
        choices=(WITH_A_VIDEO, BY_HAND),
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
        """Colours of the classes 1, 2, ... as ``#rrggbb``; further classes begin again with the first."""
        own = _colors_of(self.own_colors)
        return own + tuple(color for color in PALETTES[self.palette] if color not in own)


def about(name: str) -> About:
    """What a form says of a setting."""
    return next(one.metadata["about"] for one in fields(Settings) if one.name == name)


def vivim_home() -> Path:
    """Folder for settings, models and caches: ``$VIVIM_HOME``, or the system's place for application data."""
    from platformdirs import user_data_dir

    return Path(os.environ.get("VIVIM_HOME") or user_data_dir("vivim", appauthor=False))


def settings() -> Settings:
    """The settings as they are now; of each problem with the file the log is told once."""
    found, problems = read_settings()
    for problem in problems:
        _say_once(problem)
    return found


def read_settings() -> tuple[Settings, tuple[str, ...]]:
    """The settings, and what is wrong with the file, in sentences: a value that cannot be is its default instead."""
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
    """Change some settings, for good; all others, and whatever else stands in the file, stay.

    A file that cannot be read is kept under another name, see `BROKEN`. A setting that is set back to its default
    leaves the file.

    Raises
    ------
    SettingsError
        If a value cannot be, or the file cannot be written.
    """
    Settings(**changes)
    with _one_at_a_time():
        content, problem = _content(settings_path())
        if problem:
            os.replace(settings_path(), _free(settings_path().with_name(BROKEN)))
        from_remote, _ = _content(vivim_home() / REMOTE_FILE)
        content = {**_taken_over(from_remote), **content, **changes}
        defaults = {one.name: one.default for one in fields(Settings)}
        _write(
            {key: value for key, value in content.items() if key not in defaults or value != defaults[key]}
        )
        if from_remote:
            os.replace(vivim_home() / REMOTE_FILE, _free(vivim_home() / f"{REMOTE_FILE}.old"))
    return settings()


def _values() -> tuple[dict[str, Any], list[str]]:
    """What the file says, and what was said in the old file of the remote address."""
    content, problem = _content(settings_path())
    before, problem_before = _content(vivim_home() / REMOTE_FILE)
    return {**_taken_over(before), **content}, [text for text in (problem, problem_before) if text]


def _content(path: Path) -> tuple[dict[str, Any], str]:
    """A file's object, and what is wrong with it; empty where there is none."""
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


def _write(content: dict[str, Any]) -> None:
    part = part_of(settings_path())
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, settings_path())
    except OSError:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Between reading and writing the file no other process writes it."""
    from filelock import FileLock, Timeout

    try:
        vivim_home().mkdir(parents=True, exist_ok=True)
        with FileLock(vivim_home() / ".settings.lock", timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise SettingsError("Another program is writing the settings. Try again.") from error
    except OSError as error:
        raise SettingsError(f"{settings_path()} cannot be written: {error.strerror or error}.") from error


def _check(one: Field, value: Any) -> None:
    """Raise a `SettingsError` if a setting cannot have a value."""
    limits: About = one.metadata["about"]
    name = f"The setting '{limits.title}' ({one.name})"
    if not _alike(value, one.default):
        wanted = "a whole number" if isinstance(one.default, int) else "a text"
        raise SettingsError(f"{name} must be {wanted}, not {value!r}.")
    if limits.choices and value not in limits.choices:
        raise SettingsError(f"{name} must be one of {', '.join(limits.choices)}, not {value!r}.")
    if limits.minimum is not None and not limits.minimum <= value <= (limits.maximum or value):
        raise SettingsError(f"{name} must be from {limits.minimum} to {limits.maximum}, not {value}.")
    if one.name == "own_colors":
        _colors_of(value)
    if one.name in _PATHS and value and not Path(value).expanduser().is_absolute():
        raise SettingsError(f"{name} must be a whole path, not {value!r}.")


def _alike(value: object, default: object) -> bool:
    return type(value) is type(default)


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
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


@cache
def _say_once(problem: str) -> None:
    _log.warning("%s", problem)
