"""Models as bytes, sent to and received from another machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.errors import CheckpointError
from vivim.remote.protocol import RemoteError, functional_provenance
from vivim.utils.atomic_files import own_name

if TYPE_CHECKING:
    from vivim.network import Vivim


TEMPORARY = "vivim-remote"
"""Prefix of folders that hold weights while they are read or sent, see `vivim.utils.atomic_files`."""


def weights_of(model: Vivim) -> bytes:
    """Write a model as the content of a safetensors file, without the names and dates of its provenance."""
    from vivim.network.checkpoints import save_checkpoint

    with tempfile.TemporaryDirectory(prefix=own_name(TEMPORARY)) as folder:
        path = Path(folder) / "model.safetensors"
        save_checkpoint(model, path, functional_provenance(model))
        return path.read_bytes()


def model_from(data: bytes, input_pixels: int) -> Vivim:
    """Undo `weights_of`, with all checks of a file of ours.

    Raises `RemoteError` if it is no model of ours, or its network's input has more pixels than `input_pixels`.
    """
    from vivim.network.checkpoints import load_checkpoint, read_header

    with tempfile.TemporaryDirectory(prefix=own_name(TEMPORARY)) as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        try:
            config = read_header(path)["config"]
            if config.input_size[0] * config.input_size[1] > input_pixels or config.num_classes > 255:
                raise RemoteError("The network that was sent has too large an input, or too many classes.")
            return load_checkpoint(path)
        except CheckpointError as error:
            raise RemoteError(
                "The weights that were sent are damaged, or no model of this program."
            ) from error
