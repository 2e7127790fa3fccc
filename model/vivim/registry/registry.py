"""The registry of model versions: the starter that ships with the package, and the person's own versions.

A version is one file in `models_folder`, with everything known about it in the file's header. Nothing is ever
overwritten: a name that is taken gets a number.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.errors import CheckpointError
from vivim.registry.info import NEW_CLASSES, ModelInfo, describe, origin, session_key
from vivim.settings import change_settings, settings, vivim_home
from vivim.utils.atomic_files import atomic_write, free_path, locked, sweep

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.session import Session

STARTER = "starter"
SUFFIX = ".safetensors"
LOCK_SECONDS = 60.0
"""How long to wait for another process that writes a model."""


def models_folder() -> Path:
    """Folder of the person's own model versions, by default in `vivim_home`."""
    chosen = settings().models_folder
    return Path(chosen).expanduser() if chosen else vivim_home() / "models"


def starter_path() -> Path:
    """The starter weights inside the package."""
    return Path(str(files("vivim") / "weights" / f"{STARTER}{SUFFIX}"))


def load_model(name_or_path: str | Path = STARTER) -> Vivim:
    """Load a model by its name in the registry, or from a file of ours or of the reference.

    Raises
    ------
    CheckpointError
        If there is no such model, or the file cannot be used.
    """
    from vivim.network.checkpoints import load_checkpoint

    path = model_path(name_or_path)
    if path == starter_path() and not os.path.isfile(path):
        raise CheckpointError(
            f"The starter model is missing from this installation ({path}). Install napari-vivim again, or choose "
            "another model."
        )
    model = load_checkpoint(path)
    model.name = STARTER if path == starter_path() else path.stem
    return model


class ModelCache:
    """Loads models and keeps the last one, until its file changes. For one thread."""

    def __init__(self) -> None:
        self._models: dict[tuple[Path, int], Vivim] = {}

    def load(self, name_or_path: str | Path) -> Vivim:
        """Load a model that is not the last one, see `load_model`."""
        path = model_path(name_or_path)
        key = path, path.stat().st_mtime_ns if path.is_file() else 0
        if key not in self._models:
            self._models = {key: load_model(name_or_path)}
        return self._models[key]


def model_path(name_or_path: str | Path) -> Path:
    """Find the file of a model given by name or path. Raises `CheckpointError` if there is none."""
    text = str(name_or_path)
    if text == STARTER:
        return starter_path()
    own = models_folder() / f"{text}{SUFFIX}"
    if own.parent == models_folder() and os.path.isfile(own):
        return own
    if os.path.isfile(text):
        return Path(text)
    known = ", ".join(info.name for info in list_models())
    raise CheckpointError(f"There is no model or file {text!r}. Known models: {known}.")


def list_models() -> list[ModelInfo]:
    """List the starter and all own versions, oldest first. A damaged file has that as its description."""
    try:
        with os.scandir(models_folder()) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
        paths = [
            models_folder() / name for name in names if not name.startswith(".")
        ]  # temporary files are hidden
    except OSError:  # not made yet, or on a share that is not there
        paths = []
    starter = [starter_path()] if os.path.isfile(starter_path()) else []
    return [model_info(path) for path in [*starter, *sorted(paths, key=_written_at)]]


def _written_at(path: Path) -> float:
    """Time when a file was written, or 0 where it was removed meanwhile or is a broken link."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def model_info(path: Path) -> ModelInfo:
    """Describe one model file from its header."""
    return describe(path, STARTER if path == starter_path() else path.stem)


def model_of_version(version: str | None, name: str | None) -> ModelInfo | None:
    """Find the model whose weights are `version`, whatever its name, or return None if it has been removed.

    A model called `name` counts where no version is given, or its file gives none, as the starter's.
    """
    return origin(version, name, list_models())


def untouched_ancestor(model: Vivim, sessions: Sequence[Session]) -> Vivim:
    """Find the nearest ancestor of `model` that has not learned from any of `sessions`.

    A model that has seen these corrected frames cannot be judged on them. Starting from its ancestor, with all
    corrected frames there are now, keeps the held-out scores honest. A model whose ancestor is gone is returned itself.
    """
    keys = {session_key(session) for session in sessions}
    while keys & set(model.provenance.get("learned_from", [])):
        ancestor = model_of_version(model.provenance.get("parent_version"), model.provenance.get("parent"))
        if ancestor is None:
            break
        try:
            model = load_model(ancestor.path)
        except CheckpointError:
            break
    return model


def save_version(model: Vivim, name: str, provenance: dict[str, Any]) -> ModelInfo:
    """Add a version to the registry under `name`, or `name-2`, `name-3` ... where that is taken.

    `provenance` may hold parent, frames, before, after and more. Version and time are added.
    """
    import torch

    from vivim.network.checkpoints import content_version, save_checkpoint

    checked_name(name)
    model.version = content_version(model)
    model.provenance = {
        **provenance,
        "version": model.version,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    with _one_at_a_time():
        sweep(models_folder())
        path = _free_path(name)
        save_checkpoint(model, path, model.provenance, dtype=torch.float16)
    model.name = path.stem
    return model_info(path)


def checked_name(name: str) -> str:
    """Return `name` if it can be the name of a model and of a file, else raise a `CheckpointError` that says what can."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,79}", name) or name == STARTER:
        raise CheckpointError(
            f"{name!r} cannot be the name of a model: use up to 80 letters, digits, '.', '_', '-' or spaces, "
            f"and not {STARTER!r}."
        )
    return name


