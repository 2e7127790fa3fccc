"""Wire format: a binary message is four bytes of length, a JSON header of that length, and a payload.

Nothing is unpacked to more than its receiver expects, and no header is longer than `HEADER` bytes. Models travel as the
content of a safetensors file.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vivim.errors import CheckpointError, DeviceError, VivimError
from vivim.registry.info import NEW_CLASSES
from vivim.utils.atomic_files import own_name

if TYPE_CHECKING:
    from vivim.network import Vivim

PATH = "/vivim/2"
"""Path of the server, with the number of this protocol."""
HEADER = 2**16
MESSAGE = 48 * 2**20
"""Largest message in bytes: one mask of the largest picture, packed, with room to spare."""
CHUNK = 4 * 2**20
"""Bytes in which weights are sent at a time."""

MISSING = "Working on another machine needs websockets: pip install 'napari-vivim[remote]'"

WANTED, KNOWN, HAVE = 1, 2, 4
"""Flags of a frame: to be proposed, with a mask that a person vouches for, with a proposal that arrived before."""


class RemoteError(VivimError):
    """The server cannot be reached, refuses, or broke off.

    Attributes
    ----------
    again : bool
        Whether trying again later may help.
    """

    def __init__(self, message: str, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class RemoteDeviceError(RemoteError, DeviceError):
    """The server's device is too small for the request."""


@dataclass(frozen=True)
class Message:
    """An unpacked message, whose `values` are of JSON's types and have to be checked by their reader."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    def number(self, name: str, low: int, high: int) -> int:
        """Return a whole number within bounds, both included, or raise a `RemoteError`."""
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise RemoteError(f"{name!r} must be a whole number from {low} to {high}.")
        return value

    def text(self, name: str, longest: int = 80) -> str:
        """Return a short text. Raises `RemoteError` if it is missing, no text, or too long."""
        value = self.values.get(name)
        if not isinstance(value, str) or len(value) > longest:
            raise RemoteError(f"{name!r} must be a text of at most {longest} characters.")
        return value


def pack(kind: str, payload: bytes = b"", **values: Any) -> bytes:
    """Make a message."""
    header = json.dumps({"kind": kind, **values}).encode()
    return struct.pack(">I", len(header)) + header + payload


def unpack(data: bytes | str) -> Message:
    """Unpack a message. Raises `RemoteError` if it is none."""
    if isinstance(data, str) or len(data) < 4:
        raise RemoteError("What arrived is not a message of this program.")
    length = struct.unpack(">I", data[:4])[0]
    if length > min(HEADER, len(data) - 4):
        raise RemoteError("What arrived claims a longer header than it has, or than is allowed.")
    try:
        values = json.loads(data[4 : 4 + length])
    except (ValueError, RecursionError) as error:
        raise RemoteError("What arrived has a header that cannot be read.") from error
    kind = values.pop("kind", None) if isinstance(values, dict) else None
    if not isinstance(kind, str):
        raise RemoteError("What arrived does not say what it is.")
    return Message(kind, values, data[4 + length :])


def squeeze(pixels: NDArray[np.uint8]) -> bytes:
    """Compress pixels ``(H, W)`` or ``(H, W, c)`` without loss: differences of rows, deflated."""
    rows = pixels.copy()
    rows[1:] -= pixels[:-1]
    return zlib.compress(rows.tobytes(), 1)


def expand(data: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Undo `squeeze`. The data must be exactly as many as `shape` holds, and no more is unpacked."""
    size = int(np.prod(shape))
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(data, size + 1)
    except zlib.error as error:
        raise RemoteError("Pixels arrived damaged.") from error
    if len(raw) != size or not unpacking.eof or unpacking.unused_data:
        raise RemoteError(f"Pixels arrived that do not fill {' x '.join(map(str, shape))} exactly.")
    return np.cumsum(np.frombuffer(raw, np.uint8).reshape(shape), axis=0, dtype=np.uint8)


def digest_of(model: Vivim) -> str:
    """SHA-256 of configuration, classes, weights, and the provenance that decides what a model does."""
    digest = hashlib.sha256(
        json.dumps(
            [asdict(model.config), list(model.classes), functional_provenance(model)], sort_keys=True
        ).encode()
    )
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def functional_provenance(model: Vivim) -> dict[str, Any]:
    """The part of a model's provenance that decides what it does, without names and dates."""
    return {
        "learned_from": list(model.provenance.get("learned_from", [])),
        NEW_CLASSES: bool(model.provenance.get(NEW_CLASSES)),
    }


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
    """Undo `weights_of`, with all checks of a file of ours, for a network with no more than so many input pixels."""
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
