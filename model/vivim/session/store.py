"""Masks on disk: a Zarr array, one frame a chunk, so that a stroke rewrites one small file and nothing else.

Zarr's local store writes a chunk beside the old one and renames it, so a frame is always either old or new.
"""

from __future__ import annotations

from pathlib import Path

import zarr
from zarr.codecs import BloscCodec

from vivim.errors import SessionError


def create_masks(path: Path, shape: tuple[int, int, int]) -> zarr.Array:
    """A new array of zeros ``(T, H, W)`` uint8 in place of any there; frames never written take no space."""
    return zarr.create_array(
        store=str(path),
        shape=shape,
        chunks=(1, *shape[1:]),
        dtype="uint8",
        overwrite=True,
        fill_value=0,
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle", typesize=1),
        dimension_names=("time", "y", "x"),
    )


def open_masks(path: Path, shape: tuple[int, int, int], read_only: bool) -> zarr.Array:
    """The array of an existing session.

    Raises
    ------
    SessionError
        If it is missing, damaged or of another shape.
    """
    try:
        masks = zarr.open_array(str(path), mode="r" if read_only else "r+")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SessionError(
            f"The masks in {path} cannot be read ({error}). Restore them from a backup."
        ) from error
    if masks.shape != shape or masks.dtype != "uint8":
        raise SessionError(
            f"The masks in {path} are {masks.shape} {masks.dtype}, but the session's video is {shape}. "
            "Restore session.json or masks.zarr from a backup."
        )
    return masks
