"""What is known of one model version, from the header of its file, and which version it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.errors import CheckpointError

if TYPE_CHECKING:
    from vivim.session import Session

NEW_CLASSES = "new_classes"
"""In the provenance of a model that was given classes it has yet to learn."""


@dataclass(frozen=True)
class ModelInfo:
    """What a list of models shows of one version; scores are held-out Dice, None where there are none."""

    name: str
    version: str
    parent: str | None
    created: str | None
    frames: int | None
    before: float | None
    after: float | None
    path: Path
    description: str
    sessions: int | None = None
    classes: tuple[str, ...] = ()
    """Names of the classes 1 and up."""
    parent_version: str | None = None
    learned_from: tuple[str, ...] = ()
    """The videos it learned from, as `session_key` names them: by their content, not by a name."""
    licence: str | None = None


def session_key(session: Session) -> str:
    """What a model's provenance says of a session: the beginning of the digest of its video's content."""
    return session.identity[:12]


def describe(path: Path, name: str) -> ModelInfo:
    """Describe one model file from its header; a damaged file has that as its description."""
    from vivim.network.checkpoints import read_header

    try:
        header = read_header(path)
    except CheckpointError as error:
        return ModelInfo(name, "", None, None, None, None, None, path, f"cannot be used: {error}")
    known = _Known(header["provenance"])
    config, classes = header["config"], header["classes"]
    description = f"Vivim {config.size}, {config.input_size[0]}x{config.input_size[1]}"
    description += ", guided by corrections" if config.guided else ""
    description += f", {len(classes)} classes" if len(classes) > 1 else ""
    return ModelInfo(
        name,
        known.text("version") or "",
        known.text("parent"),
        known.text("created"),
        known.count("frames"),
        known.score("before"),
        known.score("after"),
        path,
        description,
        known.count("sessions"),
        classes,
        known.text("parent_version"),
        known.texts("learned_from"),
        known.text("licence"),
    )


@dataclass(frozen=True)
class _Known:
    """What a file says of itself; a value of another kind than it should be counts as not said."""

    values: dict[str, Any]

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def count(self, key: str) -> int | None:
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def score(self, key: str) -> float | None:
        value = self.values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return float(value) if 0 <= value <= 1 else None

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def origin(version: str | None, name: str | None, among: Sequence[ModelInfo]) -> ModelInfo | None:
    """The model of this version, if there are several the one called `name`; see
    `vivim.registry.registry.model_of_version`.
    """
    called = [info for info in among if info.name == name]
    same = [info for info in among if version and info.version == version]
    unsaid = [info for info in called if not (version and info.version)]
    return next(iter([info for info in same if info in called] + same + unsaid), None)
