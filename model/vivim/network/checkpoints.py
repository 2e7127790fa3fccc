"""Model files: our own (safetensors, everything about the model in the header) and the reference's.

Nothing here ever unpickles objects, see `vivim.network.state_dict`.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vivim.errors import CheckpointError
from vivim.network.config import MOST_CLASSES, VivimConfig, class_names
from vivim.network.state_dict import PICKLED, check_weights, read_state_dict
from vivim.network.vivim import Vivim
from vivim.network.weight_conversion import (
    LoadReport,
    is_reference,
    load_reference_state_dict,
    reference_config,
)
from vivim.utils.atomic_files import atomic_write

FORMAT = "vivim-1"
"""Format in the header of every file. A file of another format is refused."""

LARGEST_SIDE = 4096
"""A file that claims a larger input than this many pixels a side is damaged or means harm."""


def save_checkpoint(
    model: Vivim, path: Path, provenance: dict[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write a model to a ``.safetensors`` file, atomically, with its floating-point weights in `dtype`.

    `provenance` are plain JSON values that say where the weights are from. Raises `CheckpointError` if the file cannot
    be written, or a weight is no finite number of this type.
    """
    own = model.state_dict()
    tensors = {name: _stored(value.detach().cpu(), dtype).contiguous() for name, value in own.items()}
    check_weights(tensors, own, f"The model {model.name!r}")
    header = {
        "format": FORMAT,
        "config": json.dumps(asdict(model.config)),
        "classes": json.dumps(list(model.classes)),
        "provenance": json.dumps(provenance),
    }
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(save(tensors, header))
    except OSError as error:
        raise CheckpointError(f"Cannot write the model to {path}: {error.strerror or error}.") from error


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert floating-point numbers to `dtype`, unless it cannot hold them: a variance may be beyond float16."""
    if not value.is_floating_point():
        return value
    largest = float(value.abs().max()) if value.numel() else 0.0
    return value if torch.finfo(dtype).max < largest < torch.inf else value.to(dtype)


def read_header(path: Path) -> dict[str, Any]:
    """Read configuration, classes and provenance of one of our files alone, or raise a `CheckpointError`."""
    if not os.path.isfile(path):  # a pipe would block
        raise CheckpointError(f"There is no model file {path}.")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a Vivim model of this program (format {header.get('format')!r})."
        )
    try:
        config = VivimConfig(**json.loads(header["config"]))
        if config.num_classes > MOST_CLASSES or max(config.input_size) > LARGEST_SIDE:
            raise ValueError("it has too many classes, or too large an input")
        provenance = json.loads(header["provenance"])
        if not isinstance(provenance, dict):
            raise TypeError("its provenance is no object")
        return {
            "config": config,
            "classes": class_names(config.num_classes, json.loads(header["classes"])),
            "provenance": provenance,
        }
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"The header of {path} does not describe a Vivim model: {error}") from error


def load_checkpoint(path: str | Path) -> Vivim:
    """Load one of our models (``.safetensors``) or a reference checkpoint (``.ckpt``, ``.pth``, ``.pt``, ``.bin``).

    It is in evaluation mode, float32, on the CPU; `name`, `version`, `classes` and `provenance` are set. Raises
    `CheckpointError` if the file is missing, damaged, of another network, or cannot be read without running code from
    it.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise CheckpointError(f"There is no model file {path}.")
    model = _load_reference(path) if path.suffix.lower() in PICKLED else _load_own(path)
    model.name = path.stem
    model.version = content_version(model)
    return model.eval()


def _load_own(path: Path) -> Vivim:
    header = read_header(path)
    model = Vivim(header["config"])
    state = read_state_dict(path)
    check_weights(state, model.state_dict(), path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {path} do not fit the network its header describes."
        ) from error
    model.classes, model.provenance = header["classes"], header["provenance"]
    return model


def _load_reference(path: Path) -> Vivim:
    state = read_state_dict(path)
    if not is_reference(state):
        raise CheckpointError(f"{path} holds tensors, but not those of a Vivim. Choose a Vivim checkpoint.")
    model = Vivim(reference_config(state))
    report: LoadReport = load_reference_state_dict(model, state, path)
    model.provenance = {"source": path.name, "report": str(report)}
    return model


def content_version(model: Vivim) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the weights as float16."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            (value.half() if value.is_floating_point() else value).cpu().contiguous().numpy().tobytes()
        )
    return digest.hexdigest()[:12]
