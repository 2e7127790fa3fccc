"""Description of one model version, from the header of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.errors import CheckpointError
from vivim.utils.json_types import fits

if TYPE_CHECKING:
    from vivim.session import Session

NEW_CLASSES = "new_classes"
"""Key in the provenance of a model with classes that it has yet to learn."""


@dataclass(frozen=True)
class ModelInfo:
    """One version in a list of models, with held-out Dice as scores, or None where there are none."""

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
    """The videos that it learned from, as `session_key` names them by their content."""
    licence: str | None = None


def session_key(session: Session) -> str:
    """Key of a session in a model's provenance: the beginning of the digest of its video's content."""
    return session.identity[:12]


def describe(path: Path, name: str) -> ModelInfo:
    """Describe one model file from its header, in which a value of the wrong type counts as missing.

    The description of a damaged file says that it is damaged.
    """
    from vivim.network.checkpoints import read_header

    try:
        header = read_header(path)
    except CheckpointError as error:
        return ModelInfo(name, "", None, None, None, None, None, path, f"cannot be used: {error}")
    config, classes, provenance = header["config"], header["classes"], header["provenance"]
    description = f"Vivim {config.size}, {config.input_size[0]}x{config.input_size[1]}"
    description += ", guided by corrections" if config.guided else ""
    description += f", {len(classes)} classes" if len(classes) > 1 else ""

    def said(key: str, kind: Any) -> Any:
        value = provenance.get(key)
        return value if fits(value, kind) else None

    def score(key: str) -> float | None:
        value = said(key, float)
        return float(value) if value is not None and 0 <= value <= 1 else None

    return ModelInfo(
        name,
        said("version", str) or "",
        said("parent", str),
        said("created", str),
        said("frames", int),
        score("before"),
        score("after"),
        path,
        description,
        said("sessions", int),
        classes,
        said("parent_version", str),
        tuple(said("learned_from", list[str]) or ()),
        said("licence", str),
    )


def origin(version: str | None, name: str | None, among: Sequence[ModelInfo]) -> ModelInfo | None:
    """Find the model of a version, among several the one called `name`; see `registry.model_of_version`."""
    called = [info for info in among if info.name == name]
    same = [info for info in among if version and info.version == version]
    unsaid = [info for info in called if not (version and info.version)]
    return next(iter([info for info in same if info in called] + same + unsaid), None)