def _one_at_a_time() -> AbstractContextManager:
    """Lock the models folder, so that no other process takes a name between finding it free and writing the file."""
    return locked(vivim_home() / ".models.lock", LOCK_SECONDS, CheckpointError, f"models in {vivim_home()}")


def _free_path(name: str) -> Path:
    folder = models_folder()
    return free_path(lambda number: folder / f"{name if number == 1 else f'{name}-{number}'}{SUFFIX}")


def _own_path(name: str) -> Path:
    if name == STARTER:
        raise CheckpointError("The starter belongs to the program: it cannot be renamed or removed.")
    return models_folder() / f"{checked_name(name)}{SUFFIX}"


@contextmanager
def _telling_of_failure(name: str, what: str) -> Iterator[None]:
    """Turn an operating system's error about the file of a model into a `CheckpointError`."""
    try:
        yield
    except FileNotFoundError as error:  # perhaps another program was quicker
        raise CheckpointError(f"There is no model {name!r}. `vivim models list` shows all models.") from error
    except OSError as error:
        raise CheckpointError(f"Cannot {what} the model {name!r}: {error.strerror or error}.") from error


def import_model(source: str | Path, name: str | None = None) -> ModelInfo:
    """Check a model file of ours or of the reference and add it to the registry.

    Raises
    ------
    CheckpointError
        If it cannot be used, or the registry cannot be written.
    """
    from vivim.network.checkpoints import load_checkpoint

    model = load_checkpoint(source)
    wanted = name or re.sub(r"[^A-Za-z0-9._ -]", "-", Path(source).stem).lstrip("._ -") or "imported"
    return save_version(model, "imported" if wanted == STARTER else wanted, model.provenance)


def add_classes(name: str, classes: Sequence[str], new_name: str) -> ModelInfo:
    """Save a new version of a model with more classes, see `vivim.network.targets.with_classes`."""
    from vivim.network.targets import with_classes

    parent = load_model(name)
    kept = ("licence", "learned_from")
    known = {key: parent.provenance[key] for key in kept if key in parent.provenance}
    known |= {"parent": parent.name, "parent_version": parent.version, NEW_CLASSES: True}
    return save_version(with_classes(parent, classes), new_name, known)


def export_model(name: str, target: str | Path, overwrite: bool = False) -> Path:
    """Copy a model's file to `target`, which must not exist yet unless `overwrite`.

    Raises
    ------
    CheckpointError
        If there is no such model, `target` exists or cannot be written.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise CheckpointError(f"{target} exists already. Choose another name.")
    try:
        with atomic_write(target) as part:
            shutil.copyfile(model_path(name), part)
    except OSError as error:
        raise CheckpointError(f"Cannot write {target}: {error.strerror or error}.") from error
    return target


def rename_model(name: str, new_name: str) -> ModelInfo:
    """Give a version another name, with a number if that name is taken.

    Raises
    ------
    CheckpointError
        If there is no such model, the name is not usable, or the file cannot be renamed.
    """
    source = _own_path(name)
    checked_name(new_name)
    offered_first = default_model_name() == name
    with _one_at_a_time(), _telling_of_failure(name, "rename"):
        target = _free_path(new_name)
        os.rename(source, target)
    if offered_first:
        set_default_model(target.stem)
    return model_info(target)


def remove_model(name: str) -> None:
    """Delete a version for good.

    Raises
    ------
    CheckpointError
        If there is no such model, or the file cannot be removed.
    """
    with _telling_of_failure(name, "remove"):
        _own_path(name).unlink()


def default_model_name() -> str:
    """Name of the model offered first: the one set by `set_default_model` if it still exists, else the starter."""
    name = settings().default_model
    return name if os.path.isfile(models_folder() / f"{name}{SUFFIX}") else STARTER


def set_default_model(name: str) -> None:
    """Offer `name` first from now on."""
    model_path(name)
    change_settings(default_model=name)
