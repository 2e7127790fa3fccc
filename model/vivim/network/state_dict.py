"""State dicts of model files: read without ever running code from them, and checked.

Foreign ``.ckpt`` and ``.pth`` files are read as plain tensors or refused.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from vivim.errors import CheckpointError

PICKLED = {".ckpt", ".pth", ".pt", ".bin"}
"""Endings of files that PyTorch pickles."""

ADVICE = "Weights are finite floating-point numbers, stored whole. Choose another file."


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, without running code from it.

    What Lightning keeps under ``state_dict`` is unwrapped. Raises `CheckpointError` if it is damaged, holds no tensors,
    or holds objects other than plain data.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            with safe_open(str(path), framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if not path.is_file():
            raise ValueError("it is no file")
        _refuse_packed(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than plain tensors and is not read, because reading it could run code. "
            "Save its state dict alone (torch.save(model.state_dict(), ...)) and load that."
        ) from error
    except Exception as error:  # a damaged pickle fails in any way inside PyTorch
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {reason}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise CheckpointError(f"{path} holds no named tensors. Choose a checkpoint of a Vivim.")
    check_stored(tensors, path)
    if any(value.nbytes > value.untyped_storage().nbytes() for value in tensors.values()):
        raise CheckpointError(f"{path} holds tensors that claim to be larger than what is stored of them.")
    return tensors


def _refuse_packed(path: Path) -> None:
    """Raise a `ValueError` for an archive with compressed members, which PyTorch never writes."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its members are packed")
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("its members claim to be larger than the file")


def check_stored(tensors: Mapping[str, Tensor], source: object) -> None:
    """Make sure that tensors are dense and named by text, before anything is asked of them."""
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise CheckpointError(
                f"{source} cannot be used: the name {name!r} of a weight is no text. {ADVICE}"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_nested or value.is_meta:
            raise CheckpointError(
                f"{source} cannot be used: {name} is sparse, packed or without data. {ADVICE}"
            )


def check_weights(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], source: object) -> None:
    """Make sure that tensors can be copied into those of a network without a change of meaning.

    Names that the network does not have are passed over. Raises `CheckpointError` if a weight is complex, a whole
    number or a truth value, or holds values that are no finite numbers.
    """
    for name, value in tensors.items():
        if name not in own:
            continue
        wanted = own[name].dtype
        counter = not wanted.is_floating_point and value.dtype in (torch.int64, torch.int32)
        if not counter and (not value.is_floating_point() or not wanted.is_floating_point):
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(f"{source} cannot be used: {name} holds {kind} numbers. {ADVICE}")
        if not counter and not bool(torch.isfinite(value.float()).all()):
            raise CheckpointError(
                f"{source} cannot be used: {name} holds values that are no finite numbers. The training that made it "
                "went wrong; take an earlier checkpoint of it."
            )
